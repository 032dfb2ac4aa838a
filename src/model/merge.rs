//! Which of two states of a unit wins: the greater data stamp, and between equal data each register for itself. A plain
//! function of the two, so that every site that sees both comes to the same end (protocol §2, I5).
//!
//! Of a version all states have the same data: what changes are its registers, and its purge is one of them. It is gone
//! once it is purged and nothing protects it; a hold that the purge had not seen keeps it, or brings it back (protocol §6).

use super::identity::Tags;
use super::lock::Registers;
use super::object::Slot;
use super::record::State;
use super::replica::{Grave, Here, Replica};
use super::stamp::Stamp;
use super::vector::Vector;

/// What is to be done with another site's state of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// What is here is at least that.
    Keep,
    /// It replaces what is here. In a conflict its writer had not seen what it replaces.
    Take { conflict: bool },
    /// The same data: what is here reaches this vector, with the registers of both.
    Merge(Vector),
    /// The same data, whose bytes were missing here: with them it reaches this vector.
    Fill(Vector),
    /// A version that is gone, with the registers of both.
    Purge(Vector),
}

/// Decides between what is here of a unit and what another site has, at a wall time in milliseconds since 1970.
pub fn decide(slot: Slot, here: Here<'_>, there: &Replica, now_ms: u64) -> Decision {
    match (slot, there) {
        (_, Replica::Unknown | Replica::Bucket(_)) => Decision::Keep,
        (Slot::Version(_), there) => decide_version(here, there, now_ms),
        (Slot::Null, Replica::Grave(grave)) => newer(here, grave.stamp, grave.base),
        (Slot::Null, Replica::Live(live)) => match here {
            Here::Live(record) if record.vector.data == live.vector.data => same_data(here, there),
            Here::Live(record) if planted!(RegistersOverNewerData) && live.vector.tags > Some(record.vector.data) => {
                Decision::Merge(Vector { tags: live.vector.tags, ..record.vector })
            }
            Here::Grave(_) if planted!(GraveLoses) => Decision::Take { conflict: false },
            here => newer(here, live.vector.data, live.base),
        },
    }
}

fn newer(here: Here<'_>, stamp: Stamp, base: Option<Stamp>) -> Decision {
    match here.stamp() {
        Some(known) if known >= stamp && !planted!(LastToArriveWins) => Decision::Keep,
        known => Decision::Take { conflict: known.is_some_and(|known| base.is_none_or(|base| base < known)) },
    }
}

fn same_data(here: Here<'_>, there: &Replica) -> Decision {
    let (Here::Live(record), Replica::Live(live)) = (here, there) else { return Decision::Keep };
    let (_, merged) = record.registers.merge(&record.vector, &live.registers, &live.vector);
    match record.state {
        State::Wanted if live.has_bytes => Decision::Fill(merged),
        _ if merged != record.vector => Decision::Merge(merged),
        _ => Decision::Keep,
    }
}

fn decide_version(here: Here<'_>, there: &Replica, now_ms: u64) -> Decision {
    let (Some(vector), Some(registers)) = (there.vector(), registers_of(there)) else { return Decision::Keep };
    let known = here.registers().zip(here.stamps());
    let (together, merged) = match known {
        Some((known, stamps)) => known.merge(&stamps, &registers, &vector),
        None => (registers, vector),
    };
    #[cfg(test)]
    let merged = merged_as_planted(here, merged);
    let stays = merged.purge.is_none() || (together.delay_purge(now_ms) && !planted!(PurgeBeatsHold));
    match (here, there) {
        (Here::Live(_), _) if !stays => Decision::Purge(merged),
        (Here::Live(record), Replica::Live(live)) if record.state == State::Wanted && live.has_bytes => Decision::Fill(merged),
        (Here::Live(record), _) if merged != record.vector || together != record.registers => Decision::Merge(merged),
        (Here::Live(_), _) => Decision::Keep,
        (Here::Nothing, Replica::Live(_)) if stays => Decision::Take { conflict: false },
        (Here::Grave(_), Replica::Live(live)) if stays && live.has_bytes => Decision::Fill(merged),
        (Here::Grave(grave), _) if grave.vector() == merged && grave.registers() == together => Decision::Keep,
        (Here::Grave(_) | Here::Nothing, _) => Decision::Purge(merged),
    }
}

