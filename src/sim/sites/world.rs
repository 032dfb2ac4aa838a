//! Sites that run side by side, and what outlives a crash of one: its store and its status store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::bus::Streams;
use super::clock::SimClock;
use super::gate::Gate;
use super::life::{Gait, Life};
use super::network::Network;
use super::plan::Rot;
use super::watch::Watch;
use crate::backend::memory::Memory;
use crate::backend::{Backend, Place};
use crate::clock::{Clock, WallClock};
use crate::events;
use crate::model::{AHEAD_MS_MAX, Location, ObjectId, Record, SiteId, SiteNumber, Slot, Unit};
use crate::reconcile::{self, Ask, Reconciler, RunState};
use crate::replicate::{self, Bell, Opening};
use crate::site::{Neighbours, Parts, Scope, Site};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::{Phase, Runner};

/// A site and what outlives it.
pub struct Machine {
    pub id: SiteId,
    pub store: Arc<Memory>,
    disk: Forgetful,
    /// When it began with nothing.
    made: Instant,
    /// The disk as it was when a copy of it was kept.
    copy: Option<Forgetful>,
    pub clock: Arc<SimClock>,
    /// How its processes go from their start on.
    pub gait: Gait,
    running: Option<Running>,
    /// How often it was started.
    starts: u64,
    /// Whether it lost what it knew since it last ran.
    has_lost: bool,
}

struct Running {
    site: Site,
    life: Arc<Life>,
    runner: Runner,
    hub: Reconciler,
}

/// What a world is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub sites: u16,
    /// Whether guarded commits meet conflicts now and then.
    pub conflicts: bool,
    pub cached_rows_max: usize,
    /// Whether a bus carries what is told, and how many of its messages go wrong, in a thousand.
    pub bus: Option<u16>,
    /// Whose stores give bytes a name of their own at once: a bit for each site, from the lowest.
    pub naming: u16,
}

impl Settings {
    fn store(&self, site: SiteNumber) -> Arc<Memory> {
        let names = self.naming >> (site.0 - 1) & 1 == 1;
        Arc::new(if names { Memory::naming() } else { Memory::new() })
    }
}

/// Every site, all of them neighbours.
pub struct World {
    pub network: Network,
    pub watch: Arc<Watch>,
    pub streams: Option<Streams>,
    settings: Settings,
    machines: BTreeMap<SiteNumber, Machine>,
}

impl World {
    /// `count` sites that run and replicate everything to each other; nothing goes wrong by itself.
    pub async fn new(count: u16) -> Self {
        Self::of(Settings { seed: 0, sites: count, conflicts: false, cached_rows_max: 1_000, bus: None, naming: 0 }).await
    }

    pub async fn of(settings: Settings) -> Self {
        let watch = Arc::new(Watch::default());
        let machine = |number| {
            let id = SiteId { name: format!("site-{number}"), number: SiteNumber(number) };
            let store = settings.store(id.number);
            watch.store(id.number, store.clone());
            let (disk, clock) = (Forgetful::new(Power::on()), Arc::new(SimClock::new()));
            Machine {
                id,
                store,
                disk,
                made: Instant::now(),
                copy: None,
                clock,
                gait: Gait::default(),
                running: None,
                starts: 0,
                has_lost: false,
            }
        };
        let machines: BTreeMap<_, _> = (1..=settings.sites).map(|number| (SiteNumber(number), machine(number))).collect();
        let names = machines.values().map(|machine| machine.id.name.clone()).collect();
        let streams = settings.bus.map(|bad| Streams::new(names, settings.seed, bad));
        let network = Network::new(settings.seed);
        let mut world = Self { network, watch: watch.clone(), streams, settings, machines };
        for number in world.numbers() {
            world.start(number).await;
        }
        world
    }

    pub fn numbers(&self) -> Vec<SiteNumber> {
        self.machines.keys().copied().collect()
    }

    pub fn machine(&mut self, number: SiteNumber) -> &mut Machine {
        self.machines.get_mut(&number).expect("a site of this world")
    }

    pub fn site(&self, number: u16) -> &Site {
        self.running(SiteNumber(number)).expect("the site runs").0
    }

    /// A site that runs, and its life.
    pub fn running(&self, number: SiteNumber) -> Option<(&Site, &Arc<Life>)> {
        let running = self.machines[&number].running.as_ref().filter(|running| !running.life.is_dead())?;
        Some((&running.site, &running.life))
    }

