//! Promises of the store, on the engine in memory and on disk.

mod crash;
mod linear;
mod model;
mod promises;

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
    }
}

/// What is told of an object's null slot.
fn event(id: &ObjectId, ms: u64) -> Event {
    let unit = Unit::Object { object: id.clone(), slot: Slot::Null };
    Event { unit, vector: Vector::of(stamp(ms)) }
}
