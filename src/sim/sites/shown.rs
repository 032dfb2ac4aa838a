//! What a unit is at a site, and how the rows of a key lie there.

use std::sync::Arc;

use super::ledger::{tagged_by, written_by};
use super::watch::Watch;
use crate::model::{Bucket, Grave, ObjectId, Record, Registers, Replica, Slot, State, Unit, Vector};
use crate::site::Site;
use crate::status::tables::{Buckets, Graves, Objects, Versions};
use crate::status::{Page, Status, Stored};

/// Units of one key that are looked at.
const UNITS_MAX: usize = 1_000;

/// What a unit is at a site.
#[derive(Clone, Debug)]
pub enum Shown {
    Nothing,
    Grave(Box<Grave>),
    Live(Arc<Stored<Record>>),
    Bucket(Bucket),
}

impl Shown {
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Nothing => None,
            Self::Grave(grave) => Some(grave.vector()),
            Self::Live(stored) => Some(stored.row.vector),
            Self::Bucket(bucket) => Some(Vector::of(bucket.greatest())),
        }
    }

    pub fn registers(&self) -> Option<Registers> {
        match self {
            Self::Nothing | Self::Bucket(_) => None,
            Self::Grave(grave) => Some(grave.registers()),
            Self::Live(stored) => Some(stored.row.registers.clone()),
        }
    }

    pub fn live(&self) -> Option<&Record> {
        match self {
            Self::Live(stored) => Some(&stored.row),
            _ => None,
        }
    }

    /// Whether LIST and GET show it.
    pub fn is_object(&self) -> bool {
        self.live().is_some_and(Record::is_shown)
    }

    /// Whether it is a delete marker.
    pub fn is_marker(&self) -> bool {
        self.live().is_some_and(|record| record.state == State::Marker)
    }

    /// Whether the two are the same state of the same live unit.
    pub fn is(&self, other: &Self) -> bool {
        let what = |shown: &Self| shown.live().map(|record| (record.slot(), record.vector));
        what(self).is_some() && what(self) == what(other)
    }

    pub fn has_bytes(&self) -> bool {
        self.live().is_none_or(|record| record.state != State::Wanted)
    }

    /// Whether this is at least `other`, with bytes where there are any.
    pub fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Nothing) => true,
            (Self::Bucket(here), Self::Bucket(there)) => here.merge(there) == *here,
            (Self::Live(stored), _) if stored.row.state == State::Wanted => false,
            (here, there) => here.vector() >= there.vector() && here.has_registers_of(there),
        }
    }

    /// Whether what protects the other, of the same data, adds nothing to what protects this: stamps alone do not tell.
    fn has_registers_of(&self, other: &Self) -> bool {
        let of = |shown: &Self| shown.registers().zip(shown.vector());
        let (Some((mine, own)), Some((theirs, stamps))) = (of(self), of(other)) else { return true };
        own.data != stamps.data || mine.merge(&own, &theirs, &stamps).0 == mine
    }
}

/// The rows of a key at a site.
pub struct KeyRows {
    pub current: Option<Stored<Record>>,
    pub aside: Vec<(Slot, Stored<Record>)>,
    pub graves: Vec<(Slot, Stored<Grave>)>,
}

impl KeyRows {
    pub async fn of(status: &Status, object: &ObjectId) -> Self {
        let current = status.get::<Objects>(object).await.expect("the store can be read");
        let prefix = (object.clone(), ());
        let aside: Page<Versions> = status.page(&prefix, None, UNITS_MAX).await.expect("the store can be read");
        let graves: Page<Graves> = status.page(&prefix, None, UNITS_MAX).await.expect("the store can be read");
        Self {
            current,
            aside: aside.rows.into_iter().map(|((_, slot), row)| (slot, row)).collect(),
            graves: graves.rows.into_iter().map(|((_, slot), row)| (slot, row)).collect(),
        }
    }

