//! What a commit tells: a unit reached a vector. State, never an operation (protocol §1).

use serde::{Deserialize, Serialize};

use super::object::Unit;
use super::vector::Vector;

/// A unit at this site reached a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub unit: Unit,
    pub vector: Vector,
}

/// What one site tells another of a unit, which is the whole of loop prevention: only `Mutated` is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A client or a repair changed it here.
    Mutated,
    /// What the other one told is here, durably: its receipt.
    Applied,
    /// What the other one told cannot be taken here, and why. It is tried again.
    Refused(String),
}

/// One line of what a site tells another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    pub unit: Unit,
    pub vector: Vector,
    pub news: News,
}
