//! The messages, as any program can read them. One JSON object a message; fields are added, never renamed or reused.
//!
//! ```json
//! {"v": 1, "site": "paris", "number": 1, "incarnation": 1790000000, "seq": 42, "kind": "object",
//!  "bucket": "photos", "key": "2026/a.jpg", "slot": "null", "stamp": "06F8…", "vector": {"data": "06F8…", "tags": "06F9…"}}
//! ```
//!
//! It says that the unit reached that state at that site, and nothing else: whoever wants the object fetches what is
//! current. Stamps are 26 characters that sort as time does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    BucketName, Event, Incarnation, Key, News, ObjectId, Seq, SiteId, SiteNumber, Slot, Stamp, Telling, Unit, Vector, hex,
};

/// Version of the payload.
pub const VERSION: u32 = 1;

/// Every subject begins with it; then come the origin's name and the shards of bucket and key.
pub const PREFIX: &str = "anybucket";

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub v: u32,
    pub site: String,
    pub number: u16,
    pub incarnation: u32,
    pub seq: u64,
    /// `object` or `bucket`.
    pub kind: String,
    pub bucket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `null`, or the stamp of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The greatest stamp of the vector: grep it in the logs of every site.
    pub stamp: String,
    /// Stamp by part: data, purge, tags, acl, hold, retention.
    pub vector: BTreeMap<String, String>,
}

/// A payload that says nothing to this program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not a message of anybucket: {0}")]
    Malformed(String),
    /// Written by a newer program: the log tells the same.
    #[error("it has version {0}, this program knows {VERSION}")]
    Newer(u32),
}

impl Payload {
    /// What `origin` tells of a unit.
    pub fn of(origin: &SiteId, incarnation: Incarnation, seq: Seq, event: &Event) -> Self {
        let (kind, key, slot) = match &event.unit {
            Unit::Bucket(_) => ("bucket", None, None),
            Unit::Object { object, slot } => ("object", Some(object.key.to_string()), Some(slot_text(*slot))),
        };
        Self {
            v: VERSION,
            site: origin.name.clone(),
            number: origin.number.0,
            incarnation: incarnation.0,
            seq: seq.0,
            kind: kind.into(),
            bucket: event.unit.bucket().to_string(),
            key,
            slot,
            stamp: event.vector.greatest().to_string(),
            vector: parts(&event.vector),
        }
    }

    /// Reads a message.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let malformed = |err: serde_json::Error| Unreadable::Malformed(err.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(malformed)?;
        let version = value.get("v").and_then(serde_json::Value::as_u64).and_then(|v| u32::try_from(v).ok());
        match version {
            Some(VERSION) => serde_json::from_value(value).map_err(malformed),
            Some(newer) if newer > VERSION => Err(Unreadable::Newer(newer)),
            _ => Err(Unreadable::Malformed("it has no version".into())),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers can be written as JSON")
    }

    /// The telling behind it.
    pub fn telling(&self) -> Result<Telling, Unreadable> {
        let bad = |what: &str| Unreadable::Malformed(format!("its {what} cannot be one"));
        let bucket = BucketName::new(&self.bucket).map_err(|_| bad("bucket"))?;
        let unit = match (&*self.kind, &self.key) {
            ("bucket", None) => Unit::Bucket(bucket),
            ("object", Some(key)) => {
                let key = Key::new(key).map_err(|_| bad("key"))?;
                let slot = read_slot(self.slot.as_deref()).ok_or_else(|| bad("slot"))?;
                Unit::Object { object: ObjectId { bucket, key }, slot }
            }
            _ => return Err(bad("kind")),
        };
        let vector = read_parts(&self.vector).ok_or_else(|| bad("vector"))?;
        Ok(Telling { unit, vector, news: News::Mutated })
    }

    /// Who told it.
    pub fn origin(&self) -> (SiteNumber, Incarnation) {
        (SiteNumber(self.number), Incarnation(self.incarnation))
    }
}

