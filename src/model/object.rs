//! What is named: buckets, keys, slots and units.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// A bucket's name, by the rules of general purpose buckets:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>")]
pub struct BucketName(Arc<str>);

/// An object's key: 1 to 1,024 bytes of UTF-8, never normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>")]
pub struct Key(Arc<str>);

/// The name cannot be one of S3's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "a bucket name has 3 to 63 characters of a-z, 0-9, '.' and '-', begins and ends with a letter or digit, has no '..' and is not an IP address"
    )]
    Bucket,
    #[error("a key has 1 to 1024 bytes of UTF-8; this one has {0}")]
    KeyLength(usize),
}

impl BucketName {
    pub fn new(name: &str) -> Result<Self, NameError> {
        Self::try_from(Arc::from(name))
    }

    fn is_legal(name: &str) -> bool {
        let bytes = name.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let legal = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        (3..=63).contains(&bytes.len())
            && bytes.iter().all(legal)
            && edge(bytes.first())
            && edge(bytes.last())
            && !name.contains("..")
            && name.parse::<std::net::Ipv4Addr>().is_err()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    /// Longest key, in bytes.
    pub const BYTES_MAX: usize = 1024;

    pub fn new(key: &str) -> Result<Self, NameError> {
        Self::try_from(Arc::from(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The least key that can follow this one; `None` where none can.
    pub fn next(&self) -> Option<Self> {
        Self::new(&format!("{}\0", self.0)).ok().or_else(|| Self::behind_all(&self.0))
    }

    /// The least key behind all that begin with `prefix`; `None` where none can be.
    pub fn behind_all(prefix: &str) -> Option<Self> {
        let mut text = prefix.to_owned();
        while let Some(last) = text.pop() {
            // The order of bytes is that of code points, with a hole where surrogates would be.
            let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
            if let Some(next) = next {
                text.push(next);
                return Self::new(&text).ok().or_else(|| {
                    text.pop();
                    Self::behind_all(&text)
                });
            }
        }
        None
    }
}

/// Names come from other sites too: what is read is checked like what is made.
impl TryFrom<Arc<str>> for BucketName {
    type Error = NameError;

    fn try_from(name: Arc<str>) -> Result<Self, NameError> {
        if Self::is_legal(&name) { Ok(Self(name)) } else { Err(NameError::Bucket) }
    }
}

impl TryFrom<Arc<str>> for Key {
    type Error = NameError;

    fn try_from(key: Arc<str>) -> Result<Self, NameError> {
        let fits = (1..=Self::BYTES_MAX).contains(&key.len());
        if fits { Ok(Self(key)) } else { Err(NameError::KeyLength(key.len())) }
    }
}

impl Borrow<str> for BucketName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A key in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    pub bucket: BucketName,
    pub key: Key,
}

impl ObjectId {
    /// For names that are known to be good, as in tests and constants.
    pub fn parse(bucket: &str, key: &str) -> Result<Self, NameError> {
        Ok(Self { bucket: BucketName::new(bucket)?, key: Key::new(key)? })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

/// Which version of a key: the null one, or that which a stamp created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    Null,
    Version(Stamp),
}

/// As S3 names a version.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Version(stamp) => write!(f, "{stamp}"),
        }
    }
}

/// What is replicated, receipted, digested and explained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    Object { object: ObjectId, slot: Slot },
    Bucket(BucketName),
}

impl Unit {
    /// The null slot of an object: all there is of it in a bucket without versions.
    pub fn null(object: &ObjectId) -> Self {
        Self::Object { object: object.clone(), slot: Slot::Null }
    }

    /// A version of an object.
    pub fn of(object: &ObjectId, slot: Slot) -> Self {
        Self::Object { object: object.clone(), slot }
    }

    /// The object it is of; none of a bucket.
    pub fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Object { object, .. } => Some(object),
            Self::Bucket(_) => None,
        }
    }

    /// The object and which of its versions; none of a bucket.
    pub fn version(&self) -> Option<(ObjectId, Slot)> {
        match self {
            Self::Object { object, slot } => Some((object.clone(), *slot)),
            Self::Bucket(_) => None,
        }
    }

    /// The bucket it is, or is in.
    pub fn bucket(&self) -> &BucketName {
        match self {
            Self::Bucket(bucket) => bucket,
            Self::Object { object, .. } => &object.bucket,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => write!(f, "{bucket}"),
            Self::Object { object, slot: Slot::Null } => write!(f, "{object}"),
            Self::Object { object, slot: Slot::Version(stamp) } => write!(f, "{object}@{stamp}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3() {
        for good in ["abc", "a.b-c", "1ab", "a".repeat(63).as_str()] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in ["ab", "Abc", "-abc", "abc-", "a..b", "192.168.0.1", "a_b", ".anybucket", "a".repeat(64).as_str()] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_bounded_in_bytes() {
        assert!(Key::new("").is_err());
        assert!(Key::new(&"é".repeat(512)).is_ok());
        assert!(Key::new(&"é".repeat(513)).is_err());
    }

    #[test]
    fn what_another_site_sends_as_a_name_is_checked_like_what_a_client_sends() {
        let sent = |name: &str| postcard::to_stdvec(name).unwrap();
        assert_eq!(postcard::from_bytes(&sent("abc")), Ok(BucketName::new("abc").unwrap()));
        assert!(postcard::from_bytes::<BucketName>(&sent("../../etc")).is_err());
        assert!(postcard::from_bytes::<Key>(&sent("")).is_err());
    }

    #[test]
    fn the_next_key_follows_at_once() {
        let key = |text: &str| Key::new(text).unwrap();
        assert_eq!(key("a").next(), Some(key("a\0")));
        let longest = "b".repeat(Key::BYTES_MAX);
        let next = key(&longest).next().unwrap();
        assert!(next.as_str() > longest.as_str() && !next.as_str().starts_with(&longest));
        assert_eq!(Key::behind_all("a/"), Some(key("a0")));
        assert_eq!(Key::behind_all("a\u{d7ff}"), Some(key("a\u{e000}")));
        assert_eq!(Key::behind_all("a\u{10ffff}"), Some(key("b")));
        assert_eq!(Key::behind_all("\u{10ffff}"), None);
        assert_eq!(Key::behind_all(""), None);
    }
}
