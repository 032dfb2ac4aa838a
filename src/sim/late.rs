//! One site over a service whose calls come late, or without an answer: clients overlap, processes end while copies are on
//! their way, and what the service holds in the end is what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::history::History;
use crate::backend::service::Late;
use crate::model::{ObjectId, Stamp};
use crate::planted::{self, Fault};
use crate::site::testing::{object, open, upload, with_bucket};
use crate::site::*;
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::{Step, Worker};

const KEYS: usize = 2;
const CLIENTS: u64 = 3;
/// Calls of a client before the process ends, and processes.
const CALLS: usize = 12;
const LIVES: usize = 3;
/// Longer than anything that is under way may take.
const QUIET: Duration = Duration::from_secs(20 * 60);
/// Between two looks of the workers for something to do.
const IDLE: Duration = Duration::from_secs(15);
/// Between two calls of a client, at the most.
const PAUSE_MAX: Duration = Duration::from_secs(90);

/// What outlives a process.
struct World {
    service: Late,
    disk: Forgetful,
    keys: Vec<(ObjectId, History)>,
    /// Every write has a value of its own.
    values: AtomicU64,
    /// The last answer that no call may give.
    wrong: Mutex<Option<String>>,
}

/// A process: its site, and its workers.
struct Process {
    site: Site,
    working: JoinSet<()>,
}

impl World {
    fn new(seed: u64, is_exact: bool) -> Arc<Self> {
        let keys = (0..KEYS).map(|n| (object(&format!("key-{n}")), History::default())).collect();
        let (service, disk) = (Late::new(seed, is_exact), Forgetful::new(Power::on()));
        Arc::new(Self { service, disk, keys, values: AtomicU64::new(1), wrong: Mutex::default() })
    }

    /// Starts the site anew, on what the status store had synced.
    async fn start(&self, disk: &Forgetful) -> Process {
        let status = Status::open_inline(disk.clone(), &Options::default()).unwrap();
        let (site, workers) = open(self.service.open().await, status).await;
        let mut working = JoinSet::new();
        for worker in workers {
            working.spawn(work(worker));
        }
        Process { site, working }
    }

    async fn read(&self, site: &Site, key: usize) {
        let (object, history) = &self.keys[key];
        let began = history.moment();
        match site.get(object, None, Selection::All, &ReadConditions::default()).await {
            Ok(opened) => {
                let body = opened.body.collect(100).await;
                // A body may break off; it never ends in bytes of another write.
                if let Ok(body) = body {
                    history.read(began, Some(std::str::from_utf8(&body).unwrap().parse().unwrap()));
                }
            }
            Err(Error::NoSuchKey) => history.read(began, None),
            Err(Error::Unavailable { .. }) => {}
            Err(err) => self.went_wrong(&err),
        }
    }

    fn went_wrong(&self, err: &Error) {
        *self.wrong.lock().unwrap() = Some(err.to_string());
    }

    async fn write(&self, site: &Site, key: usize, is_delete: bool) {
        let (object, history) = &self.keys[key];
        let (began, value) = (history.moment(), self.values.fetch_add(1, Ordering::SeqCst));
        if is_delete {
            let deleted = site.delete(object, WriteConditions::default()).await;
            self.acknowledged(history, began, deleted.map(|deleted| deleted.stamp), None);
        } else {
            let (description, conditions) = (Description::default(), WriteConditions::default());
            let put = site.put(object, upload(value.to_string()), description, conditions).await;
            self.acknowledged(history, began, put.map(|written| Some(written.stamp)), Some(value));
        }
    }

    fn acknowledged(&self, history: &History, began: u64, outcome: Result<Option<Stamp>>, value: Option<u64>) {
        match outcome {
            Ok(Some(stamp)) => history.wrote(began, stamp, value),
            Ok(None) => history.read(began, None),
            Err(Error::Unavailable { .. }) => {}
            Err(err) => self.went_wrong(&err),
        }
    }

    async fn client(self: Arc<Self>, site: Site, mut random: fastrand::Rng) {
        for _ in 0..CALLS {
            tokio::time::sleep(PAUSE_MAX.mul_f64(random.f64())).await;
            let key = random.usize(..KEYS);
            match random.u8(..10) {
                0..3 => self.read(&site, key).await,
                call => self.write(&site, key, call < 6).await,
            }
        }
    }

    /// What anybody sees at the keys' own names.
    fn plain(&self) -> BTreeMap<String, u64> {
        let names = self.service.names("bucket").into_iter().filter(|(name, _)| !name.starts_with(".anybucket/"));
        names.map(|(name, bytes)| (name, std::str::from_utf8(&bytes).unwrap().parse().unwrap())).collect()
    }

    async fn check(&self, site: &Site) -> Option<String> {
        let mut acknowledged = BTreeMap::new();
        for (key, (object, history)) in self.keys.iter().enumerate() {
            self.read(site, key).await;
            let violation = history.violation().or_else(|| self.wrong.lock().unwrap().clone());
            if violation.is_some() {
                return violation;
            }
            if let Ok(opened) = site.get(object, None, Selection::All, &ReadConditions::default()).await {
                let body = opened.body.collect(100).await.unwrap();
                acknowledged.insert(object.key.to_string(), std::str::from_utf8(&body).unwrap().parse::<u64>().unwrap());
            }
        }
        let plain = self.plain();
        (plain != acknowledged || site.unsettled() > 0)
            .then(|| format!("the service holds {plain:?}, the site {acknowledged:?}, {} unsettled", site.unsettled()))
    }
}

/// A worker as a process runs it: what failed is tried again after a pause.
async fn work(mut worker: Box<dyn Worker>) {
    loop {
        if worker.step().await != Ok(Step::Worked) {
            tokio::time::sleep(IDLE).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What went wrong in a history.
async fn live(seed: u64) -> Option<String> {
    let world = World::new(seed, seed % 2 == 1);
    let mut disk = world.disk.clone();
    let mut process = world.start(&disk).await;
    process.site = with_bucket(process.site).await;
    world.service.set_rough(true);
    for life in 0..LIVES as u64 {
        let clients = (0..CLIENTS).map(|client| {
            let random = fastrand::Rng::with_seed((seed * 31 + life) * CLIENTS + client);
            tokio::spawn(world.clone().client(process.site.clone(), random))
        });
        for client in futures::future::join_all(clients).await {
            client.expect("no call ends in an unexpected error");
        }
        // Whatever the workers had begun goes on without them, or does not.
        process.working.abort_all();
        world.service.set_rough(false);
        disk = disk.crash(seed + life);
        process = world.start(&disk).await;
        world.service.set_rough(life + 1 < LIVES as u64);
    }
    tokio::time::sleep(QUIET).await;
    world.check(&process.site).await
}

fn history(seed: u64) -> Option<String> {
    super::run(live(seed))
}

#[test]
fn what_comes_late_undoes_nothing() {
    for seed in 0..40 {
        assert_eq!(history(seed), None, "seed {seed}");
    }
}

#[test]
fn each_rule_about_what_comes_late_is_needed() {
    for fault in [Fault::PendingUnheeded, Fault::PendingForgotten] {
        let found = planted::with(Some(fault), || (0..200).find_map(history));
        assert!(found.is_some(), "{fault:?} hides");
    }
}
