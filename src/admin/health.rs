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
    ask: Box<dyn Fn() -> BoxFuture<'static, Parts> + Send + Sync>,
}

/// How each part of something works, by name, or why it does not; what has no parts is one without a name.
type Parts = Vec<(String, Result<(), String>)>;

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Why nobody should send anything here; empty is ready.
    pub grave: Vec<String>,
    /// What does not work, while the rest does.
    pub partial: Vec<String>,
}

/// Tells readiness.
#[derive(Debug)]
pub struct Readiness {
    probes: Vec<Probe>,
    workers: Workers,
    draining: AtomicBool,
    /// What was wrong, and when that was found.
    last: Mutex<Option<(Instant, Faults)>>,
}

impl Readiness {
    pub fn new(probes: Vec<Probe>, workers: Workers) -> Self {
        Self { probes, workers, draining: AtomicBool::new(false), last: Mutex::new(None) }
    }

    /// From now on nobody should send anything here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What is wrong now.
    pub async fn faults(&self) -> Faults {
        if self.draining.load(Ordering::Relaxed) {
            return Faults { grave: vec!["shutting down".into()], partial: Vec::new() };
        }
        let mut faults = self.probed().await;
        let panicked = self.workers.snapshots().into_iter().filter(|worker| worker.phase == Phase::Panicked);
        faults.grave.extend(panicked.map(|worker| format!("worker {}: panicked; restart this process", worker.name)));
        faults
    }

    async fn probed(&self) -> Faults {
        // Held while probing: however many ask, one probes.
        let mut last = self.last.lock().await;
        if let Some((at, faults)) = &*last
            && at.elapsed() < KEPT
        {
            return faults.clone();
        }
        let mut faults = Faults::default();
        for found in join_all(self.probes.iter().map(Probe::faults)).await {
            faults.grave.extend(found.grave);
            faults.partial.extend(found.partial);
        }
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
        Self::each(name, move || {
            let asked = ask();
            async move { vec![(String::new(), asked.await)] }
        })
    }

    /// The same of something of several parts, which works as long as one of them does.
    pub fn each<F>(name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Parts> + Send + 'static,
    {
        Self { name, ask: Box::new(move || Box::pin(ask())) }
    }

    async fn faults(&self) -> Faults {
        let told = timeout(PROBE_TIMEOUT, (self.ask)()).await;
        let told = told.unwrap_or_else(|_| vec![(String::new(), Err(format!("no answer within {PROBE_TIMEOUT:?}")))]);
        let works = told.iter().any(|(_, told)| told.is_ok());
        let fault = |(part, told): (String, Result<(), String>)| {
            let what = if part.is_empty() { self.name.to_owned() } else { format!("{} {part}", self.name) };
            Some(format!("{what}: {}", told.err()?))
        };
        let faults = told.into_iter().filter_map(fault).collect();
        match works {
            true => Faults { grave: Vec::new(), partial: faults },
            false => Faults { grave: faults, partial: Vec::new() },
        }
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
            assert_eq!(readiness.faults().await.grave, ["store: read-only"]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(KEPT).await;
        assert_eq!(readiness.faults().await, Faults::default());
    }

    #[tokio::test]
    async fn a_site_of_several_stores_is_ready_as_long_as_one_works() {
        let each = |works: [bool; 2]| {
            let told = move |at: usize| if works[at] { Ok(()) } else { Err("away".to_owned()) };
            let ask = move || async move { vec![("disk".to_owned(), told(0)), ("cloud".to_owned(), told(1))] };
            Readiness::new(vec![Probe::each("store", ask)], Workers::default())
        };
        let partial = Faults { grave: Vec::new(), partial: vec!["store cloud: away".to_owned()] };
        assert_eq!(each([true, false]).faults().await, partial);
        assert_eq!(each([false, false]).faults().await.grave, ["store disk: away", "store cloud: away"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_not_ready() {
        let readiness = probe(std::future::pending);
        assert_eq!(readiness.faults().await.grave, ["store: no answer within 2s"]);
    }

    #[tokio::test]
    async fn a_draining_process_is_not_ready() {
        let readiness = probe(|| async { Ok(()) });
        assert_eq!(readiness.faults().await, Faults::default());
        readiness.drain();
        assert_eq!(readiness.faults().await.grave, ["shutting down"]);
    }
}
