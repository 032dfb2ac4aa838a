//! Descriptors of small files that were read lately: to open one costs more than to read it.
//!
//! A descriptor goes on showing a file that lost its name. So what was read through a kept one counts only while the file
//! is as it was when it was opened: its bytes, told by the binding, and its name, told by the ctime and the number of links,
//! which a rename and an unlink change. The ctime of most file systems stands still for milliseconds; what we move ourselves
//! is forgotten by hand.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;
use rustix::process::{Resource, getrlimit};

use super::binding_of;
use super::get::Opened;
use crate::model::Binding;

/// Most descriptors that are kept, and the share of those that the system grants. Connections need theirs.
const KEPT_MAX: usize = 1_024;
const SHARE_OF_GRANTED: u64 = 8;

/// Kept descriptors, those read longest ago leaving first.
#[derive(Debug)]
pub(super) struct Handles {
    by_inode: Mutex<LruCache<u64, Arc<Opened>>>,
}

impl Handles {
    pub fn new() -> Self {
        let granted = getrlimit(Resource::Nofile).current.map(|granted| granted / SHARE_OF_GRANTED);
        let kept_max = granted.and_then(|share| usize::try_from(share).ok()).unwrap_or(KEPT_MAX).min(KEPT_MAX);
        Self { by_inode: Mutex::new(LruCache::new(NonZeroUsize::new(kept_max).unwrap_or(NonZeroUsize::MIN))) }
    }

    /// The descriptor of the file that was `binding` when it was opened.
    pub fn get(&self, binding: &Binding) -> Option<Arc<Opened>> {
        let Binding::File { inode, .. } = binding else { return None };
        self.lock().get(inode).filter(|opened| binding_of(&opened.stat) == *binding).cloned()
    }

    pub fn keep(&self, opened: Arc<Opened>) {
        // What leaves is closed when the lock is free again.
        let _left = self.lock().push(opened.stat.inode, opened);
    }

    /// The file loses the name that it was opened under.
    pub fn forget(&self, binding: &Binding) {
        if let Binding::File { inode, .. } = binding {
            let _left = self.lock().pop(inode);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<u64, Arc<Opened>>> {
        self.by_inode.lock().expect("no code panics while it holds the descriptors")
    }
}
