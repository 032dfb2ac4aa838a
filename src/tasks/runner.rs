//! Runs workers, each in a task of its own, and knows how they fare.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::{Backoff, Shutdown, Step, Trigger, Worker};

/// Pause after a first failure, at most.
const PAUSE_FLOOR: Duration = Duration::from_millis(200);

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Working,
    Idle,
    /// Waiting after so many failures in a row.
    Failing {
        tries: u32,
    },
    Stopped,
    /// It panicked and will not be run again: the process should be restarted.
    Panicked,
}

/// A failure and when it was.
#[derive(Clone, Debug)]
pub struct LastError {
    pub text: String,
    pub at: Instant,
}

/// How a worker fares.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub name: String,
    pub phase: Phase,
    /// Steps that did something.
    pub worked: u64,
    /// Steps that failed.
    pub failed: u64,
    /// End of the last step.
    pub last_step: Option<Instant>,
    /// Kept after the worker recovered, so that one can still read what had happened.
    pub last_error: Option<LastError>,
}

/// Every worker's state, for whoever shows it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<Mutex<Vec<Report>>>);

/// Owns the workers' tasks.
#[derive(Debug)]
pub struct Runner {
    running: Vec<Running>,
    workers: Workers,
    seed: u64,
}

#[derive(Debug)]
struct Running {
    name: String,
    trigger: Trigger,
    task: JoinHandle<()>,
}

/// One worker's state, written by its task.
type Report = Arc<Mutex<Snapshot>>;

impl Workers {
    /// In the order in which they were started.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        lock(&self.0).iter().map(|report| lock(report).clone()).collect()
    }
}

impl Runner {
    /// `seed` spreads the pauses of workers that fail for the same reason.
    pub fn new(seed: u64) -> Self {
        Self { running: Vec::new(), workers: Workers::default(), seed }
    }

    /// What admin shows.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// Starts a worker; those it leans on are started before it.
    pub fn spawn(&mut self, worker: Box<dyn Worker>) {
        let name = worker.name().to_owned();
        let snapshot =
            Snapshot { name: name.clone(), phase: Phase::Idle, worked: 0, failed: 0, last_step: None, last_error: None };
        let report = Arc::new(Mutex::new(snapshot));
        lock(&self.workers.0).push(report.clone());
        let (trigger, shutdown) = Trigger::new();
        self.seed = self.seed.wrapping_add(1);
        let backoff = Backoff::new(PAUSE_FLOOR, worker.pause_max(), self.seed);
        let task = tokio::spawn(guard(worker, shutdown, backoff, report));
        self.running.push(Running { name, trigger, task });
    }

    /// Stops every worker where it stands, as the end of the process would.
    #[cfg(test)]
    pub fn abort(self) {
        self.running.into_iter().for_each(|running| running.task.abort());
    }

    /// Stops the workers one after the other, the last started first. Who has not ended its step by the deadline is
    /// abandoned, which is what a crash would do to it.
    pub async fn stop(mut self, deadline: Instant) {
        while let Some(Running { name, trigger, mut task }) = self.running.pop() {
            trigger.stop();
            if timeout_at(deadline, &mut task).await.is_err() {
                warn!(worker = name, "abandoned a worker that did not end its step in time");
                task.abort();
            }
        }
    }
}

/// Runs a worker to its end and keeps a panic from going unseen.
async fn guard(worker: Box<dyn Worker>, shutdown: Shutdown, backoff: Backoff, report: Report) {
    let name = worker.name().to_owned();
    let outcome = AssertUnwindSafe(run(worker, shutdown, backoff, &report)).catch_unwind().await;
    let mut state = lock(&report);
    if let Err(panic) = outcome {
        let text = panic_text(panic.as_ref());
        error!(worker = name, panic = text, "a worker panicked and stands still until the next start");
        state.phase = Phase::Panicked;
        state.last_error = Some(LastError { text, at: Instant::now() });
    } else {
        state.phase = Phase::Stopped;
    }
}

async fn run(mut worker: Box<dyn Worker>, mut shutdown: Shutdown, mut backoff: Backoff, report: &Report) {
    while !shutdown.is_stopping() {
        lock(report).phase = Phase::Working;
        let outcome = worker.step().await;
        record(report, &outcome);
        match outcome {
            Ok(step) => {
                recovered(worker.name(), &mut backoff);
                if step == Step::Worked {
                    continue;
                }
                tokio::select! {
                    () = worker.wait() => {}
                    () = shutdown.stopping() => {}
                }
            }
            Err(reason) => {
                let pause = backoff.next_pause();
                warn!(worker = worker.name(), tries = backoff.tries(), error = reason, ?pause, "a worker's step failed");
                lock(report).phase = Phase::Failing { tries: backoff.tries() };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shutdown.stopping() => {}
                }
            }
        }
    }
    debug!(worker = worker.name(), "stopped");
}