    /// Starts a site, with its workers, unless it runs. One that dies while it starts is down.
    pub async fn start(&mut self, number: SiteNumber) {
        if self.running(number).is_some() {
            return;
        }
        self.bury(number);
        let settings = self.settings;
        let ids: Vec<SiteId> = self.machines.values().map(|other| other.id.clone()).collect();
        let (network, watch, streams) = (self.network.clone(), self.watch.clone(), self.streams.clone());
        let machine = self.machine(number);
        machine.starts += 1;
        let seed = settings.seed.wrapping_mul(1_000).wrapping_add(u64::from(number.0) + (machine.starts - 1) * 100);
        let life = Life::new(number, watch.clone(), machine.clock.clone(), seed, machine.gait);
        let others = ids.into_iter().filter(|id| id.number != number);
        let peers = others.map(|id| (id.clone(), network.peer(&life, id.number))).collect();
        let neighbours = Neighbours::new(peers, Scope::Everybody, streams.is_some());
        let now_s = u32::try_from(machine.clock.millis() / 1_000).expect("a time before 2106");
        let options = Options {
            now_s,
            page_cache_bytes: 1 << 20,
            cached_rows_max: settings.cached_rows_max,
            conflict_seed: settings.conflicts.then_some(seed),
            ..Options::default()
        };
        let backend = Arc::new(Gate::new(machine.store.clone(), life.clone()));
        let now_ms = machine.clock.millis();
        let opening = Opening { id: &machine.id, backend: &*backend, neighbours: &neighbours, now_ms };
        let open = |options: Options| Status::open_paced(machine.disk.clone(), &options, Some(life.clone()));
        // A store that fails at the start keeps the process from starting.
        let Ok(status) = replicate::open_status(opening, options, open).await else { return };
        let facts = status.facts();
        let clock = Clock::new(machine.clock.clone(), number, facts.incarnation, facts.clock_ms);
        let parts = Parts { id: machine.id.clone(), backend, status, clock, neighbours, custody: Default::default() };
        let opened = tokio::select! {
            biased;
            opened = Site::open(parts) => opened,
            () = life.death() => return,
        };
        // A store that fails at the start keeps the process from starting.
        let Ok((site, workers)) = opened else { return };
        let mut runner = Runner::new(seed);
        let bell = Bell::default();
        let hub = Reconciler::new(&site, &bell);
        let following = replicate::workers(&site, &bell, seed);
        let reconciling = reconcile::workers(&hub, reconcile::Settings::default(), seed);
        let bus = streams.map(|streams| streams.bus(&site.id().name, &life));
        let telling = bus.map(|bus| events::workers(&site, &bus, &bell)).unwrap_or_default();
        let workers = workers.into_iter().chain(following).chain(reconciling).chain(telling);
        workers.for_each(|worker| runner.spawn(worker));
        if std::mem::take(&mut self.machine(number).has_lost) {
            // What is too far ahead is heard by nobody.
            let told = site.neighbours().iter().filter_map(|neighbour| neighbour.seen().heads).map(|heads| heads.stamped);
            let heard = told.filter(|(ms, _)| *ms <= now_ms + AHEAD_MS_MAX).max();
            watch.forgot_stamps(number, heard.unwrap_or_default());
        }
        network.up(site.clone(), life.clone());
        watch.up(site.clone());
        self.machine(number).running = Some(Running { site, life, runner, hub });
    }

    /// Kills a site at once: what it had not made durable is gone.
    pub fn kill(&mut self, number: SiteNumber) {
        if let Some((_, life)) = self.running(number) {
            life.dies_after(0);
        }
        self.bury(number);
    }

    /// Takes away what is left of a dead process. Its tasks hold the disk that it had, and never touch it again.
    fn bury(&mut self, number: SiteNumber) {
        let machine = self.machine(number);
        machine.disk = machine.disk.crash(0);
        let Some(running) = machine.running.take() else { return };
        let panicked = running.panicked();
        running.runner.abort();
        panicked.into_iter().for_each(|what| self.watch.violate(what));
        self.network.down(number);
        self.watch.down(number);
    }

    /// Nothing is slow, fails or dies from now on.
    pub fn calm(&mut self) {
        self.network.join_all();
        self.network.weather(super::network::Weather::default());
        self.streams.iter().for_each(Streams::calm);
        for machine in self.machines.values_mut() {
            machine.gait = Gait::default();
            if let Some(running) = &machine.running {
                running.life.set_gait(Gait::default());
                running.life.spare();
            }
        }
    }

    /// Kills a site and takes everything it had, if others have it. Lives are told apart by the second they begin in.
    pub async fn lose(&mut self, number: SiteNumber) {
        if self.machines[&number].made.elapsed() > Duration::from_secs(2) && self.watch.is_spare(number) {
            self.wipe(number);
            self.start(number).await;
        }
    }

