//! Threads for short jobs on the disk that come in crowds: small puts, and moves to plain names.
//!
//! Few of them work at a time. Many that sync or rename in the same directory only wait for each other's locks, and
//! waking a thread for each job costs as much as the job. Where the disk is slow to sync more of them work, since one
//! flush then serves many.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::backend::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// Starts a thread for a queue.
type Start = fn(&Arc<Shared>) -> std::io::Result<()>;

/// Threads that work side by side where a job takes less than a millisecond, and for each millisecond that it takes.
const THREADS_PER_MS: usize = 4;

/// Most threads.
const THREADS_MAX: usize = 64;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// A queue of jobs and the threads that do them.
#[derive(Clone)]
pub(super) struct Lane(Arc<Shared>);

struct Shared {
    name: &'static str,
    threads_max: usize,
    start: Start,
    books: Mutex<Books>,
    arrived: Condvar,
}

#[derive(Default)]
struct Books {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Average time of a job, microseconds.
    took_us: usize,
}

impl Lane {
    pub fn new(name: &'static str, threads_max: usize) -> Self {
        Self::starting(name, threads_max, Shared::start)
    }

    fn starting(name: &'static str, threads_max: usize, start: Start) -> Self {
        let (books, arrived) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { name, threads_max: threads_max.min(THREADS_MAX), start, books, arrived }))
    }

    /// Runs a job. Once begun it is not stopped by its caller's going away.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move || {
            let _ = answer.send(work());
        }));
        // Dropped where no thread could be started, or by a panic, which was printed.
        answered.await.map_err(|_| Error::Unavailable(format!("a job of {} was given up", self.0.name)))
    }

    fn push(&self, job: Job) {
        let mut books = self.0.lock();
        books.jobs.push_back(job);
        let limit = self.0.limit(&books);
        if books.threads - books.idle >= limit {
            return;
        }
        if books.idle > 0 {
            drop(books);
            self.0.arrived.notify_one();
        } else {
            books.threads += 1;
            drop(books);
            if let Err(err) = (self.0.start)(&self.0) {
                self.0.not_started(&err);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no code panics while it holds the queue")
    }

    fn limit(&self, books: &Books) -> usize {
        (THREADS_PER_MS * (1 + books.took_us / 1_000)).min(self.threads_max)
    }

    fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let shared = self.clone();
        std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work()).map(drop)
    }

    /// Where other threads work they do the job too. Where there are none nobody would ever come for it, and its caller
    /// may hold a key: all jobs are given up.
    fn not_started(&self, err: &std::io::Error) {
        tracing::error!(lane = self.name, %err, "cannot start a thread");
        let mut books = self.lock();
        books.threads -= 1;
        let given_up = if books.threads == 0 { std::mem::take(&mut books.jobs) } else { VecDeque::new() };
        drop(books);
        drop(given_up);
    }

    fn work(self: Arc<Self>) {
        let mut books = self.lock();
        loop {
            if let Some(job) = books.jobs.pop_front() {
                drop(books);
                let began = Instant::now();
                // Its caller hears of it: the answer is dropped. The thread goes on with the jobs of others.
                let _ = catch_unwind(AssertUnwindSafe(job));
                let took = usize::try_from(began.elapsed().as_micros()).unwrap_or(usize::MAX / 32);
                books = self.lock();
                books.took_us = (books.took_us * 15 + took) / 16;
                continue;
            }
            books.idle += 1;
            let (waited, out) = self.arrived.wait_timeout(books, IDLE).expect("no code panics while it holds the queue");
            books = waited;
            books.idle -= 1;
            if out.timed_out() && books.jobs.is_empty() {
                books.threads -= 1;
                return;
            }
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_thread_that_cannot_start_refuses_its_job_and_hangs_nobody() {
        static THREADS: AtomicBool = AtomicBool::new(false);
        let lane = Lane::starting("test", 1, |lane| {
            if THREADS.load(Ordering::Relaxed) { lane.start() } else { Err(std::io::ErrorKind::WouldBlock.into()) }
        });
        for _ in 0..2 {
            let refused = tokio::time::timeout(Duration::from_secs(5), lane.run(|| ())).await;
            assert!(matches!(refused, Ok(Err(Error::Unavailable(_)))), "{refused:?}");
        }
        THREADS.store(true, Ordering::Relaxed);
        assert_eq!(lane.run(|| 7).await.unwrap(), 7);
    }
}
