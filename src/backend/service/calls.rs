//! How calls are made: within bounds, again where that may help, and not at all to a service that is known to be dead.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument;

use super::body::Sending;
use super::line::Line;
use super::pace::Pace;
use super::tally::{Tally, outcome_of};
use super::{Answer, Common, Fault, Service};
use crate::backend::Error;
use crate::tasks::Backoff;

/// For a small call to be answered.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(10);
/// A slow line, in bytes a second: what bytes in memory are given time for.
pub(super) const SLOW_BYTES_PER_S: u64 = 256 << 10;
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// For what a service does within itself, and the bytes that it moves meanwhile.
const LONG_PATIENCE: Duration = Duration::from_secs(15 * 60);
const SLOW_COPY_BYTES_PER_S: u64 = 16 << 20;
/// For the next piece of a body that streams to be taken, and for an answer behind the last.
const STREAM_PATIENCE: Duration = Duration::from_secs(60);
/// A small call that had no answer for so long, while no other had, counts as a silence.
const STALL: Duration = Duration::from_secs(3);
/// Silences in a row after which the service is taken for dead.
const SILENCES_MAX: u32 = 3;
/// Between two looks at a dead service; everybody else is refused at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For a call to be allowed, where as many are under way as may be.
const SLOT_PATIENCE: Duration = Duration::from_secs(5);

/// A call that is made now.
#[derive(Clone, Copy)]
struct Attempt {
    doing: &'static str,
    /// From 1 on.
    number: u32,
}

impl Attempt {
    fn first(doing: &'static str) -> Self {
        Self { doing, number: 1 }
    }
}

/// A service, and whether it lives.
#[derive(Debug)]
pub(super) struct Calls<S> {
    pub service: S,
    /// For people: its kind and its bucket of notes.
    store: String,
    /// Calls that may be under way at once.
    slots: Semaphore,
    /// Bodies that may be on their way at once: they take as long as their senders take, and hold up no other call.
    streams: Semaphore,
    pulse: Pulse,
    pace: Pace,
    pub line: Line,
    pub tally: Tally,
}

impl<S: Service> Calls<S> {
    pub fn new(service: S, common: &Common) -> Self {
        let calls_max = usize::try_from(common.calls_max.get()).unwrap_or(usize::MAX);
        let slots = || Semaphore::new(calls_max.min(Semaphore::MAX_PERMITS));
        let pace = Pace::new(common.buffer.as_ref().map(|buffer| buffer.slow));
        let line = Line::new(common.bytes_per_second_max);
        let store = format!("{} {}", service.kind(), common.home);
        let (pulse, tally) = Default::default();
        Self { service, store, slots: slots(), streams: slots(), pulse, pace, line, tally }
    }

    /// Whether the service is not known to be dead.
    pub fn is_alive(&self) -> bool {
        self.pulse.is_alive()
    }

    /// Whether it answers, and soon.
    pub fn is_well(&self) -> bool {
        self.is_alive() && !self.pace.is_slow()
    }

    /// Until bytes in memory may go to the service, if it lives. Before a call and its deadlines: who has to wait holds up nobody.
    pub async fn turn(&self, bytes: usize) {
        if self.is_alive() {
            self.line.pass(bytes).await;
        }
    }

    /// A small call that began then, had no answer yet and is waited for no longer.
    pub fn gave_up(&self, begun: Instant) {
        if begun.elapsed() >= STALL {
            self.pulse.stalls(begun);
        }
        self.pace.count(Duration::MAX, Duration::ZERO);
    }

    /// Makes a call, if one may be made now, and counts it.
    async fn made<T>(&self, attempt: Attempt, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        self.made_in(&self.slots, attempt, call).await
    }

    async fn made_in<T>(&self, slots: &Semaphore, attempt: Attempt, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let Attempt { doing, number } = attempt;
        let made = async {
            let begun = Instant::now();
            let answer = match self.slot(slots, doing).await {
                Ok(_slot) => call.await,
                Err(fault) => Err(fault),
            };
            let took = begun.elapsed();
            self.tally.count(doing, &answer, took);
            tracing::debug!(outcome = outcome_of(&answer), ?took, "called the store");
            answer
        };
        // At the level of what it says: who does not look pays nothing.
        made.instrument(tracing::debug_span!("call", store = self.store, doing, attempt = number)).await
    }

    async fn slot<'a>(&self, slots: &'a Semaphore, doing: &'static str) -> Answer<SemaphorePermit<'a>> {
        if !self.pulse.admits() {
            return Err(Fault::not_tried(doing));
        }
        let slot = timeout(SLOT_PATIENCE, slots.acquire()).await.map_err(|_| Fault::crowded(doing))?;
        Ok(slot.expect("nobody closes the slots"))
    }

