//! What is left to do after a commit: bytes on their way to their plain name, bytes on their way out, and making both
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
use crate::backend::{Place, Published};
use crate::model::{Binding, Location, ObjectId, Record, StagingFile, WriteId};
use crate::status::tables::{Objects, Settle, Settling};
use crate::status::{Commit, CommitError};
use crate::tasks::{Step, Worker};

/// Redo rows one step settles, at the most.
const STEP_ROWS_MAX: usize = 4_096;
/// Redo rows settled side by side: their commits meet in few transactions.
const SIDE_BY_SIDE: usize = 256;
/// How long work gathers before a step: a directory is synced once for all of it.
const GATHER: Duration = Duration::from_millis(100);
/// Past this many unsettled writes the store is not keeping up, and new writes are refused.
pub(super) const UNSETTLED_MAX: u64 = 200_000;

/// A write that has a redo row.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    pub write: WriteId,
    pub object: ObjectId,
    /// Whether the step that the row would redo was made; all that is left is to make it durable.
    pub done: bool,
}

/// Where writes leave what is left to do. Bounded by [`UNSETTLED_MAX`], past which no write begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Settler(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Vec<Unsettled>>,
    arrived: Notify,
    /// In the queue, or in the hands of the worker.
    waiting: AtomicU64,
}

impl Settler {
    pub fn add(&self, unsettled: Unsettled) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue().push(unsettled);
        self.0.arrived.notify_one();
    }

    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Unsettled>> {
        self.0.queue.lock().expect("nothing panics while it holds the queue")
    }

    fn take(&self) -> Vec<Unsettled> {
        let mut queue = self.queue();
        let first = queue.len().min(STEP_ROWS_MAX);
        queue.drain(..first).collect()
    }
}

impl Site {
    /// Brings staged bytes to the plain name. The key lock is held.
    pub(super) async fn publish_staged(&self, object: &ObjectId, from: StagingFile, binding: &Binding) -> Result<(), String> {
        let place = Place { object: object.clone(), location: Location::Staged(from) };
        match self.inner.backend.publish(&place, binding).await {
            Ok(Published::Done) => Ok(()),
            Ok(Published::Gone) => Err("its bytes are neither staged nor at the plain name".into()),
            Err(err) => Err(err.to_string()),
        }
    }

    /// Does again what a redo row says, under the key lock. Repeating it is harmless.
    pub(super) async fn redo(&self, write: WriteId, settling: &Settling) -> Result<(), String> {
        match settling {
            Settling::Publish { object, from, binding, over, .. } => {
                let _key = self.inner.keys.lock(object).await;
                let current = self.current(object).await.map_err(|err| err.to_string())?;
                match (current, over) {
                    (Some(stored), _) if is_staged(&stored.row, write) => self.publish_staged(object, *from, binding).await,
                    // Deleted since; a crash may have brought back what the publication had displaced.
                    (None, Some(over)) => self.remove(&super::plain(object), over).await,
                    _ => Ok(()),
                }
            }
            Settling::Remove { object, location, binding } => {
                let _key = self.inner.keys.lock(object).await;
                self.remove(&Place { object: object.clone(), location: location.clone() }, binding).await
            }
            Settling::Prepared { .. } => Err(PREPARED.into()),
        }
    }

    async fn remove(&self, place: &Place, binding: &Binding) -> Result<(), String> {
        self.inner.backend.delete(place, binding).await.map_err(|err| err.to_string())
    }
}

const PREPARED: &str = "a prepared record, which no store of this version writes";

/// Whether the record still waits for this very write to reach its plain name.
fn is_staged(record: &Record, write: WriteId) -> bool {
    record.write == write && matches!(record.location, Location::Staged(_))
}

/// Makes what was done durable, then drops the rows that would redo it.
#[derive(Debug)]
pub(super) struct SettleWorker {
    site: Site,
}

