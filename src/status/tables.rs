//! Every table: its key, its row, its row's version (protocol §3).
//!
//! All of them exist from the first day, since a table cannot be slipped under a running store; those that only
//! replication fills are marked so.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ReadError;
use super::key::TableKey;
use crate::model::{
    Binding, Bucket, BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, ETag, Event, Incarnation, Location,
    Metadata, ObjectId, PartEntry, Record, Registers, Seq, SiteNumber, Slot, StagingFile, Stamp, Tags, Telling, Unit, Vector,
    WriteId,
};

pub use crate::model::Grave;

/// Largest encoded row, in bytes.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

/// A table of the status store.
pub trait Table: Send + Sync + 'static {
    type Key: TableKey;
    type Row: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync;
    /// On disk for ever.
    const NAME: &'static str;
    /// Position in [`NAMES`].
    const INDEX: usize;
    /// Version of the row's encoding. A reader knows its predecessors and refuses what is newer.
    const VERSION: u8 = 1;
    /// Bytes by which a row of version 1 is shorter, of version 2 and so on: fields were added at its end, whose defaults are
    /// zeros.
    const ADDED_BYTES: &[usize] = &[];

    fn encode(row: &Self::Row) -> Vec<u8> {
        postcard::to_stdvec(row).expect("rows hold only values that postcard can write")
    }

    fn decode(version: u8, payload: &[u8]) -> Result<Self::Row, ReadError> {
        let unreadable = |reason: String| ReadError::Row { table: Self::NAME, reason };
        let read = match version {
            version if version == Self::VERSION => postcard::from_bytes(payload),
            other => match other.checked_sub(1).and_then(|at| Self::ADDED_BYTES.get(usize::from(at))) {
                Some(added) => postcard::from_bytes(&[payload, &vec![0; *added]].concat()),
                None => {
                    return Err(unreadable(format!("its encoding has version {other}, this program knows {}", Self::VERSION)));
                }
            },
        };
        read.map_err(|err| unreadable(err.to_string()))
    }
}

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident = $index:literal $name:literal: $key:ty => $row:ty $({ $($item:item)* })?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $table;

            impl Table for $table {
                type Key = $key;
                type Row = $row;
                const NAME: &'static str = $name;
                const INDEX: usize = $index;
                $($($item)*)?
            }
        )*

        /// Every table, by [`Table::INDEX`].
        pub const NAMES: &[&str] = &[$($name),*];

        /// Version of every table's rows, by [`Table::INDEX`].
        pub(super) const VERSIONS: [u8; NAMES.len()] = [$(<$table as Table>::VERSION),*];

        #[cfg(test)]
        #[test]
        fn indexes_are_positions() {
            $(assert_eq!(NAMES[$table::INDEX], $table::NAME);)*
        }
    };
}

tables! {
    /// Units that are current and Present or Wanted: LIST, HEAD and GET are one look-up, one scan. Which unit of a key that
    /// is the engine finds out in each commit: see `Commit::put_unit`.
    Objects = 0 "objects": ObjectId => Record {
        const VERSION: u8 = 2;
        const ADDED_BYTES: &[usize] = &[RECORD_ADDED_BYTES];
    };
    /// Every other live unit, newest first: noncurrent versions and delete markers.
    Versions = 1 "versions": (ObjectId, Slot) => Record {
        const VERSION: u8 = 2;
        const ADDED_BYTES: &[usize] = &[RECORD_ADDED_BYTES];
    };
    /// Units that were deleted. No listing scans these.
    Graves = 2 "graves": (ObjectId, Slot) => Grave {
        const VERSION: u8 = 2;
        const ADDED_BYTES: &[usize] = &[1];
    };
    /// Chunks of part maps; a chunk's number ends the key.
    PartMaps = 3 "partmaps": (ObjectId, (Slot, u16)) => Vec<PartEntry>;
    /// What a target has not receipted yet: the truth about what it is owed. One row a unit, newer replaces older.
    Pending = 4 "pending": (SiteNumber, Seq) => Telling;
    /// What the bus has not acknowledged yet.
    Outbox = 5 "outbox": Seq => Event;
    /// What other sites have and this one has not: hints, each with the greatest vector heard of.
    Work = 6 "work": Unit => Hint;
    /// What a target could not take, as it said.
    Failed = 7 "failed": (SiteNumber, Unit) => Failure;
    /// Writes that lost against one that had not seen them: the vector that lost.
    Conflicts = 8 "conflicts": (ObjectId, Slot) => Vector;
    /// Events that could not be read. Filled by replication.
    Poison = 9 "poison": u64 => Vec<u8>;
    /// What is left to do after a commit.
    Settle = 10 "settle": WriteId => Settling;
    /// Digests of key ranges, by their least key. Filled by reconciliation.
    Ranges = 11 "ranges": ObjectId => Range;
    /// Buckets of which a target may lack something nobody will tell it: reconciliation finds out. The least seq lost.
    Dirty = 12 "dirty": (SiteNumber, BucketName) => Seq;
    /// The sites that know each other.
    Members = 13 "members": SiteNumber => Member;
    /// Up to which seq of an origin everything is known.
    Received = 14 "received": (SiteNumber, Incarnation) => Seq;
    /// Multipart uploads.
    Uploads = 15 "uploads": (ObjectId, WriteId) => Upload {
        const VERSION: u8 = 3;
        const ADDED_BYTES: &[usize] = &[REGISTERS_BYTES + 3, 2];
    };
    /// Parts of multipart uploads.
    UploadParts = 16 "parts": (WriteId, u16) => UploadPart;
    /// Buckets and their registers.
    Buckets = 17 "buckets": BucketName => Bucket;
    /// Where resumable work stands, by its name.
    Checkpoints = 18 "checkpoints": String => Vec<u8>;
    /// Facts about this store, by name.
    Meta = 19 "meta": String => u64;
    /// Receipts and refusals for a target, until it has read past them.
    Receipts = 20 "receipts": (SiteNumber, Seq) => Telling;
    /// The units of `work` by due time, milliseconds since 1970.
    Due = 21 "due": (u64, Unit) => ();
}

