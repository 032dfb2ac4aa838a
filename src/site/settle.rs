//! What is left to do after a commit: bytes on their way to their name, bytes on their way out, and making both
//! durable before the rows that would redo them are dropped.
//!
//! Nothing here is needed for an answer to be true: the redo rows are, and a crash finds them (`recover`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use tokio::sync::Notify;

use super::{CONFLICTS_MAX, Site};
use crate::backend::{self, Place, Published};
use crate::model::{Binding, Location, ObjectId, Record, Slot, StagingFile, WriteId};
use crate::status::tables::{Settle, Settling};
use crate::status::{Commit, CommitError, Stored};
use crate::tasks::{Step, Worker};

/// Redo rows one step settles, at the most: where keys lie in a thousand directories, each step syncs them all.
const STEP_ROWS_MAX: usize = 16_384;
/// Redo rows dropped with one commit. A write of one of their keys that comes first makes all of them start again.
const CLOSED_TOGETHER: usize = 32;
/// Such commits, and steps at the store, under way at once.
const SIDE_BY_SIDE: usize = 16;
/// How long work gathers before a step: a directory is synced once for all of it, and what was replaced meanwhile needs no
/// record of its own any more.
const GATHER: Duration = Duration::from_millis(250);
/// Past this many unsettled writes the store is not keeping up, and new writes are refused.
pub(super) const UNSETTLED_MAX: u64 = 200_000;

/// A write that has a redo row.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    pub write: WriteId,
    /// Where the bytes are to be, or were.
    pub place: Place,
    pub slot: Slot,
    /// The staging file that is free once the row is dropped.
    pub staged: Option<StagingFile>,
    /// Whether the step that the row would redo was made; all that is left is to make it durable.
    pub done: bool,
}

/// Where writes leave what is left to do. Bounded by [`UNSETTLED_MAX`], past which no write begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Settler(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fresh: Queue,
    /// What failed once: tried again beside the fresh, so that one bad name holds up nobody.
    stuck: Queue,
    /// In a queue, or in the hands of a worker.
    waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    items: Mutex<Vec<Unsettled>>,
    arrived: Notify,
}

impl Queue {
    fn items(&self) -> MutexGuard<'_, Vec<Unsettled>> {
        self.items.lock().expect("nothing panics while it holds the queue")
    }

    fn push(&self, unsettled: Unsettled) {
        self.items().push(unsettled);
        self.arrived.notify_one();
    }

    fn take(&self) -> Vec<Unsettled> {
        let mut items = self.items();
        let first = items.len().min(STEP_ROWS_MAX);
        items.drain(..first).collect()
    }

    async fn filled(&self) {
        if self.items().is_empty() {
            self.arrived.notified().await;
        }
        if self.items().len() < STEP_ROWS_MAX {
            tokio::time::sleep(GATHER).await;
        }
    }
}

