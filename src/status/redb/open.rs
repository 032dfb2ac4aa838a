//! Opening a store. Blocks: for start-up only.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{Builder, Database, DatabaseError, ReadableTable, StorageBackend};
use tokio::sync::watch;

use super::batch::{Counts, Tally};
use super::chance::Chance;
use super::create::{CreateError, create};
use super::encode::decode_key;
use super::journal::Journal;
use super::migrate::{Facts, NewLife, prepare};
use super::read::{Snapshot, engine};
use super::room::Room;
use super::stats::Counters;
use super::storage::Measured;
use super::writer::{Shared, WriterState};
use crate::status::cache::RowCache;
use crate::status::tables::{Dirty, Failed, Pending};
use crate::status::{ReadError, Table};

/// How to open a status store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The redb file; `None` keeps everything in memory (tests, demos).
    pub path: Option<PathBuf>,
    /// Bytes of redb's own page cache.
    pub page_cache_bytes: usize,
    /// Rows the row cache may hold.
    pub cached_rows_max: usize,
    /// Bytes the row cache may hold, about.
    pub cached_bytes_max: usize,
    /// Wall time in seconds since 1970: a new store takes it as its incarnation.
    pub now_s: u32,
    /// The life to begin, if the store is in an earlier one: it came back from a snapshot, or lost what others know of it.
    pub new_life: Option<NewLife>,
    /// Refuses one in eight guarded commits with a conflict, by this seed (tests, simulation).
    pub conflict_seed: Option<u64>,
}

impl Default for Options {
    /// In memory, with caches that leave most of 128 MiB to others.
    fn default() -> Self {
        Self {
            path: None,
            page_cache_bytes: 16 << 20,
            cached_rows_max: 100_000,
            cached_bytes_max: 12 << 20,
            now_s: 1,
            new_life: None,
            conflict_seed: None,
        }
    }
}

/// Why a status store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or is just making it.
    #[error(
        "{path} is in use by another process: one process owns a data directory; stop that one or give this one another `data`"
    )]
    InUse { path: PathBuf },
    /// It cannot be opened: no such folder, damaged, somebody else's, or of a newer schema.
    #[error("{path}: {reason}")]
    Engine { path: PathBuf, reason: String },
}

impl OpenError {
    fn engine(path: &Path, reason: impl ToString) -> Self {
        Self::Engine { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Opens what the options say.
pub(super) fn open(options: &Options) -> Result<(WriterState, Facts), OpenError> {
    let Some(path) = options.path.as_deref() else {
        return open_on(InMemoryBackend::new(), Room::in_memory(), options);
    };
    create(path, options.now_s).map_err(|err| match err {
        CreateError::InUse => OpenError::InUse { path: path.to_owned() },
        err => OpenError::engine(path, err),
    })?;
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|err| OpenError::engine(path, err))?;
    let storage = FileBackend::new(file).map_err(|err| OpenError::engine(path, err))?;
    open_on(storage, Room::on_disk(path), options)
}

/// Opens the store that a storage holds.
pub(super) fn open_on(storage: impl StorageBackend, room: Room, options: &Options) -> Result<(WriterState, Facts), OpenError> {
    let path = options.path.clone().unwrap_or_else(|| PathBuf::from("the status store in memory"));
    let file_bytes = Arc::new(AtomicU64::new(0));
    let storage = Measured::new(storage, file_bytes.clone()).map_err(|err| OpenError::engine(&path, err))?;
    let db = open_engine(storage, options).map_err(|err| match err {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.clone() },
        err => OpenError::engine(&path, err),
    })?;
    let facts = prepare(&db, options.now_s, options.new_life).map_err(|err| OpenError::engine(&path, err))?;
    let tally = count_rows(&db).map_err(|err| OpenError::engine(&path, err))?;
    let shared = Shared {
        db,
        cache: RowCache::new(options.cached_rows_max, options.cached_bytes_max),
        visible: AtomicU64::new(facts.revision.0),
        counters: Counters::default(),
        journal: Journal::default(),
        file_bytes,
        told: watch::Sender::new(facts.seq),
        tally: Mutex::new(tally.clone()),
        answered: watch::Sender::new(0),
        failed: OnceLock::new(),
    };
    shared.counters.seq.set(facts.seq.0);
    let counts = Counts { revision: facts.revision, seq: facts.seq, clock_ms: facts.clock_ms };
    let chance = options.conflict_seed.map(Chance::new);
    Ok((WriterState { shared: Arc::new(shared), counts, tally, chance, room }, facts))
}

/// Rows that speak of a target, counted once: the writer keeps the count.
fn count_rows(db: &Database) -> Result<Tally, ReadError> {
    let (snapshot, mut tally) = (Snapshot::of(db)?, Tally::default());
    count_rows_of::<Pending>(&snapshot, &mut tally)?;
    count_rows_of::<Failed>(&snapshot, &mut tally)?;
    count_rows_of::<Dirty>(&snapshot, &mut tally)?;
    Ok(tally)
}

fn count_rows_of<T: Table>(snapshot: &Snapshot, tally: &mut Tally) -> Result<(), ReadError> {
    for row in snapshot.rows::<T>()?.iter().map_err(engine)? {
        let (key, _) = row.map_err(engine)?;
        decode_key::<T>(key.value())?;
        tally.note(T::INDEX, key.value(), true);
    }
    Ok(())
}

fn open_engine(storage: impl StorageBackend, options: &Options) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(options.page_cache_bytes);
    builder.set_repair_callback(|session| {
        let percent = (session.progress() * 100.0) as u64;
        tracing::info!(percent, "the status store was not closed properly; repairing it");
    });
    builder.create_with_backend(storage)
}
