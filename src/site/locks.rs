//! Key locks: they order the last, short step of writes to one key.
//!
//! They only spare retries: what is true is decided by guarded commits, as if another process existed (protocol §3).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

const SHARDS: usize = 64;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A lock for each key in use. Memory is held only for keys that somebody holds or waits for.
#[derive(Debug)]
pub(super) struct KeyLocks<K> {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<K, Lock>>>,
}

/// Holds a key until it is dropped.
#[derive(Debug)]
pub(super) struct KeyGuard<K: Hash + Eq + Clone> {
    locks: Arc<KeyLocks<K>>,
    key: K,
    /// `None` only while it is being dropped.
    held: Option<OwnedMutexGuard<()>>,
}

impl<K: Hash + Eq + Clone> KeyLocks<K> {
    pub fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Self { hasher: RandomState::new(), shards })
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, Lock>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[hash as usize % SHARDS]
    }

    /// The key, if nobody holds it.
    pub fn try_lock(self: &Arc<Self>, key: &K) -> Option<KeyGuard<K>> {
        let mut guard = KeyGuard { locks: self.clone(), key: key.clone(), held: None };
        let lock = self.shard(key).lock().expect("nothing panics under a shard").entry(key.clone()).or_default().clone();
        guard.held = Some(lock.try_lock_owned().ok()?);
        Some(guard)
    }

    /// Waits for the key. Waiters are served in the order they came.
    pub async fn lock(self: &Arc<Self>, key: &K) -> KeyGuard<K> {
        let mut guard = KeyGuard { locks: self.clone(), key: key.clone(), held: None };
        let lock = self.shard(key).lock().expect("nothing panics under a shard").entry(key.clone()).or_default().clone();
        guard.held = Some(lock.lock_owned().await);
        guard
    }
}

/// The last one to leave takes the lock away. A waiter that gives up comes by here too.
impl<K: Hash + Eq + Clone> Drop for KeyGuard<K> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut shard = self.locks.shard(&self.key).lock().expect("nothing panics under a shard");
        if shard.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            shard.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(locks: &KeyLocks<&'static str>) -> usize {
        locks.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[tokio::test]
    async fn one_key_excludes_and_another_does_not() {
        let locks = KeyLocks::new();
        let first = locks.lock(&"a").await;
        let _other = locks.lock(&"b").await;
        let again = tokio::spawn({
            let locks = locks.clone();
            async move { drop(locks.lock(&"a").await) }
        });
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        drop(first);
        again.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_kept_of_keys_nobody_holds() {
        let locks = KeyLocks::new();
        let first = locks.lock(&"a").await;
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(5), locks.lock(&"a")).await;
        assert!(waiting.is_err());
        drop(first);
        assert_eq!(held(&locks), 0);
    }
}
