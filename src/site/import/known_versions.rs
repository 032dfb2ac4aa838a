//! What is known here of the versions that a store has of a key, and what follows for one that is found there.

use md5::{Digest as _, Md5};

use crate::backend::{Found, FoundVersion, NULL_VERSION};
use crate::model::{Grave, Incarnation, Location, Record, Slot, Stamp, State};
use crate::status::Stored;

/// Sets the incarnation of a version of others apart from those of sites, which are seconds since 1970.
const OTHERS: u32 = 1 << 31;

/// What is known here of the versions of a key.
pub(super) struct KnownVersions {
    pub rows: Vec<Stored<Record>>,
    pub graves: Vec<(Slot, Stored<Grave>)>,
}

impl KnownVersions {
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.graves.is_empty()
    }

    /// The stamp that a version has here, or had.
    pub fn stamp_of(&self, id: &str) -> Option<Stamp> {
        let incarnation = incarnation_of(id);
        let is_it = |slot: &Slot| matches!(slot, Slot::Version(stamp) if stamp.parts().incarnation == incarnation);
        let row = self.rows.iter().find(|row| match &row.row.location {
            Location::Native(own) => own == id,
            _ => is_it(&row.row.slot()),
        });
        let buried = || self.graves.iter().map(|(slot, _)| slot).find(|slot| is_it(slot));
        match row.map(|row| row.row.slot()).as_ref().or_else(buried)? {
            Slot::Version(stamp) => Some(*stamp),
            Slot::Null => None,
        }
    }

    fn null(&self) -> (Option<&Stored<Record>>, Option<&Stored<Grave>>) {
        let grave = self.graves.iter().find(|(slot, _)| *slot == Slot::Null).map(|(_, grave)| grave);
        (self.rows.iter().find(|row| row.row.slot() == Slot::Null), grave)
    }

    /// Delete markers of the store's that it has no more: who removes one wants back what it hid. Of bytes absence says nothing.
    pub fn removed_markers(&self, found: &[FoundVersion]) -> impl Iterator<Item = &Stored<Record>> {
        let is_listed = |id: &str| found.iter().any(|found| found.version == id);
        self.rows.iter().filter(move |row| match &row.row.location {
            Location::Native(id) => row.row.state == State::Marker && !is_listed(id),
            _ => false,
        })
    }

    /// What is to become of a version that was found.
    pub fn verdict(&self, found: &FoundVersion) -> Verdict {
        if found.version != NULL_VERSION {
            return self.stamp_of(&found.version).map_or(Verdict::New { above: None, over: None }, Verdict::Known);
        }
        let (row, grave) = self.null();
        match (row, grave) {
            (Some(row), _) if row.row.binding == found.binding => Verdict::Known(row.row.vector.data),
            // Only others put another null version there, unless it is what a write of ours took the place of.
            (Some(row), _) if is_native(&row.row) || found.stored_ms > row.row.vector.data.ms() => {
                Verdict::New { above: Some(row.row.vector.greatest()), over: Some(Box::new(row.clone())) }
            }
            (Some(row), _) if comes_before(found, row.row.vector.data) => Verdict::Replaced,
            // Of the same second nobody knows.
            (Some(_), _) => Verdict::Left,
            (None, Some(grave)) if comes_before(found, grave.row.stamp) => Verdict::Replaced,
            (None, grave) => Verdict::New { above: grave.map(|grave| grave.row.stamp), over: None },
        }
    }
}

/// What is to become of a version that was found.
pub(super) enum Verdict {
    /// It has this stamp.
    Known(Stamp),
    /// Nothing, for now.
    Left,
    /// Something of ours took its place, and it is to go: else it would come back when that has gone.
    Replaced,
    /// It becomes a version here, later than `above`, in the place of `over`.
    New { above: Option<Stamp>, over: Option<Box<Stored<Record>>> },
}

/// Whether it certainly came before a stamp, as far as stores tell times.
fn comes_before(found: &FoundVersion, stamp: Stamp) -> bool {
    found.stored_ms / 1000 < stamp.ms() / 1000
}

fn is_native(record: &Record) -> bool {
    matches!(record.location, Location::Native(_))
}

