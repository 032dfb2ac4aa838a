//! Writes that wait on a local disk until their service takes them.
//!
//! Nobody above sees it: a write is promised to be durable under a name of its own, and while the service cannot keep that
//! promise this does. What is here is served from here, carried to the service as soon as it takes it, and goes from here only
//! once the service was seen to have it.

mod carry;
mod claim;
mod directory;
mod file;
mod index;
mod keep;
mod room;
mod serve;
mod settings;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use self::file::{Draft, Name, Slip};
use self::index::Index;
use self::room::{Room, Taken};
use super::body::Pieces;
use crate::backend::body::check_size;
use crate::backend::{Body, Buffered, Error, Result};
pub(in crate::backend::service) use carry::Carrier;
pub(in crate::backend::service) use claim::Claim;
pub use directory::refuse_abandoned;
pub use settings::{Settings, When};

/// Bytes that are handed to the disk at once.
const PIECE_BYTES: usize = 1 << 20;
/// Directories above, which a first start may have made: `DATA/buffer/NAME`.
const ANCESTORS: usize = 3;

/// A directory of writes that wait.
#[derive(Debug)]
pub(super) struct Buffer {
    settings: Settings,
    /// What the store calls itself in each file.
    store: String,
    /// Locked: no other process has it.
    dir: File,
    index: Index,
    room: Arc<Room>,
    /// Told when a write came.
    arrived: Notify,
    /// Names that were removed so far, and how many of them no crash brings back.
    removals: AtomicU64,
    synced_removals: AtomicU64,
    /// Whether writes come here since the store does not take them.
    is_needed: AtomicBool,
    taken: AtomicU64,
    carried: AtomicU64,
}

impl Buffer {
    /// Opens the directory, made where it is not there, and finds what waits in it. `store` is whom it waits for.
    pub async fn open(settings: Settings, store: String) -> Result<Self> {
        blocking(move || Self::open_now(settings, store)).await
    }

    fn open_now(settings: Settings, store: String) -> Result<Self> {
        let path = settings.path.clone();
        let shown = |context: &str| format!("the buffer {}: {context}", path.display());
        let dir = directory::open(&settings)?;
        let room = dir.try_clone().map_err(|source| Error::Io { context: shown("cannot be opened"), source })?;
        let room = Arc::new(Room::new(&settings, room));
        let buffer = Self {
            index: Index::default(),
            room,
            dir,
            store,
            settings,
            arrived: Notify::new(),
            removals: AtomicU64::new(0),
            synced_removals: AtomicU64::new(0),
            is_needed: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            carried: AtomicU64::new(0),
        };
        for path in files(&path).map_err(|source| Error::Io { context: shown("cannot be listed"), source })? {
            buffer.find(&path)?;
        }
        let waiting = buffer.index.sums().objects;
        if waiting > 0 {
            tracing::warn!(store = buffer.settings.store, waiting, "writes wait in the buffer for their store");
        }
        Ok(buffer)
    }

