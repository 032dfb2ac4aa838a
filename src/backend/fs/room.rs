//! Room on the disk that bodies leave free.
//!
//! The status store often lies on the same disk, and an engine that runs out of room in the midst of a transaction takes
//! no write until a restart. So bodies stop before it does: it holds back half of this (`status/redb/room.rs`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::error::Doing;
use super::io::{Node, Volume};
use crate::backend::{Error, Result};

/// Bytes that bodies leave free.
const HEADROOM_BYTES: u64 = 128 << 20;

/// Small disks: not more than one part in this many is left free.
const HEADROOM_PART: u64 = 8;

/// How old a look at the disk may be. What is taken in between is counted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What bodies may still take.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes, as of the last look and what was taken since.
    left: AtomicI64,
    /// Bytes that are being reserved: the disk may not show them yet.
    promised: AtomicU64,
    began: Instant,
    /// Milliseconds after `began`.
    looked_ms: AtomicU64,
}

/// Room about to be reserved, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Promise<'a> {
    room: &'a Room,
    size: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.size, Ordering::SeqCst);
    }
}

impl Room {
    pub fn new(volume: &Volume) -> Self {
        let left = AtomicI64::new(for_bodies(volume, 0));
        Self { left, promised: AtomicU64::new(0), began: Instant::now(), looked_ms: AtomicU64::new(0) }
    }

    /// Counts bytes about to be written. The disk is asked once a second, and where little is left.
    pub fn take(&self, root: &Node, size: u64) -> Result<()> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let left = self.left.fetch_sub(size, Ordering::Relaxed).saturating_sub(size);
        if left >= 0 && !self.is_due() {
            return Ok(());
        }
        if self.look(root)? < size {
            return Err(full());
        }
        self.left.fetch_sub(size, Ordering::Relaxed);
        Ok(())
    }

    /// Counts bytes about to be reserved at once. Keep the answer until they are.
    pub fn promise(&self, root: &Node, size: u64) -> Result<Promise<'_>> {
        self.promised.fetch_add(size, Ordering::SeqCst);
        let promise = Promise { room: self, size };
        if self.look(root)? < 0 { Err(full()) } else { Ok(promise) }
    }

    /// Whether bodies are refused on a disk like this.
    pub fn is_full(volume: &Volume) -> bool {
        for_bodies(volume, 0) <= 0
    }

    /// Whether the last look is too old; answers so to one caller only.
    fn is_due(&self) -> bool {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(looked_ms) >= LOOK_EVERY.as_millis() as u64
            && self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Asks the disk. Promises are read first: one that is kept meanwhile is counted twice, never not at all.
    fn look(&self, root: &Node) -> Result<i64> {
        let promised = self.promised.load(Ordering::SeqCst);
        let left = for_bodies(&root.volume().doing("looking at the file system")?, promised);
        self.left.store(left, Ordering::Relaxed);
        Ok(left)
    }
}

pub(super) fn full() -> Error {
    Error::Full(Errno::NOSPC.into())
}

fn for_bodies(volume: &Volume, promised: u64) -> i64 {
    let headroom = HEADROOM_BYTES.min(volume.total_bytes / HEADROOM_PART);
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(volume.free_bytes).saturating_sub(signed(headroom)).saturating_sub(signed(promised))
}