impl Settler {
    pub fn add(&self, unsettled: Unsettled) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.fresh.push(unsettled);
    }

    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl Site {
    /// Brings staged bytes to their name; answers whether they are there. The key lock is held.
    pub(super) async fn publish_staged(
        &self,
        object: &ObjectId,
        from: &Location,
        binding: &Binding,
    ) -> Result<Published, String> {
        let place = Place { object: object.clone(), location: from.clone() };
        let mut published = self.inner.backend.publish(&place, binding).await;
        if matches!(published, Err(backend::Error::NoSuchBucket)) && self.bucket_row(&object.bucket).await.is_ok() {
            tracing::error!(bucket = %object.bucket, "the store had lost a bucket that exists: it is made again");
            self.inner.backend.create_bucket(&object.bucket).await.map_err(|err| err.to_string())?;
            published = self.inner.backend.publish(&place, binding).await;
        }
        published.map_err(|err| err.to_string())
    }

    /// Does again what a redo row says, under the key lock. Repeating it is harmless.
    pub(super) async fn redo(&self, write: WriteId, settling: &Settling) -> Result<(), String> {
        match settling {
            Settling::Publish { object, slot, binding, over, .. } => {
                let _key = self.inner.keys.lock(object).await;
                self.bring_to_name((object, *slot), write, binding, over.as_ref()).await
            }
            Settling::Move { object, slot, from, binding, over } => {
                let _key = self.inner.keys.lock(object).await;
                self.bring_to_name((object, *slot), write, binding, over.as_ref()).await?;
                // While the row is there: what fails here is tried again.
                self.remove(&Place { object: object.clone(), location: Location::Moving(*from) }, binding).await
            }
            Settling::Remove { object, location, binding } => {
                let _key = self.inner.keys.lock(object).await;
                self.remove(&Place { object: object.clone(), location: location.clone() }, binding).await
            }
        }
    }

    /// The step of a record that is still staged by this write. Of another it is left to take away what this one was to
    /// displace: who came after it displaces this one's bytes, which never came to the name.
    async fn bring_to_name(
        &self,
        (object, slot): (&ObjectId, Slot),
        write: WriteId,
        binding: &Binding,
        over: Option<&Binding>,
    ) -> Result<(), String> {
        let unit = self.inner.status.unit(object, slot).await.map_err(|err| err.to_string())?;
        match (unit, over) {
            (Some(stored), _) if stored.row.is_staged_by(write) => {
                match self.publish_staged(object, &stored.row.location, binding).await? {
                    Published::Done => Ok(()),
                    // Neither staged nor at its name: that is a loss, as a read would find it, and ends here.
                    Published::Gone => self.heal_unpublished(object, &stored, write).await,
                }
            }
            (unit, Some(over)) if unit.as_ref().is_none_or(|unit| unit.row.binding != *over) => {
                self.remove(&super::plain(object), over).await
            }
            _ => Ok(()),
        }
    }

    /// A store that says that bytes are gone, and gives them all the same, is asked again later.
    async fn heal_unpublished(&self, object: &ObjectId, stored: &Stored<Record>, write: WriteId) -> Result<(), String> {
        self.heal_locked(object, stored).await.map_err(|err| err.to_string())?;
        let now = self.inner.status.unit(object, stored.row.slot()).await.map_err(|err| err.to_string())?;
        match now.is_some_and(|now| now.row.is_staged_by(write) && now.row.has_bytes()) {
            true => Err("its bytes are not where they were looked for, but can be read".into()),
            false => Ok(()),
        }
    }

    async fn remove(&self, place: &Place, binding: &Binding) -> Result<(), String> {
        self.inner.backend.delete(place, binding).await.map_err(|err| err.to_string())
    }
}

/// Makes what was done durable, then drops the rows that would redo it.
#[derive(Debug)]
pub(super) struct SettleWorker {
    site: Site,
    /// Whether it tends what failed once.
    stuck: bool,
}

impl SettleWorker {
    pub fn fresh(site: Site) -> Self {
        Self { site, stuck: false }
    }

    pub fn stuck(site: Site) -> Self {
        Self { site, stuck: true }
    }

    fn settler(&self) -> &Settler {
        &self.site.inner.settler
    }

    fn queue(&self) -> &Queue {
        if self.stuck { &self.settler().0.stuck } else { &self.settler().0.fresh }
    }

    /// A step that failed at the store, or was never made.
    async fn make(&self, one: &mut Unsettled) -> Result<(), String> {
        if one.done {
            return Ok(());
        }
        let row = self.site.inner.status.get::<Settle>(&one.write).await.map_err(|err| err.to_string())?;
        if let Some(row) = row {
            self.site.redo(one.write, &row.row).await?;
        }
        one.done = true;
        Ok(())
    }

    /// Makes durable what was done, for all at once; where that fails, for each object by itself, so that one folder that
    /// cannot be synced holds up nobody else. What fails is no longer done.
    async fn harden(&self, batch: &mut [Unsettled]) -> Result<(), String> {
        let places: BTreeSet<_> = batch.iter().filter(|one| one.done).map(|one| one.place.clone()).collect();
        let places: Vec<_> = places.into_iter().collect();
        let backend = &self.site.inner.backend;
        if backend.harden(&places).await.is_ok() {
            return Ok(());
        }
        let mut failure = Ok(());
        for place in places {
            if let Err(err) = backend.harden(std::slice::from_ref(&place)).await {
                failure = Err(format!("{}: {err}", place.object));
                batch.iter_mut().filter(|one| one.place == place).for_each(|one| one.done = false);
            }
        }
        failure
    }