    /// Makes a call as often as it may help, for what may be done twice. `bytes` go with it, whose [turn](Self::turn) it is.
    pub async fn quick<'a, T>(
        &'a self,
        doing: &'static str,
        bytes: usize,
        call: impl Fn() -> BoxFuture<'a, Answer<T>>,
    ) -> Answer<T> {
        let patience = ATTEMPT_PATIENCE + Duration::from_secs(bytes as u64 / SLOW_BYTES_PER_S);
        let mut pauses = Backoff::new(PAUSE, PAUSE_MAX, self.pulse.seed());
        let (mut attempt, mut was_denied) = (Attempt::first(doing), false);
        loop {
            let answer = self.made(attempt, self.attempt(doing, patience, call())).await;
            let pause = pauses.next_pause();
            attempt.number += 1;
            match &answer {
                Err(fault) if fault.is_not_tried() => return answer,
                Err(fault) if fault.is_passing() && pauses.tries() < ATTEMPTS_MAX => {
                    sleep(pause).await;
                    self.turn(bytes).await;
                }
                // With credentials that were read anew.
                Err(fault) if fault.is_denied() && !was_denied => was_denied = true,
                _ => return answer,
            }
        }
    }

    /// Makes a small call once, for what must not come late a second time.
    pub async fn once<T>(&self, doing: &'static str, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        self.made(Attempt::first(doing), self.attempt(doing, ATTEMPT_PATIENCE, call)).await
    }

    /// Makes a call for which the service may have to move so many bytes within itself.
    pub async fn long<T>(&self, doing: &'static str, bytes: u64, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let patience = LONG_PATIENCE + Duration::from_secs(bytes / SLOW_COPY_BYTES_PER_S);
        let heard = async {
            let answer = timeout(patience, call).await.unwrap_or_else(|_| Err(Fault::late(doing)));
            self.listen(&answer);
            answer
        };
        self.made(Attempt::first(doing), heard).await
    }

    /// Makes a call with a body that streams. The outer error is the sender's, who is no reason to think ill of the service.
    pub async fn streamed<T>(
        &self,
        doing: &'static str,
        sending: &Sending,
        call: impl Future<Output = Answer<T>>,
    ) -> Result<Answer<T>, Error> {
        let sent = async {
            tokio::select! {
                answer = call => answer,
                () = sending.stands_still(STREAM_PATIENCE) => Err(Fault::late(doing)),
            }
        };
        let answer = self.made_in(&self.streams, Attempt::first(doing), sent).await;
        if let Some(fault) = sending.take_fault() {
            return Err(Error::Body(fault));
        }
        self.listen(&answer);
        Ok(answer)
    }

    async fn attempt<T>(&self, doing: &'static str, patience: Duration, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let begun = Instant::now();
        let stall = async {
            sleep(STALL.max(patience - ATTEMPT_PATIENCE)).await;
            self.pulse.stalls(begun);
            std::future::pending().await
        };
        let answer = tokio::select! {
            answer = timeout(patience, call) => answer.unwrap_or_else(|_| Err(Fault::late(doing))),
            answer = stall => answer,
        };
        self.listen(&answer);
        // One that is put off is as good as slow.
        let is_put_off = answer.as_ref().is_err_and(Fault::is_passing);
        self.pace.count(if is_put_off { Duration::MAX } else { begun.elapsed() }, patience - ATTEMPT_PATIENCE);
        answer
    }

    /// Learns from an answer whether the service lives, and whether it still knows us.
    fn listen<T>(&self, answer: &Answer<T>) {
        match answer {
            Err(fault) if fault.is_not_tried() => {}
            Err(fault) if fault.is_silence() => self.pulse.stops(),
            Err(fault) => {
                self.pulse.beats();
                if fault.is_denied() {
                    self.service.forget_keys();
                }
            }
            Ok(_) => self.pulse.beats(),
        }
    }
}

/// Whether the service answers.
#[derive(Debug, Default)]
struct Pulse(Mutex<Silence>);

#[derive(Debug, Default)]
struct Silence {
    calls: u32,
    looked: Option<Instant>,
    /// The last answer.
    heard: Option<Instant>,
    /// Calls so far: no two pauses are alike.
    count: u64,
}

impl Pulse {
    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.0.lock().expect("nothing panics while it holds the pulse")
    }

    fn seed(&self) -> u64 {
        let mut silence = self.silence();
        silence.count += 1;
        silence.count
    }

    /// Whether a call may be made: at a dead service one at a time looks whether it is back.
    fn admits(&self) -> bool {
        let mut silence = self.silence();
        let now = Instant::now();
        let is_due = silence.looked.is_none_or(|looked| now - looked >= LOOK_EVERY);
        if silence.calls < SILENCES_MAX {
            return true;
        }
        if is_due {
            silence.looked = Some(now);
        }
        is_due
    }

    fn is_alive(&self) -> bool {
        self.silence().calls < SILENCES_MAX
    }

    fn beats(&self) {
        let mut silence = self.silence();
        silence.calls = 0;
        silence.looked = None;
        silence.heard = Some(Instant::now());
    }

    fn stops(&self) {
        let mut silence = self.silence();
        silence.calls = silence.calls.saturating_add(1);
        silence.looked = Some(Instant::now());
    }

    /// A call that began then has no answer yet.
    fn stalls(&self, begun: Instant) {
        if self.silence().heard.is_none_or(|heard| heard <= begun) {
            self.stops();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_service_is_looked_at_once_a_second() {
        let pulse = Pulse::default();
        for _ in 0..SILENCES_MAX {
            assert!(pulse.admits());
            pulse.stops();
        }
        assert!(!pulse.admits());
        tokio::time::advance(LOOK_EVERY).await;
        assert!(pulse.admits());
        assert!(!pulse.admits(), "one looks, the others are refused");
        pulse.beats();
        assert!(pulse.admits() && pulse.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_hang_together_make_a_service_dead_before_they_end() {
        let pulse = Pulse::default();
        let begun = Instant::now();
        tokio::time::advance(STALL).await;
        pulse.beats();
        (0..SILENCES_MAX).for_each(|_| pulse.stalls(begun));
        assert!(pulse.admits(), "others had answers meanwhile");
        let begun = Instant::now();
        tokio::time::advance(STALL).await;
        (0..SILENCES_MAX).for_each(|_| pulse.stalls(begun));
        assert!(!pulse.admits());
    }
}
