//! The guarantee: whatever was lost on the way, two sites that reconcile end equal, and can be proven to be (protocol §11).
//!
//! *Outward* (`outward`) compares this site with another: digests of key ranges (`digest`, `pair`), rows where those differ
//! (`diff`), and then work here or a telling there. *Inward* (`inward`) compares the rows here with the store. A run (`run`)
//! goes over what was asked for; `board` is where people ask, look and stop, `worker` runs what they ask for and what is due
//! by itself.

mod arriving;
mod board;
mod buckets;
mod diff;
mod digest;
mod inward;
mod kept;
mod orphans;
mod outward;
mod pair;
mod report;
mod run;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod units;
mod worker;

pub use board::{Progress, Reconciler, RunState};
pub use diff::Class;
pub use digest::{digests, graves_from_ms, rows};
pub use report::{Line, Side, Summary};
pub use run::{Ask, Cause};
pub use worker::{Settings, workers};

use crate::{peer, site};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step of a reconciliation did not succeed. It is tried again from where it stood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Here(#[from] site::Error),
    #[error(transparent)]
    There(#[from] peer::Error),
    /// What was compared is not what is there any more.
    #[error("{0}")]
    Changed(String),
    /// It cannot be compared until a person changes something: trying again is of no use.
    #[error("{0}")]
    Refused(String),
}
