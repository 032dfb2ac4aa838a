//! Random sequences of calls against a map: every answer is the one the map gives.

mod listing;
mod objects;
mod uploads;

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest, Md5};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::testing::{Call, Reply, Server, server_over};
use crate::backend::Backend;
use crate::backend::{fs, memory::Memory};
use crate::model::hex;
use crate::status::Options;
use crate::tasks::Worker;

/// What keys are made of: everything that XML, paths, signatures or file names treat in a way of their own.
const LETTERS: [char; 9] = ['a', '/', '-', '.', '%', '\u{E000}', '\u{10000}', ' ', '+'];

/// An object as the map keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    body: String,
    /// Quoted, as it is shown.
    etag: String,
    tags: Vec<(String, String)>,
}

/// An unfinished upload.
#[derive(Clone, Debug)]
struct Upload {
    key: String,
    id: String,
    parts: BTreeMap<u16, String>,
}

/// The face, and beside it the map.
struct World {
    server: Server,
    workers: Vec<Box<dyn Worker>>,
    objects: BTreeMap<String, Object>,
    uploads: Vec<Upload>,
    writes: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Object(String, objects::Step),
    DeleteMany(Vec<String>),
    List(listing::Asked),
    Upload(uploads::Step),
    /// Background work has a turn.
    Work,
}

fn key() -> impl Strategy<Value = String> {
    let letters = proptest::collection::vec(proptest::sample::select(&LETTERS[..]), 1..4);
    letters.prop_map(|letters| letters.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (key(), objects::step()).prop_map(|(key, step)| Step::Object(key, step)),
        1 => proptest::collection::vec(key(), 1..5).prop_map(Step::DeleteMany),
        4 => listing::asked().prop_map(Step::List),
        4 => uploads::step().prop_map(Step::Upload),
        1 => Just(Step::Work),
    ]
}

impl World {
    async fn new(backend: Arc<dyn Backend>) -> Self {
        let status = crate::site::testing::status(Options { conflict_seed: Some(3), ..Options::default() });
        let (site, workers) = crate::site::testing::open(backend, status).await;
        let server = server_over(site, Default::default()).await;
        Self { server, workers, objects: BTreeMap::new(), uploads: Vec::new(), writes: 0 }
    }

    async fn call(&self, method: &str, key: &str, query: &str) -> Reply {
        self.server.send(to(method, key, query)).await
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Object(key, step) => self.on_object(key, step).await,
            Step::DeleteMany(keys) => self.delete_many(keys).await,
            Step::List(asked) => self.list(asked).await,
            Step::Upload(step) => self.on_upload(step).await,
            Step::Work => {
                for worker in &mut self.workers {
                    worker.step().await.expect("nothing fails here");
                }
            }
        }
    }

    /// A body that nothing else has.
    fn body(&mut self, size: usize) -> String {
        self.writes += 1;
        let mut text = format!("{}.", self.writes).repeat(size);
        text.truncate(size);
        text
    }

    async fn check_all(&mut self) {
        for key in self.objects.keys() {
            self.get(key, None).await;
        }
        for asked in listing::everything() {
            self.list(&asked).await;
        }
        self.list_uploads().await;
    }
}

/// A call to a key.
fn to(method: &str, key: &str, query: &str) -> Call {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Call::new(method, &format!("/bucket/{}{query}", encoded(key, true)))
}

/// As it travels in a path or a query.
fn encoded(text: &str, slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || slashes && byte == b'/';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn etag(body: &str) -> String {
    format!("\"{}\"", hex(&Md5::digest(body)))
}

/// Plays sequences on worlds made for each of them, and shrinks the first that is not as the map says.
fn play(cases: u32, steps_max: usize, backend: impl Fn() -> (Arc<dyn Backend>, Option<tempfile::TempDir>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    let steps = proptest::collection::vec(step(), 1..steps_max);
    let outcome = runner.run(&steps, |steps| {
        runtime.block_on(async {
            let (backend, _directory) = backend();
            let mut world = World::new(backend).await;
            for step in &steps {
                world.take(step).await;
            }
            world.check_all().await;
        });
        Ok(())
    });
    outcome.unwrap_or_else(|err| panic!("{err}"));
}

#[test]
fn calls_on_memory_answer_as_a_map_would() {
    play(60, 60, || (Arc::new(Memory::new()), None));
}

#[test]
fn calls_on_a_directory_answer_as_a_map_would() {
    play(12, 60, || {
        let directory = tempfile::tempdir().unwrap();
        let settings = fs::Settings { durability: fs::Durability::Os, ..fs::Settings::at(directory.path()) };
        (Arc::new(fs::Fs::open(settings).unwrap()), Some(directory))
    });
}

#[test]
#[ignore = "takes minutes: `make crashes`"]
fn many_calls_answer_as_a_map_would() {
    play(2_000, 120, || (Arc::new(Memory::new()), None));
}
