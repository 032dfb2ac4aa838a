//! Conflicts by seed: the simulation wants every guarded commit to be started again now and then.

use crate::status::{Commit, CommitError};

/// One guarded commit in this many is refused.
const ONE_IN: u64 = 8;

/// A small random sequence (splitmix64), the same for the same seed.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A conflict for a guarded commit, sometimes.
    pub fn refusal(&mut self, commit: &Commit) -> Option<CommitError> {
        (!commit.expect.is_empty() && self.next().is_multiple_of(ONE_IN)).then_some(CommitError::Conflict)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
