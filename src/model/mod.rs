//! The values everything else speaks of. No I/O, no clock, no S3 wire format.

mod base32;
mod bucket;
mod checksum;
mod event;
mod identity;
mod merge;
mod object;
mod record;
mod replica;
mod site_id;
mod source;
mod stamp;
mod token;
mod vector;

pub use bucket::Bucket;
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use event::{Event, News, Telling};
pub use identity::{ContentHeaders, ETag, Identity, Metadata, PART_NUMBER_MAX, PartEntry, Parts, Tags, hex, is_part_number};
pub use merge::{Decision, decide};
pub use object::{BucketName, Key, NameError, ObjectId, Slot, Unit};
pub use record::{Binding, Location, Record, StagingFile, State};
pub use replica::{Here, LiveReplica, Replica, Told};
pub use site_id::{Incarnation, NotAWriteId, Seq, SiteId, SiteNumber, WriteId};
pub use source::Source;
pub use stamp::{AHEAD_MS_MAX, NotAStamp, Stamp, StampParts};
pub use token::Token;
pub use vector::Vector;
