//! The redb engine: one file, one writer thread, readers on the blocking pool, a row cache before them.

mod batch;
mod chance;
mod create;
mod encode;
#[cfg(test)]
pub(crate) mod forgetful;
mod journal;
mod list;
mod list_versions;
mod migrate;
mod open;
#[cfg(test)]
mod pace;
mod read;
mod room;
mod stats;
mod storage;
mod units;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, watch};

pub use journal::{Place as ScanPlace, RawRow, Scanned, Taken};
pub use migrate::{Facts, NewLife};
pub use open::{OpenError, Options};
#[cfg(test)]
pub(crate) use pace::{Pace, Touched};
pub use stats::Stats;

use super::cache::Known;
use super::tables::{Meta, Objects, Versions};
use super::{
    Commit, CommitError, Committed, ListPage, ListQuery, Page, ReadError, Revision, Stored, Table, TableKey, VersionsPage,
    VersionsQuery,
};
use crate::model::{Incarnation, ObjectId, Record, Seq, SiteNumber, Slot};
use read::{Range, Snapshot};
use units::UNITS_ABOVE_OTHERS;
use writer::{Shared, Writer, WriterState};

/// Reads under way at once; more wait. Each holds a thread of the blocking pool, which others need too.
const READS_MAX: usize = 32;

/// Handle on a status store; clones share it. Dropping the last one waits for what is queued.
#[derive(Clone)]
pub struct Status(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    writer: Writer,
    reads: Arc<Semaphore>,
    facts: Facts,
    /// Where a simulation waits, kills and looks, around every step.
    #[cfg(test)]
    pace: Option<Arc<dyn Pace>>,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("facts", &self.0.facts).finish_non_exhaustive()
    }
}

