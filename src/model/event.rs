//! What a commit tells: a unit reached a vector. State, never an operation (protocol §1).

use serde::{Deserialize, Serialize};

use super::object::Unit;
use super::vector::Vector;

/// Where a change came from decides what the others are told, which is the whole of loop prevention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A client or a repair here: `Mutated`, which peers follow.
    Local,
    /// Another site's state, applied here: `Applied`, which peers only note as a receipt.
    Peer,
}

/// A unit at this site reached a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub unit: Unit,
    pub vector: Vector,
    pub origin: Origin,
}
