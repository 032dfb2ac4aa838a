//! The one door: every change at a site goes through [`Site`], which owns the order bytes → row → telling.
//!
//! It knows nothing of HTTP, XML or signatures (that is `s3`), and nothing of how a store keeps bytes (`backend`).

mod absence;
mod apply;
mod apply_bucket;
mod buckets;
mod claim;
mod claim_own;
mod complete;
mod copy;
mod custody;
mod dead_bucket;
mod delete;
mod digest;
mod error;
mod expire;
mod explain;
mod get;
mod graves;
mod heal;
mod import;
mod label;
mod land;
mod lifecycle;
mod list;
mod locks;
mod metadata;
mod multipart;
mod neighbours;
mod orphans;
mod parts;
mod pause;
mod precondition;
mod put;
mod read_through;
mod rebuild;
mod recover;
mod redo;
mod replicas;
mod restoring;
mod retell;
mod scope;
mod scrub;
mod settle;
mod settle_copies;
mod shared;
mod tell_again;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod together;
mod types;
mod unread;
mod uploads;
mod versioning;
mod wait;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Semaphore;

pub use apply::Applied;
pub use claim::FIRST_OWNER;
pub use custody::{Custody, Ownership, Rule};
pub use digest::checksum;
pub use error::{Error, Result};
pub use explain::{Explanation, Found, Told};
pub use graves::GRAVE_KEPT_MS;
pub use import::{Newcomer, Progress as ImportProgress, is_as_listed};
pub use land::{chunks_of, without_part_map};
pub use lifecycle::{Due, End, LifecycleWorker, Place as LifecyclePlace};
pub use metadata::{Register, Registered};
pub use neighbours::{FRESH, Neighbour, Neighbours, Scope, Seen as SeenNeighbour, Standing, UNTIL_RESUMED};
pub use rebuild::{Archived, Rebuild};
pub use replicas::Replication;
pub use retell::Retold;
pub use scrub::Scrubbed;
pub use tell_again::ToldAgain;
pub use together::Incoming;
pub use types::*;
pub use wait::Enough;

use crate::backend::{Backend, Place};
use crate::clock::Clock;
use crate::model::{BucketName, Incarnation, Location, ObjectId, Record, SiteId, Slot, WriteId};
use crate::status::{Audience, Status, Stored};
use crate::tasks::Worker;
use absence::Inquiries;
use buckets::KnownBuckets;
use import::{Importer, Imports};
use locks::KeyLocks;
use read_through::Restores;
use rebuild::Rebuilding;
use settle::{SettleWorker, Settler};
use settle_copies::CopyWorker;
use shared::Looked;

/// How often a write reads, decides and commits again before it answers 503 (protocol §3).
const CONFLICTS_MAX: usize = 8;

/// A site: a name, a store where bytes live, and a status store that knows every object. Clones share it.
///
/// Every call may be dropped half-way: a write that has reached its key lock runs on in a task of its own.
#[derive(Clone, Debug)]
pub struct Site {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: SiteId,
    backend: Arc<dyn Backend>,
    status: Status,
    clock: Clock,
    /// Orders the last step of writes to a key.
    keys: Arc<KeyLocks<ObjectId>>,
    /// Who changes what is at a plain name, where that may take long. Taken before the key, and by whoever has the key only if
    /// it is free.
    turns: Arc<KeyLocks<ObjectId>>,
    /// Lets one Complete or Abort at a time work on an upload.
    uploads: Arc<KeyLocks<WriteId>>,
    /// Lets one at a time make or delete a bucket: row and store change one after the other.
    bucket_changes: Arc<KeyLocks<BucketName>>,
    /// Live buckets as last read; a commit that finds one changed throws it away.
    buckets: KnownBuckets,
    writes: WriteIds,
    settler: Settler,
    neighbours: Neighbours,
    inquiries: Inquiries,
    restores: Restores,
    /// Room for looks at bytes that a read found rotten.
    mending: Arc<Semaphore>,
    /// Whether what the others had is still to be learned: see `restoring`.
    restoring: AtomicBool,
    /// What the status store lost is still to be looked for: see `rebuild`.
    rebuilding: Rebuilding,
    /// Folders that are becoming buckets: see `import`.
    imports: Imports,
    /// Of buckets that others write to as well: see `shared`.
    looked: Looked,
    /// Lets one at a time read bytes that nobody has read.
    reading: Arc<KeyLocks<ObjectId>>,
    custody: Custody,
    counters: Counters,
}

/// What a site is made of.
#[derive(Debug)]
pub struct Parts {
    pub id: SiteId,
    pub backend: Arc<dyn Backend>,
    pub status: Status,
    /// Draws stamps above the greatest that `status` committed.
    pub clock: Clock,
    /// The other sites; none for a lone one.
    pub neighbours: Neighbours,
    pub custody: Custody,
}

/// Things that happened, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Guarded commits that had to start again.
    pub conflicts: AtomicU64,
    /// Writes that lost against one from another site that had not seen them.
    pub lost_conflicts: AtomicU64,
    /// Objects whose bytes were changed behind the site's back and taken over.
    pub adopted: AtomicU64,
    /// Objects whose bytes were changed behind the site's back, and are fetched again from a site that has them.
    pub suspects: AtomicU64,
    /// Versions, markers and uploads that went because a lifecycle said so.
    pub expired: AtomicU64,
    /// Objects whose bytes were found missing.
    pub lost: AtomicU64,
    /// How often bytes did not have the checksum of their record: in reads, copies and looks.
    pub rotten: AtomicU64,
}

