//! The one writer: a thread that gathers commits, writes them in one engine transaction, and answers when it is durable.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ::redb::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::batch::{Batch, Counts, Finished, Outcome, Tally};
use super::chance::Chance;
use super::journal::Journal;
use super::room::Room;
use super::stats::Counters;
use crate::model::Seq;
use crate::status::cache::RowCache;
use crate::status::commit::Write;
use crate::status::tables::{NAMES, ROW_BYTES_MAX};
use crate::status::{Commit, CommitError, Committed, Revision};

/// Most commits of one engine transaction, and most that wait for the next.
const BATCH_COMMITS_MAX: usize = 1_024;

/// Bytes of rows after which a transaction takes no further commit.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Bytes of rows that may wait; beyond, callers wait before they queue.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// File lengths at which a commit saves the allocator's state, so that a crash is repaired at once. That costs a second
/// sync: a smaller file is read through in less than half a second instead. And it rewrites that state for every 4 GiB at
/// each commit: too much for a larger one.
const QUICK_REPAIR_BYTES: Range<u64> = 64 << 20..8 << 30;

/// A batch of so many commits says that many clients write: the next one waits a little for theirs, since what a
/// transaction costs hardly depends on how many share it.
const CROWD: usize = 8;
const CROWD_PATIENCE: Duration = Duration::from_micros(500);

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub db: Database,
    pub cache: RowCache,
    /// Revision up to which every commit is visible to a snapshot taken now.
    pub visible: AtomicU64,
    pub counters: Counters,
    /// What waits to be archived.
    pub journal: Journal,
    pub file_bytes: Arc<AtomicU64>,
    /// The last seq that is durable: who waits for something to be told waits here.
    pub told: watch::Sender<Seq>,
    /// Rows that speak of a target, as last committed.
    pub tally: Mutex<Tally>,
    /// Changes when a target answered, whoever it is.
    pub answered: watch::Sender<u64>,
    /// Why nothing is committed any more.
    pub failed: OnceLock<String>,
}

/// A commit that waits for the writer.
#[derive(Debug)]
struct Job {
    commit: Commit,
    bytes: usize,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
    /// Its share of the queue's bytes, given back with it.
    _share: OwnedSemaphorePermit,
}

/// The way to the writer. Its end is waited for when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Job>>,
    bytes: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    /// Writes on the caller's thread, which a simulation needs to be repeatable.
    #[cfg(test)]
    inline: Option<Mutex<WriterState>>,
}

/// What the writer's thread owns.
#[derive(Debug)]
pub(super) struct WriterState {
    pub shared: Arc<Shared>,
    pub counts: Counts,
    pub tally: Tally,
    pub chance: Option<Chance>,
    pub room: Room,
}

impl Writer {
    /// Starts the thread.
    pub fn start(state: WriterState) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(BATCH_COMMITS_MAX);
        let thread = std::thread::Builder::new().name("status-writer".into()).spawn(move || state.run(jobs))?;
        let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok(Self {
            queue: Some(queue),
            bytes,
            thread: Some(thread),
            #[cfg(test)]
            inline: None,
        })
    }

    /// A writer without a thread.
    #[cfg(test)]
    pub fn inline(state: WriterState) -> Self {
        let (queue, _) = mpsc::channel(1);
        Self { queue: Some(queue), bytes: Arc::new(Semaphore::new(0)), thread: None, inline: Some(Mutex::new(state)) }
    }

    /// Commits. A caller that goes away after it was queued does not stop it.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let bytes = bytes_of(&commit.writes)?;
        #[cfg(test)]
        if let Some(state) = &self.inline {
            return state.lock().unwrap().write_one(commit);
        }
        let share = u32::try_from(bytes.min(QUEUE_BYTES_MAX)).expect("a queue's bytes fit in 32 bits");
        let share = self.bytes.clone().acquire_many_owned(share).await.expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let job = Job { commit, bytes, answer, _share: share };
        self.queue().send(job).await.map_err(|_| ended())?;
        wait(answered).await.unwrap_or_else(|| Err(ended()))
    }

    /// Commits that wait.
    pub fn queued(&self) -> usize {
        self.queue().max_capacity() - self.queue().capacity()
    }

    pub fn is_running(&self) -> bool {
        #[cfg(test)]
        if self.is_inline() {
            return true;
        }
        !self.queue().is_closed()
    }

    #[cfg(test)]
    pub fn is_inline(&self) -> bool {
        self.inline.is_some()
    }

    fn queue(&self) -> &mpsc::Sender<Job> {
        self.queue.as_ref().expect("only drop takes it")
    }
}

impl Drop for Writer {
    /// The file is closed by the last one who holds the store, and a successor may want to open it.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the status store's writer had panicked");
        }
    }
}

fn ended() -> CommitError {
    CommitError::Engine("its writer has ended".into())
}

/// Bytes of a commit's rows, none too large.
fn bytes_of(writes: &[Write]) -> Result<usize, CommitError> {
    let mut bytes = 0;
    for write in writes {
        let row = write.row.as_ref().map_or(0, Vec::len);
        if row > ROW_BYTES_MAX {
            return Err(CommitError::TooLarge { table: NAMES[write.table], bytes: row });
        }
        bytes += write.key.len() + row;
    }
    Ok(bytes)
}

