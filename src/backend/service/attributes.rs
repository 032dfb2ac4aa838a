//! What a service gets of a client's headers and metadata, for others who read it: what every service takes as it is. Our own
//! clients are answered from the record, which has all of it.

use super::mark::{MODIFIED, Metadata};
use crate::backend::Attributes;
use crate::model::ContentHeaders;

/// What services say of bytes whose type nobody said.
pub(in crate::backend) const CONTENT_TYPE: &str = "application/octet-stream";
/// Of all content headers together: AWS takes 2 KiB of them, and 8 KiB of headers in all.
const HEADERS_BYTES_MAX: usize = 3 << 9;
/// Of user metadata, ours included: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>. MinIO counts whole names.
const METADATA_BYTES_MAX: usize = 2 << 10;
/// Of milliseconds since 1970.
const TIME_CHARS_MAX: usize = 13;
const PREFIX_BYTES: usize = "x-amz-meta-".len();
/// Each is named once more where it is signed.
const NAMES_MAX: usize = 32;
/// Of a name: Backblaze takes no longer ones.
const NAME_BYTES_MAX: usize = 50;
/// How names begin that some service acts on: `hdi-isfolder` makes a folder of a blob.
const SPOKEN_FOR: [&str; 7] = ["anybucket-", "amz-", "x-amz-", "b2-", "goog-", "hdi-", "minio-"];

impl Attributes {
    /// The headers that go to a service. Where a website is served from and how bytes are stored is its own affair.
    pub(in crate::backend) fn plain_headers(&self) -> ContentHeaders {
        // Who says no type finds the service's own there, and has the same left.
        let unsaid = if self.headers.content_type.is_none() { CONTENT_TYPE.len() } else { 0 };
        let mut left = HEADERS_BYTES_MAX - unsaid;
        let mut only = |value: &Option<String>, is_legal: fn(&str) -> bool| {
            let value = value.as_ref().filter(|value| is_plain(value) && is_legal(value) && value.len() <= left)?;
            left -= value.len();
            Some(value.clone())
        };
        ContentHeaders {
            content_type: only(&self.headers.content_type, is_media_type),
            content_encoding: only(&self.headers.content_encoding, is_list),
            content_language: only(&self.headers.content_language, is_list),
            cache_control: only(&self.headers.cache_control, |_| true),
            expires: only(&self.headers.expires, |_| true),
            content_disposition: only(&self.headers.content_disposition, |_| true),
            website_redirect_location: None,
            storage_class: None,
        }
    }

