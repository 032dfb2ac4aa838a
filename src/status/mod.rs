//! The status store: each site's own truth about every unit (protocol §3).
//!
//! The interface is the least that redb, PostgreSQL and FoundationDB all give: look-ups, pages with a key cursor, and
//! guarded commits. No engine type, no closure over a transaction and no iterator handle gets out of here.

mod cache;
mod checkpoint;
mod commit;
mod key;
mod list;
pub mod redb;
pub mod tables;

pub use checkpoint::Checkpoint;
pub use commit::{Audience, Commit, CommitError, Committed};
pub use key::{TableKey, VersionsOf};
pub use list::{ListEntry, ListPage, ListQuery, VersionEntry, VersionsPage, VersionsQuery};
pub use redb::{Facts, NewLife, OpenError, Options, RawRow, ScanPlace, Scanned, Stats, Status, Taken};
pub use tables::Table;

use crate::model::Seq;

/// Names one state of one row; a commit can be made to depend on it. Grows with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A row and what the store knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<R> {
    pub row: R,
    pub revision: Revision,
    /// Seq of the last local event about it; 0 where there was none. Status by site is one point look-up with it.
    pub seq: Seq,
}

impl<R> std::ops::Deref for Stored<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.row
    }
}

/// Rows of one table in key order.
#[derive(Clone, Debug)]
pub struct Page<T: Table> {
    pub rows: Vec<(T::Key, Stored<T::Row>)>,
    /// Whether rows follow: go on after the last key.
    pub more: bool,
}

/// The store could not be read. Every variant means: answer 503 or 500, never "absent".
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine failed, perhaps for good: see [`Status::healthy`].
    #[error("the status store failed: {0}")]
    Engine(String),
    /// The row is there and is not understood.
    #[error("a row of table {table} cannot be read: {reason}")]
    Row { table: &'static str, reason: String },
}
