//! What an answer says of a blob.

use azure_core::http::Etag;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::time::{OffsetDateTime, parse_rfc7231};

use super::attributes::{described, unspelled};
use crate::backend::service::{Answer, Fault, Only, Told, whole_size};
use crate::model::ContentHeaders;

const METADATA: &str = "x-ms-meta-";

/// Of an answer that brings a blob, or tells of one.
pub(super) fn told(doing: &'static str, headers: &Headers) -> Answer<Told> {
    let text = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
    let size = match text("content-range") {
        Some(range) => whole_size(range),
        None => text("content-length").and_then(|length| length.parse().ok()),
    };
    let size = size.ok_or_else(|| Fault::nonsense(doing, "no size was told"))?;
    let metadata = unspelled(theirs(headers));
    let stored_ms = text("last-modified").and_then(|date| parse_rfc7231(date).ok()).map(millis);
    let told = Told::new(Some(&metadata), text("etag").map(bare), stored_ms, size);
    let kept = |name: &'static str| text(name).map(str::to_owned);
    let content = ContentHeaders {
        content_type: kept("content-type"),
        content_encoding: kept("content-encoding"),
        content_disposition: kept("content-disposition"),
        content_language: kept("content-language"),
        cache_control: kept("cache-control"),
        ..ContentHeaders::default()
    };
    Ok(described(told, content, metadata, theirs(headers)))
}

/// User metadata of others, by the names that S3 clients see.
fn theirs(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(METADATA)?, value.as_str())))
}

/// Headers bring ETags in quotes, listings without.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

pub(super) fn millis(date: OffsetDateTime) -> u64 {
    u64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// The ETag that has to be there.
pub(super) fn etag_of(doing: &'static str, seen: &Told) -> Answer<Etag> {
    let etag = seen.etag.as_deref().ok_or_else(|| Fault::nonsense(doing, "no ETag was told"))?;
    Ok(Etag::from(format!("\"{etag}\"")))
}

/// A condition on a name.
#[derive(Default)]
pub(super) struct Condition {
    pub if_match: Option<Etag>,
    pub if_none_match: Option<Etag>,
}

impl Condition {
    pub fn of(doing: &'static str, only: Only<'_>) -> Answer<Self> {
        Ok(match only {
            Only::Any => Self::default(),
            Only::Nothing => Self { if_none_match: Some(Etag::from("*")), ..Self::default() },
            Only::Seen(seen) => Self { if_match: Some(etag_of(doing, seen)?), ..Self::default() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_the_size_of_the_whole() {
        let mut headers = Headers::new();
        headers.insert("content-length", "2");
        headers.insert("etag", "\"0x8D\"");
        headers.insert("last-modified", "Fri, 26 Jun 2015 23:39:12 GMT");
        assert_eq!(told("x", &headers).unwrap().size, 2);
        headers.insert("content-range", "bytes 1-2/7");
        let told = told("x", &headers).unwrap();
        assert_eq!((told.size, told.etag.as_deref(), told.changed_ms), (7, Some("0x8D"), Some(1_435_361_952_999)));
        assert_eq!(etag_of("x", &told).unwrap(), Etag::from("\"0x8D\""));
    }

    #[test]
    fn a_condition_without_an_etag_is_no_condition_at_all() {
        let unknown = Told::new(None, None, None, 1);
        assert!(Condition::of("x", Only::Seen(&unknown)).is_err());
    }
}
