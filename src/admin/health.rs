//! Whether this process can do its work now. Asking often costs nothing: an answer is kept for a second.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::tasks::{Phase, Workers};

/// How long an answer is believed.
const KEPT: Duration = Duration::from_secs(1);
/// How long a probe may take before it counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that must work, asked by doing it.
pub struct Probe {
    /// Such as `store`.
    name: &'static str,
    ask: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Tells readiness.
#[derive(Debug)]
pub struct Readiness {
    probes: Vec<Probe>,
    workers: Workers,
    draining: AtomicBool,
    /// What was wrong, and when that was found.
    last: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Readiness {
    pub fn new(probes: Vec<Probe>, workers: Workers) -> Self {
        Self { probes, workers, draining: AtomicBool::new(false), last: Mutex::new(None) }
    }

    /// From now on nobody should send anything here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why nobody should send anything here; empty is ready.
    pub async fn faults(&self) -> Vec<String> {
        if self.draining.load(Ordering::Relaxed) {
            return vec!["shutting down".into()];
        }
        let mut faults = self.probed().await;
        let panicked = self.workers.snapshots().into_iter().filter(|worker| worker.phase == Phase::Panicked);
        faults.extend(panicked.map(|worker| format!("worker {}: panicked; restart this process", worker.name)));
        faults
    }

    async fn probed(&self) -> Vec<String> {
        // Held while probing: however many ask, one probes.
        let mut last = self.last.lock().await;
        if let Some((at, faults)) = &*last
            && at.elapsed() < KEPT
        {
            return faults.clone();
        }
        let faults: Vec<String> = join_all(self.probes.iter().map(Probe::fault)).await.into_iter().flatten().collect();
        *last = Some((Instant::now(), faults.clone()));
        faults
    }
}

impl Probe {
    /// `ask` answers why it does not work.
    pub fn new<F>(name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name, ask: Box::new(move || Box::pin(ask())) }
    }

    async fn fault(&self) -> Option<String> {
        let outcome = timeout(PROBE_TIMEOUT, (self.ask)()).await;
        let reason = outcome.unwrap_or_else(|_| Err(format!("no answer within {PROBE_TIMEOUT:?}"))).err()?;
        Some(format!("{}: {reason}", self.name))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn probe<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Readiness
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Readiness::new(vec![Probe::new("store", ask)], Workers::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_asked_once_a_second_however_many_want_to_know() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let readiness = probe(move || {
            let nth = count.fetch_add(1, Ordering::Relaxed);
            async move { if nth == 0 { Err("read-only".into()) } else { Ok(()) } }
        });
        for _ in 0..10 {
            assert_eq!(readiness.faults().await, ["store: read-only"]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(KEPT).await;
        assert!(readiness.faults().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_not_ready() {
        let readiness = probe(std::future::pending);
        assert_eq!(readiness.faults().await, ["store: no answer within 2s"]);
    }

    #[tokio::test]
    async fn a_draining_process_is_not_ready() {
        let readiness = probe(|| async { Ok(()) });
        assert!(readiness.faults().await.is_empty());
        readiness.drain();
        assert_eq!(readiness.faults().await, ["shutting down"]);
    }
}
