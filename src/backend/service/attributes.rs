//! What a service gets of a client's headers and metadata, for others who read it: what every service takes as it is. Our own
//! clients are answered from the record, which has all of it.

use super::mark::{Metadata, is_mark};
use crate::backend::Attributes;
use crate::model::ContentHeaders;

/// What services say of bytes whose type nobody said.
pub(in crate::backend) const CONTENT_TYPE: &str = "application/octet-stream";
/// Of one value.
const VALUE_CHARS_MAX: usize = 1024;
/// Names and values together, ours included: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>.
const METADATA_BYTES_MAX: usize = 2 << 10;

impl Attributes {
    /// The headers that go to a service. Where a website is served from and how bytes are stored is its own affair.
    pub(in crate::backend) fn plain_headers(&self) -> ContentHeaders {
        let only = |value: &Option<String>, is_legal: fn(&str) -> bool| {
            value.as_ref().filter(|value| is_plain(value) && is_legal(value)).cloned()
        };
        ContentHeaders {
            content_type: only(&self.headers.content_type, is_media_type),
            content_encoding: only(&self.headers.content_encoding, is_list),
            content_disposition: only(&self.headers.content_disposition, |_| true),
            content_language: only(&self.headers.content_language, is_list),
            cache_control: only(&self.headers.cache_control, |_| true),
            expires: only(&self.headers.expires, |_| true),
            website_redirect_location: None,
            storage_class: None,
        }
    }

    /// Adds the user metadata that goes to a service, in order and as long as there is room, to that which is ours. Its names
    /// have no case there.
    pub(super) fn add_metadata(&self, metadata: &mut Metadata) {
        let mut bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        for (name, value) in &self.metadata {
            let name = name.to_ascii_lowercase();
            bytes += name.len() + value.len();
            if bytes > METADATA_BYTES_MAX {
                return;
            }
            if is_name(&name) && !is_mark(&name) && is_plain(value) {
                metadata.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Services and signatures make something else of spaces that stand beside others or at an end, and of what is not ASCII.
fn is_plain(value: &str) -> bool {
    let is_visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_visible && !value.is_empty() && value.len() <= VALUE_CHARS_MAX && value.trim() == value && !value.contains("  ")
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_media_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
    essence.split_once('/').is_some_and(|(kind, name)| is_part(kind) && is_part(name))
}

/// Of languages, or of encodings.
fn is_list(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b',' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_of(content_type: &str) -> ContentHeaders {
        let headers = ContentHeaders {
            content_type: Some(content_type.to_owned()),
            website_redirect_location: Some("/a".to_owned()),
            storage_class: Some("GLACIER".to_owned()),
            ..ContentHeaders::default()
        };
        Attributes { headers, ..Attributes::default() }.plain_headers()
    }

    #[test]
    fn a_service_gets_no_header_that_it_may_refuse() {
        for taken in ["text/plain", "text/html; charset=utf-8", "application/vnd.a+json", "multipart/mixed; boundary=\"a b\""] {
            let headers = ContentHeaders { content_type: Some(taken.to_owned()), ..ContentHeaders::default() };
            assert_eq!(headers_of(taken), headers);
        }
        for odd in ["", " text/plain", "text", "text/", "/", "a  b/c", "text/plain\n", "text/grün", &"a/".repeat(600)] {
            assert_eq!(headers_of(odd), ContentHeaders::default(), "{odd:?}");
        }
        let headers = ContentHeaders { content_language: Some("de_DE;q=1".to_owned()), ..ContentHeaders::default() };
        assert_eq!(Attributes { headers, ..Attributes::default() }.plain_headers(), ContentHeaders::default());
    }

    fn added(metadata: &[(&str, &str)], ours: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let attributes = Attributes { metadata: metadata.iter().map(owned).collect(), ..Attributes::default() };
        let mut all: Metadata = ours.iter().map(owned).collect();
        attributes.add_metadata(&mut all);
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort();
        all
    }

    #[test]
    fn a_service_gets_the_metadata_that_it_keeps_as_it_is() {
        let odd = [("é", "1"), ("a b", "1"), ("1a", "1"), ("", "1"), ("b", "ü"), ("b", ""), ("b", " x"), ("b", "x\ty")];
        assert_eq!(added(&odd, &[]), []);
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            added(&[("Colour", "red"), ("colour", "blue"), ("a_b.c-d", "=?x")], &[]),
            [text("a_b.c-d", "=?x"), text("colour", "red")]
        );
    }

    #[test]
    fn no_client_speaks_for_us() {
        let ours = ("anybucket-write", "1");
        let theirs = [
            ("Anybucket-Write", "2"),
            ("anybucket_write", "2"),
            ("anybucket-key", "2"),
            ("anybucket-label", "2"),
            ("anybucket-modified", "2"),
        ];
        assert_eq!(added(&theirs, &[ours]), [(ours.0.to_owned(), ours.1.to_owned())]);
    }

    #[test]
    fn what_does_not_fit_stays_here() {
        let (long, own) = ("x".repeat(900), "y".repeat(500));
        let all = added(&[("a", &long), ("b", "1"), ("c", &long), ("d", "1")], &[("anybucket-label", &own)]);
        assert_eq!(all.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "anybucket-label", "b"]);
    }
}