    /// Adds the user metadata that goes to a service, in order and as long as there is room, to that which is ours. Its names
    /// have no case there.
    pub(super) fn add_metadata(&self, metadata: &mut Metadata) {
        // An upload says at its begin what fits beside its time too, which only the key's name tells.
        let undated = usize::from(!metadata.contains_key(MODIFIED));
        let ours: usize = metadata.iter().map(|(name, value)| PREFIX_BYTES + name.len() + value.len()).sum();
        let mut bytes = ours + undated * (PREFIX_BYTES + MODIFIED.len() + TIME_CHARS_MAX);
        let named = self.metadata.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        for (name, value) in named.filter(|(name, value)| is_name(name) && is_plain(value)) {
            bytes += PREFIX_BYTES + name.len() + value.len();
            if bytes > METADATA_BYTES_MAX || metadata.len() + undated == NAMES_MAX {
                return;
            }
            metadata.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// Services and signatures make something else of spaces that stand beside others or at an end, and of what is not ASCII.
fn is_plain(value: &str) -> bool {
    let is_visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_visible && !value.is_empty() && value.trim() == value && !value.contains("  ")
}

/// Proxies before services drop names with a `_` or a dot. A body that says it is a snowball is taken apart by MinIO.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !SPOKEN_FOR.iter().any(|begin| name.starts_with(begin))
        && !name.contains("snowball")
}

/// One that can stand in a part of a multipart document, and makes no service read the body for itself: servers in Java take
/// a form for the request's parameters (S3Proxy then misses the bytes).
fn is_media_type(value: &str) -> bool {
    let is_token =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
    let are_tokens = |(one, other): (&str, &str)| is_token(one) && is_token(other);
    let mut pieces = value.split(';');
    let essence = pieces.next().and_then(|essence| essence.split_once('/'));
    let is_form =
        |(kind, name): (&str, &str)| kind.eq_ignore_ascii_case("multipart") || name.eq_ignore_ascii_case("x-www-form-urlencoded");
    essence.is_some_and(|essence| are_tokens(essence) && !is_form(essence))
        && pieces.all(|parameter| parameter.trim().split_once('=').is_some_and(are_tokens))
}

/// Of languages, or of encodings: no longer than Google takes.
fn is_list(value: &str) -> bool {
    value.len() <= 100 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b',' | b' '))
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
        for taken in ["text/plain", "text/html; charset=utf-8", "application/vnd.a+json"] {
            let headers = ContentHeaders { content_type: Some(taken.to_owned()), ..ContentHeaders::default() };
            assert_eq!(headers_of(taken), headers);
        }
        let long = format!("a/{}", "b".repeat(HEADERS_BYTES_MAX));
        for odd in [
            "",
            " text/plain",
            "text",
            "text/",
            "/",
            "a  b/c",
            "a/b\n",
            "a/ü",
            "a/b; c=\"d\"",
            "a/b;",
            "a/b; c",
            "a/b/c",
            "Multipart/mixed; boundary=x",
            "application/x-www-form-urlencoded",
            "application/X-WWW-form-urlencoded; charset=utf-8",
            &long,
        ] {
            assert_eq!(headers_of(odd), ContentHeaders::default(), "{odd:?}");
        }
        let headers = ContentHeaders { content_language: Some("de_DE;q=1".to_owned()), ..ContentHeaders::default() };
        assert_eq!(Attributes { headers, ..Attributes::default() }.plain_headers(), ContentHeaders::default());
    }

    #[test]
    fn long_headers_together_are_no_more_than_a_service_takes() {
        let long = |letter: &str| Some(letter.repeat(700));
        let headers = ContentHeaders {
            cache_control: long("a"),
            expires: long("b"),
            content_disposition: long("c"),
            ..ContentHeaders::default()
        };
        let taken = Attributes { headers: headers.clone(), ..Attributes::default() }.plain_headers();
        assert_eq!(taken, ContentHeaders { content_disposition: None, ..headers });
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
        let odd = [
            ("é", "1"),
            ("a b", "1"),
            ("1a", "1"),
            ("", "1"),
            ("a_b", "1"),
            ("b", "ü"),
            ("b", ""),
            ("b", " x"),
            (&"n".repeat(51), "1"),
            ("b", "x\ty"),
        ];
        assert_eq!(added(&odd, &[]), []);
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let same = [("Colour", "red"), ("colour", "blue"), ("sha-256", "=?x")];
        assert_eq!(added(&same, &[]), [text("colour", "red"), text("sha-256", "=?x")]);
    }

    #[test]
    fn no_client_speaks_for_us_or_has_a_service_do_something() {
        let ours = ("anybucket-write", "1");
        let theirs = [
            "Anybucket-Write",
            "anybucket-key",
            "hdi-isfolder",
            "b2-content-md5",
            "snowball-auto-extract",
            "Minio-Snowball-Prefix",
            "x-amz-acl",
        ];
        assert_eq!(added(&theirs.map(|name| (name, "true")), &[ours]), [(ours.0.to_owned(), ours.1.to_owned())]);
    }

    #[test]
    fn what_does_not_fit_stays_here() {
        let (long, label) = ("x".repeat(900), "y".repeat(500));
        let all = added(
            &[("a", &long), ("odd", &"ü".repeat(900)), ("b", "1"), ("c", &long), ("d", "1")],
            &[("anybucket-label", &label)],
        );
        assert_eq!(all.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "anybucket-label", "b"]);
        let names: Vec<_> = (0..100).map(|n| format!("n{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(added(&many, &[]).len(), NAMES_MAX - 1);
        assert_eq!(added(&many, &[("anybucket-modified", "1795412900999")]).len(), NAMES_MAX);
    }
}
