//! Clients that overlap on a few keys, through the S3 face: every answer must be one that a register could have given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::history::History;
use crate::backend::{Backend, fs, memory::Memory};
use crate::model::Stamp;
use crate::s3::testing::{Call, Reply, Server, server_over};
use crate::site::testing::{open, status};
use crate::status::Options;
use crate::tasks::Worker;

/// Two of them share a directory's name with a file's.
const KEYS: [&str; 3] = ["a", "a/b", "c"];
const CLIENTS: u64 = 6;

struct World {
    server: Server,
    keys: Vec<History>,
    /// Every write has a value of its own.
    values: AtomicU64,
}

impl World {
    async fn new(backend: Arc<dyn Backend>, seed: u64) -> (Arc<Self>, Vec<Box<dyn Worker>>) {
        let (site, workers) = open(backend, status(Options { conflict_seed: Some(seed), ..Options::default() })).await;
        let server = server_over(site, Default::default()).await;
        let keys = KEYS.iter().map(|_| History::default()).collect();
        (Arc::new(Self { server, keys, values: AtomicU64::new(1) }), workers)
    }

    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst)
    }

    async fn read(&self, key: usize) -> Option<String> {
        let began = self.keys[key].moment();
        let reply = self.server.send(to("GET", key, "")).await;
        match reply.status {
            200 => {
                self.keys[key].read(began, Some(value_of(&reply.body)));
                reply.header("etag").map(str::to_owned)
            }
            404 => {
                self.keys[key].read(began, None);
                None
            }
            503 => None,
            _ => panic!("a read failed: {reply:?}"),
        }
    }

    async fn put(&self, key: usize, header: Option<(&str, &str)>) {
        let value = self.value();
        let call = to("PUT", key, "").body(body_of(value));
        let call = header.into_iter().fold(call, |call, (name, value)| call.header(name, value));
        let began = self.keys[key].moment();
        let reply = self.server.send(call).await;
        self.wrote(key, began, &reply, Some(value));
    }

    async fn delete(&self, key: usize) {
        let began = self.keys[key].moment();
        let reply = self.server.send(to("DELETE", key, "")).await;
        match (reply.status, stamp_of(&reply)) {
            (204, None) => self.keys[key].read(began, None),
            _ => self.wrote(key, began, &reply, None),
        }
    }

    /// An upload of one part, completed.
    async fn upload(&self, key: usize) {
        let started = self.server.send(to("POST", key, "?uploads")).await;
        let Some(id) = started.element("UploadId").map(str::to_owned) else { return };
        let value = self.value();
        let part = to("PUT", key, &format!("?partNumber=1&uploadId={id}")).body(body_of(value));
        let part = self.server.send(part).await;
        let Some(etag) = part.header("etag") else { return };
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            etag.replace('"', "")
        );
        let began = self.keys[key].moment();
        let reply = self.server.send(to("POST", key, &format!("?uploadId={id}")).body(list)).await;
        self.wrote(key, began, &reply, Some(value));
    }

    /// Copies what was just read: the target's history has the source's value.
    async fn copy(&self, from: usize, key: usize) {
        let Some(etag) = self.read(from).await else { return };
        let source = format!("/bucket/{}", KEYS[from]);
        let call = to("PUT", key, "").header("x-amz-copy-source", &source).header("x-amz-copy-source-if-match", &etag);
        let began = self.keys[key].moment();
        let reply = self.server.send(call).await;
        let value = reply.element("ETag").and_then(|etag| self.value_with(&etag.replace("&quot;", "\"")));
        self.wrote(key, began, &reply, value);
    }

    /// The value whose body has this ETag.
    fn value_with(&self, etag: &str) -> Option<u64> {
        let plain = |value: &u64| crate::model::ETag::of_md5(super::world::md5(body_of(*value).as_bytes()));
        let of_part = |value: &u64| {
            let md5 = super::world::md5(body_of(*value).as_bytes());
            crate::model::ETag::of_parts(super::world::md5(&md5), 1)
        };
        let shown = etag.trim_matches('"');
        (1..self.values.load(Ordering::SeqCst)).find(|value| plain(value).as_str() == shown || of_part(value).as_str() == shown)
    }

    fn wrote(&self, key: usize, began: u64, reply: &Reply, value: Option<u64>) {
        match (reply.status, reply.code(), stamp_of(reply)) {
            (200 | 204, "", Some(stamp)) => self.keys[key].wrote(began, stamp, value),
            (404 | 409 | 412 | 503, ..) => {}
            _ => panic!("a write failed: {reply:?}"),
        }
    }

    async fn one_call(&self, random: &mut fastrand::Rng) {
        let key = random.usize(..KEYS.len());
        match random.u8(..12) {
            0..4 => drop(self.read(key).await),
            4..7 => self.put(key, None).await,
            7 => self.delete(key).await,
            8 => self.put(key, Some(("if-none-match", "*"))).await,
            9 => self.upload(key).await,
            10 => self.copy((key + 1) % KEYS.len(), key).await,
            _ => {
                if let Some(etag) = self.read(key).await {
                    self.put(key, Some(("if-match", &etag))).await;
                }
            }
        }
    }
}

fn to(method: &str, key: usize, query: &str) -> Call {
    Call::new(method, &format!("/bucket/{}{query}", KEYS[key]))
}

fn body_of(value: u64) -> String {
    format!("{value} ").repeat(1 + value as usize % 50)
}

fn value_of(body: &str) -> u64 {
    let value = body.split_once(' ').expect("a value ends in a space").0.parse().expect("a value is a number");
    assert_eq!(body, body_of(value), "a body of one write");
    value
}

fn stamp_of(reply: &Reply) -> Option<Stamp> {
    reply.header("x-anybucket-stamp").map(|stamp| stamp.parse().expect("a stamp"))
}

async fn live(backend: Arc<dyn Backend>, seed: u64, calls: usize) {
    let (world, mut workers) = World::new(backend, seed).await;
    let settling = tokio::spawn(async move {
        loop {
            for worker in &mut workers {
                worker.step().await.expect("nothing fails here");
            }
            tokio::time::sleep(std::time::Duration::from_micros(500)).await;
        }
    });
    let clients = (0..CLIENTS).map(|client| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed * CLIENTS + client);
            for _ in 0..calls {
                world.one_call(&mut random).await;
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.expect("no call ends in an unexpected answer");
    }
    settling.abort();
    for key in 0..KEYS.len() {
        world.read(key).await;
        assert_eq!(world.keys[key].violation(), None, "{}, seed {seed}", KEYS[key]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_clients_of_the_face_see_one_register_a_key() {
    for seed in 0..10 {
        live(Arc::new(Memory::new()), seed, 25).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_clients_of_a_directory_see_one_register_a_key() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let settings = fs::Settings { durability: fs::Durability::Os, ..fs::Settings::at(directory.path()) };
        live(Arc::new(fs::Fs::open(settings).unwrap()), seed, 25).await;
    }
}

/// Every file is written again as soon as it is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_clients_of_a_store_that_recycles_at_once_see_one_register_a_key() {
    for seed in 0..10 {
        live(Arc::new(fs::Fs::on_shim(&fs::shim::Shim::new()).unwrap()), seed, 40).await;
    }
}
