//! Sites that run side by side, and what outlives a crash of one: its store and its status store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::network::Network;
use crate::backend::memory::Memory;
use crate::clock::{Clock, WallClock};
use crate::model::{SiteId, SiteNumber};
use crate::reconcile::{self, Reconciler};
use crate::replicate::{self, Bell};
use crate::site::{Neighbours, Parts, Scope, Site};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::Runner;

/// Wall time of a simulation: tokio's paused time, from a beginning of our own, with a skew.
#[derive(Debug)]
pub struct SimClock {
    began: tokio::time::Instant,
    skew_ms: AtomicU64,
}

/// Where simulated time begins, milliseconds since 1970.
const BEGINNING_MS: u64 = 1_790_000_000_000;

impl SimClock {
    fn new() -> Self {
        Self { began: tokio::time::Instant::now(), skew_ms: AtomicU64::new(0) }
    }
}

impl WallClock for SimClock {
    fn millis(&self) -> u64 {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        BEGINNING_MS + passed + self.skew_ms.load(Ordering::SeqCst)
    }
}

/// A site and what outlives it.
pub struct Machine {
    pub id: SiteId,
    store: Arc<Memory>,
    disk: Forgetful,
    clock: Arc<SimClock>,
    running: Option<Running>,
}

struct Running {
    site: Site,
    runner: Runner,
}

/// Every site, all of them neighbours.
pub struct World {
    pub network: Network,
    machines: BTreeMap<SiteNumber, Machine>,
}

impl World {
    /// `count` sites that run and replicate everything to each other.
    pub async fn new(count: u16) -> Self {
        let machine = |number| {
            let id = SiteId { name: format!("site-{number}"), number: SiteNumber(number) };
            let disk = Forgetful::new(Power::on());
            Machine { id, store: Arc::new(Memory::new()), disk, clock: Arc::new(SimClock::new()), running: None }
        };
        let machines = (1..=count).map(|number| (SiteNumber(number), machine(number))).collect();
        let mut world = Self { network: Network::default(), machines };
        for number in world.numbers() {
            world.start(number).await;
        }
        world
    }

    pub fn numbers(&self) -> Vec<SiteNumber> {
        self.machines.keys().copied().collect()
    }

    pub fn site(&self, number: u16) -> &Site {
        &self.machines[&SiteNumber(number)].running.as_ref().expect("the site runs").site
    }

    /// Starts a site, with its workers.
    pub async fn start(&mut self, number: SiteNumber) {
        let others: Vec<_> =
            self.machines.values().filter(|other| other.id.number != number).map(|other| other.id.clone()).collect();
        let peers = others.into_iter().map(|id| (id.clone(), self.network.peer(number, id.number))).collect();
        let machine = self.machines.get_mut(&number).expect("a site of this world");
        let neighbours = Neighbours::new(peers, Scope::Everybody, false);
        let status = Status::open_inline(machine.disk.clone(), &Options::default()).expect("a sound disk");
        let facts = status.facts();
        let clock = Clock::new(machine.clock.clone(), number, facts.incarnation, facts.clock_ms);
        let parts = Parts { id: machine.id.clone(), backend: machine.store.clone(), status, clock, neighbours };
        let (site, workers) = Site::open(parts).await.expect("the site opens");
        let mut runner = Runner::new(u64::from(number.0));
        let bell = Bell::default();
        let hub = Reconciler::new(&site, &bell);
        let following = replicate::workers(&site, &bell, u64::from(number.0));
        let reconciling = reconcile::workers(&hub, reconcile::Settings::default(), u64::from(number.0));
        workers.into_iter().chain(following).chain(reconciling).for_each(|worker| runner.spawn(worker));
        self.network.up(site.clone());
        machine.running = Some(Running { site, runner });
    }

    /// Kills a site: what it had not made durable is gone.
    pub fn kill(&mut self, number: SiteNumber) {
        self.network.down(number);
        let machine = self.machines.get_mut(&number).expect("a site of this world");
        if let Some(running) = machine.running.take() {
            running.runner.abort();
            drop(running.site);
        }
        machine.disk = machine.disk.crash(0);
    }

    /// Every wall clock goes forward at once, while nothing else happens.
    pub fn jump(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        for machine in self.machines.values() {
            machine.clock.skew_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
