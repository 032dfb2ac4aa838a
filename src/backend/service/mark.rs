//! What every object that we store carries, so that its bytes are known by the answer that brings them.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::backend::{Attributes, Found};
use crate::model::{Binding, Described, ETag, Key, WriteId};

/// The write whose bytes these are.
const WRITE: &str = "anybucket-write";
/// Milliseconds since 1970, as the writer says.
pub(super) const MODIFIED: &str = "anybucket-modified";
/// The key, base64url, where the name does not say it.
const KEY: &str = "anybucket-key";
/// What the writer wants to hear with the bytes.
const LABEL: &str = "anybucket-label";

/// How far a time that a store tells in seconds may be behind: whoever asks whether something came later must not miss it.
const TOLD_IN_MS: u64 = 999;

/// User metadata: names of a-z and '-', values of ASCII.
pub(in crate::backend) type Metadata = HashMap<String, String>;

/// Whether this names metadata of ours, however a service spells it.
fn is_mark(name: &str) -> bool {
    [WRITE, MODIFIED, KEY, LABEL].contains(&name.to_ascii_lowercase().replace('_', "-").as_str())
}

/// What the bytes of a write are stored with.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Mark {
    pub write: WriteId,
    /// `None`: when the store had it.
    pub modified_ms: Option<u64>,
    /// Told where the name does not.
    pub key: Option<Key>,
    pub label: Option<String>,
}

impl Mark {
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::from([(WRITE.to_owned(), self.write.to_string())]);
        if let Some(modified_ms) = self.modified_ms {
            metadata.insert(MODIFIED.to_owned(), modified_ms.to_string());
        }
        if let Some(key) = &self.key {
            metadata.insert(KEY.to_owned(), URL_SAFE_NO_PAD.encode(key.as_str()));
        }
        if let Some(label) = &self.label {
            metadata.insert(LABEL.to_owned(), label.clone());
        }
        metadata
    }
}

/// How the bytes of a write are known.
pub(in crate::backend) fn binding_of(write: WriteId) -> Binding {
    Binding::Tag(write.to_string())
}

/// What an answer's headers say of the bytes that it brings.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Told {
    pub binding: Binding,
    pub etag: Option<String>,
    /// Of the whole object.
    pub size: u64,
    pub modified_ms: u64,
    /// When the bytes came to this name, rounded up.
    pub changed_ms: Option<u64>,
    /// Where the name does not say it.
    pub key: Option<Key>,
    pub label: Option<String>,
    /// What was said of them, where somebody asked.
    pub described: Option<Box<Described>>,
    /// Of bytes that others stored at a service that speaks S3.
    pub shown_etag: Option<ETag>,
}

impl Told {
    /// `stored_ms`: when they came to this name, as far as the service tells.
    pub fn new(metadata: Option<&Metadata>, etag: Option<&str>, stored_ms: Option<u64>, size: u64) -> Self {
        let of = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        // Bytes that others stored are known by what the store calls them, and when they came.
        let seconds = stored_ms.unwrap_or(0) / 1000;
        let foreign = || format!("etag:{}:{seconds}", etag.unwrap_or_default().trim_matches('"'));
        let dated = of(MODIFIED).and_then(|text| text.parse().ok());
        let key = of(KEY).and_then(|text| String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok());
        Self {
            binding: Binding::Tag(of(WRITE).cloned().unwrap_or_else(foreign)),
            etag: etag.map(str::to_owned),
            size,
            modified_ms: dated.or(stored_ms).unwrap_or(0),
            changed_ms: stored_ms.map(changed_ms),
            key: key.and_then(|key| Key::new(&key).ok()),
            label: of(LABEL).cloned(),
            described: None,
            shown_etag: None,
        }
    }

    /// Whether others stored them: they carry no mark.
    pub fn is_foreign(&self) -> bool {
        !self.binding.is_marked()
    }

    /// With what was said of the bytes, and not by us.
    pub fn described(self, mut described: Described) -> Self {
        described.metadata.retain(|(name, _)| !is_mark(name));
        Self { described: Some(Box::new(described)), ..self }
    }

    /// What the bytes are to be stored with at another name.
    pub fn attributes(&self) -> Attributes {
        let Described { headers, metadata, .. } = self.described.as_deref().cloned().unwrap_or_default();
        Attributes { label: self.label.clone(), headers, metadata }
    }

    /// Whether all of those bytes are here.
    pub fn is_whole_copy_of(&self, other: &Self) -> bool {
        self.binding == other.binding && self.size == other.size
    }

    /// What is known of it where it is one of the service's own versions.
    pub fn of_version(self, version: Option<&str>) -> Self {
        let Some(version) = version else { return self };
        let binding = binding_of_version(version, self.etag.as_deref());
        Self { binding, ..self }
    }

    pub fn found(&self, key: &Key) -> Found {
        let Self { binding, size, modified_ms, changed_ms, label, described, shown_etag: etag, .. } = self.clone();
        Found { key: key.clone(), binding, size, modified_ms, changed_ms, label, described, etag }
    }
}

/// How a version of the service's own is known: what of it a listing tells too. Not by its time, which some services change when
/// another version comes after it (versitygw does).
pub(in crate::backend) fn binding_of_version(version: &str, etag: Option<&str>) -> Binding {
    Binding::Tag(format!("version:{version}:{}", etag.unwrap_or_default().trim_matches('"')))
}

/// When something came, where services tell it in seconds.
pub(in crate::backend) fn changed_ms(stored_ms: u64) -> u64 {
    stored_ms / 1000 * 1000 + TOLD_IN_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Incarnation;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let write = WriteId::new(Incarnation(7), 1, 2);
        let (key, label) = (Some(Key::new("a\u{1}/é").unwrap()), Some("said".to_owned()));
        let mark = Mark { write, modified_ms: Some(5), key, label };
        let told = Told::new(Some(&mark.metadata()), Some("\"x\""), Some(9_500), 3);
        assert_eq!((told.binding, told.key, told.label), (binding_of(write), mark.key, mark.label));
        assert_eq!((told.modified_ms, told.changed_ms), (5, Some(9_999)));
    }

    #[test]
    fn what_others_stored_is_known_by_its_etag_and_time() {
        let told = |etag, ms| Told::new(None, Some(etag), Some(ms), 3).binding;
        assert_eq!(told("\"x\"", 9_500), Binding::Tag("etag:x:9".to_owned()));
        assert_ne!(told("\"x\"", 9_500), told("\"y\"", 9_500));
        assert_ne!(told("\"x\"", 9_500), told("\"x\"", 10_500));
    }
}