    /// Drops redo rows, and gives back the staging files that they kept.
    async fn close(&self, some: &[Unsettled]) -> Result<(), String> {
        for _ in 0..CONFLICTS_MAX {
            let mut commit = Commit::new().frees();
            for one in some {
                commit = self.closing(commit, one).await?;
            }
            match self.site.inner.status.commit(commit).await {
                Ok(_) => {
                    for one in some {
                        if let Some(file) = one.staged {
                            self.site.release(&one.place.object, &Location::Staged(file)).await;
                        }
                    }
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(err) => return Err(err.to_string()),
            }
        }
        Err("other writes of the key kept coming first".into())
    }

    /// Adds to a commit that the redo row goes, and that the record, if it is still this write's, is where it belongs. Nobody
    /// else drops a redo row.
    async fn closing(&self, commit: Commit, one: &Unsettled) -> Result<Commit, String> {
        let commit = commit.delete::<Settle>(&one.write);
        let object = &one.place.object;
        let unit = self.site.inner.status.unit(object, one.slot).await.map_err(|err| err.to_string())?;
        let Some(stored) = unit.filter(|stored| stored.row.is_staged_by(one.write)) else { return Ok(commit) };
        let settled = Record { location: stored.row.location.settled(), ..stored.row.clone() };
        Ok(commit.expect_unit(object, one.slot, Some(stored.revision)).put_unit(object, &settled))
    }

    /// Settles what a process before this one left.
    pub async fn settle_again(&self, batch: Vec<Unsettled>) -> Result<(), String> {
        self.settler().0.waiting.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.settle(batch).await
    }

    /// Makes what is not made yet, some of it at a time. Answers the first reason why something could not be.
    async fn make_all(&self, batch: Vec<Unsettled>) -> (Vec<Unsettled>, Option<String>) {
        let (mut batch, to_make): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.done);
        let made = stream::iter(to_make).map(|mut one| async move {
            let outcome = self.make(&mut one).await;
            (one, outcome)
        });
        let mut made = made.buffer_unordered(SIDE_BY_SIDE);
        let mut failure = None;
        while let Some((one, outcome)) = made.next().await {
            failure = failure.or(outcome.err().map(|reason| format!("{}: {reason}", one.place.object)));
            batch.push(one);
        }
        (batch, failure)
    }

    /// Settles what it can; the rest is stuck, and the first reason is told.
    async fn settle(&self, batch: Vec<Unsettled>) -> Result<(), String> {
        let (mut batch, mut failure) = self.make_all(batch).await;
        failure = failure.or(self.harden(&mut batch).await.err());
        let (done, stuck): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.done);
        stuck.into_iter().for_each(|one| self.settler().0.stuck.push(one));
        // What failed once is closed one by one, so that it holds up nothing else.
        let together = if self.stuck { 1 } else { CLOSED_TOGETHER };
        let chunks: Vec<_> = done.chunks(together).map(<[Unsettled]>::to_vec).collect();
        let closed = stream::iter(chunks).map(|some| async move {
            let outcome = self.close(&some).await;
            (some, outcome)
        });
        let mut closed = closed.buffer_unordered(SIDE_BY_SIDE);
        while let Some((some, outcome)) = closed.next().await {
            match outcome {
                Ok(()) => drop(self.settler().0.waiting.fetch_sub(some.len() as u64, Ordering::Relaxed)),
                Err(reason) => {
                    failure = failure.or(Some(format!("{}: {reason}", some[0].place.object)));
                    some.into_iter().for_each(|one| self.settler().0.stuck.push(one));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Worker for SettleWorker {
    fn name(&self) -> &str {
        if self.stuck { "settle-again" } else { "settle" }
    }

    async fn step(&mut self) -> Result<Step, String> {
        let batch = self.queue().take();
        if batch.is_empty() {
            return Ok(Step::Idle);
        }
        match self.settle(batch).await {
            // Told by the worker that has it now, and tried again after its pauses.
            Err(reason) if !self.stuck => tracing::warn!(reason, "not everything could be settled at once"),
            outcome => outcome?,
        }
        Ok(Step::Idle)
    }

    async fn wait(&mut self) {
        self.queue().filled().await;
    }
}
