//! Commits inside one engine transaction: each sees what those before it wrote, and happens whole or not at all.

use std::collections::{BTreeMap, HashSet};

use ::redb::{ReadableTable, WriteTransaction};

use super::encode::{Header, decode};
use super::journal::{ARCHIVED, RawRow};
use super::migrate::{meta_key, meta_row, name};
use super::read::{Range, definition};
use crate::model::{Event, News, ObjectId, Seq, SiteNumber, Slot, Telling};
use crate::status::cache::Change;
use crate::status::commit::{Expect, Write};
use crate::status::tables::{Buckets, Dirty, Failed, Graves, Meta, NAMES, Outbox, Pending, Receipts, VERSIONS, Versions};
use crate::status::{Commit, CommitError, Committed, Revision, Table, TableKey};

type Open<'t> = ::redb::Table<'t, &'static [u8], &'static [u8]>;

/// What a commit will be answered when its batch is durable.
pub(super) type Outcome = Result<Committed, CommitError>;

/// What grows with commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub revision: Revision,
    pub seq: Seq,
    pub clock_ms: u64,
}

impl Counts {
    fn after(self, commit: &Commit) -> Self {
        Self {
            revision: Revision(self.revision.0 + 1),
            seq: Seq(self.seq.0 + (commit.events.len() + commit.receipts.len()) as u64),
            clock_ms: self.clock_ms.max(commit.clock_ms),
        }
    }
}

/// What a batch came to.
pub(super) struct Finished {
    pub counts: Counts,
    pub tally: Tally,
    /// Whether a target answered: it has what it was owed, or said why not.
    pub answered: bool,
    pub changes: Vec<Change>,
    /// Rows to be archived.
    pub journal: Vec<u8>,
}

/// Most rows of `pending` for one target: past it what it lacks is left to reconciliation.
pub(super) const PENDING_ROWS_MAX: u64 = 1_000_000;

/// Rows that speak of a target, counted: where there are none nobody has to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Of `pending`.
    pub owed: BTreeMap<SiteNumber, u64>,
    /// Of `failed` and `dirty`.
    pub troubled: BTreeMap<SiteNumber, u64>,
}

impl Tally {
    /// A row of a table came or went.
    pub fn note(&mut self, table: usize, key: &[u8], came: bool) {
        let rows = match table {
            Pending::INDEX => &mut self.owed,
            Failed::INDEX | Dirty::INDEX => &mut self.troubled,
            _ => return,
        };
        let site = SiteNumber::read(&mut &*key).expect("these keys begin with a site");
        let rows = rows.entry(site).or_default();
        *rows = if came { *rows + 1 } else { rows.saturating_sub(1) };
    }
}

pub(super) struct Batch<'t> {
    txn: &'t WriteTransaction,
    /// Opened when first needed: opening is a look-up, and closing a changed one a write.
    tables: [Option<Open<'t>>; NAMES.len()],
    before: Counts,
    counts: Counts,
    tally: Tally,
    answered: bool,
    changes: Vec<Change>,
    journal: Vec<u8>,
    buffer: Vec<u8>,
}

