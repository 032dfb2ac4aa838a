//! The values everything else speaks of. No I/O, no clock, no S3 wire format.

mod acl;
mod base32;
mod bucket;
mod checksum;
mod documents;
mod event;
mod glob;
mod identity;
mod lifecycle;
mod lock;
mod merge;
mod object;
mod record;
mod replica;
mod site_id;
mod source;
mod stamp;
mod token;
mod vector;

pub use acl::{Acl, AclGrant, Grantee, Permission, Visitor};
pub use bucket::{Bucket, Versioning};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use documents::{Cors, CorsRule, Ownership, PublicAccess};
pub use event::{Event, News, Telling};
pub use glob::glob;
pub use identity::{
    ContentHeaders, Described, ETag, Identity, Metadata, PART_NUMBER_MAX, PartEntry, Parts, Tags, UNSAID_CONTENT_TYPE, hex,
    is_part_number, without_chunking,
};
pub use lifecycle::{Day, Expiration, Expiring, Lifecycle, LifecycleFilter, LifecycleRule, NoncurrentExpiration};
pub use lock::{Bypass, DefaultRetention, ObjectLock, Registers, Retention, RetentionMode, RetentionPeriod};
pub use merge::{Decision, decide};
pub use object::{BucketName, Key, NameError, ObjectId, Slot, Unit};
pub use record::{Binding, Location, Record, StagingFile, State};
pub use replica::{Grave, Here, LiveReplica, Purged, Replica, Told};
pub use site_id::{Incarnation, NotAWriteId, Seq, SiteId, SiteNumber, WriteId};
pub use source::Source;
pub use stamp::{AHEAD_MS_MAX, NotAStamp, Stamp, StampParts};
pub use token::Token;
pub use vector::Vector;
