//! What can go wrong in a store, by what the caller can do about it.

use super::BodyError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store's failure. The text tells the operator what happened; the variant tells the caller what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("not found")]
    NotFound,
    /// Other bytes are there than those the caller expects: read the record again.
    #[error("the bytes are not the expected ones")]
    Changed,
    /// No bucket of that name.
    #[error("no such bucket in the store")]
    NoSuchBucket,
    /// The bucket still holds something.
    #[error("the bucket is not empty in the store: {0}")]
    NotEmpty(String),
    /// The store cannot hold such a name.
    #[error("the store cannot hold this name: {0}")]
    Name(String),
    /// It is no store for this site, or not with these settings: a person has to mend it.
    #[error("{0}")]
    Setup(String),
    /// No room: nothing was stored.
    #[error("the store is full: {0}")]
    Full(#[source] std::io::Error),
    /// The store takes no writes: nothing was stored.
    #[error("the store is read-only or denies access: {0}")]
    ReadOnly(#[source] std::io::Error),
    /// The client's body ended badly: nothing was stored.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Anything else the system said.
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
}
