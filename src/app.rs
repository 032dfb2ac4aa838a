//! The composition root: settings in, a running proxy out, and its end in order.

mod bus;
mod data;
mod face;
mod greeting;
mod home;
mod keys;
mod meters;
mod peers;
mod server;
mod signals;
mod stores;
mod tls;
mod waiting;
mod watch;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::admin::{self, KeptCensus, Probe, Readiness};
use crate::clock::{Clock, SystemClock, WallClock};
use crate::config::{self, ByteSize, Config};
use crate::events;
use crate::journal::{self, Archive};
use crate::model::{Day, SiteId, SiteNumber, Token};
use crate::reconcile::{self, Reconciler};
use crate::replicate::{self, Bell, Opening};
use crate::site::{self, Custody, LifecycleWorker, Neighbours, Site};
use crate::status::{self, Status};
use crate::tasks::{Runner, Worker, Workers};
use crate::telemetry::Metrics;
pub use bus::probe as probe_bus;
pub use data::owner;
pub use peers::{Probed as ProbedPeer, probe as probe_peers};
pub use stores::open as open_store;

use data::DataDir;
use keys::Keys;
use peers::{FeedServer, Peers};
use server::Server;
use signals::{Signal, Signals};
use waiting::{Door, WaitingRoom};

/// For the last moves at the store to become durable at the end; what is left is redone at the next start.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);
/// For workers to end the step they are in.
const WORKERS_PATIENCE: Duration = Duration::from_secs(10);
/// People and probes need few connections and no patience.
const ADMIN_CONNECTIONS: server::Settings = server::Settings {
    connections_max: 128,
    per_source_max: 128,
    streams_max: 32,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    drain: Duration::from_secs(1),
};

/// A running proxy. Dropping it is a crash: [`App::stop`] is the orderly end.
#[derive(Debug)]
pub struct App {
    s3: Server,
    admin: Server,
    /// None where there are no peers.
    feed: Option<FeedServer>,
    parts: Arc<admin::Parts>,
    runner: Runner,
    keys: Keys,
    /// None where the status store goes with the process, as the objects do.
    archive: Option<Archive>,
    /// Given back last.
    _data: DataDir,
}

/// Runs a site until the process is told to stop.
pub async fn serve(config: &Config) -> Result<()> {
    // Before anything else, so that a signal during the start is an orderly end too.
    let mut signals = Signals::listen()?;
    signals::raise_file_limit();
    // A start may wait for a store; what it was at is done again by the next one, as after a crash.
    let app = tokio::select! {
        started = App::start(config) => started?,
        () = signals.stop() => return Ok(()),
    };
    greeting::say(config, &app);
    while signals.next().await == Signal::Reload {
        if let Err(reason) = app.keys.reload() {
            error!(reason, "told to read the access keys again");
        }
    }
    signals::exit_on_next(signals);
    app.stop().await;
    Ok(())
}

impl App {
    /// Everything up and answering. What an earlier crash left undone is redone before.
    pub async fn start(config: &Config) -> Result<Self> {
        let data = DataDir::own(&config.data)?;
        let token = Token::new(&data::admin_token(&config.admin.token)?);
        let keys = Keys::open(config)?;
        let s3_listener = listen("s3.listen", config.s3.listen).await?;
        let admin_listener = listen("admin.listen", config.admin.listen).await?;
        let tls = tls::Listeners::open(config)?;
        let peers = Peers::of(config)?;
        let certificates = tls::watch(&tls, &peers.tls);
        let feed_listener = match config.peers.is_empty() {
            true => None,
            false => Some(listen("feed.listen", config.feed.listen).await?),
        };
        let (s3_door, admin_door) = (Door::of(&s3_listener, &tls.s3), Door::of(&admin_listener, &tls.admin));
        let mut room = WaitingRoom::new(s3_door, admin_door);
        let (site, workers) = open_site(config, peers.neighbours.clone(), &mut room).await?;
        // Before anybody is answered.
        let archive = match config.is_on_disk() {
            true => Some(Archive::begin(&site).await.map_err(anyhow::Error::msg).context("cannot archive in the store")?),
            false => None,
        };
        let mut runner = Runner::new(seed()?);
        let bell = Bell::default();
        let following = replicate::workers(&site, &bell, seed()?);
        let reconciler = Reconciler::new(&site, &bell);
        let every = reconcile::Settings { every: config.reconcile.every.0 };
        let reconciling = reconcile::workers(&reconciler, every, seed()?);
        let telling = bus::open(config).await?.map(|bus| events::workers(&site, &bus, &bell)).unwrap_or_default();
        // Before this site asks others, so that both find each other at once.
        let feed = feed_listener.map(|listener| peers.serve(site.clone(), listener, tls.feed)).transpose()?;
        let storing = site.backend().workers();
        let archiving = archive.as_ref().map(journal::workers).unwrap_or_default();
        let expiring: Box<dyn Worker> = Box::new(LifecycleWorker::new(site.clone(), config.lifecycle.day.0));
        workers
            .into_iter()
            .chain(storing)
            .chain(archiving)
            .chain(following)
            .chain(reconciling)
            .chain(telling)
            .chain([expiring, keys.watch(), site.importer()])
            .chain(certificates)
            .for_each(|worker| runner.spawn(worker));
        let metrics = Metrics::new();
        let census = Arc::new(KeptCensus::default());
        meters::attach(&metrics, &site, &runner.workers(), &census);
        archive.iter().for_each(|archive| meters::attach_archive(&metrics, archive));
        let parts = Arc::new(admin::Parts {
            site_id: site.id().clone(),
            readiness: readiness(&site, runner.workers()),
            site: site.clone(),
            reconciler,
            workers: runner.workers(),
            bell,
            census,
            metrics: metrics.clone(),
            keys: Arc::new(keys.clone()),
            started: Instant::now(),
            token,
            hosts: config.admin.hosts.clone(),
            open_metrics: config.admin.open_metrics,
            day: Day::lasting(config.lifecycle.day.0),
        });
        let s3_face = face::service(config, site, &keys, &metrics, seed()?);
        room.close().await;
        let s3 = Server::start(s3_listener, tls.s3, s3_face, s3_connections(config))?;
        let admin_face = TowerToHyperService::new(admin::router(parts.clone()));
        let admin = Server::start(admin_listener, tls.admin, admin_face, ADMIN_CONNECTIONS)?;
        Ok(Self { s3, admin, feed, parts, runner, keys, archive, _data: data })
    }

