//! A guarded commit: what must still hold, what to write, what to tell. All of it happens, or none.

use std::sync::Arc;

use super::key::TableKey;
use super::tables::{Objects, Versions};
use super::{ReadError, Revision, Table};
use crate::model::{BucketName, Event, News, ObjectId, Record, Seq, SiteNumber, Slot, Stamp, Telling};

/// Row changes that become durable together, if everything expected still holds.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub(super) expect: Vec<Expect>,
    pub(super) writes: Vec<Write>,
    pub(super) events: Vec<Event>,
    /// Told to one site each; not followed, so rows do not carry their seq.
    pub(super) receipts: Vec<(SiteNumber, Telling)>,
    pub(super) audience: Audience,
    /// Another site's state takes the place of the units written.
    pub(super) supersedes: bool,
    pub(super) clock_ms: u64,
    /// Whether it may use the room that is held back.
    pub(super) frees: bool,
}

/// Who hears of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Sites that are owed the events: a row of `pending` each.
    pub owed: Vec<SiteNumber>,
    /// Every site that may have been owed an earlier state of the units: void now.
    pub known: Vec<SiteNumber>,
    /// Whether the bus carries the events: a row of `outbox` each.
    pub bus: bool,
}

/// A condition, checked inside the transaction.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    /// The row is at this revision, or absent.
    Row { table: usize, key: Vec<u8>, revision: Option<Revision> },
    /// The unit is at this revision, or absent, wherever its row lies.
    Unit { object: ObjectId, slot: Slot, revision: Option<Revision> },
    /// No key of the table begins with this.
    Empty { table: usize, prefix: Vec<u8> },
}

/// A row to put (payload without its header, which the writer adds) or to delete.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub table: usize,
    pub key: Vec<u8>,
    pub row: Option<Vec<u8>>,
    /// Of a unit, whose key is that of `versions` wherever its row comes to lie.
    pub record: Option<Arc<Record>>,
}

/// What a commit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Revision of every row it wrote.
    pub revision: Revision,
    /// Seq of its last event; that of the site before it where it told nothing.
    pub seq: Seq,
}

/// A commit that did not happen, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something expected does not hold any more: read, decide and commit again.
    #[error("another write came first")]
    Conflict,
    /// The engine failed before, or the store turned out to be an old one: certainly nothing was written, nor is before a
    /// restart.
    #[error("the status store takes no commits until a restart: {0}")]
    Closed(String),
    /// No room for the rows, and certainly nothing of them written. Commits marked by [`Commit::frees`] find room for longer.
    #[error("the status store is full: {0}")]
    Full(String),
    /// A row is larger than 64 KiB.
    #[error("a row of {bytes} bytes for table {table} is too large")]
    TooLarge { table: &'static str, bytes: usize },
    /// The engine failed; whether the commit is durable is unknown until the next start.
    #[error("the status store failed: {0}")]
    Engine(String),
    /// What it had to read could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Commit {
    /// Nothing expected, written or told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the row of `key` is still at `revision` (`None`: still absent).
    #[must_use]
    pub fn expect<T: Table>(mut self, key: &T::Key, revision: Option<Revision>) -> Self {
        self.expect.push(Expect::Row { table: T::INDEX, key: key.to_bytes(), revision });
        self
    }

    /// The same, where it matters.
    #[must_use]
    pub fn expect_if<T: Table>(self, matters: bool, key: &T::Key, revision: Option<Revision>) -> Self {
        if matters { self.expect::<T>(key, revision) } else { self }
    }

    /// Only if no row of table `T`, whose keys begin with a bucket, belongs to `bucket`.
    #[must_use]
    pub fn expect_empty<T: Table>(mut self, bucket: &BucketName) -> Self {
        self.expect.push(Expect::Empty { table: T::INDEX, prefix: bucket.to_bytes_with_end() });
        self
    }

    /// Writes the row of `key`.
    #[must_use]
    pub fn put<T: Table>(mut self, key: &T::Key, row: &T::Row) -> Self {
        debug_assert!(T::INDEX != Objects::INDEX && T::INDEX != Versions::INDEX, "units are written by put_unit");
        self.writes.push(Write { table: T::INDEX, key: key.to_bytes(), row: Some(T::encode(row)), record: None });
        self
    }

    /// Only if this unit is still at `revision` (`None`: still absent).
    #[must_use]
    pub fn expect_unit(mut self, object: &ObjectId, slot: Slot, revision: Option<Revision>) -> Self {
        self.expect.push(Expect::Unit { object: object.clone(), slot, revision });
        self
    }

    /// Writes a live unit. Which unit of its key is current by then, and so in `objects`, follows from their stamps.
    #[must_use]
    pub fn put_unit(mut self, object: &ObjectId, record: &Record) -> Self {
        let (key, row) = ((object.clone(), record.slot()).to_bytes(), Some(Versions::encode(record)));
        self.writes.push(Write { table: Versions::INDEX, key, row, record: Some(Arc::new(record.clone())) });
        self
    }

    /// Removes a live unit; none there is fine. The newest of the others becomes the current one.
    #[must_use]
    pub fn delete_unit(mut self, object: &ObjectId, slot: Slot) -> Self {
        let key = (object.clone(), slot).to_bytes();
        self.writes.push(Write { table: Versions::INDEX, key, row: None, record: None });
        self
    }

    /// Removes the row of `key`; none there is fine.
    #[must_use]
    pub fn delete<T: Table>(mut self, key: &T::Key) -> Self {
        debug_assert!(T::INDEX != Objects::INDEX && T::INDEX != Versions::INDEX, "units are removed by delete_unit");
        self.writes.push(Write { table: T::INDEX, key: key.to_bytes(), row: None, record: None });
        self
    }

    /// Marks a step of freeing room, which is taken while little is left: who is out of room deletes. Its rows do not tell,
    /// since a write of a new key takes a grave away, and a delete adds one.
    #[must_use]
    pub fn frees(mut self) -> Self {
        self.frees = true;
        self
    }

    /// Who hears of the events.
    #[must_use]
    pub fn to(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// Answers what `site` told: that it is here, or why it cannot be.
    #[must_use]
    pub fn answer(mut self, site: SiteNumber, event: Event, news: News) -> Self {
        let Event { unit, vector } = event;
        self.receipts.push((site, Telling { unit, vector, news }));
        self
    }

    /// Another site's state takes the place of the units written. Who of `known` was owed the one before hears of this one,
    /// since whoever wrote it need not tell everybody; where nobody was, it is told under no seq.
    #[must_use]
    pub fn supersedes(mut self, known: Vec<SiteNumber>) -> Self {
        self.audience.known = known;
        self.supersedes = true;
        self
    }

    /// Notes a stamp of another site: after a restart none below it is drawn.
    #[must_use]
    pub fn seen(mut self, stamp: Stamp) -> Self {
        self.clock_ms = self.clock_ms.max(stamp.ms());
        self
    }

    /// This and another, which tells nothing, in one: all of it happens, or none.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        debug_assert!(other.events.is_empty(), "rows carry the seq of one event, and would carry another's");
        self.expect.extend(other.expect);
        self.writes.extend(other.writes);
        self.receipts.extend(other.receipts);
        self.clock_ms = self.clock_ms.max(other.clock_ms);
        self
    }

    /// Whether it tells an event.
    pub fn tells(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty() && self.receipts.is_empty()
    }

    /// Tells this event. Rows of units that the commit writes carry the seq of its last event.
    #[must_use]
    pub fn tell(mut self, event: Event) -> Self {
        self.clock_ms = self.clock_ms.max(event.vector.greatest().ms());
        self.events.push(event);
        self
    }
}