/// Draws write ids: unique within this process by the counter, among processes by incarnation and start.
#[derive(Debug)]
struct WriteIds {
    incarnation: Incarnation,
    start: u32,
    counter: AtomicU64,
}

impl WriteIds {
    fn is_of_this_start(&self, write: WriteId) -> bool {
        write.is_of(self.incarnation, self.start)
    }

    fn next(&self) -> WriteId {
        WriteId::new(self.incarnation, self.start, self.counter.fetch_add(1, Ordering::Relaxed))
    }
}

impl Site {
    /// Opens a site: redoes what a crash left undone, then takes calls. The workers belong to it: run them.
    pub async fn open(parts: Parts) -> Result<(Self, Vec<Box<dyn Worker>>)> {
        let facts = parts.status.facts();
        let settler = Settler::default();
        let inner = Inner {
            id: parts.id,
            backend: parts.backend,
            status: parts.status,
            clock: parts.clock,
            keys: KeyLocks::new(),
            turns: KeyLocks::new(),
            uploads: KeyLocks::new(),
            bucket_changes: KeyLocks::new(),
            buckets: KnownBuckets::default(),
            writes: WriteIds { incarnation: facts.incarnation, start: facts.start, counter: AtomicU64::new(0) },
            settler,
            neighbours: parts.neighbours,
            restoring: AtomicBool::new(false),
            rebuilding: Rebuilding::default(),
            imports: Imports::default(),
            looked: Looked::default(),
            reading: KeyLocks::new(),
            custody: parts.custody,
            inquiries: Inquiries::default(),
            restores: Restores::default(),
            mending: Arc::new(Semaphore::new(scrub::MENDED_AT_ONCE)),
            counters: Counters::default(),
        };
        let site = Self { inner: Arc::new(inner) };
        site.catch_up_with_clocks();
        site.recover().await?;
        site.recall_pauses().await?;
        site.note_scope().await?;
        site.note_rebuilding().await?;
        site.note_imports().await?;
        site.note_restoring().await?;
        let mut workers: Vec<Box<dyn Worker>> = vec![
            Box::new(SettleWorker::fresh(site.clone())),
            Box::new(CopyWorker::new(site.clone())),
            Box::new(SettleWorker::stuck(site.clone())),
            Box::new(expire::Expirer::new(site.clone())),
        ];
        if site.is_rebuilding() {
            workers.push(Box::new(rebuild::Rebuilder::new(site.clone())));
        }
        Ok((site, workers))
    }

    /// A store that is new, or came back from a snapshot, remembers less of the stamps it drew than those who answered the
    /// greeting.
    fn catch_up_with_clocks(&self) {
        let answered = self.inner.neighbours.iter().filter_map(|neighbour| neighbour.seen().heads);
        answered.for_each(|heads| self.inner.clock.hear(heads.stamped));
    }

    /// The worker that imports folders full of files: run it beside the others.
    pub fn importer(&self) -> Box<dyn Worker> {
        Box::new(Importer::new(self.clone()))
    }

    /// Name and number.
    pub fn id(&self) -> &SiteId {
        &self.inner.id
    }

    /// The store behind this site.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// The status store of this site.
    pub fn status(&self) -> &Status {
        &self.inner.status
    }

    /// The other sites.
    pub fn neighbours(&self) -> &Neighbours {
        &self.inner.neighbours
    }

    /// The clock that this site's stamps come from.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Who hears of a change made here.
    fn audience(&self) -> Audience {
        let neighbours = &self.inner.neighbours;
        Audience { owed: neighbours.in_scope(), known: neighbours.numbers(), bus: neighbours.bus }
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Writes whose last steps at the store are still to be made or made durable.
    pub fn unsettled(&self) -> u64 {
        self.inner.settler.waiting()
    }

    /// The current record of an object, present or wanted.
    async fn current(&self, object: &ObjectId) -> Result<Option<Arc<Stored<Record>>>> {
        Ok(self.inner.status.object(object).await?)
    }

    /// Which version of a key is current; the null one where nothing is known.
    pub async fn current_slot(&self, object: &ObjectId) -> Result<Slot> {
        match self.current(object).await? {
            Some(stored) => Ok(stored.row.slot()),
            None => Ok(self.inner.status.hiding(object).await?.map_or(Slot::Null, |stored| stored.row.slot())),
        }
    }

    /// What Last-Modified shows of a record: its stamp, but never the future.
    fn modified_ms(&self, record: &Record) -> u64 {
        record.vector.data.ms().min(self.inner.clock.wall_ms())
    }

    /// Runs a step that a client going away must not stop.
    async fn unstoppable<T: Send + 'static>(&self, step: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let step = tokio::spawn(tracing::Instrument::in_current_span(step));
        step.await.unwrap_or_else(|err| Err(Error::Internal(format!("a write stopped half-way: {err}"))))
    }

    fn count_conflict(&self, bucket: &BucketName) {
        self.inner.counters.conflicts.fetch_add(1, Ordering::Relaxed);
        self.forget_bucket(bucket);
    }
}

/// The plain place of an object.
fn plain(object: &ObjectId) -> Place {
    Place { object: object.clone(), location: Location::Plain }
}