    /// Where S3 is spoken, with the port really taken.
    pub fn s3_address(&self) -> SocketAddr {
        self.s3.address()
    }

    /// Where admin answers, with the port really taken.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Where other sites read, with the port really taken; `None` where there are none.
    pub fn feed_address(&self) -> Option<SocketAddr> {
        self.feed.as_ref().map(|feed| feed.server.address())
    }

    /// The end in order: nobody is sent here any more, requests in flight end, other sites are told no more, the last moves
    /// at the store become durable, workers end their step, the last rows are archived, the status store closes.
    pub async fn stop(self) {
        info!("stopping: requests in flight may end");
        self.parts.readiness.drain();
        self.s3.stop().await;
        if let Some(feed) = self.feed {
            feed.stop().await;
        }
        settle(&self.parts.site).await;
        self.runner.stop(Instant::now() + WORKERS_PATIENCE).await;
        if let Some(archive) = self.archive
            && let Err(reason) = archive.flush().await
        {
            warn!(reason, "the last commits are not archived: they are at the next start");
        }
        self.admin.stop().await;
        info!("stopped");
    }
}

/// Opens the store and what is known of it, and redoes what a crash left undone.
async fn open_site(config: &Config, neighbours: Neighbours, room: &mut WaitingRoom<'_>) -> Result<(Site, Vec<Box<dyn Worker>>)> {
    let wall = Arc::new(SystemClock);
    let id = SiteId { name: config.site.name.clone(), number: SiteNumber(config.site.number.get()) };
    let backend = stores::open_all(config, &id, room).await?;
    let now_ms = wall.millis();
    let opening = Opening { id: &id, backend: &*backend, neighbours: &neighbours, now_ms };
    let status = replicate::open_status(opening, status_options(config, now_ms), Status::open).await;
    let status = status.context("cannot open the status store")?;
    let facts = status.facts();
    let clock = Clock::new(wall, id.number, facts.incarnation, facts.clock_ms);
    let custody = Custody { region: config.s3.region.clone(), rules: config.buckets.clone() };
    let opened = Site::open(site::Parts { id, backend, status, clock, neighbours, custody }).await;
    let (site, workers) = opened.context("cannot recover the site")?;
    stores::refuse_names_in_use(config, &site).await?;
    Ok((site, workers))
}

fn status_options(config: &Config, now_ms: u64) -> status::Options {
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    // What is known of objects in memory must go with them.
    let path = config.is_on_disk().then(|| config.data.join("status.redb"));
    status::Options {
        path,
        page_cache_bytes: bytes(config.status.page_cache_bytes),
        cached_rows_max: bytes(ByteSize(config.status.cached_rows_max.get().into())),
        cached_bytes_max: bytes(config.status.cached_bytes_max),
        now_s: u32::try_from(now_ms / 1000).unwrap_or(u32::MAX),
        new_life: None,
        conflict_seed: None,
    }
}

/// Reads what stands beside the settings, as `start` does: the access keys, certificates, the admin token, those of peers
/// and what proves this site to its stores. Makes none.
pub fn check(config: &Config) -> Result<()> {
    tls::Listeners::open(config)?;
    data::check_admin_token(&config.admin.token)?;
    Peers::of(config)?;
    stores::check(config)?;
    Keys::check(config)
}

fn s3_connections(config: &Config) -> server::Settings {
    let config::S3 { connections_max, connections_per_source_max, header_timeout, idle_timeout, drain, .. } = &config.s3;
    let count = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    server::Settings {
        connections_max: count(*connections_max),
        per_source_max: count(*connections_per_source_max),
        streams_max: config.s3.http2_streams_max.get(),
        header_timeout: header_timeout.0,
        idle_timeout: idle_timeout.0,
        drain: drain.0,
    }
}

async fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address} ({setting}); is another process there?"))
}

/// Waits until nothing is left to be redone at the next start, within bounds.
async fn settle(site: &Site) {
    let deadline = Instant::now() + SETTLE_PATIENCE;
    while site.unsettled() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let left = site.unsettled();
    if left > 0 {
        warn!(left, "some moves at the store are left to the next start");
    }
}

fn readiness(site: &Site, workers: Workers) -> Readiness {
    let (status, backend) = (site.status().clone(), site.backend().clone());
    let status_works = move || {
        let healthy = status.healthy();
        async move { if healthy { Ok(()) } else { Err("it failed and takes no writes until a restart".to_owned()) } }
    };
    let store_works = move || {
        let backend = backend.clone();
        async move {
            backend.check_each().await.into_iter().map(|(name, checked)| (name, checked.map_err(|err| err.to_string()))).collect()
        }
    };
    Readiness::new(vec![Probe::new("status store", status_works), Probe::each("store", store_works)], workers)
}

/// Spreads the pauses of workers.
fn seed() -> Result<u64> {
    getrandom::u64().context("the system gives no random numbers")
}

#[cfg(test)]
mod tests;
