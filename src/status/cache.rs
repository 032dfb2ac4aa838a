//! The row cache: the latest committed state of objects, absence included, or nothing.
//!
//! Before a batch becomes visible the writer marks what it changes; afterwards it puts the new rows in their place, and
//! only then answers. A reader that finds nothing reads a snapshot and may leave what it found, unless something about
//! the key has changed since: the key is there again, or something as new as its snapshot was evicted meanwhile. So a
//! row taken from here is never older than any row somebody has seen before.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

use super::{Revision, Stored};
use crate::model::{ObjectId, Record};

/// Shards, so that readers seldom wait for each other.
const SHARDS: usize = 16;

/// Most bytes that a row costs beside its encoded self: the record's own size, the map's and the list's.
const ENTRY_BYTES: usize = size_of::<Stored<Record>>() + size_of::<Entry>() + 160;

/// A row as it is shared; `None` is known to be absent.
pub(super) type Known = Option<Arc<Stored<Record>>>;

/// A change of one object that a batch is about to make.
#[derive(Debug)]
pub(super) struct Change {
    pub id: ObjectId,
    pub revision: Revision,
    pub now: Known,
    /// Of the encoded row.
    pub bytes: usize,
}

/// Bounded in rows and in bytes.
#[derive(Debug)]
pub(super) struct RowCache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    entries: LruCache<ObjectId, Entry>,
    rows_max: usize,
    bytes_max: usize,
    bytes: usize,
    /// Greatest revision that left: what was read before it may lack a change that is forgotten here.
    floor: Revision,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry {
    /// Of the change that put it here, or of the snapshot that a reader filled it from.
    revision: Revision,
    state: State,
    bytes: usize,
}

#[derive(Debug)]
enum State {
    /// A batch that changes it is being committed: ask the store.
    Changing,
    Known(Known),
}

impl RowCache {
    pub fn new(rows_max: usize, bytes_max: usize) -> Self {
        let shard = |_| Mutex::new(Shard::new(rows_max.div_ceil(SHARDS), bytes_max.div_ceil(SHARDS)));
        Self { shards: std::array::from_fn(shard), hasher: RandomState::new() }
    }

    /// The latest committed state of an object, if it is here.
    pub fn get(&self, id: &ObjectId) -> Option<Known> {
        self.shard(id).get(id)
    }

    /// Leaves what a snapshot, not older than `revision`, says of an object.
    pub fn fill(&self, id: &ObjectId, revision: Revision, known: Known, bytes: usize) {
        self.shard(id).fill(id, revision, known, bytes);
    }

    /// Before a batch becomes visible: what it changes is not answered from here any more.
    pub fn changing(&self, changes: &[Change]) {
        for change in changes {
            let entry = Entry { revision: change.revision, state: State::Changing, bytes: cost(&change.id, 0) };
            self.shard(&change.id).put(&change.id, entry);
        }
    }

    /// After a batch became visible, before it is answered.
    pub fn changed(&self, changes: Vec<Change>) {
        for Change { id, revision, now, bytes } in changes {
            let entry = Entry { revision, state: State::Known(now), bytes: cost(&id, bytes) };
            self.shard(&id).put(&id, entry);
        }
    }

    /// Adds rows, bytes, hits and misses to `stats`.
    pub fn count(&self, stats: &mut super::Stats) {
        for shard in &self.shards {
            let shard = lock(shard);
            stats.cached_rows += shard.entries.len();
            stats.cached_bytes += shard.bytes;
            stats.cache_hits += shard.hits;
            stats.cache_misses += shard.misses;
        }
    }

    fn shard(&self, id: &ObjectId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(id) as usize;
        lock(&self.shards[hash % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().expect("no code panics while it holds a shard")
}

fn cost(id: &ObjectId, row_bytes: usize) -> usize {
    ENTRY_BYTES + id.key.as_str().len() + id.bucket.as_str().len() + row_bytes
}

impl Shard {
    fn new(rows_max: usize, bytes_max: usize) -> Self {
        let entries = LruCache::unbounded();
        Self { entries, rows_max, bytes_max, bytes: 0, floor: Revision(0), hits: 0, misses: 0 }
    }

    fn get(&mut self, id: &ObjectId) -> Option<Known> {
        let known = match self.entries.get(id) {
            Some(Entry { state: State::Known(known), .. }) => Some(known.clone()),
            Some(Entry { state: State::Changing, .. }) | None => None,
        };
        match known {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        known
    }

    fn fill(&mut self, id: &ObjectId, revision: Revision, known: Known, bytes: usize) {
        // What is here is the latest already, or about to change.
        if revision < self.floor || self.entries.contains(id) {
            return;
        }
        self.put(id, Entry { revision, state: State::Known(known), bytes: cost(id, bytes) });
    }

    fn put(&mut self, id: &ObjectId, entry: Entry) {
        self.bytes += entry.bytes;
        if let Some((_, before)) = self.entries.push(id.clone(), entry) {
            self.bytes -= before.bytes;
        }
        while self.entries.len() > self.rows_max || self.bytes > self.bytes_max {
            let Some((_, gone)) = self.entries.pop_lru() else { break };
            self.bytes -= gone.bytes;
            self.floor = self.floor.max(gone.revision);
        }
    }
}

#[cfg(test)]
mod tests;
