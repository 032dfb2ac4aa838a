//! Where two sites differ in a range, and what is to be done about it: plain functions over the rows of both.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::digest::counts;
use crate::model::{Key, SiteNumber, Slot, Stamp};
use crate::peer::RowDigest;

/// How a unit differs between two sites, or between what a site knows and what its store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    MissingHere,
    MissingThere,
    OlderHere,
    OlderThere,
    /// The same data with other registers.
    Registers,
    /// The same stamps on different content, which no order of events explains.
    Content,
    /// Bytes in the store that no row names.
    Foreign,
    /// A row whose bytes are gone.
    Lost,
    /// Bytes that are not those of their row.
    Rotten,
    /// Bytes that were staged and that no row names any more.
    Orphan,
}

impl Class {
    pub const ALL: [Self; 10] = [
        Self::MissingHere,
        Self::MissingThere,
        Self::OlderHere,
        Self::OlderThere,
        Self::Registers,
        Self::Content,
        Self::Foreign,
        Self::Lost,
        Self::Rotten,
        Self::Orphan,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::MissingHere => "missing_here",
            Self::MissingThere => "missing_there",
            Self::OlderHere => "older_here",
            Self::OlderThere => "older_there",
            Self::Registers => "registers",
            Self::Content => "content",
            Self::Foreign => "foreign",
            Self::Lost => "lost",
            Self::Rotten => "rotten",
            Self::Orphan => "orphan",
        }
    }
}

/// A unit that two sites do not have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub key: Key,
    pub class: Class,
    pub here: Option<RowDigest>,
    pub there: Option<RowDigest>,
}

/// What makes two sites equal in a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// What is there is to be brought here.
    pub pull: bool,
    /// What is here is to be told there.
    pub tell: bool,
    /// What is there replaces what is here although its stamps are the same.
    pub correct: bool,
}

/// Compares rows of one range, each list in the order of keys and slots.
pub fn diff(here: &[RowDigest], there: &[RowDigest], graves_from_ms: u64) -> Vec<Difference> {
    let mut found = Vec::new();
    let (mut here, mut there) = (here.iter().peekable(), there.iter().peekable());
    loop {
        let order = match (here.peek(), there.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(mine), Some(theirs)) => (&mine.key, mine.slot).cmp(&(&theirs.key, theirs.slot)),
        };
        let mine = if order == Ordering::Greater { None } else { here.next() };
        let theirs = if order == Ordering::Less { None } else { there.next() };
        let Some(class) = class_of(mine, theirs, graves_from_ms) else { continue };
        let Some(row) = mine.or(theirs) else { continue };
        found.push(Difference { key: row.key.clone(), class, here: mine.cloned(), there: theirs.cloned() });
    }
}

fn class_of(here: Option<&RowDigest>, there: Option<&RowDigest>, graves_from_ms: u64) -> Option<Class> {
    match (here, there) {
        (None, None) => None,
        (None, Some(row)) => counts(row, graves_from_ms).then_some(Class::MissingHere),
        (Some(row), None) => counts(row, graves_from_ms).then_some(Class::MissingThere),
        (Some(here), Some(there)) if here.hash == there.hash => None,
        (Some(here), Some(there)) => Some(match here.vector.data.cmp(&there.vector.data) {
            Ordering::Less => Class::OlderHere,
            Ordering::Greater => Class::OlderThere,
            Ordering::Equal if here.is_grave != there.is_grave => class_of_purge(here, there),
            Ordering::Equal if here.has_bytes != there.has_bytes => Class::Lost,
            Ordering::Equal if here.vector != there.vector => Class::Registers,
            Ordering::Equal => Class::Content,
        }),
    }
}

/// A version that one side has and the other has purged: the purge is news to one of them, or what keeps it is to the other.
/// The null version has another data stamp once it is deleted.
fn class_of_purge(here: &RowDigest, there: &RowDigest) -> Class {
    match (here.slot, here.vector.partial_cmp(&there.vector)) {
        (Slot::Null, _) => Class::Content,
        (_, Some(Ordering::Less)) => Class::OlderHere,
        (_, Some(Ordering::Greater)) => Class::OlderThere,
        _ => Class::Registers,
    }
}

impl Difference {
    /// Which version of the key differs.
    pub fn slot(&self) -> Slot {
        [&self.here, &self.there].into_iter().flatten().next().map_or(Slot::Null, |row| row.slot)
    }

    /// The greatest stamp that either side has of it: how young the difference may be.
    pub fn greatest(&self) -> Option<Stamp> {
        [&self.here, &self.there].into_iter().flatten().map(|row| row.vector.greatest()).max()
    }

    /// What mends it, between the sites `here` and `there`.
    pub fn remedy(&self, here: SiteNumber, there: SiteNumber) -> Remedy {
        let (pull, tell) = (Remedy { pull: true, ..Remedy::default() }, Remedy { tell: true, ..Remedy::default() });
        let (Some(mine), Some(theirs)) = (&self.here, &self.there) else {
            return if self.here.is_some() { tell } else { pull };
        };
        match self.class {
            Class::OlderHere => pull,
            Class::OlderThere => tell,
            Class::Content => Remedy { correct: is_right_there(mine, theirs, here, there), ..Remedy::default() },
            _ => {
                let newer_there = !mine.has_bytes && theirs.has_bytes;
                let newer_here = mine.has_bytes && !theirs.has_bytes;
                // What is kept in spite of its purge comes back to where it went.
                let kept_there = mine.is_grave && !theirs.is_grave;
                let kept_here = !mine.is_grave && theirs.is_grave;
                Remedy {
                    pull: newer_there || kept_there || !at_least(mine, theirs),
                    tell: newer_here || kept_here || !at_least(theirs, mine),
                    correct: false,
                }
            }
        }
    }
}