/// Without the purge, where a test wants that and something else was written too.
#[cfg(test)]
fn merged_as_planted(here: Here<'_>, merged: Vector) -> Vector {
    planted!(PurgeForgotten => {
        if matches!(here, Here::Live(_)) && merged.hold.is_some() {
            return Vector { purge: None, ..merged };
        }
    });
    merged
}

/// Whether stamps alone do not tell that a state adds nothing to a later one: an earlier retention in COMPLIANCE mode stands
/// against a later one that had not seen it, and an earlier purge may bypass what the later does not.
fn may_add(earlier: &Vector, later: &Vector) -> bool {
    let differs = |one: Option<Stamp>, other: Option<Stamp>| one.is_some() && one != other;
    let is_same = earlier.data == later.data;
    is_same && (differs(earlier.retention, later.retention) || differs(earlier.purge, later.purge))
}

/// What protects a unit as another site has it.
fn registers_of(there: &Replica) -> Option<Registers> {
    match there {
        Replica::Live(live) => Some(live.registers.clone()),
        Replica::Grave(grave) => Some(grave.registers()),
        Replica::Unknown | Replica::Bucket(_) => None,
    }
}

impl Grave {
    /// What is known of the registers of the unit that is gone.
    pub fn registers(&self) -> Registers {
        self.purged.as_ref().map(|purged| purged.registers.clone()).unwrap_or_default()
    }
}

