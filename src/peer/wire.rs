//! What sites say to each other. Serialised as postcard within a version; a site refuses a version it does not speak.

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::model::{BucketName, Incarnation, Key, Replica, Seq, SiteId, SiteNumber, Slot, Telling, Vector};

/// Version of everything in this file. Sites of different versions say so at the handshake and wait.
pub const PROTOCOL: u32 = 3;

/// Bytes of a body that comes along with its record, at the most.
pub const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// How a site stands, from the point of view of the one it speaks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    pub protocol: u32,
    pub site: SiteNumber,
    pub name: String,
    pub incarnation: Incarnation,
    pub state: SiteState,
    /// The last thing it told anybody.
    pub seq: Seq,
    /// Everything it told up to here has reached every member: graves told by then may leave (protocol §12).
    pub settled: Seq,
    /// Its wall clock, milliseconds since 1970.
    pub clock_ms: u64,
    /// Millisecond and tick that its stamps have come to, by those it drew and those it heard of. Who lost its data draws above
    /// that, as it would have if it still had them.
    pub stamped: (u64, u16),
    /// Up to where it knows what the one spoken to has told, and in which of its lives. Also how that one finds out that
    /// its store came back from a snapshot (protocol §2).
    pub received: Option<(Incarnation, Seq)>,
    /// Whether it tells the one spoken to what is changed there: only then is what it has of concern here.
    pub tells: bool,
    /// Whether the one spoken to may lack something that nobody will tell it: what it was to be told became too much, or a life
    /// of it ended. To know all that was told is not to know everything then.
    pub dirty: bool,
}

/// Whether a site's absences prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SiteState {
    Active,
    /// It lost its data and is getting it back: what it does not have proves nothing.
    Restoring,
}

/// Asks what a site has told the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAsk {
    /// Who asks.
    pub site: SiteNumber,
    /// Entries after this.
    pub after: Seq,
    /// Everything up to here is known to the one who asks, in the life of the asked one named with it: receipts up to here
    /// have served.
    pub received: (Incarnation, Seq),
    pub entries_max: usize,
}

/// Part of what a site has told, in the order of telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// In whose life these seqs were given.
    pub incarnation: Incarnation,
    pub entries: Vec<(Seq, Telling)>,
    /// With these entries everything told up to here is known, whatever was replaced or void meanwhile.
    pub through: Seq,
    pub more: bool,
}

/// A unit as a peer has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    pub replica: Replica,
    /// The bytes of a small object that has any.
    #[serde(with = "super::whole")]
    pub bytes: Option<Vec<u8>>,
}

/// Keys of a bucket: from the first, included, to the last, excluded; `None` is the end of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    pub from: Option<Key>,
    pub to: Option<Key>,
}

/// Asks for the digests of several ranges of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAsk {
    pub bucket: BucketName,
    pub ranges: Vec<RangeAsk>,
    /// Graves with stamps before this do not count, milliseconds since 1970: both sides have to draw the same line.
    pub graves_from_ms: u64,
}

/// Asks for the digest of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAsk {
    pub range: KeyRange,
    /// So many rows the one who asks has there. Where more are counted the two differ, and nothing more is counted.
    pub rows_max: u64,
}

/// What a range holds: live units and graves that may still have to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    pub count: u64,
    /// Sum of the rows' hashes, which wraps around.
    pub sum: u128,
}

/// A unit and what tells whether two sites have the same of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDigest {
    pub key: Key,
    pub slot: Slot,
    pub vector: Vector,
    pub is_grave: bool,
    /// Whether the site has the bytes, where the unit has any.
    pub has_bytes: bool,
    /// Bytes of the object.
    pub size: u64,
    pub hash: u128,
}

/// Units of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsPage {
    pub rows: Vec<RowDigest>,
    /// Whether more follow: go on behind the last key.
    pub more: bool,
}

impl Heads {
    /// Whether it is who the settings say, and speaks as we do.
    pub fn check(&self, id: &SiteId) -> Result<()> {
        if self.protocol != PROTOCOL {
            let found = self.protocol;
            return Err(Error::Refused(format!("it speaks version {found} of the feed, this site version {PROTOCOL}")));
        }
        if (self.site, &self.name) != (id.number, &id.name) {
            let (name, number) = (&self.name, self.site.0);
            return Err(Error::Refused(format!(
                "it is {name:?}, number {number}, and the settings say {:?}, number {}: mend [[peer]]",
                id.name, id.number.0
            )));
        }
        Ok(())
    }
}

impl KeyRange {
    /// The whole bucket.
    pub const ALL: Self = Self { from: None, to: None };

    /// All keys that begin with `prefix`.
    pub fn under(prefix: &str) -> Self {
        Self { from: Key::new(prefix).ok(), to: Key::behind_all(prefix) }
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.from.as_ref().is_none_or(|from| from <= key) && self.to.as_ref().is_none_or(|to| key < to)
    }
}

impl Fetched {
    pub fn of(replica: Replica) -> Self {
        Self { replica, bytes: None }
    }
}
