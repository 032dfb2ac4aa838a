//! Descriptors of small files that were read lately: to open one costs more than to read it.
//!
//! A descriptor goes on showing a file that lost its name. So what was read through a kept one counts only while the file
//! is as it was when it was opened: its bytes, told by the binding, and its name, told by the ctime and the number of links,
//! which most renames and an unlink change. What neither tells (a directory above it that was renamed, an exchange on xfs)
//! is seen when the descriptor is opened anew, a second later; what we move ourselves is forgotten at once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;
use rustix::process::{Resource, getrlimit};

use super::binding_of;
use super::get::Opened;
use crate::model::Binding;

/// Most descriptors that are kept, and the share of those that the system grants. Connections need theirs.
const KEPT_MAX: usize = 1_024;
const SHARE_OF_GRANTED: u64 = 8;

/// How long a descriptor stands for its file's name, however often it is read.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Kept descriptors by inode, those read longest ago leaving first.
#[derive(Debug)]
pub(super) struct Handles(Mutex<LruCache<u64, (Arc<Opened>, Instant)>>);

impl Handles {
    pub fn new() -> Self {
        let granted = getrlimit(Resource::Nofile).current.map(|granted| granted / SHARE_OF_GRANTED);
        let kept_max = granted.and_then(|share| usize::try_from(share).ok()).unwrap_or(KEPT_MAX).min(KEPT_MAX);
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(kept_max).unwrap_or(NonZeroUsize::MIN))))
    }

    /// The descriptor of the file that was `binding` when it was opened, a short while ago.
    pub fn get(&self, binding: &Binding) -> Option<Arc<Opened>> {
        let Binding::File { inode, .. } = binding else { return None };
        let (opened, since) = self.lock().get(inode).cloned()?;
        if since.elapsed() >= KEPT_FOR {
            self.forget(binding);
            return None;
        }
        (binding_of(&opened.stat) == *binding).then_some(opened)
    }

    /// Keeps a descriptor in place of an earlier one of that file.
    pub fn keep(&self, opened: Opened) {
        // What leaves is closed when the lock is free again.
        let _left = self.lock().push(opened.stat.inode, (Arc::new(opened), Instant::now()));
    }

    /// Closes the descriptor of a file that loses its name.
    pub fn forget(&self, binding: &Binding) {
        if let Binding::File { inode, .. } = binding {
            let _left = self.lock().pop(inode);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<u64, (Arc<Opened>, Instant)>> {
        self.0.lock().expect("no code panics while it holds the descriptors")
    }
}
