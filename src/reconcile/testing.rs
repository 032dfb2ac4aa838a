//! Sites that follow and reconcile each other in one process, in paused time, over wires that count bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::{Ask, Progress, Reconciler, RunState, Settings};
use crate::backend::Body;
use crate::backend::memory::Memory;
use crate::clock::{Clock, WallClock};
use crate::feed::Feed;
use crate::model::{BucketName, ObjectId, SiteId, SiteNumber, Stamp, Unit};
use crate::peer::{Digest, DigestAsk, Error, Fetched, Heads, KeyRange, LogAsk, LogPage, Peer, Result, RowsPage};
use crate::replicate::{self, Bell};
use crate::site::{Neighbours, Parts, Scope, Site};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::Runner;

#[derive(Debug)]
struct PausedClock(tokio::time::Instant);

impl WallClock for PausedClock {
    fn millis(&self) -> u64 {
        1_790_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// Who can be read, and how much was.
#[derive(Debug, Default)]
pub struct Wires {
    sites: Mutex<BTreeMap<SiteNumber, Site>>,
    /// Sites that run and are cut off from all others.
    cut: Mutex<BTreeSet<SiteNumber>>,
    /// Whether nothing is fetched: rows and digests come through.
    pub starved: AtomicBool,
    /// Of questions and answers of reconciliation.
    pub bytes: AtomicU64,
}

#[derive(Debug)]
struct Wire {
    wires: Arc<Wires>,
    reader: SiteNumber,
    read: SiteNumber,
}

impl Wire {
    fn feed(&self) -> Result<Feed> {
        let cut = self.wires.cut.lock().unwrap();
        let site = self.wires.sites.lock().unwrap().get(&self.read).cloned();
        let site = site.filter(|_| !cut.contains(&self.read) && !cut.contains(&self.reader));
        site.map(Feed::new).ok_or_else(|| Error::Unreachable("down".into()))
    }

    /// Where objects are fetched: buckets come through whatever happens, as rows and digests do.
    fn plenty(&self, is_bucket: bool) -> Result<Feed> {
        match self.wires.starved.load(Ordering::Relaxed) && !is_bucket {
            true => Err(Error::Unreachable("nothing is fetched".into())),
            false => self.feed(),
        }
    }

    fn count<T: Serialize>(&self, said: T) -> T {
        let bytes = postcard::to_stdvec(&said).unwrap().len() as u64;
        self.wires.bytes.fetch_add(bytes, Ordering::Relaxed);
        said
    }
}

#[async_trait]
impl Peer for Wire {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        self.feed()?.heads(self.reader, mine, wait).await
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        self.feed()?.log(self.reader, ask).await
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.plenty(units.iter().all(|unit| matches!(unit, Unit::Bucket(_))))?.fetch(self.reader, units).await
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.plenty(false)?.open(self.reader, object, data, range).await
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        Ok(self.count(self.feed()?.digests(self.reader, self.count(ask)).await?))
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        Ok(self.count(self.feed()?.rows(self.reader, bucket, self.count(range), rows_max).await?))
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        Ok(self.count(self.feed()?.buckets(self.reader).await?))
    }
}

/// A site at work.
pub struct House {
    pub site: Site,
    pub hub: Reconciler,
    runner: Runner,
}

/// What outlives the process of a site.
struct Estate {
    disk: Forgetful,
    store: Arc<Memory>,
}

/// Sites that tell each other everything, if nothing else is said.
pub struct Street {
    pub wires: Arc<Wires>,
    /// How many sites know each other from the next start of each on.
    pub count: u16,
    /// Whom sites tell from their next start on.
    pub scopes: BTreeMap<u16, Scope>,
    /// Between two comparisons that nothing else calls for, from the next start on.
    pub every: Duration,
    clock: Arc<PausedClock>,
    houses: BTreeMap<u16, House>,
    estates: BTreeMap<u16, Estate>,
}

impl Street {
    /// A street where nobody lives yet.
    pub fn empty(count: u16) -> Self {
        let clock = Arc::new(PausedClock(tokio::time::Instant::now()));
        let (houses, estates, scopes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { wires: Arc::default(), count, scopes, every: Settings::default().every, clock, houses, estates }
    }

    /// Sites that met each other.
    pub async fn of(count: u16) -> Self {
        let mut street = Self::empty(count);
        for number in 1..=count {
            street.open(number).await;
        }
        pass(3).await;
        street
    }

    /// Opens the status store of a site, as its start does first.
    pub fn status(&mut self, number: u16) -> Status {
        let new = || Estate { disk: Forgetful::new(Power::on()), store: Arc::new(Memory::new()) };
        let now_s = u32::try_from(self.clock.millis() / 1_000).unwrap();
        let disk = self.estates.entry(number).or_insert_with(new).disk.clone();
        Status::open_inline(disk, &Options { now_s, ..Options::default() }).unwrap()
    }

    /// Starts a site on what it had, or on nothing.
    pub async fn open(&mut self, number: u16) {
        let status = self.status(number);
        let facts = status.facts();
        let id = |number: u16| SiteId { name: format!("site-{number}"), number: SiteNumber(number) };
        let wire = |read: u16| {
            let wire = Wire { wires: self.wires.clone(), reader: SiteNumber(number), read: SiteNumber(read) };
            (id(read), Arc::new(wire) as Arc<dyn Peer>)
        };
        let others = (1..=self.count).filter(|other| *other != number).map(wire).collect();
        let scope = self.scopes.get(&number).cloned().unwrap_or(Scope::Everybody);
        let neighbours = Neighbours::new(others, scope, false);
        replicate::greet(&id(number), &facts, self.clock.millis(), &neighbours).await;
        let clock = Clock::new(self.clock.clone(), SiteNumber(number), facts.incarnation, facts.clock_ms);
        let store = self.estates[&number].store.clone();
        let parts = Parts { id: id(number), backend: store, status, clock, neighbours, custody: Default::default() };
        let (site, workers) = Site::open(parts).await.unwrap();
        let (mut runner, bell) = (Runner::new(number.into()), Bell::default());
        let hub = Reconciler::new(&site, &bell);
        let more = replicate::workers(&site, &bell, number.into());
        let more = more.into_iter().chain(super::workers(&hub, Settings { every: self.every }, number.into()));
        workers.into_iter().chain(more).for_each(|worker| runner.spawn(worker));
        self.wires.sites.lock().unwrap().insert(SiteNumber(number), site.clone());
        self.houses.insert(number, House { site, hub, runner });
    }

    /// Ends the process of a site.
    pub fn close(&mut self, number: u16) {
        self.wires.sites.lock().unwrap().remove(&SiteNumber(number));
        self.houses.remove(&number).unwrap().runner.abort();
        let estate = self.estates.get_mut(&number).unwrap();
        estate.disk = estate.disk.crash(0);
    }

    /// The site is gone with all it had.
    pub fn burn(&mut self, number: u16) {
        self.close(number);
        self.estates.remove(&number);
    }

    /// Cuts a site off from all others, or connects it again.
    pub fn cut(&self, number: u16, is_cut: bool) {
        let mut cut = self.wires.cut.lock().unwrap();
        if is_cut {
            cut.insert(SiteNumber(number))
        } else {
            cut.remove(&SiteNumber(number))
        };
    }

    /// Stops what is fetched, or lets it through again.
    pub fn starve(&self, starved: bool) {
        self.wires.starved.store(starved, Ordering::Relaxed);
    }

    pub fn house(&self, number: u16) -> &House {
        &self.houses[&number]
    }

    pub fn site(&self, number: u16) -> &Site {
        &self.houses[&number].site
    }

    /// Runs to a good end.
    pub async fn reconcile(&self, number: u16, ask: Ask) -> Progress {
        let progress = self.run(number, ask).await;
        assert_eq!(progress.state, RunState::Done, "{:?}", progress.error);
        progress
    }

    /// Runs to the end.
    pub async fn run(&self, number: u16, ask: Ask) -> Progress {
        let hub = &self.houses[&number].hub;
        let id = hub.start(ask).unwrap();
        for _ in 0..10_000 {
            let (progress, _) = hub.run(id, 0, 0).unwrap();
            if progress.ended_ms.is_some() {
                return progress;
            }
            pass(1).await;
        }
        panic!("the run does not end");
    }

    /// Whether two sites have the same of everything, bytes included.
    pub async fn equal(&self, one: u16, other: u16) -> bool {
        everything(self.site(one)).await == everything(self.site(other)).await
    }
}

/// Lets seconds pass.
pub async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Every unit of every bucket, as others are told of it.
pub async fn everything(site: &Site) -> Vec<(String, u128)> {
    let mut all = Vec::new();
    for bucket in site.known_buckets().await.unwrap() {
        let mut rest = KeyRange::ALL;
        loop {
            let page = super::rows(site, &bucket, &rest, 4_000).await.unwrap();
            all.extend(page.rows.iter().map(|row| (format!("{bucket}/{}", row.key), row.hash)));
            rest.from = page.rows.last().and_then(|row| row.key.next());
            if !page.more {
                break;
            }
        }
    }
    all
}