impl SettleWorker {
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    fn settler(&self) -> &Settler {
        &self.site.inner.settler
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

    async fn harden(&self, batch: &[Unsettled]) -> Result<(), String> {
        let objects: BTreeSet<_> = batch.iter().filter(|one| one.done).map(|one| one.object.clone()).collect();
        let objects: Vec<_> = objects.into_iter().collect();
        self.site.inner.backend.harden(&objects).await.map_err(|err| err.to_string())
    }

    /// Drops the redo row, and gives back the staging file that it kept.
    async fn close(&self, one: &Unsettled) -> Result<(), String> {
        for _ in 0..CONFLICTS_MAX {
            let Some((commit, staging)) = self.closing(one).await? else { return Ok(()) };
            match self.site.inner.status.commit(commit).await {
                Ok(_) => {
                    if let Some(staging) = staging {
                        self.site.inner.backend.release(Location::Staged(staging)).await;
                    }
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(err) => return Err(err.to_string()),
            }
        }
        Err("other writes of the key kept coming first".into())
    }

    /// The commit that drops a redo row, and the staging file that is free after it.
    async fn closing(&self, one: &Unsettled) -> Result<Option<(Commit, Option<StagingFile>)>, String> {
        let current = self.site.current(&one.object).await.map_err(|err| err.to_string())?;
        if let Some(stored) = current.filter(|stored| is_staged(&stored.row, one.write)) {
            let Location::Staged(from) = stored.row.location else { return Ok(None) };
            let settled = Record { location: Location::Plain, ..stored.row.clone() };
            let commit = Commit::new()
                .expect::<Objects>(&one.object, Some(stored.revision))
                .put::<Objects>(&one.object, &settled)
                .delete::<Settle>(&one.write);
            return Ok(Some((commit, Some(from))));
        }
        let row = self.site.inner.status.get::<Settle>(&one.write).await.map_err(|err| err.to_string())?;
        let Some(row) = row else { return Ok(None) };
        let staging = match row.row {
            // Replaced or deleted since: the staging file holds nothing that any record names.
            Settling::Publish { from, .. } => Some(from),
            Settling::Remove { .. } => None,
            Settling::Prepared { .. } => return Err(PREPARED.into()),
        };
        let commit = Commit::new().expect::<Settle>(&one.write, Some(row.revision)).delete::<Settle>(&one.write);
        Ok(Some((commit, staging)))
    }

    /// Settles what a process before this one left.
    pub async fn settle_again(&self, batch: Vec<Unsettled>) -> Result<(), String> {
        self.settler().0.waiting.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.settle(batch).await
    }

    /// Settles what it can; what it cannot goes back to the queue, and the first reason is told.
    async fn settle(&self, mut batch: Vec<Unsettled>) -> Result<(), String> {
        let mut failure = None;
        for one in batch.iter_mut().filter(|one| !one.done) {
            failure = self.make(one).await.err().or(failure);
        }
        if let Err(reason) = self.harden(&batch).await {
            self.settler().queue().extend(batch);
            return Err(reason);
        }
        let closed = stream::iter(batch).map(|one| async move {
            let outcome = if one.done { self.close(&one).await } else { Err("still to be redone".into()) };
            (one, outcome)
        });
        let mut closed = closed.buffer_unordered(SIDE_BY_SIDE);
        while let Some((one, outcome)) = closed.next().await {
            match outcome {
                Ok(()) => drop(self.settler().0.waiting.fetch_sub(1, Ordering::Relaxed)),
                Err(reason) => {
                    failure = failure.or(Some(format!("{}: {reason}", one.object)));
                    self.settler().queue().push(one);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Worker for SettleWorker {
    fn name(&self) -> &str {
        "settle"
    }

    async fn step(&mut self) -> Result<Step, String> {
        let batch = self.settler().take();
        if batch.is_empty() {
            return Ok(Step::Idle);
        }
        self.settle(batch).await?;
        Ok(Step::Idle)
    }

    async fn wait(&mut self) {
        if self.settler().queue().is_empty() {
            self.settler().0.arrived.notified().await;
        }
        if self.settler().queue().len() < STEP_ROWS_MAX {
            tokio::time::sleep(GATHER).await;
        }
    }
}
