//! Numbers for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store did since it was opened, and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits that became durable.
    pub commits: u64,
    /// Commits that were answered with a conflict.
    pub conflicts: u64,
    /// Engine transactions that those commits shared.
    pub batches: u64,
    /// Commits that wait for the writer.
    pub queued: usize,
    /// Rows in the row cache, known absences included.
    pub cached_rows: usize,
    /// Bytes the row cache holds, about.
    pub cached_bytes: usize,
    /// Look-ups of objects that the row cache answered.
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Length of the file, or of the memory in its place, in bytes.
    pub file_bytes: u64,
    /// The last event told.
    pub seq: u64,
    /// Bytes of rows that wait to be archived.
    pub journal_bytes: usize,
    /// Batches of rows that found no room to wait, and are looked for in the tables instead.
    pub journal_dropped: u64,
}

/// A number that many threads count up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub commits: Counter,
    pub conflicts: Counter,
    pub batches: Counter,
    pub seq: Counter,
}
