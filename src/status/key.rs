//! Row keys as bytes that sort as their tables are read.

use crate::model::{BucketName, Incarnation, Key, ObjectId, Seq, SiteNumber, Slot, Stamp, Unit, WriteId};

/// A key of a table: encoding and decoding are inverse, and the order of the bytes is the order of pages.
pub trait TableKey: Clone + std::fmt::Debug + Send + Sync + Sized {
    /// Appends its bytes.
    fn write(&self, to: &mut Vec<u8>);

    /// `None` if the bytes are not such a key. Takes its bytes off the front.
    fn read(from: &mut &[u8]) -> Option<Self>;

    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.write(&mut bytes);
        bytes
    }

    /// The whole of `bytes` as a key.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::read(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

/// The empty prefix: all keys of a table.
impl TableKey for () {
    fn write(&self, _to: &mut Vec<u8>) {}

    fn read(_from: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

/// Takes the first `N` bytes.
fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

/// Writes text so that a longer one with the same beginning sorts behind it, whatever follows: 00 becomes 00 FF, and 00
/// followed by anything else ends it.
fn write_text(text: &str, to: &mut Vec<u8>) {
    write_open_text(text, to);
    to.extend_from_slice(&[0, 0]);
}

/// The same without its end: what every text that begins so begins with.
pub(super) fn write_open_text(text: &str, to: &mut Vec<u8>) {
    for byte in text.bytes() {
        to.push(byte);
        if byte == 0 {
            to.push(0xFF);
        }
    }
}

fn read_text(from: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let [byte] = take(from)?;
        if byte != 0 {
            text.push(byte);
            continue;
        }
        match take(from)? {
            [0xFF] => text.push(0),
            [0] => return String::from_utf8(text).ok(),
            [_] => return None,
        }
    }
}

impl BucketName {
    /// The bytes with which every key of this bucket begins. Bucket names hold no NUL, so one ends them.
    pub(super) fn to_bytes_with_end(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl TableKey for BucketName {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.as_str().as_bytes());
        to.push(0);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let end = from.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&from[..end]).ok()?;
        *from = &from[end + 1..];
        Self::new(name).ok()
    }
}

/// The object's own key ends the row key, raw: LIST order is byte order of keys.
impl TableKey for ObjectId {
    fn write(&self, to: &mut Vec<u8>) {
        self.bucket.write(to);
        to.extend_from_slice(self.key.as_str().as_bytes());
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let bucket = BucketName::read(from)?;
        let key = Key::new(std::str::from_utf8(from).ok()?).ok()?;
        *from = &[];
        Some(Self { bucket, key })
    }
}

/// An object id with something behind it.
impl<T: TableKey> TableKey for (ObjectId, T) {
    fn write(&self, to: &mut Vec<u8>) {
        self.0.bucket.write(to);
        write_text(self.0.key.as_str(), to);
        self.1.write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let bucket = BucketName::read(from)?;
        let key = Key::new(&read_text(from)?).ok()?;
        Some((ObjectId { bucket, key }, T::read(from)?))
    }
}

/// Newest first: the complement of the stamp.
impl TableKey for Slot {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Version(stamp) => {
                to.push(1);
                to.extend(stamp.to_bytes().map(|byte| !byte));
            }
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        match take(from)? {
            [0] => Some(Self::Null),
            [1] => Some(Self::Version(Stamp::from_bytes(take::<16>(from)?.map(|byte| !byte)))),
            [_] => None,
        }
    }
}

impl TableKey for Unit {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Bucket(bucket) => {
                to.push(0);
                bucket.write(to);
            }
            Self::Object { object, slot } => {
                to.push(1);
                (object.clone(), *slot).write(to);
            }
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        match take(from)? {
            [0] => BucketName::read(from).map(Self::Bucket),
            [1] => <(ObjectId, Slot)>::read(from).map(|(object, slot)| Self::Object { object, slot }),
            [_] => None,
        }
    }
}

/// The versions of an object, as keys of units begin.
#[derive(Clone, Debug)]
pub struct VersionsOf(pub ObjectId);

impl TableKey for VersionsOf {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(1);
        (self.0.clone(), ()).write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        match take(from)? {
            [1] => <(ObjectId, ())>::read(from).map(|(object, ())| Self(object)),
            [_] => None,
        }
    }
}

impl TableKey for String {
    fn write(&self, to: &mut Vec<u8>) {
        write_text(self, to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        read_text(from)
    }
}

impl TableKey for WriteId {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&WriteId::to_bytes(*self));
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        take(from).map(Self::from_bytes)
    }
}

/// Numbers are big-endian.
macro_rules! number_key {
    ($($type:ty, $value:expr, $make:expr;)*) => {$(
        impl TableKey for $type {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&$value(self).to_be_bytes());
            }

            fn read(from: &mut &[u8]) -> Option<Self> {
                take(from).map(|bytes| $make(bytes))
            }
        }
    )*};
}

number_key! {
    u16, |n: &u16| *n, u16::from_be_bytes;
    u64, |n: &u64| *n, u64::from_be_bytes;
    Seq, |n: &Seq| n.0, |bytes| Seq(u64::from_be_bytes(bytes));
    SiteNumber, |n: &SiteNumber| n.0, |bytes| SiteNumber(u16::from_be_bytes(bytes));
    Incarnation, |n: &Incarnation| n.0, |bytes| Incarnation(u32::from_be_bytes(bytes));
}

macro_rules! tuple_key {
    ($($first:ty, $second:ty;)*) => {$(
        impl TableKey for ($first, $second) {
            fn write(&self, to: &mut Vec<u8>) {
                self.0.write(to);
                self.1.write(to);
            }

            fn read(from: &mut &[u8]) -> Option<Self> {
                Some((<$first>::read(from)?, <$second>::read(from)?))
            }
        }
    )*};
}

tuple_key! {
    SiteNumber, Seq;
    SiteNumber, Incarnation;
    u64, Unit;
    WriteId, u16;
    Slot, u16;
    SiteNumber, Unit;
    SiteNumber, BucketName;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StampParts;

    fn object(key: &str) -> ObjectId {
        ObjectId::parse("bucket", key).expect("a good name")
    }

    fn slot(ms: u64) -> Slot {
        Slot::Version(Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 }))
    }

    #[test]
    fn keys_round_trip() {
        for key in ["a", "a\0b", "\0", "a/b//", "𝄞"] {
            let one = object(key);
            assert_eq!(ObjectId::from_bytes(&one.to_bytes()), Some(one.clone()));
            for slot in [Slot::Null, slot(7)] {
                let unit = (one.clone(), slot);
                assert_eq!(<(ObjectId, Slot)>::from_bytes(&unit.to_bytes()), Some(unit));
            }
        }
    }

    #[test]
    fn a_write_id_is_its_own_key() {
        let id = WriteId::new(Incarnation(1), 2, 3);
        assert_eq!(TableKey::to_bytes(&id), WriteId::to_bytes(id));
        assert_eq!(<(WriteId, u16)>::from_bytes(&TableKey::to_bytes(&(id, 7))), Some((id, 7)));
    }

    #[test]
    fn rows_of_one_key_stand_together_newest_first() {
        let rows = [
            (object("a"), Slot::Null),
            (object("a"), slot(9)),
            (object("a"), slot(3)),
            (object("a\0"), slot(5)),
            (object("a\0b"), slot(5)),
            (object("ab"), slot(1)),
        ];
        let bytes: Vec<_> = rows.iter().map(TableKey::to_bytes).collect();
        assert!(bytes.is_sorted());
    }
}