/// What becomes of the tellings of the units that a commit writes.
pub(super) enum Fate<'a> {
    /// They carry this seq from now on, and to these sites nothing told before counts any more.
    Told { seq: Seq, void: &'a [SiteNumber] },
    /// Another site's state takes their place: who of these sites was owed the one before is owed this one, under its seq.
    Superseded { known: &'a [SiteNumber] },
    /// They stand as they did.
    Kept,
}

impl<'t> Batch<'t> {
    pub fn new(txn: &'t WriteTransaction, counts: Counts, tally: Tally) -> Self {
        let tables = std::array::from_fn(|_| None);
        let (changes, journal, buffer) = (Vec::new(), Vec::new(), Vec::new());
        Self { txn, tables, before: counts, counts, tally, answered: false, changes, journal, buffer }
    }

    /// Makes a commit part of the batch, if everything it expects holds. An error is the engine's and ends the batch.
    pub fn apply(&mut self, commit: &mut Commit) -> Result<Outcome, ::redb::Error> {
        for expect in &commit.expect {
            if !self.holds(expect)? {
                return Ok(Err(CommitError::Conflict));
            }
        }
        let first = Seq(self.counts.seq.0 + 1);
        self.counts = self.counts.after(commit);
        let told = Seq(first.0 + commit.events.len() as u64 - 1);
        let fate = match (commit.events.is_empty(), commit.supersedes) {
            (false, _) => Fate::Told { seq: told, void: &commit.audience.known },
            (true, true) => Fate::Superseded { known: &commit.audience.known },
            (true, false) => Fate::Kept,
        };
        for write in &mut commit.writes {
            self.write(write, &fate)?;
        }
        self.tell(commit, first)?;
        Ok(Ok(Committed { revision: self.counts.revision, seq: self.counts.seq }))
    }

    /// Writes down what is owed to whom, with the seqs from `first` on.
    fn tell(&mut self, commit: &Commit, first: Seq) -> Result<(), ::redb::Error> {
        let mut seqs = (first.0..).map(Seq);
        for (event, seq) in commit.events.iter().zip(&mut seqs) {
            planted!(PendingVoid => {
                if event.vector.tags.is_some() {
                    continue;
                }
            });
            for site in &commit.audience.owed {
                self.owe(*site, seq, event)?;
            }
            if commit.audience.bus {
                self.put::<Outbox>(&seq, event)?;
            }
        }
        for ((site, telling), seq) in commit.receipts.iter().zip(seqs) {
            self.put::<Receipts>(&(*site, seq), telling)?;
        }
        Ok(())
    }

    /// A target that is owed too much is not told any more: its bucket is dirty, which reconciliation mends.
    fn owe(&mut self, site: SiteNumber, seq: Seq, event: &Event) -> Result<(), ::redb::Error> {
        let Event { unit, vector } = event.clone();
        if self.tally.owed.get(&site).is_none_or(|rows| *rows < PENDING_ROWS_MAX) {
            return self.put::<Pending>(&(site, seq), &Telling { unit, vector, news: News::Mutated });
        }
        // The least seq stays, and the row is written again: whoever found everything else out sees that more was lost.
        let key = (site, unit.bucket().clone());
        let least = self.row::<Dirty>(&key)?.map_or(seq, |before| before.min(seq));
        self.put::<Dirty>(&key, &least)
    }

    fn row<T: Table>(&mut self, key: &T::Key) -> Result<Option<T::Row>, ::redb::Error> {
        let Some(row) = self.table(T::INDEX)?.get(&*key.to_bytes())? else { return Ok(None) };
        let stored = decode::<T>(row.value()).map_err(|err| ::redb::Error::Corrupted(err.to_string()))?;
        Ok(Some(stored.row))
    }

    fn put<T: Table>(&mut self, key: &T::Key, row: &T::Row) -> Result<(), ::redb::Error> {
        let header = Header { version: T::VERSION, revision: self.counts.revision, seq: Seq(0) };
        let row = header.row(&T::encode(row), &mut Vec::new()).to_vec();
        self.insert(T::INDEX, &key.to_bytes(), &row)
    }

    pub(super) fn insert(&mut self, table: usize, key: &[u8], row: &[u8]) -> Result<(), ::redb::Error> {
        let came = self.table(table)?.insert(key, row)?.is_none();
        if came {
            self.tally.note(table, key, true);
        }
        self.answered |= table == Failed::INDEX;
        Ok(())
    }

    /// Writes where the counters stand now. They ride in the batch that advanced them.
    pub fn finish(mut self) -> Result<Finished, ::redb::Error> {
        let (now, before) = (self.counts, self.before);
        let rows = [
            (name::REVISION, before.revision.0, now.revision.0),
            (name::SEQ, before.seq.0, now.seq.0),
            (name::CLOCK_MS, before.clock_ms, now.clock_ms),
        ];
        for (name, _, value) in rows.into_iter().filter(|(_, before, now)| before != now) {
            self.table(Meta::INDEX)?.insert(&*meta_key(name), &*meta_row(value, now.revision))?;
        }
        let Self { tally, answered, mut changes, journal, .. } = self;
        // Who read the end of a batch must not find what came in the middle of it.
        let mut ends = HashSet::new();
        changes.reverse();
        changes.retain(|change| ends.insert(change.id.clone()));
        Ok(Finished { counts: now, tally, answered, changes, journal })
    }

    fn holds(&mut self, expect: &Expect) -> Result<bool, ::redb::Error> {
        match expect {
            Expect::Row { table, key, revision } => Ok(self.header(*table, key)?.map(|header| header.revision) == *revision),
            Expect::Unit { object, slot, revision } => self.unit_is_at(object, *slot, *revision),
            Expect::Empty { table, prefix } => match Range::under(prefix, None) {
                Some(range) => Ok(self.table(*table)?.range::<&[u8]>(range.bounds())?.next().transpose()?.is_none()),
                None => Ok(true),
            },
        }
    }

    fn write(&mut self, write: &mut Write, fate: &Fate<'_>) -> Result<(), ::redb::Error> {
        if write.table == Versions::INDEX {
            return self.write_unit(write, fate);
        }
        let revision = self.counts.revision;
        let seq = self.seq_of(write, fate)?;
        match &write.row {
            Some(payload) => {
                let header = Header { version: VERSIONS[write.table], revision, seq };
                let mut buffer = std::mem::take(&mut self.buffer);
                let row = header.row(payload, &mut buffer);
                self.insert(write.table, &write.key, row)?;
                self.archive(write.table, &write.key, row);
                self.buffer = buffer;
            }
            None => self.remove(write.table, &write.key)?,
        }
        Ok(())
    }

    pub(super) fn archive(&mut self, table: usize, key: &[u8], row: &[u8]) {
        if ARCHIVED.contains(&table) {
            RawRow::write(table, key, row, &mut self.journal);
        }
    }

    /// A change of `objects`, for the row cache.
    pub(super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Rows of units carry the seq of the last event told with them, through later commits that tell nothing. What was told
    /// with the row before is void with it.
    fn seq_of(&mut self, write: &Write, fate: &Fate<'_>) -> Result<Seq, ::redb::Error> {
        const OF_UNITS: [usize; 2] = [Graves::INDEX, Buckets::INDEX];
        if !OF_UNITS.contains(&write.table) {
            return Ok(Seq(0));
        }
        match fate {
            Fate::Told { seq, void: [] } => Ok(*seq),
            Fate::Told { seq, void } => {
                let before = self.seq_in(write.table, &write.key)?;
                self.void(before, void)?;
                Ok(*seq)
            }
            // What goes has none.
            Fate::Superseded { .. } if write.row.is_none() => Ok(Seq(0)),
            Fate::Superseded { known } => {
                let mut before = self.seq_in(write.table, &write.key)?;
                if let Some((object, slot)) = self.buried(write) {
                    before = before.max(self.seq_of_live(&object, slot)?);
                }
                self.still_owed(before, known)
            }
            Fate::Kept => self.seq_in(write.table, &write.key),
        }
    }

    /// The unit that a row of `graves` buries.
    fn buried(&self, write: &Write) -> Option<(ObjectId, Slot)> {
        (write.table == Graves::INDEX).then(|| <(ObjectId, Slot)>::from_bytes(&write.key)).flatten()
    }

    /// The seq under which somebody is still owed a unit, whether as an object or as its grave: one of the two rows gives way
    /// to the other. 0 where nobody is, so that it was told by no seq of ours.
    pub(super) fn still_owed(&mut self, before: Seq, known: &[SiteNumber]) -> Result<Seq, ::redb::Error> {
        for site in known.iter().filter(|_| before > Seq(0)) {
            if self.table(Pending::INDEX)?.get(&*(*site, before).to_bytes())?.is_some() {
                return Ok(before);
            }
        }
        Ok(Seq(0))
    }

    fn seq_in(&mut self, table: usize, key: &[u8]) -> Result<Seq, ::redb::Error> {
        Ok(self.header(table, key)?.map_or(Seq(0), |header| header.seq))
    }

    pub(super) fn remove(&mut self, table: usize, key: &[u8]) -> Result<(), ::redb::Error> {
        let removed = self.table(table)?.remove(key)?.is_some();
        if removed {
            self.tally.note(table, key, false);
            self.answered |= table == Pending::INDEX;
        }
        Ok(())
    }

    pub(super) fn header(&mut self, table: usize, key: &[u8]) -> Result<Option<Header>, ::redb::Error> {
        let Some(row) = self.table(table)?.get(key)? else { return Ok(None) };
        let corrupted = || ::redb::Error::Corrupted(format!("a row of {} holds no header", NAMES[table]));
        let (header, _) = Header::split(row.value()).ok_or_else(corrupted)?;
        Ok(Some(header))
    }

    pub(super) fn table(&mut self, index: usize) -> Result<&mut Open<'t>, ::redb::Error> {
        let slot = &mut self.tables[index];
        match slot {
            Some(table) => Ok(table),
            None => Ok(slot.insert(self.txn.open_table(definition(index))?)),
        }
    }
}