/// The subject a unit is told under: `anybucket.<site>.<bucket>.<key shard>`, both hashed, since names may hold dots.
pub fn subject(origin: &str, unit: &Unit) -> String {
    let key = match unit {
        Unit::Bucket(_) => String::new(),
        Unit::Object { object, .. } => object.key.to_string(),
    };
    let shard = hash(key.as_bytes())[0] & 63;
    format!("{PREFIX}.{origin}.{}.{shard}", hex(&hash(unit.bucket().as_str().as_bytes())[..8]))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

fn slot_text(slot: Slot) -> String {
    match slot {
        Slot::Null => "null".into(),
        Slot::Version(stamp) => stamp.to_string(),
    }
}

fn read_slot(text: Option<&str>) -> Option<Slot> {
    match text {
        Some("null") => Some(Slot::Null),
        Some(stamp) => stamp.parse().ok().map(Slot::Version),
        None => None,
    }
}

fn parts(vector: &Vector) -> BTreeMap<String, String> {
    let Vector { data, purge, tags, acl, hold, retention } = vector;
    let named =
        [("data", Some(*data)), ("purge", *purge), ("tags", *tags), ("acl", *acl), ("hold", *hold), ("retention", *retention)];
    named.into_iter().filter_map(|(name, stamp)| Some((name.to_owned(), stamp?.to_string()))).collect()
}

fn read_parts(parts: &BTreeMap<String, String>) -> Option<Vector> {
    let part = |name: &str| -> Option<Option<Stamp>> {
        match parts.get(name) {
            Some(text) => text.parse().ok().map(Some),
            None => Some(None),
        }
    };
    Some(Vector {
        data: part("data")??,
        purge: part("purge")?,
        tags: part("tags")?,
        acl: part("acl")?,
        hold: part("hold")?,
        retention: part("retention")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StampParts;

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(7), incarnation: Incarnation(1), rank: 0 })
    }

    fn event(unit: Unit) -> Event {
        Event { unit, vector: Vector { tags: Some(stamp(9)), ..Vector::of(stamp(5)) } }
    }

    #[test]
    fn a_message_says_what_was_told() {
        let origin = SiteId { name: "paris".into(), number: SiteNumber(7) };
        let object = ObjectId::parse("photos", "2026/\u{1}\"a.jpg").unwrap();
        for unit in [Unit::null(&object), Unit::Bucket(object.bucket.clone())] {
            let event = event(unit);
            let payload = Payload::of(&origin, Incarnation(3), Seq(42), &event);
            let read = Payload::read(&payload.bytes()).unwrap();
            assert_eq!(read, payload);
            let Event { unit, vector } = event;
            assert_eq!(read.telling(), Ok(Telling { unit, vector, news: News::Mutated }));
            assert_eq!(read.origin(), (SiteNumber(7), Incarnation(3)));
            assert_eq!(read.stamp, stamp(9).to_string());
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_is_newer() {
        assert_eq!(Payload::read(br#"{"v": 2, "new": true}"#), Err(Unreadable::Newer(2)));
        for bad in [&b"hello"[..], b"{}", br#"{"v": 1}"#] {
            assert!(matches!(Payload::read(bad), Err(Unreadable::Malformed(_))));
        }
        let origin = SiteId { name: "paris".into(), number: SiteNumber(7) };
        let unit = Unit::Bucket(BucketName::new("photos").unwrap());
        let good = Payload::of(&origin, Incarnation(3), Seq(42), &event(unit));
        for bad in [Payload { kind: "object".into(), ..good.clone() }, Payload { bucket: "NO".into(), ..good.clone() }] {
            assert!(matches!(bad.telling(), Err(Unreadable::Malformed(_))));
        }
    }

    #[test]
    fn a_key_is_always_told_under_the_same_subject() {
        let unit = Unit::null(&ObjectId::parse("a.b.c", "x > y.*").unwrap());
        let subject = subject("paris", &unit);
        assert_eq!(subject, super::subject("paris", &unit));
        assert_eq!(subject.split('.').count(), 4);
        assert!(subject.starts_with("anybucket.paris.") && subject.is_ascii());
    }
}
