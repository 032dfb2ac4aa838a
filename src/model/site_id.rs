//! Who wrote: sites, their incarnations, and the counters that belong to one incarnation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::base32;

/// A site's number, 1..=65535: configured once, unique among the sites that know each other, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SiteNumber(pub u16);

/// A site: its name for people, its number for stamps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SiteId {
    pub name: String,
    pub number: SiteNumber,
}

/// One life of a site's data. A new, wiped or rolled-back store draws a greater one, so that its stamps and sequence
/// numbers are never taken for those of the life before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

/// Order of telling: contiguous within (site, incarnation), given inside the commit, never compared with stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// Names one write before its first byte is stored: `incarnation:32 | start:24 | counter:40`.
///
/// Unique for ever: `start` grows with each process start, `counter` within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId([u8; 12]);

impl WriteId {
    /// `start` uses 24 bits, `counter` 40; higher bits are dropped.
    pub fn new(incarnation: Incarnation, start: u32, counter: u64) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&incarnation.0.to_be_bytes());
        bytes[4..7].copy_from_slice(&start.to_be_bytes()[1..]);
        bytes[7..].copy_from_slice(&counter.to_be_bytes()[3..]);
        Self(bytes)
    }

    /// Whether it was drawn by this process start of a site's life.
    pub fn is_of(self, incarnation: Incarnation, start: u32) -> bool {
        self.0[..7] == Self::new(incarnation, start, 0).0[..7]
    }

    /// The life that it was drawn in.
    pub fn incarnation(self) -> Incarnation {
        let [a, b, c, d, ..] = self.0;
        Incarnation(u32::from_be_bytes([a, b, c, d]))
    }

    pub fn to_bytes(self) -> [u8; 12] {
        self.0
    }

    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not a write id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a write id: 20 characters of Crockford base32 are expected")]
pub struct NotAWriteId;

impl FromStr for WriteId {
    type Err = NotAWriteId;

    fn from_str(text: &str) -> Result<Self, NotAWriteId> {
        base32::decode(text).map(Self).ok_or(NotAWriteId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_write_has_a_greater_id() {
        let ids = [
            WriteId::new(Incarnation(1), 1, 1),
            WriteId::new(Incarnation(1), 1, 2),
            WriteId::new(Incarnation(1), 2, 0),
            WriteId::new(Incarnation(2), 0, 0),
        ];
        assert!(ids.is_sorted());
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(ids.map(WriteId::incarnation), [1, 1, 1, 2].map(Incarnation));
    }
}
