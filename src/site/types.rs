//! What callers hand to the door and get back.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::Body;
use crate::model::{
    BucketName, Bypass, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, ETag, Metadata, ObjectId, ObjectLock,
    PartEntry, Record, Registers, Slot, Stamp, Tags, Versioning,
};
use crate::status::Stored;

/// A body on its way in, and what the client claims of it. Nothing is committed unless every claim holds.
#[derive(Debug)]
pub struct Upload {
    pub body: Body,
    pub claims: Claims,
}

/// What a client says of the bytes it sends.
#[derive(Default)]
pub struct Claims {
    /// Content-MD5.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*` headers.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
    /// An algorithm to compute although no value came ahead: it comes in a trailer, or S3 is to compute it.
    pub compute: Option<ChecksumAlgorithm>,
    /// Reads the values that came behind the body; called once, at its end. An error refuses the body.
    pub trailer: Option<Trailer>,
}

/// Reads the checksums of a trailer.
pub type Trailer = Box<dyn FnOnce() -> Result<Vec<(ChecksumAlgorithm, Vec<u8>)>, super::Error> + Send>;

/// Everything a PUT says of the object besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct Description {
    pub headers: ContentHeaders,
    pub metadata: Metadata,
    pub tags: Tags,
    /// Who may see it, and what protects it.
    pub registers: Registers,
}

/// Which version a DELETE destroys, and with which right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge {
    pub slot: Slot,
    pub bypass: Bypass,
}

/// Conditions of a write, decided under the key lock against the current object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteConditions {
    pub if_match: Option<EtagCondition>,
    pub if_none_match: Option<EtagCondition>,
    /// DELETE: `x-amz-if-match-last-modified-time`, milliseconds since 1970 cut to the second.
    pub if_modified_at_ms: Option<u64>,
    /// DELETE: `x-amz-if-match-size`, bytes.
    pub if_size: Option<u64>,
}

impl WriteConditions {
    /// Whether they hold only of an object that is there.
    pub(super) fn want_something(&self) -> bool {
        self.if_match.is_some() || self.if_modified_at_ms.is_some() || self.if_size.is_some()
    }
}

/// `*`, or one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagCondition {
    Any,
    OneOf(Vec<ETag>),
}

/// Conditions of a read (RFC 9110 §13): times in milliseconds since 1970, compared by the second.
#[derive(Clone, Debug, Default)]
pub struct ReadConditions {
    pub if_match: Option<EtagCondition>,
    pub if_none_match: Option<EtagCondition>,
    pub if_modified_since_ms: Option<u64>,
    pub if_unmodified_since_ms: Option<u64>,
}

/// Which bytes of an object are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    #[default]
    All,
    /// From the first to the last byte, both included; `None` is to the end.
    Bytes { first: u64, last: Option<u64> },
    /// The last so many bytes.
    Suffix(u64),
    /// A part by its number.
    Part(u16),
}

/// An object as found: what HEAD answers from.
#[derive(Clone, Debug)]
pub struct Seen {
    pub record: Arc<Stored<Record>>,
    /// Milliseconds since 1970; never later than now.
    pub modified_ms: u64,
    /// The bytes selected.
    pub range: Range<u64>,
    /// Whether less than the whole was asked for: the answer is 206.
    pub partial: bool,
}

/// An object with its body opened.
#[derive(Debug)]
pub struct Opened {
    pub seen: Seen,
    pub body: Body,
}

/// A write that is acknowledged.
#[derive(Clone, Debug)]
pub struct Written {
    pub stamp: Stamp,
    pub etag: ETag,
    pub size: u64,
    /// CRC-64/NVME where the client chose no other.
    pub checksum: Checksum,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// Which version of its key it is.
    pub slot: Slot,
    /// Whether it waits on a local disk for the store.
    pub is_buffered: bool,
}

/// A delete that is acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Deleted {
    /// Of the grave or the delete marker; `None` where there was nothing to delete.
    pub stamp: Option<Stamp>,
    /// The version that was destroyed, or the delete marker that was made.
    pub slot: Slot,
    /// Whether that is a delete marker.
    pub is_marker: bool,
}