    /// What a unit of the key is.
    pub fn unit(&self, slot: Slot) -> Shown {
        let live = self.live().find(|(one, _)| *one == slot);
        let grave = self.graves.iter().find(|(one, _)| *one == slot);
        match (live, grave) {
            (Some((_, stored)), _) => Shown::Live(Arc::new(stored.clone())),
            (None, Some((_, grave))) => Shown::Grave(Box::new(grave.row.clone())),
            (None, None) => Shown::Nothing,
        }
    }

    /// What a read that names no version is to find: the greatest data stamp among the live units. Where there is none, a
    /// grave, if anything was deleted.
    pub fn top(&self) -> Shown {
        match self.live().max_by_key(|(slot, stored)| (stored.row.vector.data, *slot)) {
            Some((_, stored)) => Shown::Live(Arc::new(stored.clone())),
            None => self.graves.first().map_or(Shown::Nothing, |(slot, _)| self.unit(*slot)),
        }
    }

    fn live(&self) -> impl Iterator<Item = (Slot, &Stored<Record>)> {
        let aside = self.aside.iter().map(|(slot, stored)| (*slot, stored));
        self.current.iter().map(|stored| (stored.row.slot(), stored)).chain(aside)
    }

    /// Which slots have a live unit.
    pub fn slots(&self) -> Vec<Slot> {
        self.live().map(|(slot, _)| slot).collect()
    }

    /// The current unit lies in `objects` unless it is a delete marker, every other one in `versions`, and what is live has
    /// no grave.
    pub fn disorder(&self) -> Option<String> {
        let top = self.top();
        let on_top = self.current.as_ref().map(|stored| stored.row.slot());
        let wanted = top.live().filter(|record| record.is_shown()).map(Record::slot);
        if on_top != wanted {
            return Some(format!("`objects` holds {on_top:?}, the newest is {}", brief(&top)));
        }
        if let Some((slot, _)) = self.aside.iter().find(|(slot, stored)| on_top == Some(*slot) || stored.row.slot() != *slot) {
            return Some(format!("the row of {slot} in `versions` does not belong there"));
        }
        let buried = self.graves.iter().find(|(slot, _)| self.live().any(|(live, _)| live == *slot));
        buried.map(|(slot, _)| format!("{slot} is live and has a grave"))
    }
}

/// What a status store says of a unit.
pub async fn shown(status: &Status, unit: &Unit) -> Shown {
    match unit {
        Unit::Object { object, slot } => KeyRows::of(status, object).await.unit(*slot),
        Unit::Bucket(bucket) => {
            let row = status.get::<Buckets>(bucket).await.expect("the store can be read");
            row.map_or(Shown::Nothing, |row| Shown::Bucket(row.row))
        }
    }
}

/// CRC-64/NVME, as records have it.
pub fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// In a line.
pub fn brief(shown: &Shown) -> String {
    match shown {
        Shown::Nothing => "nothing".into(),
        Shown::Grave(grave) => format!("a grave {}{}", stamps(&grave.vector()), lock(&grave.registers())),
        Shown::Live(stored) => {
            let Record { vector, state, identity, registers, .. } = &stored.row;
            let (slot, at, lock) = (stored.row.slot(), stamps(vector), lock(registers));
            let (writer, tagger) = (written_by(identity), tagged_by(identity));
            format!("{slot} {state:?} {at}{lock} by {writer:?}, tagged by {tagger:?}")
        }
        Shown::Bucket(bucket) => format!("a bucket made {} deleted {:?}", bucket.created, bucket.deleted),
    }
}

fn stamps(vector: &Vector) -> String {
    let all = [("purge", vector.purge), ("tags", vector.tags), ("hold", vector.hold), ("retention", vector.retention)];
    let set = all.into_iter().filter_map(|(name, stamp)| Some(format!(" {name} {}", stamp?)));
    set.fold(vector.data.to_string(), |text, stamp| text + &stamp)
}

fn lock(registers: &Registers) -> String {
    match (registers.hold, registers.retention) {
        (false, None) => String::new(),
        (hold, retention) => format!(", held {hold}, retained {retention:?}"),
    }
}

/// What a site would tell another of a unit.
pub fn replica(watch: &Watch, site: &Site, unit: &Unit) -> Replica {
    watch.look(site.replica(unit)).expect("the site can be read")
}
