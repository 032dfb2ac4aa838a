//! What one site tells another of a unit: its whole current state, never an operation (protocol §1).

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::identity::{Identity, PartEntry};
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

/// A unit's state at a site, as other sites are told. Nothing of where the bytes lie there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replica {
    /// Nothing is known of it there, which says nothing about it.
    Unknown,
    /// It was deleted. `told`: by whom, in which life and under which seq; it leaves once everybody has settled past that.
    Grave {
        stamp: Stamp,
        base: Option<Stamp>,
        told: Option<Told>,
    },
    Live(Box<LiveReplica>),
    Bucket(Bucket),
}

/// A live unit as other sites are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveReplica {
    pub vector: Vector,
    pub identity: Identity,
    pub base: Option<Stamp>,
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
            Self::Grave { stamp, .. } => Some(Vector::of(*stamp)),
            Self::Live(live) => Some(live.vector),
            Self::Bucket(bucket) => Some(Vector::of(bucket.greatest())),
        }
    }
}

/// What is known of an object here.
#[derive(Clone, Copy, Debug)]
pub enum Here<'a> {
    Nothing,
    Live(&'a Record),
    Grave(Stamp),
}
