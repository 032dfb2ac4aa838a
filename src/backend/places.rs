//! Which bucket is in which of several stores, as far as they said.

use std::collections::HashMap;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::BucketName;

/// Stores go by their place in the list of them.
#[derive(Debug)]
pub(super) struct Places(RwLock<Known>);

#[derive(Debug)]
struct Known {
    of: HashMap<BucketName, usize>,
    /// Whether a store has said which buckets it has: until then it may have any.
    heard: Vec<bool>,
}

impl Places {
    /// Nothing is known of so many stores.
    pub fn unknown(stores: usize) -> Self {
        Self(RwLock::new(Known { of: HashMap::new(), heard: vec![false; stores] }))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().expect("nothing panics while it holds the places")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().expect("nothing panics while it holds the places")
    }

    pub fn of(&self, bucket: &BucketName) -> Option<usize> {
        self.read().of.get(bucket).copied()
    }

    pub fn all(&self) -> HashMap<BucketName, usize> {
        self.read().of.clone()
    }

    pub fn set(&self, bucket: &BucketName, at: usize) {
        self.write().of.insert(bucket.clone(), at);
    }

    pub fn forget(&self, bucket: &BucketName) {
        self.write().of.remove(bucket);
    }

    /// A bucket was seen `at` a store that was asked when it was `before`. Answers whether that is news: what was made or removed
    /// since knows better.
    pub fn see(&self, bucket: &BucketName, at: usize, before: Option<usize>) -> bool {
        let mut known = self.write();
        let is_news = before != Some(at) && known.of.get(bucket).copied() == before;
        if is_news {
            known.of.insert(bucket.clone(), at);
        }
        is_news
    }

    /// The store has said everything that it has.
    pub fn hear(&self, store: usize) {
        self.write().heard[store] = true;
    }

    pub fn is_heard(&self, store: usize) -> bool {
        self.read().heard[store]
    }

    /// The stores that may have any bucket.
    pub fn unheard(&self) -> Vec<usize> {
        let known = self.read();
        (0..known.heard.len()).filter(|store| !known.heard[*store]).collect()
    }
}
