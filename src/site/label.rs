//! What bytes are stored with for the day that nobody knows their row any more: what they were to be, and how their client
//! described them. What is decided or known after the last byte (stamp, ETag of parts, checksums) cannot be in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Site;
use super::types::Description;
use crate::backend::{Attributes, Found, LABEL_CHARS_MAX};
use crate::model::{BucketName, ContentHeaders, Described, Identity, Metadata, Slot, Tags, Versioning};

/// Begins every label: the version of what follows.
const VERSION: char = '1';

/// What a write was to be when it began. Versioning may be switched before it lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Meant {
    Null,
    Version,
}

/// What a client said of its bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Said<'a> {
    headers: &'a ContentHeaders,
    metadata: &'a Metadata,
    tags: &'a Tags,
}

impl<'a> Said<'a> {
    pub fn with(headers: &'a ContentHeaders, metadata: &'a Metadata, tags: &'a Tags) -> Self {
        Self { headers, metadata, tags }
    }

    /// What bytes are stored with: all of it for us, and what others who read the store may see.
    pub fn attributes(self, meant: Option<Meant>) -> Attributes {
        let (headers, metadata) = (self.headers.clone(), self.metadata.clone());
        Attributes { label: Some(Label::text(meant, self)), headers, metadata }
    }
}

impl<'a> From<&'a Description> for Said<'a> {
    fn from(said: &'a Description) -> Self {
        Self::with(&said.headers, &said.metadata, &said.tags)
    }
}

impl<'a> From<&'a Identity> for Said<'a> {
    fn from(said: &'a Identity) -> Self {
        Self::with(&said.headers, &said.metadata, &said.tags)
    }
}

/// What bytes say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Label {
    /// `None` of an upload, which may last for days, and of bytes without a label.
    pub meant: Option<Meant>,
    /// `None` where it was too much.
    pub described: Option<Described>,
}

/// What was said of bytes that were found, by whoever stored them.
pub(super) fn described(found: &Found) -> Option<Described> {
    Label::of(found).described.or_else(|| found.described.as_deref().cloned())
}

impl Label {
    pub fn of(found: &Found) -> Self {
        let decoded = found.label.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text.strip_prefix(VERSION)?).ok());
        decoded.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default()
    }

    /// The text of one; without what was said where that is too long.
    pub fn text(meant: Option<Meant>, said: Said<'_>) -> String {
        let whole = written(meant, Some(said));
        if whole.len() <= LABEL_CHARS_MAX { whole } else { written(meant, None) }
    }
}

fn written(meant: Option<Meant>, said: Option<Said<'_>>) -> String {
    let bytes = postcard::to_allocvec(&(meant, said)).expect("texts and names are written into memory");
    format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes))
}

impl From<Slot> for Meant {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Null => Self::Null,
            Slot::Version(_) => Self::Version,
        }
    }
}

impl Site {
    /// What a write that begins now is stored with.
    pub(super) async fn attributes(&self, bucket: &BucketName, said: Said<'_>) -> Attributes {
        let meant = match self.bucket_row(bucket).await.ok().map(|bucket| bucket.row.versioning()) {
            // Its landing will say so.
            None => return Attributes::default(),
            Some(Versioning::Enabled) => Meant::Version,
            Some(Versioning::Off | Versioning::Suspended) => Meant::Null,
        };
        said.attributes(Some(meant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Binding, Key};

    fn found(label: Option<String>) -> Found {
        let (key, binding) = (Key::new("a").unwrap(), Binding::None);
        Found { key, binding, size: 0, modified_ms: 0, changed_ms: None, label, described: None, etag: None }
    }

    fn description(value: &str) -> Description {
        let mut description = Description { metadata: vec![("Colour".into(), value.into())], ..Default::default() };
        description.headers.content_type = Some("text/plain".into());
        description.tags = vec![("a".into(), "é".into())];
        description
    }

    #[test]
    fn what_was_said_is_found_again_unless_it_is_too_long() {
        for meant in [None, Some(Meant::Null), Some(Meant::Version)] {
            let said = description("grün");
            let text = Label::text(meant, Said::from(&said));
            assert!(text.is_ascii() && text.len() <= LABEL_CHARS_MAX);
            let Description { headers, metadata, tags, .. } = said;
            let described = Some(Described { headers, metadata, tags });
            assert_eq!(Label::of(&found(Some(text))), Label { meant, described });
            let text = Label::text(meant, Said::from(&description(&"x".repeat(LABEL_CHARS_MAX))));
            assert_eq!(Label::of(&found(Some(text))), Label { meant, described: None });
        }
    }

    #[test]
    fn what_is_no_label_of_ours_says_nothing() {
        for text in ["", "1", "1*", "2AAA", "1_____", "é"] {
            assert_eq!(Label::of(&found(Some(text.to_owned()))), Label::default(), "{text}");
        }
        assert_eq!(Label::of(&found(None)), Label::default());
    }
}
