//! A bus between simulated sites that does what a bad one does: messages are lost, late, repeated and out of order, a
//! stream is lost with all that was on it, or made again and heard from its beginning, and for a while nobody answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::life::Life;
use crate::events::{Bus, Delivery, Error, Message};
use crate::status::redb::Pace;

/// How long whoever listens waits for the first message.
const HEAR: Duration = Duration::from_secs(20);
/// How long one waits for a bus that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every site's stream, in one place that no crash touches.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    published: Notify,
}

#[derive(Debug)]
struct State {
    chance: fastrand::Rng,
    /// What everybody has still to hear: by listener and origin.
    waiting: BTreeMap<(String, String), Vec<Waiting>>,
    /// What each origin ever published and no loss took.
    kept: BTreeMap<String, Vec<Message>>,
    sites: Vec<String>,
    /// Messages lost, late or heard twice, in a thousand each.
    bad: u16,
    down: bool,
    last: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    number: u64,
    from: Instant,
    message: Message,
}

impl Streams {
    /// `bad`: messages that are lost, late or heard twice, in a thousand each.
    pub fn new(sites: Vec<String>, seed: u64, bad: u16) -> Self {
        let chance = fastrand::Rng::with_seed(seed ^ 0xB05);
        let (waiting, kept) = (BTreeMap::new(), BTreeMap::new());
        let state = State { chance, waiting, kept, sites, bad, down: false, last: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), published: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// The bus as one process of `site` has it.
    pub fn bus(&self, site: &str, life: &Arc<Life>) -> Arc<dyn Bus> {
        Arc::new(Line { streams: self.clone(), site: site.to_owned(), life: life.clone() })
    }

    /// Nobody gets an answer from it, or again.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// From now on it does what it should.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.down, state.bad) = (false, 0);
    }

    /// A stream is lost with everything on it.
    pub fn lose(&self, origin: &str) {
        let mut state = self.state();
        state.kept.remove(origin);
        state.waiting.retain(|(_, from), _| from != origin);
    }

    /// A stream is made again: everything that is still known of it is heard once more.
    pub fn rewind(&self, origin: &str) {
        let mut state = self.state();
        for message in state.kept.get(origin).cloned().unwrap_or_default() {
            state.send(origin, &message, Instant::now());
        }
        drop(state);
        self.0.published.notify_waiters();
    }
}

impl State {
    fn send(&mut self, origin: &str, message: &Message, from: Instant) {
        for site in self.sites.clone().into_iter().filter(|site| site != origin) {
            self.last += 1;
            let waiting = Waiting { number: self.last, from, message: message.clone() };
            self.waiting.entry((site, origin.to_owned())).or_default().push(waiting);
        }
    }

    fn happens(&mut self) -> bool {
        self.bad > 0 && self.chance.u16(..1_000) < self.bad
    }

    fn take(&mut self, origin: &str, message: &Message) {
        if self.happens() {
            return;
        }
        self.kept.entry(origin.to_owned()).or_default().push(message.clone());
        let times = if self.happens() { 2 } else { 1 };
        for _ in 0..times {
            let late_ms = if self.happens() { self.chance.u64(..60_000) } else { 0 };
            self.send(origin, message, Instant::now() + Duration::from_millis(late_ms));
        }
    }

    /// What is there by now, in an order of chance where the bus is a bad one.
    fn due(&mut self, listener: &str, origin: &str) -> Vec<Waiting> {
        let key = (listener.to_owned(), origin.to_owned());
        let now = Instant::now();
        let waiting = self.waiting.get(&key).into_iter().flatten();
        let mut due: Vec<Waiting> = waiting.filter(|waiting| waiting.from <= now).cloned().collect();
        if self.bad > 0 {
            self.chance.shuffle(&mut due);
        }
        due
    }

    fn heard(&mut self, number: u64) {
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|one| one.number != number));
    }
}

/// How one process publishes and listens.
#[derive(Debug)]
struct Line {
    streams: Streams,
    site: String,
    life: Arc<Life>,
}

impl Line {
    async fn reached(&self) -> Result<(), Error> {
        self.life.step().await;
        if self.streams.state().down {
            sleep(PATIENCE).await;
            return Err(Error::Unreachable("as the seed wanted".into()));
        }
        Ok(())
    }
}

struct Heard {
    streams: Streams,
    life: Arc<Life>,
    waiting: Waiting,
}

#[async_trait]
impl Bus for Line {
    async fn publish(&self, messages: &[Message]) -> Result<usize, Error> {
        self.reached().await?;
        {
            let mut state = self.streams.state();
            messages.iter().for_each(|message| state.take(&self.site, message));
        }
        self.streams.0.published.notify_waiters();
        self.life.step().await;
        Ok(messages.len())
    }

    async fn hear(&self, origin: &str) -> Result<Vec<Box<dyn Delivery>>, Error> {
        self.reached().await?;
        let mut published = std::pin::pin!(self.streams.0.published.notified());
        published.as_mut().enable();
        let mut due = self.streams.state().due(&self.site, origin);
        if due.is_empty() {
            let _ = timeout(HEAR, published).await;
            due = self.streams.state().due(&self.site, origin);
        }
        self.life.step().await;
        let (streams, life) = (&self.streams, &self.life);
        let heard = |waiting| Box::new(Heard { streams: streams.clone(), life: life.clone(), waiting }) as Box<dyn Delivery>;
        Ok(due.into_iter().map(heard).collect())
    }
}

#[async_trait]
impl Delivery for Heard {
    fn payload(&self) -> &[u8] {
        &self.waiting.message.payload
    }

    async fn ack(&self) -> Result<(), Error> {
        self.life.step().await;
        self.streams.state().heard(self.waiting.number);
        Ok(())
    }
}
