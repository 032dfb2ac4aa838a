//! Sites that run side by side, and what outlives a crash of one: its store and its status store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::SimClock;
use super::gate::Gate;
use super::life::{Gait, Life};
use super::network::Network;
use super::watch::Watch;
use crate::backend::memory::Memory;
use crate::clock::{Clock, WallClock};
use crate::model::{SiteId, SiteNumber};
use crate::reconcile::{self, Reconciler};
use crate::replicate::{self, Bell};
use crate::site::{Neighbours, Parts, Scope, Site};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::Runner;

/// A site and what outlives it.
pub struct Machine {
    pub id: SiteId,
    pub store: Arc<Memory>,
    disk: Forgetful,
    pub clock: Arc<SimClock>,
    /// How its processes go from their start on.
    pub gait: Gait,
    running: Option<Running>,
    /// How often it was started.
    starts: u64,
}

struct Running {
    site: Site,
    life: Arc<Life>,
    runner: Runner,
}

/// What a world is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub sites: u16,
    /// Whether guarded commits meet conflicts now and then.
    pub conflicts: bool,
    pub cached_rows_max: usize,
}

/// Every site, all of them neighbours.
pub struct World {
    pub network: Network,
    pub watch: Arc<Watch>,
    settings: Settings,
    machines: BTreeMap<SiteNumber, Machine>,
}

impl World {
    /// `count` sites that run and replicate everything to each other; nothing goes wrong by itself.
    pub async fn new(count: u16) -> Self {
        Self::of(Settings { seed: 0, sites: count, conflicts: false, cached_rows_max: 1_000 }).await
    }

    pub async fn of(settings: Settings) -> Self {
        let watch = Arc::new(Watch::default());
        let machine = |number| {
            let id = SiteId { name: format!("site-{number}"), number: SiteNumber(number) };
            let store = Arc::new(Memory::new());
            watch.store(id.number, store.clone());
            let (disk, clock) = (Forgetful::new(Power::on()), Arc::new(SimClock::new()));
            Machine { id, store, disk, clock, gait: Gait::default(), running: None, starts: 0 }
        };
        let machines = (1..=settings.sites).map(|number| (SiteNumber(number), machine(number))).collect();
        let network = Network::new(settings.seed);
        let mut world = Self { network, watch: watch.clone(), settings, machines };
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
        let (network, watch) = (self.network.clone(), self.watch.clone());
        let machine = self.machine(number);
        machine.starts += 1;
        let seed = settings.seed.wrapping_mul(1_000).wrapping_add(u64::from(number.0) + (machine.starts - 1) * 100);
        let life = Life::new(number, watch.clone(), machine.clock.clone(), seed, machine.gait);
        let others = ids.into_iter().filter(|id| id.number != number);
        let peers = others.map(|id| (id.clone(), network.peer(&life, id.number))).collect();
        let neighbours = Neighbours::new(peers, Scope::Everybody, false);
        let now_s = u32::try_from(machine.clock.millis() / 1_000).expect("a time before 2106");
        let options = Options {
            now_s,
            page_cache_bytes: 1 << 20,
            cached_rows_max: settings.cached_rows_max,
            conflict_seed: settings.conflicts.then_some(seed),
            ..Options::default()
        };
        let status = Status::open_paced(machine.disk.clone(), &options, Some(life.clone())).expect("a sound disk");
        let facts = status.facts();
        replicate::greet(&machine.id, &facts, machine.clock.millis(), &neighbours).await;
        let clock = Clock::new(machine.clock.clone(), number, facts.incarnation, facts.clock_ms);
        let backend = Arc::new(Gate::new(machine.store.clone(), life.clone()));
        let parts = Parts { id: machine.id.clone(), backend, status, clock, neighbours };
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
        workers.into_iter().chain(following).chain(reconciling).for_each(|worker| runner.spawn(worker));
        network.up(site.clone(), life.clone());
        watch.up(site.clone());
        self.machine(number).running = Some(Running { site, life, runner });
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
        running.runner.abort();
        self.network.down(number);
        self.watch.down(number);
    }

    /// Nothing is slow, fails or dies from now on.
    pub fn calm(&mut self) {
        self.network.join_all();
        self.network.weather(super::network::Weather::default());
        for machine in self.machines.values_mut() {
            machine.gait = Gait::default();
            if let Some(running) = &machine.running {
                running.life.set_gait(Gait::default());
                running.life.spare();
            }
        }
    }

    /// Kills a site and takes everything it had.
    pub fn wipe(&mut self, number: SiteNumber) {
        self.kill(number);
        let machine = self.machines.get_mut(&number).expect("a site of this world");
        (machine.store, machine.disk) = (Arc::new(Memory::new()), Forgetful::new(Power::on()));
    }

    /// Every wall clock goes forward at once, while nothing else happens.
    pub fn jump(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        for machine in self.machines.values() {
            machine.clock.advance(ms);
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
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
