//! Stamps: hybrid logical time that orders values, and nothing else (protocol §2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::base32;
use super::site_id::{Incarnation, SiteNumber};

/// How far ahead of ours another site's clock may be before its stamps wait (protocol §2), milliseconds.
pub const AHEAD_MS_MAX: u64 = 5_000;

/// When a value was written, in an order every site agrees on.
///
/// Sixteen bytes, `ms:48 | tick:16 | site:16 | incarnation:32 | rank:8 | 0:8`, compared as bytes. Its text, 26
/// characters of Crockford base32, sorts the same way and is the S3 version id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp([u8; 16]);

/// The fields of a [`Stamp`], for building and taking one apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampParts {
    /// Milliseconds since 1970, 48 bits.
    pub ms: u64,
    /// Counts commits within one millisecond.
    pub tick: u16,
    pub site: SiteNumber,
    pub incarnation: Incarnation,
    /// 0 for people's writes; see [`Stamp::next_rank`].
    pub rank: u8,
}

impl Stamp {
    /// Length of the text form.
    pub const TEXT_LEN: usize = 26;

    pub fn new(parts: StampParts) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&parts.ms.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&parts.tick.to_be_bytes());
        bytes[8..10].copy_from_slice(&parts.site.0.to_be_bytes());
        bytes[10..14].copy_from_slice(&parts.incarnation.0.to_be_bytes());
        bytes[14] = parts.rank;
        Self(bytes)
    }

    pub fn parts(self) -> StampParts {
        let b = self.0;
        StampParts {
            ms: self.ms(),
            tick: u16::from_be_bytes([b[6], b[7]]),
            site: SiteNumber(u16::from_be_bytes([b[8], b[9]])),
            incarnation: Incarnation(u32::from_be_bytes([b[10], b[11], b[12], b[13]])),
            rank: b[14],
        }
    }

    /// Milliseconds since 1970: what Last-Modified is made of.
    pub fn ms(self) -> u64 {
        let b = self.0;
        u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]])
    }

    /// Whether a clock that is not wrong may have drawn it by now.
    pub fn may_be_drawn(self, now_ms: u64) -> bool {
        self.0[15] == 0 && self.ms() <= now_ms + AHEAD_MS_MAX
    }

    /// The next greater stamp of its writer: what sites conclude from a write by themselves, each drawing the same. Ranks are
    /// counted in ones and twos: 255 writes that had not seen each other would have to meet in one version to end them.
    pub fn next_rank(self) -> Self {
        let parts = self.parts();
        Self::new(StampParts { rank: parts.rank.saturating_add(1), ..parts })
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not a stamp.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stamp: 26 characters of Crockford base32 are expected")]
pub struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Self, NotAStamp> {
        base32::decode(text).map(Self).ok_or(NotAStamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ms: u64, tick: u16, rank: u8) -> Stamp {
        Stamp::new(StampParts { ms, tick, site: SiteNumber(7), incarnation: Incarnation(1_790_000_000), rank })
    }

    #[test]
    fn text_and_bytes_sort_alike() {
        let mut stamps = [stamp(2, 0, 0), stamp(1, 9, 0), stamp(1, 9, 1), stamp(1, 65_535, 0), stamp(1 << 47, 0, 0)];
        stamps.sort();
        let mut texts: Vec<_> = stamps.iter().map(Stamp::to_string).collect();
        let sorted = texts.clone();
        texts.sort();
        assert_eq!(texts, sorted);
    }

    #[test]
    fn text_round_trips_and_is_strict() {
        let one = stamp(1_790_000_123_456, 3, 1);
        let text = one.to_string();
        assert_eq!(text.len(), Stamp::TEXT_LEN);
        assert_eq!(text.parse(), Ok(one));
        assert_eq!(text[1..].parse::<Stamp>(), Err(NotAStamp));
        assert_eq!(format!("{}U", &text[..25]).parse::<Stamp>(), Err(NotAStamp));
        assert_eq!(one.parts().ms, 1_790_000_123_456);
    }
}
