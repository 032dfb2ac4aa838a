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

type Job = Box<dyn FnOnce() + Send>;

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
        let (books, arrived) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { name, threads_max: threads_max.min(THREADS_MAX), books, arrived }))
    }

    /// Runs a job. Once begun it is not stopped by its caller's going away.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move || {
            let _ = answer.send(work());
        }));
        answered.await.expect("the job did not panic: that was printed, and its caller ends as it did")
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
            let shared = self.0.clone();
            let spawned = std::thread::Builder::new().name(shared.name.into()).spawn(move || shared.work());
            drop(spawned.expect("a thread can be started"));
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
