//! Between the sites: whoever is reachable is asked; requests and answers are lost, late, repeated, cut short or broken
//! as the weather of the seed wants.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::life::Life;
use crate::backend::{Body, BodyError};
use crate::feed::Feed;
use crate::model::{BucketName, ObjectId, Seq, SiteNumber, Stamp, Unit};
use crate::peer::{Digest, DigestAsk, Error, Fetched, Heads, KeyRange, LogAsk, LogPage, Peer, Result, RowsPage};
use crate::site::Site;

/// How long whoever asks waits for an answer that is lost.
const PATIENCE: Duration = Duration::from_secs(4);

/// How requests fare, each in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Requests or answers that are lost.
    pub lost: u16,
    /// Requests that arrive twice.
    pub twice: u16,
    /// Answers that take up to half a minute.
    pub late: u16,
    /// Bodies that end early or are not what was sent.
    pub broken: u16,
    /// The longest an ordinary message takes, milliseconds.
    pub delay_ms_max: u64,
}

/// Who runs, and who is cut off from whom.
#[derive(Clone, Debug)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    sites: BTreeMap<SiteNumber, (Site, Arc<Life>)>,
    /// No message gets from the first to the second.
    cut: BTreeSet<(SiteNumber, SiteNumber)>,
    weather: Weather,
    chance: fastrand::Rng,
    /// Requests that were answered.
    requests: u64,
    /// Those for units or their bytes.
    fetches: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there_ms: u64,
    back_ms: u64,
    lost_there: bool,
    lost_back: bool,
    twice: bool,
    broken: Option<bool>,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        let (sites, cut, chance) = (BTreeMap::new(), BTreeSet::new(), fastrand::Rng::with_seed(seed));
        Self(Arc::new(Mutex::new(State { sites, cut, weather: Weather::default(), chance, requests: 0, fetches: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A site answers from now on.
    pub fn up(&self, site: Site, life: Arc<Life>) {
        self.state().sites.insert(site.id().number, (site, life));
    }

    /// A site answers nobody any more.
    pub fn down(&self, site: SiteNumber) {
        self.state().sites.remove(&site);
    }

    /// Cuts two sites off from each other, or joins them again.
    pub fn cut(&self, one: SiteNumber, other: SiteNumber, cut: bool) {
        self.cut_way(one, other, cut);
        self.cut_way(other, one, cut);
    }

    /// Lets no message get from one site to another, or lets them again.
    pub fn cut_way(&self, from: SiteNumber, to: SiteNumber, cut: bool) {
        let mut state = self.state();
        let _changed = if cut { state.cut.insert((from, to)) } else { state.cut.remove(&(from, to)) };
    }

    pub fn join_all(&self) {
        self.state().cut.clear();
    }

    /// Changes the weather, and answers what it was.
    pub fn weather(&self, weather: Weather) -> Weather {
        std::mem::replace(&mut self.state().weather, weather)
    }

    /// Whether nothing is cut between a site and any other.
    pub fn is_joined(&self, site: SiteNumber) -> bool {
        self.state().cut.iter().all(|(from, to)| *from != site && *to != site)
    }

    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Requests for units or their bytes.
    pub fn fetches(&self) -> u64 {
        self.state().fetches
    }

    /// How `reader` reads `read`, in one of its lives.
    pub fn peer(&self, reader: &Arc<Life>, read: SiteNumber) -> Arc<dyn Peer> {
        Arc::new(Link { network: self.clone(), reader: reader.clone(), read })
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        let Weather { lost, twice, late, broken, delay_ms_max } = self.weather;
        let chance = &mut self.chance;
        let mut one_of = |share: u16| share > 0 && chance.u16(..1_000) < share;
        let (lost_there, lost_back, twice, is_late, is_broken) =
            (one_of(lost), one_of(lost), one_of(twice), one_of(late), one_of(broken));
        let broken = is_broken.then(|| self.chance.bool());
        let mut delay = |max: u64| if max == 0 { 0 } else { self.chance.u64(..=max) };
        let (there_ms, back_ms) = (delay(delay_ms_max), if is_late { delay(30_000) } else { delay(delay_ms_max) });
        Fate { there_ms, back_ms, lost_there, lost_back, twice, broken }
    }
}

/// One site as a process of another reads it.
#[derive(Debug)]
struct Link {
    network: Network,
    reader: Arc<Life>,
    read: SiteNumber,
}

impl Link {
    /// The site at the other end, if a message gets there.
    fn reached(&self) -> Result<(Feed, Arc<Life>)> {
        let mut state = self.network.state();
        if state.cut.contains(&(self.reader.site, self.read)) {
            return Err(Error::Unreachable("cut off".into()));
        }
        let up = state.sites.get(&self.read).filter(|(_, life)| !life.is_dead());
        let (site, life) = up.cloned().ok_or_else(|| Error::Unreachable("down".into()))?;
        state.requests += 1;
        Ok((Feed::new(site), life))
    }

    fn answer_is_cut(&self) -> bool {
        self.network.state().cut.contains(&(self.read, self.reader.site))
    }

    async fn pause(&self, ms: u64) {
        if ms > 0 {
            sleep(Duration::from_millis(ms)).await;
        }
        if self.reader.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn no_answer<T>(&self) -> Result<T> {
        sleep(PATIENCE).await;
        Err(Error::Unreachable("no answer".into()))
    }

    async fn ask<T, A: Future<Output = Result<T>>>(&self, ask: impl Fn(Feed, Arc<Life>) -> A) -> Result<(T, Fate)> {
        let fate = self.network.state().fate();
        self.pause(fate.there_ms).await;
        if fate.lost_there {
            return self.no_answer().await;
        }
        let answered = async || {
            let (feed, life) = self.reached()?;
            tokio::select! {
                biased;
                answer = ask(feed, life.clone()) => answer,
                () = life.death() => Err(Error::Unreachable("it went down".into())),
            }
        };
        let answer = answered().await;
        if fate.twice {
            // Whoever asked hears the first answer, which is the older.
            let _ = answered().await;
        }
        self.pause(fate.back_ms).await;
        if self.answer_is_cut() {
            return Err(Error::Unreachable("cut off".into()));
        }
        if fate.lost_back {
            return self.no_answer().await;
        }
        Ok((answer?, fate))
    }
}

/// What comes of bytes on a broken way: they end early, or one of them is another.
fn broken(body: Body, fate: Fate) -> Body {
    let Some(early) = fate.broken else { return body };
    let size = body.size;
    let stream = body.stream.map(move |chunk| match chunk {
        Ok(_) if early => Err(BodyError::Truncated("the connection ended".into())),
        Ok(bytes) => Ok(spoiled(bytes.to_vec()).into()),
        Err(err) => Err(err),
    });
    Body::new(size, stream)
}

/// A heartbeat, held back as `Feed::heads` does it. What a channel of tokio wakes, it wakes in an order of chance.
async fn heads(feed: &Feed, life: &Life, reader: SiteNumber, mine: &Heads, wait: Duration) -> Result<Heads> {
    let until = Instant::now() + wait;
    loop {
        let mut told = std::pin::pin!(life.told());
        told.as_mut().enable();
        let heads = feed.heads(reader, mine.clone(), Duration::ZERO).await?;
        let known = mine.received.filter(|(life, _)| *life == heads.incarnation).map_or(Seq(0), |(_, seq)| seq);
        if heads.seq > known || Instant::now() >= until {
            return Ok(heads);
        }
        let _ = timeout_at(until, told).await;
    }
}

fn spoiled(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes
}

#[async_trait]
impl Peer for Link {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        let reader = self.reader.site;
        Ok(self.ask(async |feed: Feed, life: Arc<Life>| heads(&feed, &life, reader, &mine, wait).await).await?.0)
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        let reader = self.reader.site;
        Ok(self.ask(async |feed: Feed, _| feed.log(reader, ask).await).await?.0)
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        // Buckets are compared by every run that is due, in quiet too.
        self.network.state().fetches += u64::from(units.iter().any(|unit| matches!(unit, Unit::Object { .. })));
        let reader = self.reader.site;
        let (mut fetched, fate) = self.ask(async |feed: Feed, _| feed.fetch(reader, units).await).await?;
        if fate.broken.is_some() {
            fetched.iter_mut().for_each(|one| one.bytes = one.bytes.take().map(spoiled));
        }
        Ok(fetched)
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.network.state().fetches += 1;
        let reader = self.reader.site;
        let (body, fate) = self.ask(async |feed: Feed, _| feed.open(reader, object, data, range.clone()).await).await?;
        Ok(broken(body, fate))
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        let reader = self.reader.site;
        Ok(self.ask(async |feed: Feed, _| feed.digests(reader, ask.clone()).await).await?.0)
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        let reader = self.reader.site;
        Ok(self.ask(async |feed: Feed, _| feed.rows(reader, bucket, range.clone(), rows_max).await).await?.0)
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        let reader = self.reader.site;
        Ok(self.ask(async |feed: Feed, _| feed.buckets(reader).await).await?.0)
    }
}
