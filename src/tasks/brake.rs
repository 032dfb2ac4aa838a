//! How fast something may go: what is used takes its time, and a second of it may be used ahead.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, Sleep, sleep};

/// What may be used ahead of its time.
const AHEAD: Duration = Duration::from_secs(1);

/// When all that was taken would be due at the pace allowed.
#[derive(Debug)]
pub struct Due {
    moment: Mutex<Instant>,
    /// Had by who waits next: one that gives up has used nothing.
    turn: AsyncMutex<()>,
}

/// Slows bytes down; clones go over the same line.
#[derive(Clone, Debug)]
pub struct Brake {
    due: Arc<Due>,
    bytes_per_second: u64,
}

/// A body that waits for its time to come.
#[derive(Debug, Default)]
pub struct Waiting(Option<Pin<Box<Sleep>>>);

impl Default for Due {
    fn default() -> Self {
        Self { moment: Mutex::new(Instant::now()), turn: AsyncMutex::default() }
    }
}

impl Due {
    fn due(&self) -> MutexGuard<'_, Instant> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what costs so much, unless more than allowed is taken ahead already: then how long to stay away.
    pub fn take_if(&self, cost: Duration) -> Result<(), Duration> {
        let (mut due, now) = (self.due(), Instant::now());
        let ahead = due.saturating_duration_since(now) + cost;
        if ahead > AHEAD.max(cost) {
            return Err(ahead - AHEAD.max(cost));
        }
        *due = now + ahead;
        Ok(())
    }

    /// Takes what costs so much, and answers how long to wait for it.
    fn take(&self, cost: Duration) -> Duration {
        let mut due = self.due();
        *due = behind(*due, cost);
        wait_for(*due)
    }

    /// How long to wait for what was taken so far.
    fn wait(&self) -> Duration {
        wait_for(*self.due())
    }
}

/// When what costs so much is due that comes behind what is due already.
fn behind(due: Instant, cost: Duration) -> Instant {
    due.max(Instant::now()) + cost
}

fn wait_for(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now()).saturating_sub(AHEAD)
}

impl Brake {
    /// A pace of at least a byte a second, for all who take from `due`.
    pub fn new(due: Arc<Due>, bytes_per_second: u64) -> Self {
        Self { due, bytes_per_second: bytes_per_second.max(1) }
    }

    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Until what went by before is paid for: bodies of one piece would never wait otherwise.
    pub async fn settled(&self) {
        let _turn = self.due.turn.lock().await;
        pause(self.due.wait()).await;
    }

    /// Until these bytes may go, behind all that came before them and did not give up.
    pub async fn pass(&self, bytes: usize) {
        let _turn = self.due.turn.lock().await;
        let now = behind(*self.due.due(), self.cost(bytes));
        pause(wait_for(now)).await;
        let mut due = self.due.due();
        *due = now.max(*due);
    }

    /// Bytes went by: how long the next ones are to wait.
    fn charge(&self, bytes: usize) -> Duration {
        self.due.take(self.cost(bytes))
    }

    fn cost(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
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

    fn brake(bytes_per_second: u64) -> Brake {
        Brake::new(Arc::default(), bytes_per_second)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_for_their_time() {
        let one = brake(1000);
        let other = one.clone();
        let (began, mut waiting) = (Instant::now(), Waiting::default());
        for brake in [&one, &other, &one, &other, &one] {
            std::future::poll_fn(|cx| waiting.poll(cx)).await;
            waiting.after(Some(brake), 1000);
        }
        std::future::poll_fn(|cx| waiting.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 4, "five seconds of bytes, one of them ahead");
        one.charge(3000);
        other.settled().await;
        assert_eq!(began.elapsed().as_secs(), 7, "a body that begins waits for those before it");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_come_together_go_one_after_the_other() {
        let (brake, began) = (brake(1000), Instant::now());
        let gone = async |_| {
            brake.pass(1000).await;
            began.elapsed().as_secs()
        };
        assert_eq!(futures::future::join_all((0..5).map(gone)).await, [0, 1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_has_used_nothing() {
        let (brake, began) = (brake(1000), Instant::now());
        let gone = async |n: u64| {
            let patience = Duration::from_secs(if n.is_multiple_of(2) { 1 } else { 100 });
            tokio::time::timeout(patience, brake.pass(2000)).await.is_ok().then(|| began.elapsed().as_secs())
        };
        let gone = futures::future::join_all((0..8).map(gone)).await;
        assert_eq!(gone, [Some(1), Some(3), None, Some(5), None, Some(7), None, Some(9)]);
    }

    #[tokio::test]
    async fn without_a_brake_nothing_waits() {
        let mut waiting = Waiting::default();
        waiting.after(None, usize::MAX);
        assert!(waiting.0.is_none());
    }
}
