//! How often plain names were written, so that whoever reads one knows whether that happened meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::ObjectId;

/// Names that share a counter cost each other a look, and nothing else.
const COUNTERS: usize = 4096;

/// Counters of names.
#[derive(Debug)]
pub(super) struct Turns {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    fn counter(&self, object: &ObjectId) -> &AtomicU64 {
        &self.counters[self.hasher.hash_one(object) as usize % COUNTERS]
    }

    pub fn turn(&self, object: &ObjectId) {
        self.counter(object).fetch_add(1, Ordering::SeqCst);
    }

    pub fn count(&self, object: &ObjectId) -> u64 {
        self.counter(object).load(Ordering::SeqCst)
    }
}