/// What a copy takes from its source.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// Conditions on the source.
    pub source: ReadConditions,
    /// Conditions on the target.
    pub target: WriteConditions,
    /// `REPLACE` with these headers and metadata; `None` copies the source's.
    pub replace: Option<(ContentHeaders, Metadata)>,
    /// `REPLACE` with these tags; `None` copies the source's.
    pub replace_tags: Option<Tags>,
    /// Which version of the source; `None` is the current one.
    pub version: Option<Slot>,
    /// Of the copy: those of the source are never taken.
    pub registers: Registers,
    /// Checksum to compute for the copy; `None` keeps the source's.
    pub checksum: Option<ChecksumAlgorithm>,
    /// STANDARD is `None`; always the request's, never the source's.
    pub storage_class: Option<String>,
    /// Always the request's, never the source's.
    pub website_redirect_location: Option<String>,
}

/// What a part is copied from.
#[derive(Clone, Debug)]
pub struct PartSource {
    pub object: ObjectId,
    /// `None` is the current one.
    pub version: Option<Slot>,
    /// From the first to the last byte, both included; `None` is the whole.
    pub range: Option<(u64, u64)>,
    pub conditions: ReadConditions,
}

/// What is known of a bucket.
#[derive(Clone, Debug)]
pub struct BucketInfo {
    pub name: BucketName,
    pub owner: String,
    pub region: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub versioning: Versioning,
    /// `None`: nothing in it can be locked.
    pub object_lock: Option<ObjectLock>,
}

/// Starting a multipart upload.
#[derive(Clone, Debug, Default)]
pub struct StartUpload {
    pub description: Description,
    pub owner: String,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part as UploadPart and UploadPartCopy answer it, and as ListParts shows it.
#[derive(Clone, Debug)]
pub struct PartInfo {
    pub number: u16,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
}

/// A part as the client names it in CompleteMultipartUpload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    pub number: u16,
    pub etag: Option<ETag>,
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

/// CompleteMultipartUpload.
#[derive(Clone, Debug, Default)]
pub struct CompleteUpload {
    pub parts: Vec<NamedPart>,
    pub conditions: WriteConditions,
    /// Checksum of the object, as the client computed it.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    pub checksum_kind: Option<ChecksumKind>,
    /// `x-amz-mp-object-size`: bytes.
    pub size: Option<u64>,
}

/// An unfinished upload, as ListMultipartUploads and ListParts show it.
#[derive(Clone, Debug)]
pub struct UploadInfo {
    pub object: ObjectId,
    pub upload_id: String,
    /// Milliseconds since 1970.
    pub initiated_ms: u64,
    pub owner: String,
    pub storage_class: Option<String>,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// Parts of an unfinished upload, ascending.
#[derive(Clone, Debug)]
pub struct PartsPage {
    pub upload: UploadInfo,
    pub parts: Vec<PartInfo>,
    pub more: bool,
}

/// Which uploads of a bucket to list.
#[derive(Clone, Debug, Default)]
pub struct UploadsQuery {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub key_marker: Option<String>,
    /// Only meaningful with a key marker.
    pub upload_id_marker: Option<String>,
    /// 0..=1,000.
    pub uploads_max: usize,
}

/// Unfinished uploads, by key, then by upload id.
#[derive(Clone, Debug, Default)]
pub struct UploadsPage {
    pub uploads: Vec<UploadInfo>,
    pub common_prefixes: Vec<String>,
    /// Key marker and upload id marker of the next page, where there is one.
    pub next: Option<(String, String)>,
}

/// Parts of a finished multipart object, for GetObjectAttributes and `x-amz-mp-parts-count`.
#[derive(Clone, Debug, Default)]
pub struct ObjectParts {
    /// How many there are in all; 0 for an object of a single PUT.
    pub total: u16,
    pub parts: Vec<PartEntry>,
    pub more: bool,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("checksums", &self.checksums).field("compute", &self.compute).finish_non_exhaustive()
    }
}