/// Of [`Registers::default`].
const REGISTERS_BYTES: usize = 4;
/// Of a record that is no version of its own.
const RECORD_ADDED_BYTES: usize = 1 + REGISTERS_BYTES;

/// A vector this site wants to reach for a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub want: Vector,
    /// Who told of it: they have it, and wait for a receipt.
    pub sources: Vec<SiteNumber>,
    /// When to try, milliseconds since 1970: its key in `due`.
    pub due_ms: u64,
    /// Failures in a row.
    pub tries: u32,
    pub error: Option<String>,
}

/// Why a target does not have a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub vector: Vector,
    pub reason: String,
}

/// What is left to do after a commit, redone after a crash; every step holds the key lock and reads the record first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settling {
    /// Bring staged bytes to the plain name, where `over` are found before. Once the record is no longer staged by this
    /// write, all that is left is to give the staging file back.
    Publish { object: ObjectId, slot: Slot, from: StagingFile, binding: Binding, over: Option<Binding> },
    /// Remove bytes that no record names any more, if they are still these.
    Remove { object: ObjectId, location: Location, binding: Binding },
    /// The same as `Publish` for bytes that have a name of their own, which is given back.
    Move { object: ObjectId, slot: Slot, from: WriteId, binding: Binding, over: Option<Binding> },
}

impl Settling {
    /// What brings the bytes of a record to their name; `None` where they are at it.
    pub fn publishing(object: &ObjectId, record: &Record, over: Option<Binding>) -> Option<Self> {
        let (object, slot, binding) = (object.clone(), record.slot(), record.binding.clone());
        match record.location {
            Location::Staged(from) | Location::OwnStaged(from, _) => Some(Self::Publish { object, slot, from, binding, over }),
            Location::Moving(from) => Some(Self::Move { object, slot, from, binding, over }),
            Location::Plain | Location::Own(_) | Location::Native(_) | Location::Part => None,
        }
    }

    /// Where the bytes are until the step is made.
    pub fn location(&self) -> Location {
        match self {
            Self::Publish { from, .. } => Location::Staged(*from),
            Self::Move { from, .. } => Location::Moving(*from),
            Self::Remove { location, .. } => location.clone(),
        }
    }

    /// Whose bytes it is about.
    pub fn object(&self) -> &ObjectId {
        match self {
            Self::Publish { object, .. } | Self::Move { object, .. } | Self::Remove { object, .. } => object,
        }
    }

    /// Whether it takes bytes away from the plain name, at once or by putting others there.
    pub fn removes_plain(&self) -> bool {
        match self {
            Self::Publish { over, .. } | Self::Move { over, .. } => over.is_some(),
            Self::Remove { .. } => true,
        }
    }
}

/// Digest of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub count: u64,
    pub sum: u128,
    pub greatest: Option<Stamp>,
    pub clean: bool,
}

/// A site that this one knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub incarnation: Incarnation,
    pub epoch: u64,
    pub mirror: bool,
}

/// A multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub state: UploadState,
    /// Milliseconds since 1970.
    pub initiated_ms: u64,
    /// Access key owner that started it.
    pub owner: String,
    pub headers: ContentHeaders,
    pub metadata: Metadata,
    pub tags: Tags,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Of the object to be.
    pub registers: Registers,
    /// Whether the object that was made of it is a version of its own.
    pub versioned: bool,
    /// What the store calls it.
    pub token: String,
    /// The list of which the store, which keeps parts in its own upload, was told to make the whole: there are no parts any
    /// more, or nobody knows.
    pub assembled: Option<[u8; 32]>,
}

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    Open,
    /// A Complete is assembling its parts, or an Abort is removing them: it takes none. Both fields are for the reader of a
    /// row: the part list, zeros for an Abort, and the upload's own id.
    Completing {
        list: [u8; 32],
        write: WriteId,
    },
    /// Kept for a day, so that a repeated Complete with the same list answers the same.
    Done {
        list: [u8; 32],
        stamp: Stamp,
        etag: ETag,
        size: u64,
        checksum: Checksum,
    },
}

/// One part of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPart {
    pub size: u64,
    pub md5: [u8; 16],
    pub crc64: u64,
    /// In the upload's algorithm, or that which the client sent with the part.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    pub location: Location,
    pub binding: Binding,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
}
