//! Wall time of a simulation: tokio's paused time from a beginning of our own, and how far each site's clock is off.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::WallClock;

/// Where simulated time begins, milliseconds since 1970.
const BEGINNING_MS: i64 = 1_790_000_000_000;

/// The wall clock of one site.
#[derive(Debug)]
pub struct SimClock {
    began: tokio::time::Instant,
    skew_ms: AtomicI64,
    /// Time that passed for the clock alone.
    jumped_ms: AtomicI64,
}

impl SimClock {
    pub fn new() -> Self {
        Self { began: tokio::time::Instant::now(), skew_ms: AtomicI64::new(0), jumped_ms: AtomicI64::new(0) }
    }

    /// From now on the clock is off by so much.
    pub fn skew(&self, ms: i64) {
        self.skew_ms.store(ms, Ordering::SeqCst);
    }

    /// Time passes for the clock, while nothing else happens.
    pub fn advance(&self, ms: i64) {
        self.jumped_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl WallClock for SimClock {
    fn millis(&self) -> u64 {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        let off = self.skew_ms.load(Ordering::SeqCst) + self.jumped_ms.load(Ordering::SeqCst);
        u64::try_from(BEGINNING_MS + passed + off).unwrap()
    }
}