impl Here<'_> {
    /// The data stamp of what is here.
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamps().map(|vector| vector.data)
    }

    /// The stamps of what is here, with its bytes or without.
    pub fn stamps(&self) -> Option<Vector> {
        match self {
            Self::Nothing => None,
            Self::Live(record) => Some(record.vector),
            Self::Grave(grave) => Some(grave.vector()),
        }
    }

    /// What protects it, and who may see it.
    pub fn registers(&self) -> Option<Registers> {
        match self {
            Self::Nothing => None,
            Self::Live(record) => Some(record.registers.clone()),
            Self::Grave(grave) => Some(grave.registers()),
        }
    }

    /// Its tags and when they were written; `None` is with the data.
    pub fn tags(&self) -> Option<(Option<Stamp>, &Tags)> {
        match self {
            Self::Nothing => None,
            Self::Live(record) => Some((record.vector.tags, &record.identity.tags)),
            Self::Grave(grave) => grave.purged.as_ref().map(|purged| (purged.vector.tags, &purged.tags)),
        }
    }

    /// The vector a receipt may speak of: bytes that are missing are not had.
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Live(record) if record.state == State::Wanted => None,
            here => here.stamps(),
        }
    }

    /// Whether what is here is at least `want`.
    pub fn reaches(&self, want: &Vector) -> bool {
        planted!(LastToArriveWins => {
            return false;
        });
        planted!(GraveLoses => {
            if matches!(self, Self::Grave(_)) {
                return false;
            }
        });
        planted!(RegistersOverNewerData => {
            if want.tags > self.stamp() {
                return false;
            }
        });
        // Of a version that was purged unawares nothing is known that came with its data, whoever tells of the purge.
        let is_unread = matches!(self, Self::Grave(grave) if grave.is_unread());
        self.has_stamps(want) && !is_unread
    }

    /// Whether all that stamps tell of `want` is here. Of a version that was purged unawares there may be more.
    pub fn has_stamps(&self, want: &Vector) -> bool {
        self.vector().is_some_and(|here| here >= *want && !may_add(want, &here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Binding, ContentHeaders, ETag, Identity, Incarnation, LiveReplica, Location, Parts, Purged, Record, SiteNumber,
        StampParts, WriteId,
    };

    const NOW: u64 = 1_000_000;

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn identity() -> Identity {
        Identity {
            size: 0,
            etag: ETag::of_md5([0; 16]),
            parts: Parts::Single,
            crc64: 0,
            checksum: None,
            headers: ContentHeaders::default(),
            metadata: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn record(vector: Vector, state: State) -> Record {
        let write = WriteId::new(Incarnation(1), 1, 1);
        let (location, binding) = (Location::Plain, Binding::None);
        let (base, versioned, registers) = (None, false, Registers::default());
        Record { vector, state, identity: identity(), location, binding, write, base, versioned, registers }
    }

    fn live(vector: Vector, base: Option<u64>) -> Replica {
        let base = base.map(stamp);
        let (identity, registers, part_map) = (identity(), Registers::default(), Vec::new());
        Replica::Live(Box::new(LiveReplica { vector, identity, base, registers, is_marker: false, part_map, has_bytes: true }))
    }

    fn dead(ms: u64, base: Option<u64>) -> Grave {
        Grave { stamp: stamp(ms), base: base.map(stamp), told: None, purged: None }
    }

    fn grave(ms: u64, base: Option<u64>) -> Replica {
        Replica::Grave(dead(ms, base))
    }

    fn of_null(here: Here<'_>, there: &Replica) -> Decision {
        decide(Slot::Null, here, there, NOW)
    }

    #[test]
    fn the_greater_stamp_wins_whatever_it_is() {
        let here = record(Vector::of(stamp(5)), State::Present);
        let decided = |there: &Replica| of_null(Here::Live(&here), there);
        assert_eq!(decided(&live(Vector::of(stamp(4)), None)), Decision::Keep);
        assert_eq!(decided(&grave(4, None)), Decision::Keep);
        assert_eq!(decided(&live(Vector::of(stamp(6)), Some(5))), Decision::Take { conflict: false });
        assert_eq!(decided(&grave(6, Some(5))), Decision::Take { conflict: false });
        assert_eq!(of_null(Here::Grave(&dead(7, None)), &live(Vector::of(stamp(6)), None)), Decision::Keep);
        assert_eq!(
            of_null(Here::Grave(&dead(5, None)), &live(Vector::of(stamp(6)), Some(5))),
            Decision::Take { conflict: false }
        );
        assert_eq!(of_null(Here::Nothing, &grave(1, None)), Decision::Take { conflict: false });
        assert_eq!(of_null(Here::Nothing, &Replica::Unknown), Decision::Keep);
    }

    #[test]
    fn a_writer_that_had_not_seen_what_it_replaces_is_in_conflict() {
        let here = record(Vector::of(stamp(5)), State::Present);
        for base in [None, Some(4)] {
            assert_eq!(of_null(Here::Live(&here), &live(Vector::of(stamp(6)), base)), Decision::Take { conflict: true });
        }
    }

    #[test]
    fn registers_count_between_equal_data_only() {
        let tagged = Vector { tags: Some(stamp(7)), ..Vector::of(stamp(5)) };
        let held = Vector { hold: Some(stamp(8)), ..Vector::of(stamp(5)) };
        let here = record(tagged, State::Present);
        assert_eq!(of_null(Here::Live(&here), &live(held, None)), Decision::Merge(tagged.merge(held)));
        assert_eq!(of_null(Here::Live(&here), &live(Vector::of(stamp(5)), None)), Decision::Keep);
        assert_eq!(of_null(Here::Live(&here), &live(Vector::of(stamp(6)), Some(5))), Decision::Take { conflict: false });
    }

    #[test]
    fn bytes_that_are_missing_are_filled_in_and_not_receipted_before() {
        let (vector, wanted) = (Vector::of(stamp(5)), record(Vector::of(stamp(5)), State::Wanted));
        assert_eq!(of_null(Here::Live(&wanted), &live(vector, None)), Decision::Fill(vector));
        assert!(!Here::Live(&wanted).reaches(&vector));
        assert!(Here::Live(&record(vector, State::Present)).reaches(&vector));
        assert!(Here::Grave(&dead(6, None)).reaches(&vector));
    }

    /// The version of stamp 5.
    fn version(vector: Vector, hold: bool) -> Record {
        let registers = Registers { hold, ..Registers::default() };
        Record { versioned: true, registers, ..record(vector, State::Present) }
    }

    fn told(record: &Record) -> Replica {
        let Record { vector, identity, base, registers, .. } = record.clone();
        Replica::Live(Box::new(LiveReplica {
            vector,
            identity,
            base,
            registers,
            is_marker: false,
            part_map: Vec::new(),
            has_bytes: true,
        }))
    }

    fn purged(vector: Vector, hold: bool) -> Grave {
        let registers = Registers { hold, ..Registers::default() };
        let stamp = vector.purge.unwrap_or(vector.data);
        let purged = Some(Box::new(Purged { vector, registers, tags: Vec::new() }));
        Grave { stamp, base: Some(vector.data), told: None, purged }
    }

    fn of_version(here: Here<'_>, there: &Replica) -> Decision {
        decide(Slot::Version(stamp(5)), here, there, NOW)
    }

    #[test]
    fn a_purge_destroys_what_nothing_protects() {
        let (data, purge) = (Vector::of(stamp(5)), Vector { purge: Some(stamp(7)), ..Vector::of(stamp(5)) });
        let there = Replica::Grave(purged(purge, false));
        assert_eq!(of_version(Here::Live(&version(data, false)), &there), Decision::Purge(purge));
        assert_eq!(of_version(Here::Nothing, &there), Decision::Purge(purge));
        assert_eq!(of_version(Here::Grave(&purged(purge, false)), &told(&version(data, false))), Decision::Keep);
        assert!(Here::Grave(&purged(purge, false)).reaches(&data));
    }

    #[test]
    fn a_hold_that_a_purge_had_not_seen_keeps_the_version_and_brings_it_back() {
        let data = Vector::of(stamp(5));
        let (purge, held) = (Vector { purge: Some(stamp(7)), ..data }, Vector { hold: Some(stamp(6)), ..data });
        let both = purge.merge(held);
        let there = Replica::Grave(purged(purge, false));
        assert_eq!(of_version(Here::Live(&version(held, true)), &there), Decision::Merge(both));
        assert_eq!(of_version(Here::Grave(&purged(purge, false)), &told(&version(held, true))), Decision::Fill(both));
        assert_eq!(of_version(Here::Grave(&purged(purge, false)), &told(&version(both, true))), Decision::Fill(both));
        // Once the hold is off the purge is done, whoever hears of it first.
        let off = Vector { hold: Some(stamp(9)), ..both };
        assert_eq!(of_version(Here::Live(&version(both, true)), &told(&version(off, false))), Decision::Purge(off));
        assert_eq!(of_version(Here::Grave(&purged(both, true)), &told(&version(off, false))), Decision::Purge(off));
    }

    /// An earlier retention in COMPLIANCE mode stands against a later one, whose stamp does not tell of it.
    #[test]
    fn stamps_alone_do_not_tell_what_an_earlier_retention_or_purge_adds() {
        use crate::model::{Retention, RetentionMode};
        let at = |ms| Vector { retention: Some(stamp(ms)), ..Vector::of(stamp(5)) };
        let retained = |vector, mode| {
            let retention = Some(Retention { mode, until_ms: 2 * NOW });
            Record { registers: Registers { retention, ..Registers::default() }, ..version(vector, false) }
        };
        let (strict, loose) = (retained(at(6), RetentionMode::Compliance), retained(at(7), RetentionMode::Governance));
        assert!(!Here::Live(&loose).reaches(&strict.vector) && Here::Live(&loose).reaches(&loose.vector));
        let amended = Vector { retention: Some(stamp(7).next_rank()), ..Vector::of(stamp(5)) };
        assert_eq!(of_version(Here::Live(&loose), &told(&strict)), Decision::Merge(amended));
        let both = retained(amended, RetentionMode::Compliance);
        assert_eq!(of_version(Here::Live(&loose), &told(&both)), Decision::Merge(amended));
        assert_eq!(of_version(Here::Live(&both), &told(&loose)), Decision::Keep);
        let purge = |ms| Vector { purge: Some(stamp(ms)), ..Vector::of(stamp(5)) };
        assert!(!Here::Grave(&purged(purge(7), false)).reaches(&purge(6)));
    }

    /// What came with the data of a version that was purged unawares is still to be read: a hold may be among it.
    #[test]
    fn a_purge_of_an_unknown_version_reaches_nothing_that_was_told_of_it() {
        let (data, purge) = (Vector::of(stamp(5)), Vector { purge: Some(stamp(7)), ..Vector::of(stamp(5)) });
        let unawares = Grave { base: None, ..purged(purge, false) };
        assert!(!Here::Grave(&unawares).reaches(&data) && !Here::Grave(&unawares).reaches(&purge));
        assert_eq!(of_version(Here::Grave(&unawares), &told(&version(data, true))), Decision::Fill(purge));
        assert!(Here::Grave(&purged(purge, false)).reaches(&data));
    }

    #[test]
    fn registers_of_a_version_that_is_gone_are_kept() {
        let purge = Vector { purge: Some(stamp(7)), ..Vector::of(stamp(5)) };
        let tagged = Vector { tags: Some(stamp(6)), ..Vector::of(stamp(5)) };
        let (grave, both) = (purged(purge, false), purge.merge(tagged));
        assert_eq!(of_version(Here::Grave(&grave), &told(&version(tagged, false))), Decision::Purge(both));
        assert_eq!(of_version(Here::Grave(&purged(both, false)), &told(&version(tagged, false))), Decision::Keep);
    }
}
