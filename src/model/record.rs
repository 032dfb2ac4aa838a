//! What a site knows of a unit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::checksum::Checksum;
use super::identity::Identity;
use super::lock::Registers;
use super::object::Slot;
use super::site_id::WriteId;
use super::stamp::Stamp;
use super::vector::Vector;

/// A live unit. Its last local [`Seq`](super::Seq) is kept by the status store beside the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub vector: Vector,
    pub state: State,
    pub identity: Identity,
    /// Where this site's store keeps the bytes. Never told to others.
    pub location: Location,
    /// How the store names these very bytes. Never told to others.
    pub binding: Binding,
    /// The write that stored the bytes here: key of its settle row, while there is one.
    pub write: WriteId,
    /// The data stamp this one replaced: a write that had not seen what it replaces is a conflict.
    pub base: Option<Stamp>,
    /// Whether it is a version of its own, named by its data stamp; else it is the null version.
    pub versioned: bool,
    pub registers: Registers,
}

impl Record {
    /// Which of its key's versions it is.
    pub fn slot(&self) -> Slot {
        if self.versioned { Slot::Version(self.vector.data) } else { Slot::Null }
    }

    /// Whether LIST, HEAD and GET may show it: a delete marker is no object.
    pub fn is_shown(&self) -> bool {
        self.state != State::Marker
    }

    /// Whether this site's store has the bytes, read or not.
    pub fn has_bytes(&self) -> bool {
        matches!(self.state, State::Present | State::Unread)
    }

    /// Whether this site's store may have something of it: of a version that the store issued itself also where it is a delete
    /// marker, or was not found.
    pub fn is_stored(&self) -> bool {
        self.has_bytes() || matches!(self.location, Location::Native(_))
    }

    /// The checksum S3 shows of it; none of bytes that nobody has read yet.
    pub fn shown_checksum(&self) -> Option<Checksum> {
        (self.state != State::Unread).then(|| self.identity.shown_checksum())
    }

    /// Whether it still waits for this very write to reach its name.
    pub fn is_staged_by(&self, write: WriteId) -> bool {
        self.write == write && self.location.is_staged()
    }
}

/// Whether the bytes are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Present,
    /// Known, but this site's store does not have the bytes: to be fetched or healed.
    Wanted,
    /// A delete marker.
    Marker,
    /// The bytes are here since before the site served them, and it has not read them yet: their ETag says nothing about
    /// them, they have no checksums, and no other site is told of them.
    Unread,
}

/// Where a site's store keeps a unit's bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Location {
    /// Under the key's own name.
    Plain,
    /// Under a unique name that is never written again.
    Own(WriteId),
    /// fs: still in a staging file, on its way to the plain name.
    Staged(StagingFile),
    /// Under a version the store itself issued.
    Native(String),
    /// fs: still in a staging file, on its way to its own name.
    OwnStaged(StagingFile, WriteId),
    /// A store without staging files: under a unique name, on its way to the plain name.
    Moving(WriteId),
    /// A part that the store keeps inside an unfinished multipart upload of its own.
    Part,
}

impl Location {
    /// The staging file that the bytes are in, or were in before they came to their name.
    pub fn staged(&self) -> Option<StagingFile> {
        match self {
            Self::Staged(file) | Self::OwnStaged(file, _) => Some(*file),
            Self::Plain | Self::Own(_) | Self::Native(_) | Self::Moving(_) | Self::Part => None,
        }
    }

    /// Whether the bytes are on their way to their name.
    pub fn is_staged(&self) -> bool {
        matches!(self, Self::Staged(_) | Self::OwnStaged(..) | Self::Moving(_))
    }

    /// The name of their own that the bytes have, or are on their way to or from.
    pub fn own_name(&self) -> Option<WriteId> {
        match self {
            Self::Own(write) | Self::OwnStaged(_, write) | Self::Moving(write) => Some(*write),
            Self::Plain | Self::Staged(_) | Self::Native(_) | Self::Part => None,
        }
    }

    /// The same bytes as those of this unit: a version's come to a name of their own.
    pub fn of_slot(self, slot: Slot, write: WriteId) -> Self {
        match (self, slot) {
            (Self::Staged(file), Slot::Version(_)) => Self::OwnStaged(file, write),
            (Self::Moving(own), Slot::Version(_)) => Self::Own(own),
            (location, _) => location,
        }
    }

    /// Where the bytes are once they have come to their name.
    pub fn settled(&self) -> Self {
        match self {
            Self::Staged(_) | Self::Moving(_) => Self::Plain,
            Self::OwnStaged(_, write) => Self::Own(*write),
            settled => settled.clone(),
        }
    }
}

/// A file of the staging pool. Its name is older than the write that uses it, so that no directory has to be synced
/// before the commit; the binding tells whose bytes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StagingFile(pub u64);

impl fmt::Display for StagingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How a store names the very bytes a record speaks of. Headers are sent only when the opened bytes match it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// Nothing is stored: a marker, or bytes that are Wanted.
    None,
    File {
        inode: u64,
        size: u64,
        mtime_ns: i128,
    },
    /// What the store calls them: a mark that came with them, or its ETag or generation.
    Tag(String),
}

impl Binding {
    /// Whether it is the mark of a write of a site's own.
    pub fn is_marked(&self) -> bool {
        matches!(self, Self::Tag(tag) if tag.parse::<WriteId>().is_ok())
    }
}
