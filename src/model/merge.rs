//! Which of two states of an object wins: the greater data stamp, and between equal data each register for itself. A
//! plain function of the two, so that every site that sees both comes to the same end (protocol §2, I5).

use super::record::State;
use super::replica::{Here, Replica};
use super::stamp::Stamp;
use super::vector::Vector;

/// What is to be done with another site's state of an object.
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
}

/// Decides between what is here and what another site has.
pub fn decide(here: Here<'_>, there: &Replica) -> Decision {
    match there {
        Replica::Unknown | Replica::Bucket(_) => Decision::Keep,
        Replica::Grave { stamp, base, .. } => newer(here, *stamp, *base),
        Replica::Live(live) => match here {
            Here::Live(record) if record.vector.data == live.vector.data => {
                let merged = record.vector.merge(live.vector);
                match record.state {
                    State::Wanted if live.has_bytes => Decision::Fill(merged),
                    _ if merged != record.vector => Decision::Merge(merged),
                    _ => Decision::Keep,
                }
            }
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

impl Here<'_> {
    /// The data stamp of what is here.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Nothing => None,
            Self::Live(record) => Some(record.vector.data),
            Self::Grave(stamp) => Some(*stamp),
        }
    }

    /// The vector a receipt may speak of: bytes that are missing are not had.
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Nothing => None,
            Self::Live(record) => (record.state != State::Wanted).then_some(record.vector),
            Self::Grave(stamp) => Some(Vector::of(*stamp)),
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
        self.vector().is_some_and(|here| here >= *want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Binding, ContentHeaders, ETag, Identity, Incarnation, LiveReplica, Location, Parts, Record, SiteNumber, StampParts,
        WriteId,
    };

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
        Record { vector, state, identity: identity(), location, binding, write, base: None }
    }

    fn live(vector: Vector, base: Option<u64>) -> Replica {
        let base = base.map(stamp);
        Replica::Live(Box::new(LiveReplica { vector, identity: identity(), base, part_map: Vec::new(), has_bytes: true }))
    }

    fn grave(ms: u64, base: Option<u64>) -> Replica {
        Replica::Grave { stamp: stamp(ms), base: base.map(stamp), told: None }
    }

    #[test]
    fn the_greater_stamp_wins_whatever_it_is() {
        let here = record(Vector::of(stamp(5)), State::Present);
        let decided = |there: &Replica| decide(Here::Live(&here), there);
        assert_eq!(decided(&live(Vector::of(stamp(4)), None)), Decision::Keep);
        assert_eq!(decided(&grave(4, None)), Decision::Keep);
        assert_eq!(decided(&live(Vector::of(stamp(6)), Some(5))), Decision::Take { conflict: false });
        assert_eq!(decided(&grave(6, Some(5))), Decision::Take { conflict: false });
        assert_eq!(decide(Here::Grave(stamp(7)), &live(Vector::of(stamp(6)), None)), Decision::Keep);
        assert_eq!(decide(Here::Grave(stamp(5)), &live(Vector::of(stamp(6)), Some(5))), Decision::Take { conflict: false });
        assert_eq!(decide(Here::Nothing, &grave(1, None)), Decision::Take { conflict: false });
        assert_eq!(decide(Here::Nothing, &Replica::Unknown), Decision::Keep);
    }

    #[test]
    fn a_writer_that_had_not_seen_what_it_replaces_is_in_conflict() {
        let here = record(Vector::of(stamp(5)), State::Present);
        for base in [None, Some(4)] {
            assert_eq!(decide(Here::Live(&here), &live(Vector::of(stamp(6)), base)), Decision::Take { conflict: true });
        }
    }

    #[test]
    fn registers_count_between_equal_data_only() {
        let tagged = Vector { tags: Some(stamp(7)), ..Vector::of(stamp(5)) };
        let held = Vector { hold: Some(stamp(8)), ..Vector::of(stamp(5)) };
        let here = record(tagged, State::Present);
        assert_eq!(decide(Here::Live(&here), &live(held, None)), Decision::Merge(tagged.merge(held)));
        assert_eq!(decide(Here::Live(&here), &live(Vector::of(stamp(5)), None)), Decision::Keep);
        assert_eq!(decide(Here::Live(&here), &live(Vector::of(stamp(6)), Some(5))), Decision::Take { conflict: false });
    }

    #[test]
    fn bytes_that_are_missing_are_filled_in_and_not_receipted_before() {
        let (vector, wanted) = (Vector::of(stamp(5)), record(Vector::of(stamp(5)), State::Wanted));
        assert_eq!(decide(Here::Live(&wanted), &live(vector, None)), Decision::Fill(vector));
        assert!(!Here::Live(&wanted).reaches(&vector));
        assert!(Here::Live(&record(vector, State::Present)).reaches(&vector));
        assert!(Here::Grave(stamp(6)).reaches(&vector));
    }
}
