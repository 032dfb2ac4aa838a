//! Promises of the store, on the engine in memory and on disk.

mod crash;
mod linear;
mod model;
mod promises;
mod reference;
mod units;
mod versions;

use crate::model::{
    Binding, ContentHeaders, ETag, Event, Identity, Incarnation, Location, ObjectId, Parts, Record, SiteNumber, Slot, Stamp,
    StampParts, State, Unit, Vector, WriteId,
};
use crate::status::{Options, Status};

/// A store in memory.
fn store() -> Status {
    Status::open(Options::default()).expect("memory opens")
}

fn object(key: &str) -> ObjectId {
    ObjectId::parse("bucket", key).expect("a good name")
}

fn stamp(ms: u64) -> Stamp {
    Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
}

/// A record that tells its number by its size.
fn record(number: u64) -> Record {
    Record {
        vector: Vector::of(stamp(number)),
        state: State::Present,
        identity: Identity {
            size: number,
            etag: ETag::of_md5([number as u8; 16]),
            parts: Parts::Single,
            crc64: number,
            checksum: None,
            headers: ContentHeaders::default(),
            metadata: vec![("Name".into(), "value".into())],
            tags: vec![],
        },
        location: Location::Plain,
        binding: Binding::File { inode: number, size: number, mtime_ns: 1 },
        write: WriteId::new(Incarnation(1), 1, number),
        base: None,
        versioned: false,
        registers: Default::default(),
    }
}

/// The same as a version of its own.
fn version(number: u64) -> Record {
    Record { versioned: true, ..record(number) }
}

/// A delete marker that is a version of its own.
fn marker(number: u64) -> Record {
    Record { state: State::Marker, binding: Binding::None, ..version(number) }
}

/// The slot of a version that tells this number.
fn slot(number: u64) -> Slot {
    Slot::Version(stamp(number))
}

/// What is told of an object's null slot.
fn event(id: &ObjectId, ms: u64) -> Event {
    event_of(id, Slot::Null, ms)
}

/// What is told of a unit.
fn event_of(id: &ObjectId, slot: Slot, ms: u64) -> Event {
    Event { unit: Unit::of(id, slot), vector: Vector::of(stamp(ms)) }
}