fn at_least(one: &RowDigest, other: &RowDigest) -> bool {
    one.vector >= other.vector
}

/// Which side is believed of two that bear the same stamps: the site that drew them. Between two others the greater hash,
/// so that all come to the same. A grave and an object under one stamp cannot be told apart by anybody.
fn is_right_there(mine: &RowDigest, theirs: &RowDigest, here: SiteNumber, there: SiteNumber) -> bool {
    let origin = mine.vector.data.parts().site;
    let undecidable = mine.is_grave != theirs.is_grave;
    !undecidable && (origin == there || (origin != here && theirs.hash > mine.hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, StampParts, Vector};

    const HERE: SiteNumber = SiteNumber(1);
    const THERE: SiteNumber = SiteNumber(2);

    fn stamp(ms: u64, site: SiteNumber) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site, incarnation: Incarnation(1), rank: 0 })
    }

    fn row(key: &str, ms: u64) -> RowDigest {
        let (key, vector) = (Key::new(key).unwrap(), Vector::of(stamp(ms, HERE)));
        RowDigest { key, slot: Slot::Null, vector, is_grave: false, has_bytes: true, size: 1, hash: u128::from(ms) }
    }

    fn grave(key: &str, ms: u64) -> RowDigest {
        RowDigest { is_grave: true, has_bytes: false, ..row(key, ms) }
    }

    fn tagged(ms: u64, tags: u64) -> RowDigest {
        let plain = row("a", ms);
        let vector = Vector { tags: Some(stamp(tags, HERE)), ..plain.vector };
        RowDigest { vector, hash: plain.hash + u128::from(tags), ..plain }
    }

    fn held(ms: u64, hold: u64) -> RowDigest {
        let plain = row("a", ms);
        let vector = Vector { hold: Some(stamp(hold, HERE)), ..plain.vector };
        RowDigest { vector, hash: plain.hash + 1_000 + u128::from(hold), ..plain }
    }

    fn classes(here: &[RowDigest], there: &[RowDigest]) -> Vec<(String, Class)> {
        diff(here, there, 100).into_iter().map(|found| (found.key.to_string(), found.class)).collect()
    }

    fn only(here: RowDigest, there: RowDigest) -> (Class, Remedy) {
        let found = diff(&[here], &[there], 100).remove(0);
        (found.class, found.remedy(HERE, THERE))
    }

    const PULL: Remedy = Remedy { pull: true, tell: false, correct: false };
    const TELL: Remedy = Remedy { pull: false, tell: true, correct: false };

    #[test]
    fn every_unit_is_classed_in_one_walk() {
        let here = [row("a", 200), row("b", 200), row("d", 300), grave("e", 200)];
        let there = [row("a", 200), row("c", 200), row("d", 200), row("e", 300)];
        let expected = [("b", Class::MissingThere), ("c", Class::MissingHere), ("d", Class::OlderThere), ("e", Class::OlderHere)];
        assert_eq!(classes(&here, &there), expected.map(|(key, class)| (key.to_owned(), class)));
    }

    #[test]
    fn a_grave_that_one_side_has_dropped_is_no_difference_until_it_meets_an_object() {
        assert_eq!(classes(&[grave("a", 99)], &[]), []);
        assert_eq!(classes(&[], &[grave("a", 99)]), []);
        assert_eq!(classes(&[], &[grave("a", 100)]), [("a".to_owned(), Class::MissingHere)]);
        assert_eq!(classes(&[grave("a", 99)], &[row("a", 98)]), [("a".to_owned(), Class::OlderThere)]);
    }

    #[test]
    fn what_is_newer_there_is_pulled_and_what_is_newer_here_is_told() {
        assert_eq!(only(row("a", 200), row("a", 300)), (Class::OlderHere, PULL));
        assert_eq!(only(row("a", 300), grave("a", 200)), (Class::OlderThere, TELL));
        assert_eq!(only(row("a", 200), tagged(200, 300)), (Class::Registers, PULL));
        assert_eq!(only(tagged(200, 300), row("a", 200)), (Class::Registers, TELL));
        let both = Remedy { pull: true, tell: true, correct: false };
        assert_eq!(only(tagged(200, 300), held(200, 300)), (Class::Registers, both));
        let lost = RowDigest { has_bytes: false, hash: 7, ..row("a", 200) };
        assert_eq!(only(lost.clone(), row("a", 200)), (Class::Lost, PULL));
        assert_eq!(only(row("a", 200), lost), (Class::Lost, TELL));
    }

    #[test]
    fn of_two_contents_with_one_stamp_that_of_its_origin_is_right() {
        let other = RowDigest { hash: 9_999, ..row("a", 200) };
        let found = diff(&[row("a", 200)], &[other], 100).remove(0);
        assert_eq!(found.class, Class::Content);
        assert!(!found.remedy(SiteNumber(1), SiteNumber(2)).correct);
        assert!(found.remedy(SiteNumber(2), SiteNumber(1)).correct);
        assert!(found.remedy(SiteNumber(3), SiteNumber(2)).correct, "the greater hash");
    }
}
