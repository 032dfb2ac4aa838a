//! The hybrid logical clock, and the only reader of wall time (protocol §2).

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{AHEAD_MS_MAX, Incarnation, SiteNumber, Stamp, StampParts};

/// Where wall time comes from.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn millis(&self) -> u64;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).expect("milliseconds since 1970 fit in 64 bits until the year 584556019")
    }
}

/// A clock that tests turn by hand.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicU64);

impl ManualClock {
    pub fn at(millis: u64) -> Self {
        Self(millis.into())
    }

    pub fn set(&self, millis: u64) {
        self.0.store(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

impl WallClock for ManualClock {
    fn millis(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Draws stamps that grow, whatever the wall does.
#[derive(Debug)]
pub struct Clock {
    wall: Arc<dyn WallClock>,
    site: SiteNumber,
    incarnation: Incarnation,
    /// Greatest (ms, tick) drawn or seen.
    last: Mutex<(u64, u16)>,
}

impl Clock {
    /// A clock that never draws a stamp at or below `stored_ms`, the greatest one this site committed before.
    pub fn new(wall: Arc<dyn WallClock>, site: SiteNumber, incarnation: Incarnation, stored_ms: u64) -> Self {
        let stored_ms = if planted!(ClockForgotten) { 0 } else { stored_ms };
        Self { wall, site, incarnation, last: Mutex::new((stored_ms, u16::MAX)) }
    }

    /// A stamp greater than `above` and than every stamp drawn here before.
    pub fn tick(&self, above: Option<Stamp>) -> Stamp {
        let mut last = self.last.lock().expect("no code panics while it holds the clock");
        let floor = above.map(|stamp| (stamp.ms(), stamp.parts().tick)).map_or(*last, |seen| seen.max(*last));
        let next = (self.wall.millis(), 0).max(successor(floor));
        *last = next;
        let (ms, tick) = next;
        Stamp::new(StampParts { ms, tick, site: self.site, incarnation: self.incarnation, rank: 0 })
    }

    /// Hears of another site's stamp: whatever is drawn from now on is greater.
    pub fn observe(&self, stamp: Stamp) {
        self.advance((stamp.ms(), stamp.parts().tick));
    }

    /// Hears up to which millisecond and tick another site drew stamps or heard of them. One that is further ahead of the
    /// wall than stamps are taken turns no clock.
    pub fn hear(&self, stamped: (u64, u16)) {
        if stamped.0 <= self.wall.millis() + AHEAD_MS_MAX && !planted!(ClockForgotten) {
            self.advance(stamped);
        }
    }

    fn advance(&self, to: (u64, u16)) {
        let mut last = self.last.lock().expect("no code panics while it holds the clock");
        *last = (*last).max(to);
    }

    /// Greatest millisecond and tick of a stamp drawn or seen; a store that was opened remembers milliseconds.
    pub fn last(&self) -> (u64, u16) {
        *self.last.lock().expect("no code panics while it holds the clock")
    }

    /// Wall time in milliseconds since 1970.
    pub fn wall_ms(&self) -> u64 {
        self.wall.millis()
    }
}

/// A tick that overflows carries into the milliseconds.
fn successor((ms, tick): (u64, u16)) -> (u64, u16) {
    tick.checked_add(1).map_or((ms + 1, 0), |tick| (ms, tick))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(wall: &Arc<ManualClock>) -> Clock {
        Clock::new(wall.clone(), SiteNumber(1), Incarnation(1), 0)
    }

    #[test]
    fn stamps_grow_while_the_wall_stands_or_goes_back() {
        let wall = Arc::new(ManualClock::at(1_000));
        let clock = clock(&wall);
        let first = clock.tick(None);
        let second = clock.tick(None);
        wall.set(10);
        let third = clock.tick(None);
        assert!(first < second && second < third);
        assert_eq!(third.ms(), 1_000);
    }

    #[test]
    fn stamps_are_above_what_another_site_has_come_to_unless_its_clock_is_wrong() {
        let wall = Arc::new(ManualClock::at(1_000));
        let clock = clock(&wall);
        clock.hear((1_000 + AHEAD_MS_MAX + 1, 0));
        assert_eq!(clock.tick(None).ms(), 1_000);
        clock.hear((1_000 + AHEAD_MS_MAX, 7));
        let parts = clock.tick(None).parts();
        assert_eq!(
            (parts.ms, parts.tick),
            (1_000 + AHEAD_MS_MAX, 8),
            "no millisecond is skipped, or sites would drive each other on"
        );
    }

    #[test]
    fn a_stamp_is_greater_than_what_is_known_of_the_key() {
        let wall = Arc::new(ManualClock::at(1_000));
        let ahead = Clock::new(Arc::new(ManualClock::at(9_000)), SiteNumber(2), Incarnation(1), 0).tick(None);
        assert!(clock(&wall).tick(Some(ahead)) > ahead);
    }

    #[test]
    fn a_full_tick_carries_into_the_milliseconds() {
        assert_eq!(successor((5, u16::MAX)), (6, 0));
    }
}
