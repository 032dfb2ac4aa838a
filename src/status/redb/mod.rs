//! The redb engine.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Commit, CommitError, Committed, ListPage, ListQuery, Page, ReadError, Stored, Table, TableKey};
use crate::model::{ObjectId, Record};

/// How to open a status store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The redb file; `None` keeps everything in memory (tests, demos).
    pub path: Option<PathBuf>,
    /// Bytes of redb's own page cache.
    pub page_cache_bytes: usize,
    /// Rows the row cache may hold.
    pub cached_rows_max: usize,
}

/// Why a status store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{path} is in use by another process: one process owns a data directory; stop that one or give this one another `data`"
    )]
    InUse { path: PathBuf },
    #[error("{path}: {reason}")]
    Engine { path: PathBuf, reason: String },
}

/// Handle on a status store; clones share it.
#[derive(Clone, Debug)]
pub struct Status {}

impl Status {
    /// Opens or makes the store. Blocks: for start-up only.
    pub fn open(_options: Options) -> Result<Self, OpenError> {
        todo!()
    }

    /// The row of `key`.
    pub async fn get<T: Table>(&self, _key: &T::Key) -> Result<Option<Stored<T::Row>>, ReadError> {
        todo!()
    }

    /// The current record of an object, from the row cache where it is there.
    pub async fn object(&self, _id: &ObjectId) -> Result<Option<Arc<Stored<Record>>>, ReadError> {
        todo!()
    }

    /// Rows of `T` whose key begins with `prefix` (of the encoded key), after the key `after`, at most `rows_max` (≤ 10,000).
    pub async fn page<T: Table>(
        &self,
        _prefix: &impl TableKey,
        _after: Option<&T::Key>,
        _rows_max: usize,
    ) -> Result<Page<T>, ReadError> {
        todo!()
    }

    /// One page of a LIST: one bounded look-up, however deep in the bucket.
    pub async fn list(&self, _query: ListQuery) -> Result<ListPage, ReadError> {
        todo!()
    }

    /// Makes the commit durable, if everything it expects still holds.
    pub async fn commit(&self, _commit: Commit) -> Result<Committed, CommitError> {
        todo!()
    }
}