    /// Kills a site and takes everything it had.
    pub fn wipe(&mut self, number: SiteNumber) {
        self.kill(number);
        let store = self.settings.store(number);
        let machine = self.machine(number);
        (machine.made, machine.copy, machine.has_lost) = (Instant::now(), None, true);
        (machine.store, machine.disk) = (store.clone(), Forgetful::new(Power::on()));
        self.watch.lost(number, store);
    }

    /// Spoils the bytes that a site has of an object's current version, if another site has them too.
    pub fn rot(&mut self, number: SiteNumber, object: &ObjectId, how: Rot) {
        let current = self.watch.current(number, object).1;
        // Where nothing is shown something may still lie under the plain name.
        let own = current.live().filter(|record| matches!(record.location, Location::Own(_)));
        let slot = own.map_or(Slot::Null, Record::slot);
        let location = own.map_or(Location::Plain, |record| record.location.clone());
        if !self.watch.is_held_elsewhere(number, &Unit::of(object, slot)) {
            return;
        }
        let store = &self.machines[&number].store;
        let place = Place { object: object.clone(), location };
        let Some(found) = self.watch.look(async { store.head(&place).await.ok() }) else { return };
        let spoiled = match how {
            Rot::Silent => store.spoil(&place).is_some(),
            Rot::Gone => self.watch.look(store.delete(&place, &found.binding)).is_ok(),
            Rot::Replaced => store.displace(&place, Bytes::from_static(b"not this")),
        };
        if spoiled {
            self.watch.rotted(number, object, found.binding);
        }
    }

    /// Keeps a copy of a site's status store as it is now.
    pub fn keep_copy(&mut self, number: SiteNumber) {
        let machine = self.machine(number);
        machine.copy = Some(machine.disk.crash(0));
    }

    /// Kills a site and gives it the status store back of which a copy was kept. Its store is as it was. Only where others
    /// have all that it has and know all that it told, and answer when it starts: nothing else shows it that it lost something.
    pub async fn roll_back(&mut self, number: SiteNumber) {
        let has_copy = self.machines[&number].copy.is_some();
        if !has_copy || !self.watch.is_spare(number) || !self.is_known(number) || !self.network.is_joined(number) {
            return;
        }
        self.kill(number);
        let machine = self.machine(number);
        machine.disk = machine.copy.take().expect("it was looked at");
        machine.has_lost = true;
        let store = machine.store.clone();
        self.watch.lost(number, store);
        let weather = self.network.weather(super::network::Weather::default());
        self.start(number).await;
        self.network.weather(weather);
    }

    /// Whether everything that a site told is known to another one.
    fn is_known(&self, number: SiteNumber) -> bool {
        let Some((site, _)) = self.running(number) else { return false };
        let told = (site.status().facts().incarnation, *site.status().told().borrow());
        let knows = |other: &SiteNumber| {
            let lives = self.running(*other).filter(|(_, life)| !life.is_doomed());
            let received = lives.and_then(|(other, _)| other.neighbours().get(number)?.seen().received);
            *other != number && received == Some(told)
        };
        self.numbers().iter().any(knows)
    }

    /// Has a site reconcile, if it runs.
    pub fn reconcile(&self, number: SiteNumber, ask: Ask) {
        let Some(running) = self.machines[&number].running.as_ref().filter(|running| !running.life.is_dead()) else { return };
        // More may be asked for than it takes.
        let _ = running.hub.start(ask);
    }

    /// Whether a run that was asked for has not ended.
    pub fn is_reconciling(&self, number: SiteNumber) -> bool {
        let running = self.machines[&number].running.as_ref();
        running.is_some_and(|running| {
            running.hub.runs().iter().any(|run| matches!(run.state, RunState::Waiting | RunState::Running))
        })
    }

    /// Every wall clock goes forward at once, while nothing else happens. Copies that are kept are too old then: they may
    /// hold what was deleted so long ago that nobody knows it any more.
    pub fn jump(&mut self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        for machine in self.machines.values_mut() {
            machine.clock.advance(ms);
            machine.copy = None;
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Running {
    /// Workers that panicked: they stand still until the next start.
    fn panicked(&self) -> Vec<String> {
        let all = self.runner.workers().snapshots().into_iter();
        let panicked = all.filter(|worker| worker.phase == Phase::Panicked);
        let said = |worker: crate::tasks::Snapshot| worker.last_error.map_or_else(String::new, |err| err.text);
        panicked
            .map(|worker| format!("the worker {} at {} panicked: {}", worker.name.clone(), self.site.id().name, said(worker)))
            .collect()
    }
}

/// The sites know each other through the network, which knows the sites.
impl Drop for World {
    fn drop(&mut self) {
        for number in self.numbers() {
            self.kill(number);
        }
    }
}
