//! Credentials that end: held, asked for again ahead of that, and as soon as they are refused. No call waits long for them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_s3::config::Credentials;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// For an answer.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// What a call waits for it: less than after what it counts as a silence, since it is not the store that says nothing.
const CALL_PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions, however often the answer is refused: a call without rights is no reason to ask each time.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long what has no end, or is near it, is used before it is asked for again.
const AGE_MAX: Duration = Duration::from_secs(30);
/// Before the end. Machines have new ones five minutes ahead:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// Credentials, and how long they are good; `None` says nothing of an end.
pub(super) struct Given {
    pub credentials: Credentials,
    pub life: Option<Duration>,
}

/// Asks for credentials; why there are none, for people.
pub(super) type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<Given, String>> + Send + Sync>;

/// Holds what was given, and asks anew.
pub(super) struct Renewed {
    ask: Ask,
    state: Mutex<State>,
    /// Of whoever asks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    had: Option<Had>,
    /// When the last answer came, or none did in time.
    asked: Option<Instant>,
    /// Why it was none.
    fault: Option<String>,
}

struct Had {
    credentials: Credentials,
    /// When to ask again.
    due: Instant,
    ends: Option<Instant>,
    is_refused: bool,
}

/// What can be done with what is held.
enum Standing {
    Good(Credentials),
    /// Good, and to be asked for again.
    Due(Credentials),
    /// Refused, over, or not there.
    Bad,
}

