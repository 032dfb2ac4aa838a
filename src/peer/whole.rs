//! Bytes on the wire in one piece. Left to themselves they are a list of numbers, written and read one by one; what is
//! written is the same.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(Written).serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    Ok(Option::<Read>::deserialize(from)?.map(|read| read.0))
}

struct Written<'a>(&'a [u8]);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

struct Read(Vec<u8>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_byte_buf(Whole).map(Self)
    }
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct InOnePiece(#[serde(with = "super")] Option<Vec<u8>>);

    #[test]
    fn bytes_travel_as_they_did_one_by_one() {
        for bytes in [None, Some(Vec::new()), Some((0..=255).cycle().take(70_000).collect::<Vec<u8>>())] {
            let wire = postcard::to_stdvec(&InOnePiece(bytes.clone())).unwrap();
            assert_eq!(wire, postcard::to_stdvec(&bytes).unwrap());
            assert_eq!(postcard::from_bytes::<InOnePiece>(&wire).unwrap(), InOnePiece(bytes));
        }
    }
}
