//! A bucket: when it was made, by whom, and one register for each subresource.

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// What a site knows of a bucket. The grave of a bucket is its row with `deleted` set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub created: Stamp,
    pub deleted: Option<Stamp>,
    pub owner: String,
    pub region: String,
    /// Subresource name → its document and stamp, by name.
    pub registers: Vec<(String, Stamp, Vec<u8>)>,
}

impl Bucket {
    /// Whether the bucket exists.
    pub fn is_live(&self) -> bool {
        self.deleted.is_none()
    }

    /// The greatest stamp in it: the next one drawn for this bucket must be greater.
    pub fn greatest(&self) -> Stamp {
        let registers = self.registers.iter().map(|(_, stamp, _)| *stamp);
        registers.chain(self.deleted).fold(self.created, Stamp::max)
    }

    /// What both sides together know: the later of making and deleting decides, then each register for itself.
    /// Registers belong to the bucket they were written on: one made anew begins without any.
    pub fn merge(&self, other: &Self) -> Self {
        let made = if self.created >= other.created { self } else { other };
        let deleted = self.deleted.max(other.deleted).filter(|deleted| *deleted > made.created);
        let mut registers: Vec<(String, Stamp, Vec<u8>)> = Vec::new();
        let both = self.registers.iter().chain(&other.registers);
        for register in both.filter(|(_, stamp, _)| deleted.is_none() && *stamp > made.created) {
            match registers.iter_mut().find(|known| known.0 == register.0) {
                Some(known) if known.1 < register.1 => known.clone_from(register),
                Some(_) => {}
                None => registers.push(register.clone()),
            }
        }
        registers.sort();
        Self { created: made.created, deleted, owner: made.owner.clone(), region: made.region.clone(), registers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn made(ms: u64) -> Bucket {
        let (owner, region) = (format!("owner-{ms}"), "us-east-1".to_owned());
        Bucket { created: stamp(ms), deleted: None, owner, region, registers: Vec::new() }
    }

    fn with(bucket: Bucket, name: &str, ms: u64) -> Bucket {
        Bucket { registers: vec![(name.into(), stamp(ms), vec![u8::try_from(ms).unwrap()])], ..bucket }
    }

    #[test]
    fn the_later_of_making_and_deleting_decides() {
        let deleted = Bucket { deleted: Some(stamp(5)), ..made(1) };
        assert!(!made(1).merge(&deleted).is_live());
        assert!(deleted.merge(&made(6)).is_live());
        assert!(!made(3).merge(&deleted).is_live());
        assert_eq!(deleted.merge(&made(6)), made(6).merge(&deleted));
    }

    #[test]
    fn registers_written_at_two_sites_are_both_kept() {
        let (cors, policy) = (with(made(1), "cors", 5), with(made(1), "policy", 6));
        let both = cors.merge(&policy);
        assert_eq!(both, policy.merge(&cors));
        assert_eq!(both.registers.len(), 2);
        assert_eq!(both.greatest(), stamp(6));
        assert_eq!(with(made(1), "cors", 7).merge(&cors).registers[0].1, stamp(7));
    }

    #[test]
    fn a_bucket_made_anew_begins_without_registers() {
        assert_eq!(with(made(1), "cors", 5).merge(&made(6)).registers, []);
    }
}