fn recovered(worker: &str, backoff: &mut Backoff) {
    if backoff.tries() > 0 {
        info!(worker, tries = backoff.tries(), "a worker works again");
        backoff.reset();
    }
}

fn record(report: &Report, outcome: &Result<Step, String>) {
    let mut state = lock(report);
    let now = Instant::now();
    state.last_step = Some(now);
    match outcome {
        Ok(Step::Worked) => state.worked += 1,
        Ok(Step::Idle) => state.phase = Phase::Idle,
        Err(text) => {
            state.failed += 1;
            state.last_error = Some(LastError { text: text.clone(), at: now });
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().expect("no code panics while it holds a worker's state")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;

    /// Does what the test sends it, and says when it was stopped.
    struct Scripted {
        name: &'static str,
        steps: mpsc::Receiver<Result<Step, String>>,
        stopped: Arc<Mutex<Vec<&'static str>>>,
    }

    #[async_trait]
    impl Worker for Scripted {
        fn name(&self) -> &str {
            self.name
        }

        async fn step(&mut self) -> Result<Step, String> {
            match self.steps.try_recv() {
                Ok(Err(reason)) if reason == "panic" => panic!("as told"),
                Ok(step) => step,
                Err(_) => Ok(Step::Idle),
            }
        }

        async fn wait(&mut self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    impl Drop for Scripted {
        fn drop(&mut self) {
            lock(&self.stopped).push(self.name);
        }
    }

    type Script = mpsc::Sender<Result<Step, String>>;

    fn scripted(name: &'static str, stopped: &Arc<Mutex<Vec<&'static str>>>) -> (Script, Box<dyn Worker>) {
        let (script, steps) = mpsc::channel(8);
        (script, Box::new(Scripted { name, steps, stopped: stopped.clone() }))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_worker_is_tried_again_and_its_error_is_kept() {
        let mut runner = Runner::new(1);
        let (script, worker) = scripted("settle", &Arc::default());
        for step in [Ok(Step::Worked), Err("disk".into()), Err("disk".into()), Ok(Step::Worked)] {
            script.try_send(step).unwrap();
        }
        runner.spawn(worker);
        sleep(Duration::from_millis(10)).await;
        assert!(matches!(runner.workers().snapshots()[0].phase, Phase::Failing { tries: 1 }));
        sleep(Duration::from_secs(2)).await;
        let seen = runner.workers().snapshots().remove(0);
        assert_eq!((seen.name.as_str(), seen.worked, seen.failed), ("settle", 2, 2));
        assert_eq!(seen.last_error.unwrap().text, "disk");
        assert_eq!(seen.phase, Phase::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_started_is_stopped_first() {
        let mut runner = Runner::new(1);
        let stopped = Arc::default();
        let (_first, worker) = scripted("first", &stopped);
        runner.spawn(worker);
        let (_second, worker) = scripted("second", &stopped);
        runner.spawn(worker);
        sleep(Duration::from_millis(10)).await;
        let workers = runner.workers();
        runner.stop(soon()).await;
        assert_eq!(*lock(&stopped), ["second", "first"]);
        assert!(workers.snapshots().iter().all(|worker| worker.phase == Phase::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_shown_and_does_not_keep_the_others_from_stopping() {
        let mut runner = Runner::new(1);
        let (script, worker) = scripted("settle", &Arc::default());
        script.try_send(Err("panic".into())).unwrap();
        runner.spawn(worker);
        sleep(Duration::from_millis(10)).await;
        let seen = runner.workers().snapshots().remove(0);
        assert_eq!(seen.phase, Phase::Panicked);
        assert_eq!(seen.last_error.unwrap().text, "as told");
        runner.stop(soon()).await;
    }

    /// Ends its only step late.
    struct Slow(Arc<Mutex<bool>>);

    #[async_trait]
    impl Worker for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        async fn step(&mut self) -> Result<Step, String> {
            sleep(Duration::from_secs(3)).await;
            *lock(&self.0) = true;
            Ok(Step::Idle)
        }

        async fn wait(&mut self) {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_the_end_of_a_step_but_not_for_ever() {
        for (patience_s, ended) in [(5, true), (1, false)] {
            let done = Arc::new(Mutex::new(false));
            let mut runner = Runner::new(1);
            runner.spawn(Box::new(Slow(done.clone())));
            sleep(Duration::from_millis(10)).await;
            runner.stop(Instant::now() + Duration::from_secs(patience_s)).await;
            assert_eq!(*lock(&done), ended);
        }
    }
}
