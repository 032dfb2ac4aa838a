//! Clients that overlap on a few keys of one site: every answer must be one that a register could have given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::history::History;
use crate::backend::memory::Memory;
use crate::model::{ETag, ObjectId, Stamp};
use crate::site::testing::{object, open, status, upload, with_bucket};
use crate::site::*;
use crate::status::Options;
use crate::tasks::Worker;

const KEYS: usize = 3;
const CLIENTS: u64 = 6;
const CALLS: usize = 40;

/// A few keys and what was seen of each.
struct World {
    site: Site,
    keys: Vec<(ObjectId, History)>,
    /// Every write has a value of its own.
    values: AtomicU64,
}

impl World {
    async fn new(seed: u64) -> (Arc<Self>, Vec<Box<dyn Worker>>) {
        let status = status(Options { conflict_seed: Some(seed), ..Options::default() });
        let (site, workers) = open(Arc::new(Memory::new()), status).await;
        let keys = (0..KEYS).map(|n| (object(&format!("key-{n}")), History::default())).collect();
        (Arc::new(Self { site: with_bucket(site).await, keys, values: AtomicU64::new(1) }), workers)
    }

    async fn read(&self, key: usize) -> Option<ETag> {
        let (object, history) = &self.keys[key];
        let began = history.moment();
        match self.site.get(object, None, Selection::All, &ReadConditions::default()).await {
            Ok(opened) => {
                let etag = opened.seen.record.identity.etag.clone();
                let body = opened.body.collect(100).await.expect("headers and body are of one write");
                history.read(began, Some(std::str::from_utf8(&body).unwrap().parse().unwrap()));
                Some(etag)
            }
            Err(Error::NoSuchKey) => {
                history.read(began, None);
                None
            }
            Err(Error::Unavailable { .. }) => None,
            Err(err) => panic!("a read failed: {err}"),
        }
    }

    async fn put(&self, key: usize, conditions: WriteConditions) {
        let (object, history) = &self.keys[key];
        let value = self.values.fetch_add(1, Ordering::SeqCst);
        let began = history.moment();
        let put = self.site.put(object, upload(value.to_string()), Description::default(), conditions).await;
        acknowledged(history, began, put.map(|written| Some(written.stamp)), Some(value));
    }

    async fn delete(&self, key: usize) {
        let (object, history) = &self.keys[key];
        let began = history.moment();
        match self.site.delete(object, WriteConditions::default()).await {
            Ok(Deleted { stamp: None, .. }) => history.read(began, None),
            deleted => acknowledged(history, began, deleted.map(|deleted| deleted.stamp), None),
        }
    }

    async fn one_call(&self, random: &mut fastrand::Rng) {
        let key = random.usize(..KEYS);
        match random.u8(..10) {
            0..4 => drop(self.read(key).await),
            4..7 => self.put(key, WriteConditions::default()).await,
            7 => self.delete(key).await,
            8 => {
                let absent = WriteConditions { if_none_match: Some(EtagCondition::Any), ..Default::default() };
                self.put(key, absent).await;
            }
            _ => {
                if let Some(etag) = self.read(key).await {
                    let same = Some(EtagCondition::OneOf(vec![etag]));
                    self.put(key, WriteConditions { if_match: same, ..Default::default() }).await;
                }
            }
        }
    }

    async fn check(&self, seed: u64) {
        for key in 0..KEYS {
            self.read(key).await;
            let history = &self.keys[key].1;
            assert_eq!(history.violation(), None, "seed {seed}");
        }
    }
}

fn acknowledged(history: &History, began: u64, outcome: Result<Option<Stamp>>, value: Option<u64>) {
    match outcome {
        Ok(Some(stamp)) => history.wrote(began, stamp, value),
        Ok(None) | Err(Error::PreconditionFailed(_) | Error::NoSuchKey | Error::Unavailable { .. }) => {}
        Err(err) => panic!("a write failed: {err}"),
    }
}

async fn live(seed: u64) {
    let (world, mut workers) = World::new(seed).await;
    let settling = tokio::spawn(async move {
        loop {
            for worker in &mut workers {
                worker.step().await.expect("nothing fails in memory");
            }
            tokio::task::yield_now().await;
        }
    });
    let clients = (0..CLIENTS).map(|client| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed * CLIENTS + client);
            for _ in 0..CALLS {
                world.one_call(&mut random).await;
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.expect("no call ends in an unexpected error");
    }
    settling.abort();
    world.check(seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_clients_see_one_register_a_key() {
    for seed in 0..30 {
        live(seed).await;
    }
}
