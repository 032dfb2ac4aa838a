//! Room for buffered bodies: bounded by themselves, by their number, and by what they leave free on the disk.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Settings;
use crate::backend::{Error, Result};

/// What a file takes beside its bytes: a block, and the memory that knows of it.
const FILE_BYTES: u64 = 4 << 10;
/// Writes that may wait: each is known in memory, and half as many as a site may have unsettled.
const WRITES_MAX: u64 = 100_000;

/// What buffered bodies may take.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: u64,
    free_bytes_min: u64,
    /// The directory.
    dir: File,
    taken: AtomicU64,
    writes: AtomicU64,
}

/// Room that somebody took, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::SeqCst);
        self.room.writes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Room {
    pub fn new(settings: &Settings, dir: File) -> Self {
        let (taken, writes) = Default::default();
        Self { bytes_max: settings.bytes_max, free_bytes_min: settings.free_bytes_min, dir, taken, writes }
    }

    /// Counts what is there already, whatever the bounds say.
    pub fn found(self: &Arc<Self>, size: u64) -> Taken {
        let bytes = size.saturating_add(FILE_BYTES);
        self.taken.fetch_add(bytes, Ordering::SeqCst);
        self.writes.fetch_add(1, Ordering::SeqCst);
        Taken { room: self.clone(), bytes }
    }

    /// Takes room for a write with so many bytes.
    pub fn take(self: &Arc<Self>, size: u64) -> Result<Taken> {
        let taken = self.found(size);
        let writes = self.writes.load(Ordering::SeqCst);
        if writes > WRITES_MAX {
            return Err(full(&format!("{WRITES_MAX} writes wait in it")));
        }
        self.check(size)?;
        Ok(taken)
    }

    /// `size` bytes are counted already, and not written.
    fn check(&self, size: u64) -> Result<()> {
        let taken = self.taken.load(Ordering::SeqCst);
        if taken > self.bytes_max {
            return Err(full(&format!("with this body it would hold {taken} bytes, bytes_max is {}", self.bytes_max)));
        }
        let disk = rustix::fs::fstatvfs(&self.dir).map_err(|err| full(&format!("its disk cannot be looked at: {err}")))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.free_bytes_min.saturating_add(size) {
            return Err(full(&format!("{free} bytes are free on its disk, free_bytes_min is {}", self.free_bytes_min)));
        }
        Ok(())
    }
}

impl Taken {
    /// The file is gone. That somebody knows of the write still counts.
    pub fn give_back_bytes(&mut self) {
        self.room.taken.fetch_sub(std::mem::take(&mut self.bytes), Ordering::SeqCst);
    }

    /// Takes room for more bytes of the same write.
    pub fn more(&mut self, size: u64) -> Result<()> {
        self.room.taken.fetch_add(size, Ordering::SeqCst);
        self.bytes = self.bytes.saturating_add(size);
        self.room.check(size)
    }
}

fn full(reason: &str) -> Error {
    Error::Unavailable(format!("the store does not answer in time, and its buffer is full: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes_max: u64, free_bytes_min: u64) -> (Arc<Room>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { bytes_max, free_bytes_min, ..Settings::at(dir.path(), "main") };
        let room = Arc::new(Room::new(&settings, File::open(dir.path()).unwrap()));
        (room, dir)
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (room, _dir) = room(100_000, 0);
        let mut one = room.take(50_000).unwrap();
        assert!(room.take(50_000).unwrap_err().to_string().contains("bytes_max is 100000"));
        one.more(40_000).unwrap();
        assert!(one.more(10_000).is_err());
        let counts = || (room.taken.load(Ordering::SeqCst), room.writes.load(Ordering::SeqCst));
        one.give_back_bytes();
        assert_eq!(counts(), (0, 1));
        drop(one);
        assert_eq!(counts(), (0, 0));
        room.take(90_000).unwrap();
        drop(room.found(1_000_000));
    }

    #[test]
    fn the_disk_keeps_what_it_must() {
        let (room, _dir) = room(u64::MAX, u64::MAX);
        assert!(room.take(1).unwrap_err().to_string().contains("free_bytes_min"));
    }
}
