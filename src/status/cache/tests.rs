//! The cache before a store that is slow in every place where that could hurt.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::model::{Binding, ContentHeaders, ETag, Identity, Incarnation, Location, Parts, Seq, SiteNumber, Stamp};
use crate::model::{StampParts, State as Presence, Vector, WriteId};

fn object(key: usize) -> ObjectId {
    ObjectId::parse("bucket", &format!("k{key}")).expect("a good name")
}

/// A row that tells its revision by its size, too; even revisions delete.
fn known(revision: Revision) -> Known {
    let stamp = Stamp::new(StampParts { ms: 1, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 });
    let identity = Identity {
        size: revision.0,
        etag: ETag::new("e"),
        parts: Parts::Single,
        crc64: 0,
        checksum: None,
        headers: ContentHeaders::default(),
        metadata: vec![],
        tags: vec![],
    };
    let row = Record {
        vector: Vector::of(stamp),
        state: Presence::Present,
        identity,
        location: Location::Plain,
        binding: Binding::None,
        write: WriteId::new(Incarnation(1), 1, 1),
        base: None,
        versioned: false,
        registers: Default::default(),
    };
    (!revision.0.is_multiple_of(2)).then(|| Arc::new(Stored { row, revision, seq: Seq(0) }))
}

fn change(key: usize, revision: u64) -> Change {
    Change { id: object(key), revision: Revision(revision), now: known(Revision(revision)), bytes: 100 }
}

/// Loses time, differently each time.
fn dawdle(turn: &mut u64) {
    *turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    for _ in 0..(*turn >> 33) % 5 {
        thread::yield_now();
    }
}

#[derive(Default)]
struct Store {
    rows: RwLock<HashMap<usize, Revision>>,
    visible: AtomicU64,
    /// For each key the greatest revision acknowledged or read.
    seen: [AtomicU64; KEYS],
    done: AtomicBool,
}

const KEYS: usize = 12;

impl Store {
    fn write(&self, cache: &RowCache, commits: u64) {
        let mut turn = 99;
        for revision in 1..=commits {
            let key = (turn >> 40) as usize % KEYS;
            let changes = vec![change(key, revision)];
            cache.changing(&changes);
            dawdle(&mut turn);
            self.rows.write().expect("no panics").insert(key, Revision(revision));
            dawdle(&mut turn);
            cache.changed(changes);
            dawdle(&mut turn);
            self.visible.store(revision, Ordering::Release);
            self.seen[key].fetch_max(revision, Ordering::SeqCst);
        }
        self.done.store(true, Ordering::SeqCst);
    }

    fn read(&self, cache: &RowCache, mut turn: u64) {
        while !self.done.load(Ordering::SeqCst) {
            dawdle(&mut turn);
            let key = (turn >> 40) as usize % KEYS;
            let least = self.seen[key].load(Ordering::SeqCst);
            let past_cache = (turn >> 50).is_multiple_of(4);
            let found = match cache.get(&object(key)).filter(|_| !past_cache) {
                Some(Some(row)) => row.revision.0,
                // An absence does not tell which one it is; the store's own answer is checked instead.
                Some(None) => continue,
                None => self.look_up(cache, key, !past_cache, &mut turn).0,
            };
            assert!(found >= least, "key {key}: {found} after {least}");
            self.seen[key].fetch_max(found, Ordering::SeqCst);
        }
    }

    fn look_up(&self, cache: &RowCache, key: usize, fill: bool, turn: &mut u64) -> Revision {
        let visible = Revision(self.visible.load(Ordering::Acquire));
        dawdle(turn);
        let found = self.rows.read().expect("no panics").get(&key).copied().unwrap_or_default();
        dawdle(turn);
        dawdle(turn);
        if fill {
            cache.fill(&object(key), visible, known(found), 100);
        }
        found
    }
}

#[test]
fn what_the_cache_tells_is_never_older_than_what_was_seen() {
    // So small that a shard holds one row, and so large that nothing leaves.
    for rows_max in [SHARDS, 1_000] {
        let (store, cache) = (Store::default(), RowCache::new(rows_max, usize::MAX));
        thread::scope(|scope| {
            for reader in 0..6 {
                let (store, cache) = (&store, &cache);
                scope.spawn(move || store.read(cache, reader * 7 + 1));
            }
            store.write(&cache, 30_000);
        });
        for key in 0..KEYS {
            let last = store.rows.read().expect("no panics").get(&key).copied().unwrap_or_default();
            let told = cache.get(&object(key)).unwrap_or_else(|| known(last));
            assert_eq!(told, known(last));
        }
    }
}

#[test]
fn a_slow_reader_does_not_bring_back_what_was_evicted() {
    let cache = RowCache::new(SHARDS, usize::MAX);
    let slow = known(Revision(1));
    cache.changing(&[change(0, 3)]);
    cache.changed(vec![change(0, 3)]);
    for other in 1..200 {
        cache.changed(vec![change(other, 2)]);
    }
    assert_eq!(cache.get(&object(0)), None, "it was evicted");
    cache.fill(&object(0), Revision(2), slow, 100);
    assert_eq!(cache.get(&object(0)), None);
    cache.fill(&object(0), Revision(3), known(Revision(3)), 100);
    assert_eq!(cache.get(&object(0)), Some(known(Revision(3))));
}

#[test]
fn what_is_being_changed_is_neither_told_nor_filled() {
    let cache = RowCache::new(1_000, usize::MAX);
    cache.fill(&object(0), Revision(1), known(Revision(1)), 100);
    cache.changing(&[change(0, 2)]);
    assert_eq!(cache.get(&object(0)), None);
    cache.fill(&object(0), Revision(1), known(Revision(1)), 100);
    assert_eq!(cache.get(&object(0)), None);
    cache.changed(vec![change(0, 2)]);
    assert_eq!(cache.get(&object(0)), Some(None), "it is known to be absent");
}

#[test]
fn it_stays_within_its_bytes() {
    let bytes_max = SHARDS * 10_000;
    let cache = RowCache::new(usize::MAX, bytes_max);
    for key in 0..2_000 {
        cache.fill(&object(key), Revision(1), known(Revision(1)), key);
        cache.fill(&object(key), Revision(1), known(Revision(1)), key);
    }
    let mut stats = crate::status::Stats::default();
    cache.count(&mut stats);
    assert!(stats.cached_bytes <= bytes_max && stats.cached_rows > SHARDS, "{stats:?}");
    let shards = cache.shards.iter().map(lock);
    for shard in shards {
        assert_eq!(shard.bytes, shard.entries.iter().map(|(_, entry)| entry.bytes).sum::<usize>());
    }
}