/// A hash of the id that a store gave a version.
pub(super) fn incarnation_of(id: &str) -> Incarnation {
    let hash: [u8; 16] = Md5::digest(id).into();
    Incarnation(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) | OTHERS)
}

/// Whether a listing of current objects shows a key as its rows do: what is newest of the store's own versions. A listing tells no
/// ids; another version of the same size and second is found when it is read.
pub fn is_as_listed(rows: &[Stored<Record>], found: Option<&Found>) -> bool {
    let newest = rows.iter().map(|row| &row.row).filter(|row| is_native(row)).max_by_key(|row| row.vector.data);
    match (newest.filter(|newest| newest.state != State::Marker), found) {
        (None, None) => true,
        (Some(newest), Some(found)) => {
            let seconds = newest.vector.data.ms() / 1000;
            newest.identity.size == found.size && found.modified_ms / 1000 == seconds
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Binding, ETag, Key, Seq, SiteNumber, StampParts, Vector};
    use crate::site::unread::testing::record;
    use crate::status::Revision;

    fn stamp(ms: u64, incarnation: Incarnation) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation, rank: 0 })
    }

    fn found(id: &str, binding: &str, seconds: u64) -> FoundVersion {
        let (key, version, binding) = (Key::new("a").unwrap(), id.to_owned(), Binding::Tag(binding.to_owned()));
        FoundVersion { key, version, is_marker: false, binding, size: 0, stored_ms: seconds * 1000 }
    }

    fn row(location: Location, binding: &str, ms: u64) -> Stored<Record> {
        let (vector, binding) = (Vector::of(stamp(ms, Incarnation(7))), Binding::Tag(binding.to_owned()));
        let versioned = matches!(&location, Location::Native(id) if id != NULL_VERSION);
        let row = Record { vector, location, binding, versioned, ..record(ETag::of_md5([0; 16])) };
        Stored { row, revision: Revision(1), seq: Seq(1) }
    }

    fn verdict(rows: Vec<Stored<Record>>, graves: Vec<(Slot, u64)>, found: &FoundVersion) -> &'static str {
        let grave = |ms| Grave { stamp: stamp(ms, Incarnation(7)), base: None, told: None, purged: None };
        let stored = |ms| Stored { row: grave(ms), revision: Revision(1), seq: Seq(1) };
        let graves = graves.into_iter().map(|(slot, ms)| (slot, stored(ms))).collect();
        match (KnownVersions { rows, graves }).verdict(found) {
            Verdict::Known(_) => "known",
            Verdict::Left => "left",
            Verdict::Replaced => "replaced",
            Verdict::New { over: Some(_), .. } => "new, over another",
            Verdict::New { over: None, .. } => "new",
        }
    }

    #[test]
    fn a_version_is_known_by_its_id_and_a_purged_one_by_its_grave() {
        let v1 = found("v1", "x", 5);
        let native = |id: &str| row(Location::Native(id.to_owned()), "x", 5_000);
        let purged = Slot::Version(stamp(5_000, incarnation_of("v1")));
        assert_eq!(verdict(vec![], vec![], &v1), "new");
        assert_eq!(verdict(vec![native("v1")], vec![], &v1), "known");
        assert_eq!(verdict(vec![native("v2")], vec![], &v1), "new");
        assert_eq!(verdict(vec![native("v2")], vec![(purged, 9_000)], &v1), "known");
    }

    #[test]
    fn the_null_version_is_what_was_stored_last() {
        let theirs = || row(Location::Native(NULL_VERSION.to_owned()), "theirs", 5_000);
        let ours = || row(Location::Plain, "ours", 5_500);
        let null = |binding, seconds| found(NULL_VERSION, binding, seconds);
        assert_eq!(verdict(vec![theirs()], vec![], &null("theirs", 5)), "known");
        assert_eq!(verdict(vec![theirs()], vec![], &null("another", 5)), "new, over another");
        for (seconds, expected) in [(4, "replaced"), (5, "left"), (6, "new, over another")] {
            assert_eq!(verdict(vec![ours()], vec![], &null("theirs", seconds)), expected, "{seconds}");
        }
        for (seconds, expected) in [(4, "replaced"), (5, "new"), (6, "new")] {
            assert_eq!(verdict(vec![], vec![(Slot::Null, 5_500)], &null("theirs", seconds)), expected, "{seconds}");
        }
    }
}
