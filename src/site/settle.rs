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
use crate::backend::Place;
use crate::model::{Location, Record, Slot, StagingFile, WriteId};
use crate::status::tables::Settle;
use crate::status::{Commit, CommitError};
use crate::tasks::{Step, Worker};

/// Redo rows one step settles, at the most: where keys lie in a thousand directories, each step syncs them all.
const STEP_ROWS_MAX: usize = 16_384;
/// Redo rows dropped with one commit. A write of one of their keys that comes first makes all of them start again.
const CLOSED_TOGETHER: usize = 32;
/// Such commits, and steps at the store, under way at once.
const SIDE_BY_SIDE: usize = 16;
/// Between two tries of a copy that failed.
const COPY_AGAIN: Duration = Duration::from_secs(10);
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
    pub left: Left,
}

/// What is left to do of a redo row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The step at the store; then the staging file is free.
    Step(Option<StagingFile>),
    /// A copy by the store, which may take long.
    Copy,
    /// To make the step durable.
    Harden(Option<StagingFile>),
    /// To note that the bytes stay at the name of their own: the store does not take the other.
    Stay,
}

impl Left {
    fn is_made(self) -> bool {
        matches!(self, Self::Harden(_) | Self::Stay)
    }

    /// Once the step was made.
    fn made(self) -> Self {
        match self {
            Self::Step(staged) => Self::Harden(staged),
            Self::Copy => Self::Harden(None),
            made => made,
        }
    }

    /// Once it turned out not to be durable.
    fn unmade(self) -> Self {
        match self {
            Self::Harden(staged) => Self::Step(staged),
            // Until no copy can come late to the name that others may have next.
            Self::Stay => Self::Copy,
            left => left,
        }
    }

    fn staged(self) -> Option<StagingFile> {
        match self {
            Self::Step(staged) | Self::Harden(staged) => staged,
            Self::Copy | Self::Stay => None,
        }
    }
}

/// Where writes leave what is left to do. Bounded by [`UNSETTLED_MAX`], past which no write begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Settler(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fresh: Queue,
    copies: Queue,
    /// What failed once: tried again beside the fresh, so that one bad name holds up nobody.
    stuck: Queue,
    /// In a queue, or in the hands of a worker.
    waiting: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
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

    pub fn take(&self, rows_max: usize) -> Vec<Unsettled> {
        let mut items = self.items();
        let first = items.len().min(rows_max);
        items.drain(..first).collect()
    }

    pub async fn filled(&self) {
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
        let queue = if unsettled.left == Left::Copy { &self.0.copies } else { &self.0.fresh };
        queue.push(unsettled);
    }

    /// Leaves what failed to be tried again: copies among themselves and after a pause, so that they hold up nothing else.
    fn put_off(&self, unsettled: Unsettled) {
        if !matches!(unsettled.left, Left::Copy | Left::Stay) {
            return self.0.stuck.push(unsettled);
        }
        let (shared, again) = (self.0.clone(), Unsettled { left: Left::Copy, ..unsettled });
        tokio::spawn(async move {
            tokio::time::sleep(COPY_AGAIN).await;
            shared.copies.push(again);
        });
    }

    /// What a store has to copy.
    pub fn copies(&self) -> &Queue {
        &self.0.copies
    }

    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
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
        let row = self.site.inner.status.get::<Settle>(&one.write).await.map_err(|err| err.to_string())?;
        one.left = match row {
            Some(row) => self.site.redo(one.write, &row.row).await?,
            None => one.left.made(),
        };
        Ok(())
    }

    /// Makes durable what was done, for all at once; where that fails, for each object by itself, so that one folder that
    /// cannot be synced holds up nobody else. What fails is no longer done.
    async fn harden(&self, batch: &mut [Unsettled]) -> Result<(), String> {
        let places: BTreeSet<_> = batch.iter().filter(|one| one.left.is_made()).map(|one| one.place.clone()).collect();
        let places: Vec<_> = places.into_iter().collect();
        let backend = &self.site.inner.backend;
        if backend.harden(&places).await.is_ok() {
            return Ok(());
        }
        let mut failure = Ok(());
        for place in places {
            if let Err(err) = backend.harden(std::slice::from_ref(&place)).await {
                failure = Err(format!("{}: {err}", place.object));
                batch.iter_mut().filter(|one| one.place == place).for_each(|one| one.left = one.left.unmade());
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
                        if let Some(file) = one.left.staged() {
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
        let Some(stored) = unit.filter(|stored| stored.row.is_staged_by(one.write)) else {
            // The bytes that were to stay are nobody's any more: whoever took their place did not know where they are.
            return if one.left == Left::Stay {
                Err("its bytes were replaced before they were settled".into())
            } else {
                Ok(commit)
            };
        };
        let location = match (one.left, &stored.row.location) {
            (Left::Stay, Location::Moving(own)) => Location::Own(*own),
            (_, location) => location.settled(),
        };
        let settled = Record { location, ..stored.row.clone() };
        Ok(commit.expect_unit(object, one.slot, Some(stored.revision)).put_unit(object, &settled))
    }

    /// Settles what a process before this one left.
    pub async fn settle_again(&self, batch: Vec<Unsettled>) -> Result<(), String> {
        self.settler().0.waiting.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.settle(batch).await
    }

    /// Makes what is not made yet, some of it at a time. Answers the first reason why something could not be.
    async fn make_all(&self, batch: Vec<Unsettled>) -> (Vec<Unsettled>, Option<String>) {
        let (mut batch, to_make): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.left.is_made());
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
    pub async fn settle(&self, batch: Vec<Unsettled>) -> Result<(), String> {
        let (mut batch, mut failure) = self.make_all(batch).await;
        failure = failure.or(self.harden(&mut batch).await.err());
        let (done, stuck): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.left.is_made());
        stuck.into_iter().for_each(|one| self.settler().put_off(one));
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
                    some.into_iter().for_each(|one| self.settler().put_off(one));
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
        let batch = self.queue().take(STEP_ROWS_MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_durable_is_done_again() {
        assert_eq!(Left::Harden(None).unmade(), Left::Step(None));
        assert_eq!(Left::Stay.unmade(), Left::Copy, "a copy that may come late to the name is waited for");
    }
}
