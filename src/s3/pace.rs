//! How fast a key may go: requests and bytes a second, each with one second of them ahead.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// What may be used ahead of its time.
const AHEAD: Duration = Duration::from_secs(1);

/// Bounds on one key; none is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub requests_per_second_max: Option<u32>,
    /// Of bodies, both ways together.
    pub bytes_per_second_max: Option<u64>,
}

/// How far each key has gone; clones share it. Only keys that exist come here, and all strangers under one name, so it stays as small as their list.
#[derive(Clone, Debug, Default)]
pub struct Paces(Arc<Mutex<HashMap<String, Arc<Gone>>>>);

/// How far a key has gone.
#[derive(Debug)]
struct Gone {
    /// When all that was taken would be due at the pace allowed.
    requests: Mutex<Instant>,
    bytes: Mutex<Instant>,
}

/// Slows the bodies of a request down to the pace of its key.
#[derive(Debug)]
pub struct Brake {
    gone: Arc<Gone>,
    bytes_per_second: u64,
}

/// A body that waits for its time to come.
#[derive(Debug, Default)]
pub struct Waiting(Option<Pin<Box<Sleep>>>);

impl Paces {
    /// Counts a request. Where it is one too many, how long to stay away.
    pub fn admit(&self, access_key: &str, pace: Pace) -> Result<Option<Brake>, Duration> {
        if pace == Pace::default() {
            return Ok(None);
        }
        let gone = self.of(access_key);
        if let Some(rate) = pace.requests_per_second_max {
            take_if(&gone.requests, Duration::from_secs(1) / rate.max(1))?;
        }
        Ok(pace.bytes_per_second_max.map(|rate| Brake { gone, bytes_per_second: rate.max(1) }))
    }

    fn of(&self, access_key: &str) -> Arc<Gone> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = all.get(access_key) {
            return Arc::clone(gone);
        }
        let now = Instant::now();
        let gone = Arc::new(Gone { requests: Mutex::new(now), bytes: Mutex::new(now) });
        all.insert(access_key.to_owned(), Arc::clone(&gone));
        gone
    }
}

/// Takes what costs so much, unless more than allowed is taken ahead already.
fn take_if(due: &Mutex<Instant>, cost: Duration) -> Result<(), Duration> {
    let (mut due, now) = (due.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    let ahead = due.saturating_duration_since(now) + cost;
    if ahead > AHEAD.max(cost) {
        return Err(ahead - AHEAD.max(cost));
    }
    *due = now + ahead;
    Ok(())
}

impl Brake {
    /// Until what went by before is paid for: bodies of one piece would never wait otherwise.
    pub async fn settled(&self) {
        let due = *self.gone.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = due.saturating_duration_since(Instant::now());
        if ahead > AHEAD {
            sleep(ahead - AHEAD).await;
        }
    }

    /// Bytes went by: how long the next ones are to wait.
    fn charge(&self, bytes: usize) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let (mut due, now) = (self.gone.bytes.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let ahead = due.saturating_duration_since(now) + cost;
        *due = now + ahead;
        ahead.saturating_sub(AHEAD)
    }
}

impl Waiting {
    /// Ready once the body may go on.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.0 {
            std::task::ready!(timer.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }

    /// Bytes of the body went by.
    pub fn after(&mut self, brake: Option<&Brake>, bytes: usize) {
        let pause = brake.map_or(Duration::ZERO, |brake| brake.charge(bytes));
        if !pause.is_zero() {
            self.0 = Some(Box::pin(sleep(pause)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(paces: &Paces, key: &str, rate: u32) -> Result<(), Duration> {
        let pace = Pace { requests_per_second_max: Some(rate), ..Pace::default() };
        paces.admit(key, pace).map(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_its_requests_a_second_and_no_other_key_pays_for_it() {
        let paces = Paces::default();
        for _ in 0..10 {
            admit(&paces, "a", 10).unwrap();
        }
        let wait = admit(&paces, "a", 10).unwrap_err();
        assert!(wait <= Duration::from_millis(100) && !wait.is_zero(), "{wait:?}");
        admit(&paces, "b", 10).unwrap();
        tokio::time::sleep(Duration::from_millis(101)).await;
        admit(&paces, "a", 10).unwrap();
        assert!(admit(&paces, "a", 10).is_err());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((0..20).filter(|_| admit(&paces, "a", 10).is_ok()).count(), 10, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_for_their_time() {
        let paces = Paces::default();
        let pace = Pace { bytes_per_second_max: Some(1000), ..Pace::default() };
        let (one, other) = (paces.admit("a", pace).unwrap(), paces.admit("a", pace).unwrap());
        let (began, mut waiting) = (Instant::now(), Waiting::default());
        for brake in [&one, &other, &one, &other, &one] {
            std::future::poll_fn(|cx| waiting.poll(cx)).await;
            waiting.after(brake.as_ref(), 1000);
        }
        std::future::poll_fn(|cx| waiting.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 4, "five seconds of bytes, one of them ahead");
        one.as_ref().unwrap().charge(3000);
        other.unwrap().settled().await;
        assert_eq!(began.elapsed().as_secs(), 7, "a body that begins waits for those before it");
    }

    #[tokio::test]
    async fn without_a_bound_nothing_is_counted() {
        let paces = Paces::default();
        assert!(paces.admit("a", Pace::default()).unwrap().is_none());
        assert!(paces.0.lock().unwrap().is_empty());
        let mut waiting = Waiting::default();
        waiting.after(None, usize::MAX);
        assert!(waiting.0.is_none());
    }
}
