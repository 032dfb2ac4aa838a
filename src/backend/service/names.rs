//! Names in the store: which keys have their own, and how the names are made under which a write's bytes lie alone.
//!
//! A key is its own plain name. What other services spell otherwise, refuse or confuse (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>:
//! relative segments; MinIO: empty ones; gateways over directories: all of them, and long ones) is never given a plain name.

use sha2::{Digest, Sha256};

use crate::model::{Key, WriteId, hex};

/// Longest name that is made of a key: services take 1,024 bytes, and some of them encoded.
const NAME_BYTES_MAX: usize = 900;
/// Longest segment: a file name has 255 bytes at the most, an own name adds to it, and services over directories add to that
/// while bytes come.
const SEGMENT_BYTES_MAX: usize = 180;
/// Marks a name that is made of a key's hash.
const HASHED: char = '#';

/// Makes names that are no keys.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Names {
    /// `.anybucket/`
    reserved: String,
}

/// What an own name says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::backend) struct OwnName {
    /// `None` where only the object itself tells.
    pub key: Option<Key>,
    pub write: WriteId,
}

impl Names {
    pub fn new(reserved: &str) -> Self {
        Self { reserved: format!("{reserved}/") }
    }

    /// Whether bytes may be brought to the key's plain name. `is_odd_there`: which names this service cannot hold.
    pub fn has_plain(&self, key: &Key, is_odd_there: impl Fn(&str) -> bool) -> bool {
        let key = key.as_str();
        !is_odd(key) && !is_odd_there(key) && !key.starts_with(&self.reserved) && key != self.reserved.trim_end_matches('/')
    }

    /// Whether a name in a bucket is no key.
    pub fn is_reserved(&self, name: &str) -> bool {
        name.starts_with(&self.reserved)
    }

    /// Behind every name of ours, before every key that is greater than those.
    pub fn behind_reserved(&self) -> String {
        format!("{}{}", self.reserved, char::MAX)
    }

    /// The name that one write's bytes of a key have alone.
    pub fn own(&self, key: &Key, write: WriteId, is_odd_there: impl Fn(&str) -> bool) -> String {
        let (prefix, text) = (self.own_prefix(), key.as_str());
        let name = format!("{prefix}{text}@{write}");
        let is_strange = is_odd(text) || is_odd_there(text) || is_odd_there(&name) || is_under_own_name(text);
        if is_strange || text.starts_with(HASHED) || name.len() > NAME_BYTES_MAX {
            return format!("{prefix}{HASHED}{}@{write}", hex(&Sha256::digest(text)));
        }
        name
    }

    /// Whether the name says no key, so that the object has to.
    pub fn hides_key(&self, own: &str) -> bool {
        own.strip_prefix(&self.own_prefix()).is_some_and(|rest| rest.starts_with(HASHED))
    }

    /// What begins every own name.
    pub fn own_prefix(&self) -> String {
        format!("{}v/", self.reserved)
    }

    /// What begins those that hide their keys. They come before those of keys that begin with a letter, a digit, '-' or '_'.
    pub fn hidden_prefix(&self) -> String {
        format!("{}{HASHED}", self.own_prefix())
    }

    /// What an own name is made of; `None` where it is none of ours.
    pub fn parse_own(&self, name: &str) -> Option<OwnName> {
        let (key, write) = name.strip_prefix(&self.own_prefix())?.rsplit_once('@')?;
        let write = write.parse().ok()?;
        let key = if key.starts_with(HASHED) { None } else { Some(Key::new(key).ok()?) };
        Some(OwnName { key, write })
    }

    /// The name of a note, in the home bucket.
    pub fn note(&self, note: &str) -> String {
        format!("{}{note}", self.note_prefix())
    }

    pub fn note_prefix(&self) -> String {
        format!("{}notes/", self.reserved)
    }

    /// The name of an object that is tried out.
    pub fn probe(&self, which: &str) -> String {
        format!("{}{which}", self.probe_prefix())
    }

    pub fn probe_prefix(&self) -> String {
        format!("{}probe/", self.reserved)
    }
}

/// Whether some service cannot hold such a name, or takes it for another.
pub(super) fn is_odd(key: &str) -> bool {
    let is_untold = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    let is_strange = |segment: &str| matches!(segment, "" | "." | "..") || segment.len() > SEGMENT_BYTES_MAX;
    is_unspeakable(key) || key.chars().any(is_untold) || key.split('/').any(is_strange)
}

/// Clients of services take white space for nothing, and send no such name.
pub(in crate::backend) fn is_unspeakable(key: &str) -> bool {
    key.trim().is_empty()
}

/// Whether a name may be elsewhere in the order of UTF-16 than in that of bytes: there, pairs of surrogates come before these.
pub(in crate::backend) fn is_misplaced(name: &str) -> bool {
    name.chars().any(|c| c >= '\u{E000}')
}

/// Whether a folder in the key looks like the own name of another: where names are files, both cannot be there.
fn is_under_own_name(key: &str) -> bool {
    let is_own = |folder: &str| folder.rsplit_once('@').is_some_and(|(_, write)| write.parse::<WriteId>().is_ok());
    key.rsplit_once('/').is_some_and(|(folders, _)| folders.split('/').any(is_own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::conformance::names::odd_keys;
    use crate::model::Incarnation;

    fn names() -> Names {
        Names::new(".anybucket")
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn no_two_writes_share_a_name_and_every_name_tells_its_write() {
        let (names, mut all) = (names(), std::collections::BTreeSet::new());
        let writes = [1, 2].map(|n| WriteId::new(Incarnation(1), 1, n));
        let keys: Vec<_> = odd_keys().iter().map(|text| key(text)).collect();
        for key in &keys {
            for write in writes {
                let name = names.own(key, write, |_| false);
                assert!(name.len() <= NAME_BYTES_MAX && names.is_reserved(&name), "{name}");
                let parsed = names.parse_own(&name).unwrap();
                assert_eq!((parsed.write, parsed.key.is_none()), (write, names.hides_key(&name)));
                assert!(parsed.key.is_none_or(|parsed| parsed == *key));
                assert!(all.insert(name));
            }
        }
        assert_eq!(all.len(), 2 * keys.len());
    }

    #[test]
    fn what_a_service_may_confuse_has_no_plain_name() {
        for plain in ["a", "a/b", "a b+c", "é/ü", ".a/b.", ".anybucketeer", "a@b", "#a"] {
            assert!(names().has_plain(&key(plain), |_| false), "{plain}");
        }
        let long = "x".repeat(181);
        for odd in ["a//b", "/a", "a/", "a/../b", "./a", "a\u{1}", "\n", ".anybucket", ".anybucket/v/x", "\u{FFFF}", " ", &long] {
            assert!(!names().has_plain(&key(odd), |_| false), "{odd:?}");
        }
        assert!(!names().has_plain(&key("a\\b"), |name| name.contains('\\')));
        assert!(names().hides_key(&names().own(&key("#a"), WriteId::new(Incarnation(1), 1, 1), |_| false)));
    }

    #[test]
    fn foreign_names_are_no_own_names() {
        for name in ["a@b", ".anybucket/v/a", ".anybucket/v/a@", ".anybucket/v/a@x", ".anybucket/notes/a"] {
            assert_eq!(names().parse_own(name), None, "{name}");
        }
    }
}
