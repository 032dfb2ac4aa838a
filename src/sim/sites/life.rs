//! One life of a simulated process: how fast its steps go, when it dies, and that nothing of it happens afterwards.
//!
//! Tasks of a process outlive the call that began them (`Site::unstoppable`), so a kill is not the end of tasks but of
//! everything they touch: each step at the status store, the store and the network passes by here, and for the dead no
//! step ever ends.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::clock::SimClock;
use super::watch::Watch;
use crate::model::SiteNumber;
use crate::status::Status;
use crate::status::redb::{Pace, Touched};

/// How a process goes, and how its store fares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gait {
    /// Longest pause between two steps, milliseconds; most are none.
    pub pause_ms_max: u64,
    /// Calls of the store that fail without having done anything, in a thousand.
    pub store_fails: u16,
    /// Calls of the store that fail although they were done, in a thousand.
    pub store_lies: u16,
}

/// Owned by everything that the process has.
pub struct Life {
    pub site: SiteNumber,
    pub watch: Arc<Watch>,
    clock: Arc<SimClock>,
    state: Mutex<State>,
    dead: AtomicBool,
    /// Wakes whoever waits for its death.
    died: Notify,
    /// Wakes whoever waits for something to be told.
    told: Notify,
}

struct State {
    chance: fastrand::Rng,
    gait: Gait,
    /// Steps that it still has.
    steps_left: Option<u64>,
}

/// What is to happen to a call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    Nothing,
    /// It fails and did nothing.
    Fails,
    /// It fails, and was done.
    Lies,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("site", &self.site).field("dead", &self.is_dead()).finish_non_exhaustive()
    }
}

impl Life {
    pub fn new(site: SiteNumber, watch: Arc<Watch>, clock: Arc<SimClock>, seed: u64, gait: Gait) -> Arc<Self> {
        let state = State { chance: fastrand::Rng::with_seed(seed), gait, steps_left: None };
        Arc::new(Self {
            site,
            watch,
            clock,
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            told: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// It dies after so many more steps.
    pub fn dies_after(&self, steps: u64) {
        if steps == 0 {
            self.die();
        }
        self.state().steps_left = Some(steps);
    }

    /// It does not die of what was to kill it and has not yet.
    pub fn spare(&self) {
        self.state().steps_left = None;
    }

    /// Whether it is to die soon.
    pub fn is_doomed(&self) -> bool {
        self.state().steps_left.is_some()
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
    }

    /// Returns after the next commit.
    pub fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// Returns when it is dead.
    pub async fn death(&self) {
        let mut died = std::pin::pin!(self.died.notified());
        died.as_mut().enable();
        if !self.is_dead() {
            died.await;
        }
    }

    pub fn set_gait(&self, gait: Gait) {
        self.state().gait = gait;
    }

    pub fn store_fault(&self) -> StoreFault {
        if self.watch.is_looking() {
            return StoreFault::Nothing;
        }
        let mut state = self.state();
        let drawn = state.chance.u16(..1_000);
        if drawn < state.gait.store_fails {
            StoreFault::Fails
        } else if drawn < state.gait.store_fails + state.gait.store_lies {
            StoreFault::Lies
        } else {
            StoreFault::Nothing
        }
    }

    /// The pause before the next step; `None` if there is none any more.
    fn next_step(&self) -> Option<Pause> {
        let mut state = self.state();
        if let Some(left) = &mut state.steps_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.die();
            }
        }
        if self.is_dead() {
            return None;
        }
        let pause_ms_max = state.gait.pause_ms_max;
        Some(match state.chance.u8(..100) {
            _ if pause_ms_max == 0 => Pause::Nothing,
            0..80 => Pause::Nothing,
            80..95 => Pause::Yield,
            95..99 => Pause::Time(state.chance.u64(1..=pause_ms_max.min(4))),
            _ => Pause::Time(state.chance.u64(1..=pause_ms_max)),
        })
    }
}

enum Pause {
    Nothing,
    Yield,
    /// Milliseconds.
    Time(u64),
}

#[async_trait]
impl Pace for Life {
    async fn step(&self) {
        if self.watch.is_looking() {
            return;
        }
        match self.next_step() {
            None => std::future::pending().await,
            Some(Pause::Nothing) => {}
            Some(Pause::Yield) => tokio::task::yield_now().await,
            Some(Pause::Time(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn committed(&self, status: &Status, touched: &Touched) {
        use crate::clock::WallClock;
        self.watch.committed(self.site, status, touched, self.clock.millis());
        self.told.notify_waiters();
    }
}
