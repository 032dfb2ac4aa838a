//! A unit's stamps and the one merge rule: the greater data wins, registers count only between equal data.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// The stamps of a unit: its data, its purge mark, and one for each register.
///
/// A register that is `None` was written with the data, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    pub data: Stamp,
    pub purge: Option<Stamp>,
    pub tags: Option<Stamp>,
    pub acl: Option<Stamp>,
    pub hold: Option<Stamp>,
    pub retention: Option<Stamp>,
}

impl Vector {
    /// The vector of a fresh write: every register belongs to the data.
    pub fn of(data: Stamp) -> Self {
        Self { data, purge: None, tags: None, acl: None, hold: None, retention: None }
    }

    /// The greatest stamp in it: the next one drawn for this unit must be greater.
    pub fn greatest(&self) -> Stamp {
        self.registers().into_iter().flatten().fold(self.data, Stamp::max)
    }

    /// Whether who is at this vector has all that was written up to it: not where an earlier write may stand against a later
    /// one (`Registers::merge`).
    pub fn tells_all(&self) -> bool {
        self.retention.is_none() && self.purge.is_none()
    }

    fn registers(&self) -> [Option<Stamp>; 5] {
        [self.purge, self.tags, self.acl, self.hold, self.retention]
    }

    /// The stamps that both sides together know of (protocol §2); what stands under them is merged by `Registers::merge`.
    pub fn merge(self, other: Self) -> Self {
        match self.data.cmp(&other.data) {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal => Self {
                data: self.data,
                purge: self.purge.max(other.purge),
                tags: self.tags.max(other.tags),
                acl: self.acl.max(other.acl),
                hold: self.hold.max(other.hold),
                retention: self.retention.max(other.retention),
            },
        }
    }
}

/// `a >= b` iff a's data is newer, or the data is the same and each register is at least b's.
impl PartialOrd for Vector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let by_data = self.data.cmp(&other.data);
        if by_data != Ordering::Equal {
            return Some(by_data);
        }
        let mut order = Ordering::Equal;
        for (mine, theirs) in self.registers().into_iter().zip(other.registers()) {
            order = match (order, mine.cmp(&theirs)) {
                (so_far, Ordering::Equal) => so_far,
                (Ordering::Equal, step) => step,
                (so_far, step) if so_far == step => so_far,
                _ => return None,
            };
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    #[test]
    fn newer_data_wins_with_all_its_registers() {
        let old = Vector { tags: Some(stamp(9)), ..Vector::of(stamp(1)) };
        let new = Vector::of(stamp(2));
        assert!(new > old);
        assert_eq!(old.merge(new), new);
    }

    #[test]
    fn between_equal_data_each_register_counts_for_itself() {
        let tagged = Vector { tags: Some(stamp(5)), ..Vector::of(stamp(1)) };
        let held = Vector { hold: Some(stamp(4)), ..Vector::of(stamp(1)) };
        assert_eq!(tagged.partial_cmp(&held), None);
        let both = tagged.merge(held);
        assert_eq!(both, held.merge(tagged));
        assert!(both >= tagged && both >= held);
        assert_eq!(both.greatest(), stamp(5));
    }
}