#[cfg(not(test))]
async fn wait<T>(answer: oneshot::Receiver<T>) -> Option<T> {
    answer.await.ok()
}

/// On paused time a runtime that only waits for a foreign thread believes that nothing will happen and lets the clock
/// jump; work on the blocking pool holds the clock still.
#[cfg(test)]
async fn wait<T: Send + 'static>(answer: oneshot::Receiver<T>) -> Option<T> {
    tokio::task::spawn_blocking(move || answer.blocking_recv().ok()).await.ok().flatten()
}

impl WriterState {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut crowd = 0;
        while let Some(first) = jobs.blocking_recv() {
            if crowd >= CROWD {
                std::thread::sleep(CROWD_PATIENCE);
            }
            let batch = gather(first, &mut jobs);
            crowd = batch.len();
            self.write(batch);
        }
    }

    #[cfg(test)]
    fn write_one(&mut self, commit: Commit) -> Result<Committed, CommitError> {
        if let Some(reason) = self.shared.failed.get() {
            return Err(CommitError::Closed(reason.clone()));
        }
        let outcome = self.commit(&mut [commit]).map(|mut outcomes| outcomes.remove(0));
        outcome.unwrap_or_else(|err| {
            let _ = self.shared.failed.set(err.to_string());
            Err(CommitError::Engine(err.to_string()))
        })
    }

    /// Writes a batch and answers it.
    fn write(&mut self, mut jobs: Vec<Job>) {
        if let Some(reason) = self.shared.failed.get() {
            return answer_all(jobs, || CommitError::Closed(reason.clone()));
        }
        let mut commits: Vec<_> = jobs.iter_mut().map(|job| std::mem::take(&mut job.commit)).collect();
        match self.commit(&mut commits) {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    // Whoever does not wait any more has nothing to hear.
                    let _ = job.answer.send(outcome);
                }
            }
            Err(err) => self.fail(jobs, &err),
        }
    }

    /// One engine transaction: what each commit of the batch is answered once it is durable.
    fn commit(&mut self, commits: &mut [Commit]) -> Result<Vec<Outcome>, ::redb::Error> {
        let mut txn = self.shared.db.begin_write()?;
        txn.set_quick_repair(QUICK_REPAIR_BYTES.contains(&self.shared.file_bytes.load(Ordering::Relaxed)));
        let left = self.room.left();
        let mut batch = Batch::new(&txn, self.counts, self.tally.clone());
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            let refused = left.refusal(commit).or_else(|| self.chance.as_mut().and_then(|chance| chance.refusal(commit)));
            outcomes.push(match refused {
                Some(refusal) => Err(refusal),
                None => batch.apply(commit)?,
            });
        }
        let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let finished = batch.finish()?;
        if accepted == 0 {
            txn.abort()?;
        } else {
            self.shared.cache.changing(&finished.changes);
            txn.commit()?;
            self.committed(finished);
        }
        self.count(&outcomes, accepted);
        Ok(outcomes)
    }

    /// A batch is durable: everybody who reads or waits finds it.
    fn committed(&mut self, batch: Finished) {
        self.shared.cache.changed(batch.changes);
        self.shared.visible.store(batch.counts.revision.0, Ordering::Release);
        self.shared.journal.push(batch.counts.revision, batch.journal);
        self.shared.counters.batches.add(1);
        self.shared.tally.lock().expect("nothing panics while it holds the count").clone_from(&batch.tally);
        if batch.answered {
            self.shared.answered.send_modify(|times| *times += 1);
        }
        if batch.counts.seq > self.counts.seq {
            self.shared.told.send_replace(batch.counts.seq);
        }
        (self.counts, self.tally) = (batch.counts, batch.tally);
    }

    fn count(&self, outcomes: &[Outcome], accepted: usize) {
        let conflicts = outcomes.iter().filter(|outcome| matches!(outcome, Err(CommitError::Conflict))).count();
        self.shared.counters.commits.add(accepted as u64);
        self.shared.counters.conflicts.add(conflicts as u64);
        self.shared.counters.seq.set(self.counts.seq.0);
    }

    /// Nobody knows what of this batch will be there after a restart, so nothing is built upon it before.
    fn fail(&self, jobs: Vec<Job>, err: &::redb::Error) {
        let reason = err.to_string();
        tracing::error!(%reason, "the status store failed; it takes no writes until a restart");
        // It may have been told to take none meanwhile.
        let _ = self.shared.failed.set(reason.clone());
        answer_all(jobs, || CommitError::Engine(reason.clone()));
    }
}

fn answer_all(jobs: Vec<Job>, answer: impl Fn() -> CommitError) {
    for job in jobs {
        let _ = job.answer.send(Err(answer()));
    }
}

/// The first commit and what waits behind it.
fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.bytes;
    let mut batch = vec![first];
    while batch.len() < BATCH_COMMITS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.bytes;
        batch.push(job);
    }
    batch
}

/// Where the store's counters stand before a snapshot is taken: what it certainly contains.
pub(super) fn visible(shared: &Shared) -> Revision {
    Revision(shared.visible.load(Ordering::Acquire))
}
