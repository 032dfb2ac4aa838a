//! What one site tells another of a unit: its whole current state, never an operation (protocol §1).

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::identity::{Identity, PartEntry, Tags};
use super::lock::Registers;
use super::record::Record;
use super::site_id::{Incarnation, Seq, SiteNumber};
use super::stamp::Stamp;
use super::vector::Vector;

/// When a site told something: a seq of one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub site: SiteNumber,
    pub incarnation: Incarnation,
    pub seq: Seq,
}

/// The tombstone of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grave {
    /// Of the delete.
    pub stamp: Stamp,
    /// The data stamp it deleted, if one was known.
    pub base: Option<Stamp>,
    /// Who told of it: it leaves once every member has settled past that (protocol §12). `None` is this site, whose
    /// seq is the row's own.
    pub told: Option<Told>,
    /// What is known of the version that was purged; `None` for the null version, whose deletes have data stamps.
    pub purged: Option<Box<Purged>>,
}

/// A version that is gone. Its registers stay: a hold that the purge had not seen brings it back (protocol §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Its purge is the grave's stamp.
    pub vector: Vector,
    pub registers: Registers,
    /// The only register that is part of an identity.
    pub tags: Tags,
}

impl Grave {
    /// The stamps of a unit that is deleted.
    pub fn vector(&self) -> Vector {
        self.purged.as_ref().map_or_else(|| Vector::of(self.stamp), |purged| purged.vector)
    }

    /// Whether a version was purged unawares: nothing is known of what came with its data, a hold among it.
    pub fn is_unread(&self) -> bool {
        self.purged.is_some() && self.base.is_none()
    }
}

/// A unit's state at a site, as other sites are told. Nothing of where the bytes lie there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replica {
    /// Nothing is known of it there, which says nothing about it.
    Unknown,
    /// It was deleted. It says by whom, in which life and under which seq that was told.
    Grave(Grave),
    Live(Box<LiveReplica>),
    Bucket(Bucket),
}

/// A live unit as other sites are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveReplica {
    pub vector: Vector,
    pub identity: Identity,
    pub base: Option<Stamp>,
    pub registers: Registers,
    /// A delete marker, which has no bytes.
    pub is_marker: bool,
    /// The parts that the identity counts.
    pub part_map: Vec<PartEntry>,
    /// Whether that site has the bytes.
    pub has_bytes: bool,
}

impl Replica {
    /// The stamps that this state has; `None` where nothing is known.
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Unknown => None,
            Self::Grave(grave) => Some(grave.vector()),
            Self::Live(live) => Some(live.vector),
            Self::Bucket(bucket) => Some(Vector::of(bucket.greatest())),
        }
    }
}

/// What is known of a unit here.
#[derive(Clone, Copy, Debug)]
pub enum Here<'a> {
    Nothing,
    Live(&'a Record),
    Grave(&'a Grave),
}