impl Status {
    /// Opens or makes the store. Blocks: for start-up only.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::start(open::open(&options)?)
    }

    /// Opens the store that a storage holds, for storages that lose what was not synced.
    #[cfg(test)]
    pub(crate) fn open_on(storage: impl ::redb::StorageBackend, options: &Options) -> Result<Self, OpenError> {
        Self::start(open::open_on(storage, room::Room::in_memory(), options)?)
    }

    /// A store in memory that does everything on the caller's thread: a simulation is repeatable.
    #[cfg(test)]
    pub(crate) fn open_inline(storage: impl ::redb::StorageBackend, options: &Options) -> Result<Self, OpenError> {
        Self::open_paced(storage, options, None)
    }

    /// The same, on a disk that has as many free bytes as `free` says.
    #[cfg(test)]
    pub(crate) fn open_with_room(free: Arc<std::sync::atomic::AtomicU64>) -> Self {
        let storage = ::redb::backends::InMemoryBackend::new();
        let opened = open::open_on(storage, room::Room::Said(free), &Options::default());
        Self::inline(opened.expect("memory opens"), None)
    }

    /// The same, at the pace that is given.
    #[cfg(test)]
    pub(crate) fn open_paced(
        storage: impl ::redb::StorageBackend,
        options: &Options,
        pace: Option<Arc<dyn Pace>>,
    ) -> Result<Self, OpenError> {
        Ok(Self::inline(open::open_on(storage, room::Room::in_memory(), options)?, pace))
    }

    #[cfg(test)]
    fn inline((state, facts): (WriterState, Facts), pace: Option<Arc<dyn Pace>>) -> Self {
        let (shared, reads) = (state.shared.clone(), Arc::new(Semaphore::new(0)));
        Self(Arc::new(Inner { shared, writer: Writer::inline(state), reads, facts, pace }))
    }

    fn start((state, facts): (WriterState, Facts)) -> Result<Self, OpenError> {
        let shared = state.shared.clone();
        let no_thread = |err: std::io::Error| OpenError::Engine { path: "status-writer".into(), reason: err.to_string() };
        let writer = Writer::start(state).map_err(no_thread)?;
        Ok(Self(Arc::new(Inner {
            shared,
            writer,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            facts,
            #[cfg(test)]
            pace: None,
        })))
    }

    /// What was true when it was opened.
    pub fn facts(&self) -> Facts {
        self.0.facts
    }

    /// Notes that it has all that there is, in its present life.
    pub async fn establish(&self) -> Result<(), CommitError> {
        let life = u64::from(self.0.facts.incarnation.0);
        self.commit(Commit::new().frees().put::<Meta>(&migrate::name::ESTABLISHED.to_owned(), &life)).await.map(drop)
    }

    /// Whether it takes commits: after a failure of the engine none, until a restart.
    pub fn healthy(&self) -> bool {
        self.0.shared.failed.get().is_none() && self.0.writer.is_running()
    }

    /// Numbers for metrics; cheap.
    pub fn stats(&self) -> Stats {
        let (shared, counters) = (&self.0.shared, &self.0.shared.counters);
        let mut stats = Stats {
            commits: counters.commits.get(),
            conflicts: counters.conflicts.get(),
            batches: counters.batches.get(),
            queued: self.0.writer.queued(),
            file_bytes: shared.file_bytes.load(Ordering::Relaxed),
            seq: counters.seq.get(),
            ..Stats::default()
        };
        (stats.journal_bytes, stats.journal_dropped) = shared.journal.count();
        shared.cache.count(&mut stats);
        stats
    }

    /// The row of `key`.
    pub async fn get<T: Table>(&self, key: &T::Key) -> Result<Option<Stored<T::Row>>, ReadError> {
        let key = key.to_bytes();
        self.read(move |shared| Ok(Snapshot::of(&shared.db)?.get::<T>(&key)?.map(|read| read.stored))).await
    }

    /// The rows of many keys, in their order, of one moment: one hop for all of them.
    pub async fn get_many<T: Table>(&self, keys: &[T::Key]) -> Result<Vec<Option<Stored<T::Row>>>, ReadError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = keys.iter().map(T::Key::to_bytes).collect();
        self.read(move |shared| Snapshot::of(&shared.db)?.get_many::<T>(&keys)).await
    }

    /// The current records of many objects, in their order.
    pub async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Known>, ReadError> {
        let mut known: Vec<Option<Known>> = ids.iter().map(|id| self.0.shared.cache.get(id)).collect();
        let unknown: Vec<ObjectId> =
            ids.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(id, _)| id.clone()).collect();
        if !unknown.is_empty() {
            let found = self.read(move |shared| unknown.iter().map(|id| read_object(shared, id)).collect::<Result<Vec<_>, _>>());
            known.iter_mut().filter(|known| known.is_none()).zip(found.await?).for_each(|(known, found)| *known = Some(found));
        }
        Ok(known.into_iter().map(|known| known.expect("it was found, or read")).collect())
    }

    /// A live unit, wherever its row lies, of one moment.
    pub async fn unit(&self, object: &ObjectId, slot: Slot) -> Result<Option<Arc<Stored<Record>>>, ReadError> {
        Ok(self.units(&[(object.clone(), slot)]).await?.pop().flatten())
    }

    /// Live units, in their order.
    pub async fn units(&self, units: &[(ObjectId, Slot)]) -> Result<Vec<Known>, ReadError> {
        let cached =
            |(object, slot): &(ObjectId, Slot)| self.0.shared.cache.get(object).flatten().filter(|top| top.row.slot() == *slot);
        let mut found: Vec<Known> = units.iter().map(cached).collect();
        let unknown: Vec<_> =
            units.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(unit, _)| unit.clone()).collect();
        if !unknown.is_empty() {
            let read = self.read(move |shared| {
                let snapshot = Snapshot::of(&shared.db)?;
                unknown.iter().map(|unit| read_unit(&snapshot, unit)).collect::<Result<Vec<_>, _>>()
            });
            found.iter_mut().filter(|found| found.is_none()).zip(read.await?).for_each(|(found, read)| *found = read);
        }
        Ok(found)
    }

    /// The delete marker that is current of a key, if one is: of one moment, since what is aside of an object hides nothing.
    pub async fn hiding(&self, object: &ObjectId) -> Result<Option<Stored<Record>>, ReadError> {
        let (key, versions) = (object.to_bytes(), (object.clone(), ()).to_bytes());
        let read = self.read(move |shared| {
            let snapshot = Snapshot::of(&shared.db)?;
            match snapshot.get::<Objects>(&key)? {
                Some(_) => Ok(Vec::new()),
                None => Ok(snapshot.page::<Versions>(&versions, None, UNITS_ABOVE_OTHERS)?.rows),
            }
        });
        Ok(read.await?.into_iter().map(|(_, stored)| stored).max_by_key(|stored| stored.row.vector.data))
    }

    /// The current record of an object, from the row cache where it is there.
    pub async fn object(&self, id: &ObjectId) -> Result<Option<Arc<Stored<Record>>>, ReadError> {
        if let Some(known) = self.0.shared.cache.get(id) {
            return Ok(known);
        }
        let id = id.clone();
        self.read(move |shared| read_object(shared, &id)).await
    }

    /// The current record of an object, if the row cache has it: for tests and benchmarks. `None` says nothing.
    pub fn cached(&self, id: &ObjectId) -> Option<Arc<Stored<Record>>> {
        self.0.shared.cache.get(id).flatten()
    }

    /// Rows of `T` whose encoded key begins with that of `prefix`, after the key `after`, at most `rows_max` (≤ 10,000).
    /// A page of large rows ends earlier and says that more follow.
    ///
    /// An [`ObjectId`] alone is a prefix of longer keys too; the rows of one key are those of `(id, ())`.
    pub async fn page<T: Table>(
        &self,
        prefix: &impl TableKey,
        after: Option<&T::Key>,
        rows_max: usize,
    ) -> Result<Page<T>, ReadError> {
        let (prefix, after) = (prefix.to_bytes(), after.map(T::Key::to_bytes));
        self.read(move |shared| Snapshot::of(&shared.db)?.page::<T>(&prefix, after.as_deref(), rows_max)).await
    }

    /// Rows of `T` whose encoded key begins with that of `prefix`, from the key `from` on and before the key `to`, both of
    /// which begin so too. As many as of a page.
    pub async fn between<T: Table>(
        &self,
        prefix: &impl TableKey,
        from: Option<&T::Key>,
        to: Option<&T::Key>,
        rows_max: usize,
    ) -> Result<Page<T>, ReadError> {
        let range = Range::between(&prefix.to_bytes(), from.map(T::Key::to_bytes), to.map(T::Key::to_bytes));
        self.read(move |shared| Snapshot::of(&shared.db)?.page_of::<T>(range, rows_max)).await
    }

    /// Up to which every commit is seen by whoever reads now.
    pub fn revision(&self) -> Revision {
        writer::visible(&self.0.shared)
    }

    /// From now on what commits write of units waits to be taken by [`Status::take_journal`].
    pub fn keep_journal(&self) {
        self.0.shared.journal.keep(self.revision());
    }

    /// What waited.
    pub fn take_journal(&self) -> Taken {
        self.0.shared.journal.take()
    }

    /// Returns when much waits.
    pub async fn journal_filled(&self) {
        self.0.shared.journal.filled().await;
    }

    /// Rows that an archive holds and that were written after `since`, a bounded look from `place` on.
    pub async fn scan(&self, since: Revision, place: ScanPlace) -> Result<Scanned, ReadError> {
        self.read(move |shared| journal::scan(&Snapshot::of(&shared.db)?, since, place)).await
    }

    /// How many rows of `T` there are; cheap.
    pub async fn rows<T: Table>(&self) -> Result<u64, ReadError> {
        self.read(|shared| Snapshot::of(&shared.db)?.len::<T>()).await
    }

    /// How many rows of `T` have a key that begins with that of `prefix`; `rows_max` stands for that many or more.
    pub async fn count<T: Table>(&self, prefix: &impl TableKey, rows_max: usize) -> Result<u64, ReadError> {
        let prefix = prefix.to_bytes();
        self.read(move |shared| Snapshot::of(&shared.db)?.count::<T>(&prefix, rows_max)).await
    }

    /// One page of a LIST: one bounded look-up, however deep in the bucket. A page of large records ends earlier than
    /// asked for and says that more follows.
    pub async fn list(&self, query: ListQuery) -> Result<ListPage, ReadError> {
        self.read(move |shared| list::list(&Snapshot::of(&shared.db)?.rows::<Objects>()?, &query)).await
    }

    /// One page of a bucket's versions, delete markers included.
    pub async fn list_versions(&self, query: VersionsQuery) -> Result<VersionsPage, ReadError> {
        let listed = self.read(move |shared| {
            let snapshot = Snapshot::of(&shared.db)?;
            let (objects, versions) = (snapshot.rows::<Objects>()?, snapshot.rows::<Versions>()?);
            list_versions::list(&list_versions::Units { objects, versions }, &query)
        });
        listed.await
    }

    /// Makes the commit durable, if everything it expects still holds. Once queued it is not stopped by its caller's
    /// going away.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        #[cfg(test)]
        if let Some(pace) = &self.0.pace {
            return pace::commit(self, pace, commit).await;
        }
        self.0.writer.commit(commit).await
    }

    /// Takes no writes any more: another site knows more of this one than is here, so that seqs and stamps would be given
    /// out again. The next start finds it and begins a life after that one.
    pub async fn outlived(&self, (life, seq): (Incarnation, Seq)) -> Result<(), CommitError> {
        let rows = [(migrate::name::OUTLIVED_LIFE, u64::from(life.0)), (migrate::name::OUTLIVED_SEQ, seq.0)];
        let commit = rows.iter().fold(Commit::new().frees(), |commit, (name, row)| commit.put::<Meta>(&(*name).to_owned(), row));
        self.commit(commit).await?;
        let reason = "another site knows more of this one than its status store does: a restart begins a new life";
        // Where it failed before, that says enough.
        let _ = self.0.shared.failed.set(reason.into());
        Ok(())
    }

    /// The last seq that is durable, and every one after it.
    pub fn told(&self) -> watch::Receiver<Seq> {
        self.0.shared.told.subscribe()
    }

    /// How many units a target is owed.
    pub fn owed(&self, target: SiteNumber) -> u64 {
        let tally = self.0.shared.tally.lock().expect("nothing panics while it holds the count");
        tally.owed.get(&target).copied().unwrap_or_default()
    }

    /// How many rows say that a target refused something, or may lack something nobody will tell it.
    pub fn troubled(&self, target: SiteNumber) -> u64 {
        let tally = self.0.shared.tally.lock().expect("nothing panics while it holds the count");
        tally.troubled.get(&target).copied().unwrap_or_default()
    }

    /// Changes whenever a target answered: it has what it was owed, or said why not.
    pub fn answered(&self) -> watch::Receiver<u64> {
        self.0.shared.answered.subscribe()
    }

    /// Reads on the blocking pool.
    async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        #[cfg(test)]
        if self.0.writer.is_inline() {
            if let Some(pace) = &self.0.pace {
                pace.step().await;
            }
            return work(&self.0.shared);
        }
        let turn = self.0.reads.clone().acquire_owned().await.expect("the semaphore is never closed");
        let shared = self.0.shared.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&shared)
        });
        reading.await.unwrap_or_else(|err| Err(ReadError::Engine(err.to_string())))
    }
}

/// Reads a unit, wherever its row lies.
fn read_unit(snapshot: &Snapshot, unit: &(ObjectId, Slot)) -> Result<Known, ReadError> {
    let top = snapshot.get::<Objects>(&unit.0.to_bytes())?.filter(|top| top.stored.row.slot() == unit.1);
    let found = if top.is_some() { top } else { snapshot.get::<Versions>(&unit.to_bytes())? };
    Ok(found.map(|read| Arc::new(read.stored)))
}

/// Reads an object and leaves it in the row cache.
fn read_object(shared: &Shared, id: &ObjectId) -> Result<Known, ReadError> {
    // Before the snapshot, so that it is not younger than said.
    let revision = writer::visible(shared);
    let read = Snapshot::of(&shared.db)?.get::<Objects>(&id.to_bytes())?;
    let bytes = read.as_ref().map_or(0, |read| read.bytes);
    let known = read.map(|read| Arc::new(read.stored));
    shared.cache.fill(id, revision, known.clone(), bytes);
    Ok(known)
}
