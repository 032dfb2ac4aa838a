//! The values everything else speaks of. No I/O, no clock, no S3 wire format.

mod base32;
mod checksum;
mod event;
mod identity;
mod object;
mod record;
mod site_id;
mod stamp;
mod vector;

pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use event::{Event, Origin};
pub use identity::{ContentHeaders, ETag, Identity, Metadata, PartEntry, Parts, Tags, hex};
pub use object::{BucketName, Key, NameError, ObjectId, Slot, Unit};
pub use record::{Binding, Location, Record, StagingFile, State};
pub use site_id::{Incarnation, NotAWriteId, Seq, SiteId, SiteNumber, WriteId};
pub use stamp::{NotAStamp, Stamp, StampParts};
pub use vector::Vector;