    /// What an earlier process left.
    fn find(&self, path: &Path) -> Result<()> {
        if file::is_draft(path) {
            // Nobody was told that it was written.
            let _ = std::fs::remove_file(path);
            return Ok(());
        }
        if !file::is_write(path) {
            return Ok(());
        }
        match file::read_slip(path) {
            Ok((slip, _)) if slip.store != self.store => {
                let (here, there) = (&self.store, &slip.store);
                Err(Error::Setup(format!(
                    "the buffer {} holds writes for the store {there:?}, this is {here:?}: give each store a directory of its own",
                    self.settings.path.display()
                )))
            }
            Ok((slip, came_ms)) => {
                let room = self.room.found(slip.size);
                self.index.add(slip, came_ms, room, false);
                Ok(())
            }
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a buffered write cannot be read: its file is left where it is");
                self.index.count_torn();
                Ok(())
            }
        }
    }

    /// Whether a write is to come here at once.
    pub fn wants(&self, is_store_well: bool) -> bool {
        match self.settings.when {
            When::Always => true,
            When::Down => !is_store_well,
            When::Never => false,
        }
    }

    /// Whether new writes may come here at all.
    pub fn is_open(&self) -> bool {
        self.settings.when != When::Never
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Room for a write, whose size may not be known.
    fn take_room(&self, size: Option<u64>) -> Result<Taken> {
        self.room.take(size.unwrap_or(0))
    }

    /// Makes a body durable here. One that ends badly leaves nothing. Answers what it is.
    async fn store(self: &Arc<Self>, slip: Slip, body: Body, announced: Option<u64>, mut room: Taken) -> Result<Slip> {
        let draft = self.receive(&slip.name(), body, announced, &mut room).await?;
        let (buffer, mut slip) = (self.clone(), Slip { store: self.store.clone(), ..slip });
        // Goes on to its end where nobody waits for it any more: what has its name is known.
        let finished = blocking(move || {
            let came_ms = draft.finish(&mut slip, &buffer.dir)?;
            buffer.index.add(slip.clone(), came_ms, room, true);
            Ok(slip)
        });
        let slip = finished.await.map_err(|err| self.refused(&err))?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_one();
        Ok(slip)
    }

    /// All of a body, not durable yet.
    async fn receive(&self, name: &Name, body: Body, announced: Option<u64>, room: &mut Taken) -> Result<Draft> {
        let (path, name) = (self.settings.path.clone(), name.clone());
        let mut draft = blocking(move || Draft::begin(&path, &name)).await.map_err(|err| self.refused(&err))?;
        let (mut pieces, mut size) = (Pieces::of(body), 0);
        loop {
            let piece = pieces.next(PIECE_BYTES).await?;
            if piece.is_empty() {
                check_size(announced, size)?;
                return Ok(draft);
            }
            size += piece.len() as u64;
            match announced {
                Some(announced) if size > announced => check_size(Some(announced), size)?,
                Some(_) => {}
                None => room.more(piece.len() as u64)?,
            }
            draft = blocking(move || draft.push(&piece).map(|()| draft)).await.map_err(|err| self.refused(&err))?;
        }
    }

    fn refused(&self, err: &io::Error) -> Error {
        Error::Unavailable(format!("the buffer {} cannot be written: {err}", self.settings.path.display()))
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        self.settings.path.join(name.file())
    }

    /// Removes a file. It is known until nothing of it is left anywhere.
    async fn unlink(self: &Arc<Self>, name: &Name) -> Result<()> {
        let (buffer, path) = (self.clone(), self.path_of(name));
        let removed = blocking(move || {
            let removed = std::fs::remove_file(path);
            buffer.removals.fetch_add(1, Ordering::SeqCst);
            removed
        });
        match removed.await {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(self.refused(&err)),
            _ => {
                self.index.free(name);
                Ok(())
            }
        }
    }

    /// What was removed here stays removed after a crash, once this has returned.
    pub async fn harden(self: &Arc<Self>) -> Result<()> {
        let removals = self.removals.load(Ordering::SeqCst);
        // Only what a sync that has ended began with: another may still be under way.
        if self.synced_removals.load(Ordering::SeqCst) >= removals {
            return Ok(());
        }
        let buffer = self.clone();
        let synced = blocking(move || {
            buffer.dir.sync_all()?;
            buffer.synced_removals.fetch_max(removals, Ordering::SeqCst);
            Ok(())
        });
        synced.await.map_err(|err: io::Error| self.refused(&err))
    }

    /// Notes that the store does not take writes, the first time that it does not.
    fn note_needed(&self, reason: &str) {
        if !self.is_needed.swap(true, Ordering::Relaxed) {
            let store = &self.settings.store;
            tracing::warn!(store, reason, "the store does not take writes in time: they are kept in its buffer until it does");
        }
    }

    /// Notes that the store has all that waited for it.
    fn note_emptied(&self) {
        if self.is_needed.swap(false, Ordering::Relaxed) {
            tracing::info!(store = self.settings.store, "the store has everything that was kept in its buffer");
        }
    }

    pub fn numbers(&self) -> Buffered {
        let sums = self.index.sums();
        Buffered {
            store: self.settings.store.clone(),
            objects: sums.objects,
            bytes: sums.bytes,
            oldest_ms: sums.oldest_ms,
            refused: sums.refused,
            taken: self.taken.load(Ordering::Relaxed),
            carried: self.carried.load(Ordering::Relaxed),
        }
    }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Whether writes wait in such a directory, or lie there torn.
fn holds_writes(path: &Path) -> io::Result<bool> {
    match files(path) {
        Ok(files) => Ok(files.iter().any(|file| file::is_write(file))),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// Calls of the file system, away from the threads that wait for nothing.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("calls of the file system do not panic")
}
