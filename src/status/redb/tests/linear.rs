//! Many readers and writers at once: no read goes behind what was acknowledged, or behind what somebody saw before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{marker, object, slot, version};
use crate::model::{BucketName, ObjectId, Record, Slot, Vector};
use crate::status::{Commit, ListEntry, ListQuery, Options, Status, VersionEntry, VersionsQuery};

const KEYS: usize = 40;
const WRITES: u64 = 152;

/// Writes after which a key is as it was: see [`step`].
const ROUND: u64 = 4;

/// The state of a key is a number that grows: odd is a record that tells it, even is absent.
#[derive(Default)]
struct Watched {
    /// The greatest that a write set out for.
    begun: AtomicU64,
    /// The greatest that was acknowledged, or read.
    seen: AtomicU64,
}

impl Watched {
    /// A read that began when `least` was known found this.
    fn found(&self, least: u64, number: Option<u64>, by: &str) {
        let state = match number {
            Some(number) => number,
            // The least absence that is not behind what was known.
            None => least + least % 2,
        };
        assert!(state >= least, "{by} found {number:?} after {least} was known");
        assert!(state <= self.begun.load(Ordering::SeqCst), "{by} found {number:?}, which nobody wrote after {least}");
        self.seen.fetch_max(state, Ordering::SeqCst);
    }

    fn known(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Four writes: a version above an older one, a marker above both, their removal, which brings the older one up, and its
/// own. The older one tells the state in which it will be seen.
fn step(id: &ObjectId, state: u64) -> Commit {
    let commit = Commit::new();
    match state % ROUND {
        1 => commit.put_unit(id, &at(10 * state, version(state))).put_unit(id, &at(10 * state - 1, version(state + 2))),
        2 => commit.put_unit(id, &at(10 * state, marker(state))),
        3 => commit.delete_unit(id, slot(10 * (state - 1))).delete_unit(id, slot(10 * (state - 2))),
        _ => commit.delete_unit(id, lasting(state - 3)),
    }
}

/// The older of the two versions that a round begins with.
fn lasting(first: u64) -> Slot {
    slot(10 * first - 1)
}

fn at(ms: u64, record: Record) -> Record {
    Record { vector: Vector::of(super::stamp(ms)), ..record }
}

struct World {
    status: Status,
    keys: Vec<Watched>,
    done: AtomicBool,
}

impl World {
    fn name(key: usize) -> String {
        format!("k{key:02}")
    }

    async fn write(&self, key: usize) {
        let (id, watched) = (object(&Self::name(key)), &self.keys[key]);
        for state in 1..=WRITES {
            watched.begun.store(state, Ordering::SeqCst);
            self.status.commit(step(&id, state)).await.unwrap();
            watched.seen.fetch_max(state, Ordering::SeqCst);
        }
    }

    async fn read(&self, mut chance: super::super::chance::Chance) {
        while !self.done.load(Ordering::SeqCst) {
            let key = (chance.next() % KEYS as u64) as usize;
            let (id, watched) = (object(&Self::name(key)), &self.keys[key]);
            let least = watched.known();
            match chance.next() % 6 {
                0 => {
                    if let Some(stored) = self.status.cached(&id) {
                        watched.found(least, Some(stored.row.identity.size), "the cache");
                    }
                }
                1 => self.list().await,
                2 => self.list_versions(key).await,
                3 => self.unit(key).await,
                _ => {
                    let found = self.status.object(&id).await.unwrap();
                    watched.found(least, found.map(|stored| stored.row.identity.size), "a look-up");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn list(&self) {
        let least: Vec<_> = self.keys.iter().map(Watched::known).collect();
        let bucket = BucketName::new("bucket").unwrap();
        let query = ListQuery { bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
        let page = self.status.list(query).await.unwrap();
        let number = |name: &str| {
            page.entries.iter().find_map(|entry| match entry {
                ListEntry::Object { key, record } if key == name => Some(record.row.identity.size),
                _ => None,
            })
        };
        for (key, (watched, least)) in self.keys.iter().zip(least).enumerate() {
            watched.found(least, number(&Self::name(key)), "a listing");
        }
    }

    /// One moment: no unit of the key is missing, and the latest tells the state.
    async fn list_versions(&self, key: usize) {
        let (name, least) = (Self::name(key), self.keys[key].known());
        let bucket = BucketName::new("bucket").unwrap();
        let keys = ListQuery { bucket, prefix: name, delimiter: None, after: None, entries_max: 1_000 };
        let page = self.status.list_versions(VersionsQuery { keys, after_version: None }).await.unwrap();
        let units = page.entries.iter().map(|entry| match entry {
            VersionEntry::Version { record, is_latest, .. } => (record.row.identity.size, *is_latest),
            VersionEntry::CommonPrefix(_) => panic!("nothing is rolled up"),
        });
        let units: Vec<_> = units.collect();
        let latest = units.first().map(|(number, _)| *number);
        self.keys[key].found(least, latest, "a listing of versions");
        let there = match latest {
            None => vec![],
            Some(n) if n % ROUND == 1 => vec![(n, true), (n + 2, false)],
            Some(n) if n % ROUND == 2 => vec![(n, true), (n - 1, false), (n + 1, false)],
            Some(n) => vec![(n, true)],
        };
        assert_eq!(units, there);
    }

    /// A unit that is not deleted is never absent, though its row moves.
    async fn unit(&self, key: usize) {
        let Some(least) = self.keys[key].known().checked_sub(1) else { return };
        let first = least / ROUND * ROUND + 1;
        let found = self.status.unit(&object(&Self::name(key)), lasting(first)).await.unwrap();
        if self.keys[key].begun.load(Ordering::SeqCst) < first + 3 {
            assert_eq!(found.expect("nobody deleted it").row.identity.size, first + 2);
        }
    }
}

/// The row cache holds one key in two, or in the second run all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_goes_behind_an_acknowledged_write_or_an_earlier_read() {
    for cached_rows_max in [KEYS / 2, 10_000] {
        let status = Status::open(Options { cached_rows_max, ..Options::default() }).unwrap();
        let keys = std::iter::repeat_with(Watched::default).take(KEYS).collect();
        let world = Arc::new(World { status, keys, done: AtomicBool::new(false) });
        let spawned = |world: &Arc<World>| world.clone();
        let readers: Vec<_> = (0..8)
            .map(|seed| {
                let world = spawned(&world);
                tokio::spawn(async move { world.read(super::super::chance::Chance::new(seed)).await })
            })
            .collect();
        let writers: Vec<_> = (0..KEYS)
            .map(|key| {
                let world = spawned(&world);
                tokio::spawn(async move { world.write(key).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        world.done.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        let stats = world.status.stats();
        assert!(stats.commits == KEYS as u64 * WRITES && stats.batches < stats.commits, "{stats:?}");
        assert!(stats.cached_rows <= cached_rows_max.next_multiple_of(16), "{stats:?}");
        assert!(stats.cache_hits > 0 && stats.cache_misses > 0, "{stats:?}");
    }
}