impl Renewed {
    pub fn new(ask: Ask) -> Arc<Self> {
        Arc::new(Self { ask, state: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the credentials")
    }

    /// What there is, new where it has to be. Where nothing new comes it goes with what was had before: that it is refused is
    /// what people can do something about.
    pub async fn current(self: &Arc<Self>) -> Result<Credentials, String> {
        match self.standing() {
            Standing::Good(credentials) => return Ok(credentials),
            Standing::Due(credentials) => {
                if self.turn.try_lock().is_ok() {
                    self.renew();
                }
                return Ok(credentials);
            }
            Standing::Bad => {}
        }
        let patience = if self.state().had.is_some() { CALL_PATIENCE } else { ASK_PATIENCE + CALL_PATIENCE };
        let _ = timeout(patience, self.renew()).await;
        let state = self.state();
        let fault = || state.fault.clone().unwrap_or_else(|| "asking for them broke off".to_owned());
        state.had.as_ref().map(|had| had.credentials.clone()).ok_or_else(fault)
    }

    /// They were refused.
    pub fn forget(&self) {
        if let Some(had) = &mut self.state().had {
            had.is_refused = true;
        }
    }

    fn standing(&self) -> Standing {
        let (state, now) = (self.state(), Instant::now());
        let Some(had) = &state.had else { return Standing::Bad };
        let credentials = had.credentials.clone();
        let is_bad = had.is_refused || had.ends.is_some_and(|ends| ends <= now);
        match state.asked.is_some_and(|asked| now - asked < ASK_EVERY) {
            false if is_bad => Standing::Bad,
            false if had.due <= now => Standing::Due(credentials),
            _ => Standing::Good(credentials),
        }
    }

    /// Asks in a task of its own, since an answer is for everybody: it is not given up with the call that wanted it.
    fn renew(self: &Arc<Self>) -> JoinHandle<()> {
        let renewed = self.clone();
        tokio::spawn(async move {
            let _turn = renewed.turn.lock().await;
            if matches!(renewed.standing(), Standing::Good(_)) {
                return;
            }
            let told = timeout(ASK_PATIENCE, (renewed.ask)()).await;
            renewed.take(told.unwrap_or_else(|_| Err(format!("no answer came in {} seconds", ASK_PATIENCE.as_secs()))));
        })
    }

    fn take(&self, told: Result<Given, String>) {
        let (mut state, now) = (self.state(), Instant::now());
        state.asked = Some(now);
        match (told, &mut state.had) {
            (Ok(Given { credentials, life }), had) => {
                let due = now + life.map_or(AGE_MAX, |life| life.saturating_sub(AHEAD).max(AGE_MAX));
                *had = Some(Had { credentials, due, ends: life.map(|life| now + life), is_refused: false });
            }
            (Err(reason), Some(had)) => {
                tracing::warn!(reason, "no new credentials of the store can be had: the old ones are used");
                had.due = now + AGE_MAX;
            }
            (Err(reason), None) => state.fault = Some(reason),
        }
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewed")
    }
}

#[cfg(test)]
impl Renewed {
    /// As if the last answer had come long ago.
    pub fn age(&self) {
        self.state().asked.iter_mut().for_each(|asked| *asked -= ASK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::advance;

    use super::*;

    /// Gives `key-1`, `key-2` …, each good for so long, as long as it is well.
    #[derive(Default)]
    struct Chain {
        asked: AtomicU64,
        is_silent: std::sync::atomic::AtomicBool,
        life: Option<Duration>,
    }

    impl Chain {
        fn lasting(life: Option<Duration>) -> (Arc<Self>, Arc<Renewed>) {
            let chain = Arc::new(Self { life, ..Self::default() });
            let asked = chain.clone();
            let renewed = Renewed::new(Arc::new(move || {
                let chain = asked.clone();
                Box::pin(async move { chain.answer().await })
            }));
            (chain, renewed)
        }

        async fn answer(&self) -> Result<Given, String> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            if self.is_silent.load(Ordering::SeqCst) {
                std::future::pending().await
            }
            let credentials = Credentials::new(format!("key-{asked}"), "hunter2", None, None, "test");
            Ok(Given { credentials, life: self.life })
        }

        fn asked(&self) -> u64 {
            self.asked.load(Ordering::SeqCst)
        }
    }

    async fn key(renewed: &Arc<Renewed>) -> String {
        renewed.current().await.unwrap().access_key_id().to_owned()
    }

    /// Until what was begun aside is done.
    async fn settle(renewed: &Arc<Renewed>) {
        tokio::task::yield_now().await;
        drop(renewed.turn.lock().await);
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn what_nears_its_end_is_renewed_aside() {
        let (chain, renewed) = Chain::lasting(Some(HOUR));
        for _ in 0..3 {
            assert_eq!(key(&renewed).await, "key-1");
        }
        advance(HOUR - AHEAD - ASK_EVERY).await;
        assert_eq!((key(&renewed).await.as_str(), chain.asked()), ("key-1", 1));
        advance(ASK_EVERY).await;
        assert_eq!(key(&renewed).await, "key-1", "no call waits for what is not needed yet");
        settle(&renewed).await;
        assert_eq!((key(&renewed).await.as_str(), chain.asked()), ("key-2", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_end_is_read_again_as_settings_are() {
        let (chain, renewed) = Chain::lasting(None);
        key(&renewed).await;
        advance(AGE_MAX).await;
        key(&renewed).await;
        settle(&renewed).await;
        assert_eq!((key(&renewed).await.as_str(), chain.asked()), ("key-2", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_or_over_is_asked_for_by_the_next_call_and_once_for_all() {
        let (chain, renewed) = Chain::lasting(Some(HOUR));
        key(&renewed).await;
        renewed.forget();
        assert_eq!(key(&renewed).await, "key-1", "what is quite new is not asked for again");
        advance(ASK_EVERY).await;
        let all = futures::future::join_all((0..10).map(|_| key(&renewed))).await;
        assert!(all.iter().all(|key| key == "key-2") && chain.asked() == 2, "{all:?}");
        advance(HOUR).await;
        assert_eq!(key(&renewed).await, "key-3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_chain_holds_no_call_up_for_long_and_is_heard_when_it_answers() {
        let (chain, renewed) = Chain::lasting(None);
        key(&renewed).await;
        chain.is_silent.store(true, Ordering::SeqCst);
        renewed.forget();
        advance(ASK_EVERY).await;
        let begun = Instant::now();
        let all = futures::future::join_all((0..10).map(|_| key(&renewed))).await;
        assert!(all.iter().all(|key| key == "key-1"), "{all:?}");
        assert_eq!((begun.elapsed(), chain.asked()), (CALL_PATIENCE, 2));
        chain.is_silent.store(false, Ordering::SeqCst);
        settle(&renewed).await;
        advance(ASK_EVERY).await;
        assert_eq!(key(&renewed).await, "key-3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_never_answers_says_so_and_shows_nothing() {
        let (chain, renewed) = Chain::lasting(None);
        chain.is_silent.store(true, Ordering::SeqCst);
        assert_eq!(renewed.current().await.unwrap_err(), "no answer came in 10 seconds");
        chain.is_silent.store(false, Ordering::SeqCst);
        key(&renewed).await;
        assert!(!format!("{renewed:?}").contains("hunter2"));
    }
}
