//! How fast a service answers of late.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Of the latest eight calls, so many slow ones make a service slow.
const SLOW_MIN: u32 = 4;

/// The latest eight small calls.
#[derive(Debug)]
pub(super) struct Pace {
    /// What one may take; `None`: nobody asks.
    slow: Option<Duration>,
    /// A bit for each, the latest last: whether it was slow.
    recent: AtomicU8,
}

impl Pace {
    pub fn new(slow: Option<Duration>) -> Self {
        Self { slow, recent: AtomicU8::new(0) }
    }

    /// A call took so long, of which so much is granted to the bytes that went with it.
    pub fn count(&self, took: Duration, granted: Duration) {
        let bit = u8::from(self.slow.is_some_and(|slow| took > slow.saturating_add(granted)));
        let push = |recent: u8| Some(recent << 1 | bit);
        // It changes nothing but itself.
        let _ = self.recent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, push);
    }

    pub fn is_slow(&self) -> bool {
        self.recent.load(Ordering::Relaxed).count_ones() >= SLOW_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_latest_calls_tell() {
        let (second, pace) = (Duration::from_secs(1), Pace::new(Some(Duration::from_secs(2))));
        for _ in 0..3 {
            pace.count(3 * second, Duration::ZERO);
        }
        pace.count(3 * second, second);
        assert!(!pace.is_slow());
        pace.count(3 * second, Duration::ZERO);
        assert!(pace.is_slow());
        for _ in 0..5 {
            pace.count(second, Duration::ZERO);
        }
        assert!(!pace.is_slow(), "some are forgotten");
        let unasked = Pace::new(None);
        (0..8).for_each(|_| unasked.count(Duration::MAX, Duration::ZERO));
        assert!(!unasked.is_slow());
    }
}
