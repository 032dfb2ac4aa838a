//! What the one door refuses, in the terms of S3 but without its wire format: `s3/error.rs` gives the codes.

use std::time::Duration;

use crate::backend;
use crate::model::{ChecksumAlgorithm, NameError, Slot};
use crate::status::{CommitError, ReadError};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call on a [`Site`](super::Site) was refused. Nothing was changed unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// It is not known here, and sites that cannot be asked may know better.
    #[error("the bucket is not known here, and these sites cannot be asked: {}", .unasked.join(", "))]
    NoSuchBucketHere { unasked: Vec<String> },
    #[error("the bucket exists and belongs to this owner")]
    BucketAlreadyOwnedByYou,
    #[error("the bucket exists and belongs to another owner")]
    BucketAlreadyExists,
    #[error("the bucket still has objects{0}")]
    BucketNotEmpty(String),
    #[error("the key does not exist")]
    NoSuchKey,
    /// It does not exist here, and sites that cannot be asked may know better.
    #[error("the key does not exist here, and these sites cannot be asked: {}", .unasked.join(", "))]
    NoSuchKeyHere { unasked: Vec<String> },
    /// The current version is a delete marker, which is this one.
    #[error("the key was deleted: its current version is a delete marker")]
    Hidden { marker: Slot },
    /// The version that was named is a delete marker: there is nothing to be read of it.
    #[error("the version is a delete marker")]
    IsMarker { marker: Slot, modified_ms: u64 },
    #[error("the key has no such version")]
    NoSuchVersion,
    /// It is not known here, and sites that cannot be asked may know better.
    #[error("the version is not known here, and these sites cannot be asked: {}", .unasked.join(", "))]
    NoSuchVersionHere { unasked: Vec<String> },
    /// The bucket's versioning or object lock does not allow it.
    #[error("{0}")]
    BucketState(&'static str),
    /// A legal hold or a retention keeps the version.
    #[error("the version is protected by object lock")]
    Protected,
    #[error("the multipart upload does not exist: it was completed, aborted, or never started")]
    NoSuchUpload,
    /// A condition of a write, or of a read that asks for a failure, does not hold. Holds the header's name.
    #[error("the condition {0} does not hold")]
    PreconditionFailed(&'static str),
    /// A conditional read found nothing new.
    #[error("not modified")]
    NotModified { etag: crate::model::ETag, modified_ms: u64 },
    #[error("the range lies outside the object, which has {size} bytes")]
    InvalidRange { size: u64 },
    #[error("the object has no part {0}")]
    InvalidPartNumber(u16),
    /// Completing: the part is missing, or its ETag or checksum is another.
    #[error("part {number}: {reason}")]
    InvalidPart { number: u16, reason: String },
    #[error("the list of parts is not in ascending order of part number")]
    InvalidPartOrder,
    /// Completing: every part but the last has at least 5 MiB.
    #[error("part {number} has {size} bytes, less than the {minimum} that every part but the last needs")]
    EntityTooSmall { number: u16, size: u64, minimum: u64 },
    #[error("the object would have {size} bytes, more than the {maximum} allowed")]
    EntityTooLarge { size: u64, maximum: u64 },
    /// Content-MD5 does not match the body.
    #[error("the Content-MD5 sent does not match the {size} bytes received")]
    BadContentMd5 { size: u64 },
    /// A checksum header or trailer does not match the body.
    #[error("the {} checksum sent does not match the body: {computed} was computed", .algorithm.name())]
    BadChecksum { algorithm: ChecksumAlgorithm, computed: String },
    /// The request's parts contradict each other.
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{argument}: {reason}")]
    InvalidArgument { argument: &'static str, reason: String },
    /// Something else is happening to the same upload right now.
    #[error("{0}")]
    OperationAborted(String),
    /// Copying an object onto itself without changing anything.
    #[error("the copy changes nothing: its source is its target, and neither metadata nor storage class differ")]
    CopyOntoItself,
    /// The client went away or sent less than it announced.
    #[error("the body ended early: {0}")]
    IncompleteBody(String),
    /// The body was refused by whoever passed it in, who knows why.
    #[error("the body was refused")]
    BodyRefused,
    /// The record is here but its bytes are not, and no other site has them.
    #[error("the bytes of this object are missing or damaged at this site; `anybucket explain` tells more")]
    Lost,
    #[error("the store has no room")]
    StoreFull,
    #[error("the store takes no writes: {0}")]
    StoreReadOnly(String),
    #[error("the store cannot hold this name: {0}")]
    UnstorableName(String),
    /// Try again: the outcome of what was asked is known to be "nothing", unless the text says otherwise.
    #[error("{reason}")]
    Unavailable { reason: String, retry_after: Duration },
    /// A fault of this site. The outcome of a write is unknown.
    #[error("{0}")]
    Internal(String),
}

impl From<backend::Error> for Error {
    fn from(err: backend::Error) -> Self {
        use backend::{BodyError, Error as Store};
        match err {
            Store::NotFound | Store::Changed => Self::Lost,
            Store::NoSuchBucket => Self::NoSuchBucket,
            Store::NotEmpty(what) => Self::BucketNotEmpty(format!(" in the store: {what}")),
            Store::Name(reason) => Self::UnstorableName(reason),
            Store::Full(_) => Self::StoreFull,
            Store::ReadOnly(source) => Self::StoreReadOnly(source.to_string()),
            Store::Body(BodyError::Truncated(why)) => Self::IncompleteBody(why),
            Store::Body(BodyError::Refused) => Self::BodyRefused,
            Store::Body(BodyError::Read(why)) => Self::Internal(why),
            Store::Unavailable(reason) => Self::Unavailable { reason, retry_after: Duration::from_secs(1) },
            err @ (Store::Setup(_) | Store::Io { .. }) => Self::Internal(err.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(err: ReadError) -> Self {
        Self::Internal(err.to_string())
    }
}

impl From<CommitError> for Error {
    fn from(err: CommitError) -> Self {
        match err {
            CommitError::Conflict => Self::Unavailable {
                reason: "other writes of this key kept coming first".into(),
                retry_after: Duration::from_secs(1),
            },
            // Somebody has to restart it; until then other sites serve.
            err @ CommitError::Closed(_) => Self::Unavailable { reason: err.to_string(), retry_after: Duration::from_secs(10) },
            CommitError::Full(_) => Self::StoreFull,
            // Found before anything was written.
            err @ CommitError::TooLarge { .. } => Self::InvalidRequest(err.to_string()),
            err => Self::Internal(err.to_string()),
        }
    }
}
