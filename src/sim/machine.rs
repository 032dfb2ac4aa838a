//! A machine that can lose its power: production code on disks that forget what was not synced.

use std::sync::Arc;

use crate::backend::fs::Fs;
use crate::backend::fs::shim::Shim;
use crate::clock::{Clock, ManualClock};
use crate::model::{SiteId, SiteNumber};
use crate::site::{Neighbours, Parts, Site};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::Worker;

/// It stands still: two writes never differ by their time alone.
const WALL_MS: u64 = 1_790_000_000_000;

/// Two disks on one switch, the store's and the status store's.
#[derive(Clone, Debug)]
pub struct Machine {
    pub shim: Shim,
    disk: Forgetful,
}

/// A running site.
pub struct Process {
    pub site: Site,
    pub fs: Arc<Fs>,
    /// Settles what writes left; the workers that only wait for time to pass are not run.
    pub settler: Box<dyn Worker>,
}

impl Machine {
    /// A machine on which a site ran once: only a status store that exists survives a crash on a bare disk.
    pub async fn new() -> Self {
        let disk = Forgetful::new(Power::on());
        let machine = Self { shim: Shim::new().powered_by(disk.power()), disk };
        drop(machine.start().await.expect("a machine with power starts"));
        machine.after_crash(1)
    }

    /// The switch of both disks.
    pub fn power(&self) -> &Power {
        self.disk.power()
    }

    pub fn is_off(&self) -> bool {
        self.power().check().is_err()
    }

    /// The machine after the power came back; `seed` says what the disks remember. Below 4 each disk keeps all or
    /// nothing of what was not synced, in every combination.
    pub fn after_crash(&self, seed: u64) -> Self {
        let (files, rows) = if seed < 4 { (seed & 1, seed >> 1 ^ seed & 1) } else { (seed, seed * 31) };
        let disk = self.disk.crash(rows);
        Self { shim: self.shim.crash(files).powered_by(disk.power()), disk }
    }

    /// Only the process is killed: nothing is forgotten yet, and what was not synced may be later.
    pub fn kill(&self) {
        self.power().fail_after(u64::MAX);
        self.shim.restart();
    }

    /// Starts the site: opens what is on the disks, and recovers.
    pub async fn start(&self) -> Result<Process, String> {
        let fs = Arc::new(Fs::on_shim(&self.shim).map_err(|err| err.to_string())?);
        let status = Status::open_on(self.disk.clone(), &Options::default()).map_err(|err| err.to_string())?;
        let (facts, number) = (status.facts(), SiteNumber(1));
        let clock = Clock::new(Arc::new(ManualClock::at(WALL_MS)), number, facts.incarnation, facts.clock_ms);
        let id = SiteId { name: "test".into(), number };
        let opened = Site::open(Parts {
            id,
            backend: fs.clone(),
            status,
            clock,
            neighbours: Neighbours::default(),
            custody: Default::default(),
        })
        .await;
        let (site, workers) = opened.map_err(|err| err.to_string())?;
        let settler = workers.into_iter().find(|worker| worker.name() == "settle").expect("a site has a settler");
        Ok(Process { site, fs, settler })
    }
}
