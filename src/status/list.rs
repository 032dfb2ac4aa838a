//! Listing as S3 asks for it: keys under a prefix, what shares a delimiter rolled up. One bounded look-up a page.

use std::sync::Arc;

use super::Stored;
use crate::model::{BucketName, Record, Slot};

/// Which keys of a bucket to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub bucket: BucketName,
    /// Only keys that begin with it; may be empty.
    pub prefix: String,
    /// What comes after the prefix is rolled up to the first of these, of any length; `None` or empty rolls up nothing.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes greater than this, by bytes. A common prefix that is not greater is left out with
    /// everything in it.
    pub after: Option<String>,
    /// Entries wanted, 0..=1,000.
    pub entries_max: usize,
}

/// A key, or what several keys share.
#[derive(Clone, Debug)]
pub enum ListEntry {
    Object {
        key: String,
        record: Arc<Stored<Record>>,
    },
    /// Prefix, what follows it, and the delimiter.
    CommonPrefix(String),
}

/// One page, in byte order.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    pub entries: Vec<ListEntry>,
    /// Whether anything follows: go on after the last entry's text.
    pub more: bool,
}

impl ListEntry {
    /// Where a next page begins: the key or the common prefix.
    pub fn text(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

/// Which versions of a bucket to list.
#[derive(Clone, Debug)]
pub struct VersionsQuery {
    /// With an `after_version`, what is left of the key `after` comes first.
    pub keys: ListQuery,
    /// Of the key `after`, only versions older than this one.
    pub after_version: Option<Slot>,
}

/// A version, or what several keys share.
#[derive(Clone, Debug)]
pub enum VersionEntry {
    Version {
        key: String,
        record: Arc<Stored<Record>>,
        is_latest: bool,
    },
    /// Prefix, what follows it, and the delimiter.
    CommonPrefix(String),
}

/// One page: keys in byte order, the versions of each newest first.
#[derive(Clone, Debug, Default)]
pub struct VersionsPage {
    pub entries: Vec<VersionEntry>,
    /// Whether anything follows: go on after the last entry.
    pub more: bool,
}
