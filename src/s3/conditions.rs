//! Conditions and ranges of a request, read from its headers: s3s refuses what HTTP says is to be ignored, and knows
//! neither lists of ETags nor more than one form of date.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::S3Result;
use s3s::dto::{Timestamp, TimestampFormat};

use super::{convert, error};
use crate::model::ETag;
use crate::site::{EtagCondition, ReadConditions, Selection, WriteConditions};

/// The headers that are ours to read; taken out before s3s parses the rest.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub object: RawSet,
    /// `x-amz-copy-source-if-*`.
    pub source: RawSet,
    pub range: Option<HeaderValue>,
}

/// One family of conditions.
#[derive(Clone, Debug, Default)]
pub struct RawSet {
    pub if_match: Vec<HeaderValue>,
    pub if_none_match: Vec<HeaderValue>,
    pub if_modified_since: Option<HeaderValue>,
    pub if_unmodified_since: Option<HeaderValue>,
}

const SOURCE: [HeaderName; 4] = [
    HeaderName::from_static("x-amz-copy-source-if-match"),
    HeaderName::from_static("x-amz-copy-source-if-none-match"),
    HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
];
const OBJECT: [HeaderName; 4] = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];

impl Raw {
    /// Takes the headers out of a request whose signature is already checked.
    pub fn take(headers: &mut HeaderMap) -> Self {
        Self {
            object: RawSet::take(headers, &OBJECT),
            source: RawSet::take(headers, &SOURCE),
            range: headers.remove(header::RANGE),
        }
    }
}

impl RawSet {
    fn take(headers: &mut HeaderMap, [matches, none, since, unmodified]: &[HeaderName; 4]) -> Self {
        let all = |headers: &mut HeaderMap, name| {
            let values = headers.get_all(name).iter().cloned().collect();
            headers.remove(name);
            values
        };
        Self {
            if_match: all(headers, matches),
            if_none_match: all(headers, none),
            if_modified_since: headers.remove(since),
            if_unmodified_since: headers.remove(unmodified),
        }
    }

    /// As conditions of a read.
    pub fn of_read(&self) -> S3Result<ReadConditions> {
        Ok(ReadConditions {
            if_match: etags(&self.if_match)?,
            if_none_match: etags(&self.if_none_match)?,
            if_modified_since_ms: date_ms(self.if_modified_since.as_ref()),
            if_unmodified_since_ms: date_ms(self.if_unmodified_since.as_ref()),
        })
    }

    /// As conditions of a write. S3 has none on dates there.
    pub fn of_write(&self) -> S3Result<WriteConditions> {
        if self.if_modified_since.is_some() || self.if_unmodified_since.is_some() {
            return Err(error::not_implemented("If-Modified-Since and If-Unmodified-Since on a write"));
        }
        let (if_match, if_none_match) = (etags(&self.if_match)?, etags(&self.if_none_match)?);
        Ok(WriteConditions { if_match, if_none_match, ..WriteConditions::default() })
    }

    pub fn has_etags(&self) -> bool {
        !self.if_match.is_empty() || !self.if_none_match.is_empty()
    }
}

/// `*` or a list of ETags, quoted or not, weak ones taken as strong: S3's are all strong.
fn etags(values: &[HeaderValue]) -> S3Result<Option<EtagCondition>> {
    let mut tags = Vec::new();
    for value in values {
        let text = value.to_str().map_err(|_| error::invalid_argument("an ETag is not ASCII"))?;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                return Ok(Some(EtagCondition::Any));
            }
            let item = item.strip_prefix("W/").unwrap_or(item);
            tags.push(ETag::new(item.trim_matches('"')));
        }
    }
    Ok((!tags.is_empty()).then_some(EtagCondition::OneOf(tags)))
}

/// A date in one of HTTP's forms; anything else is no condition (RFC 9110 §13.1.3).
fn date_ms(value: Option<&HeaderValue>) -> Option<u64> {
    let text = value?.to_str().ok()?;
    let time = Timestamp::parse(TimestampFormat::HttpDate, text).or_else(|_| Timestamp::parse(TimestampFormat::DateTime, text));
    convert::millis(&time.ok()?)
}

/// What a Range header selects. S3 answers the whole object to a syntax it does not know and to several ranges.
pub fn selection(range: Option<&HeaderValue>) -> Selection {
    range.and_then(|value| value.to_str().ok()).and_then(one_range).unwrap_or_default()
}

fn one_range(text: &str) -> Option<Selection> {
    let (unit, spec) = text.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    if first.is_empty() {
        return digits(last).map(Selection::Suffix);
    }
    let first = digits(first)?;
    if last.is_empty() {
        return Some(Selection::Bytes { first, last: None });
    }
    let last = digits(last)?;
    (first <= last).then_some(Selection::Bytes { first, last: Some(last) })
}

/// `x-amz-copy-source-range`: both ends, first to last, nothing else.
pub fn copy_range(text: Option<&str>) -> S3Result<Option<(u64, u64)>> {
    let Some(text) = text else { return Ok(None) };
    match one_range(text) {
        Some(Selection::Bytes { first, last: Some(last) }) if text.starts_with("bytes=") => Ok(Some((first, last))),
        _ => Err(error::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

/// Decimal digits only, saturating: an end past 2^64 is past any object.
fn digits(text: &str) -> Option<u64> {
    let legal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn ranges_follow_http_and_whatever_is_odd_means_everything() {
        let of = |text| selection(Some(&value(text)));
        assert_eq!(of("bytes=0-4"), Selection::Bytes { first: 0, last: Some(4) });
        assert_eq!(of("bytes=5-"), Selection::Bytes { first: 5, last: None });
        assert_eq!(of("bytes=-7"), Selection::Suffix(7));
        assert_eq!(of("bytes=-0"), Selection::Suffix(0));
        assert_eq!(of("bytes=1-99999999999999999999999"), Selection::Bytes { first: 1, last: Some(u64::MAX) });
        for odd in ["bytes=4-2", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes", "bytes=-", "bytes=+1-2", ""] {
            assert_eq!(of(odd), Selection::All, "{odd}");
        }
        assert_eq!(selection(None), Selection::All);
    }

    #[test]
    fn a_copy_range_has_both_ends() {
        assert_eq!(copy_range(Some("bytes=0-4")).unwrap(), Some((0, 4)));
        for bad in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-5",
            "bytes=5-",
            "bytes=4-2",
        ] {
            assert_eq!(copy_range(Some(bad)).unwrap_err().code().as_str(), "InvalidArgument", "{bad}");
        }
    }

    #[test]
    fn etags_come_quoted_bare_weak_or_in_lists() {
        let of = |text| etags(&[value(text)]).unwrap();
        let one = |tag: &str| Some(EtagCondition::OneOf(vec![ETag::new(tag)]));
        assert_eq!(of("\"abc\""), one("abc"));
        assert_eq!(of("abc-2"), one("abc-2"));
        assert_eq!(of("W/\"abc\""), one("abc"));
        assert_eq!(of("\"a\", \"b\""), Some(EtagCondition::OneOf(vec![ETag::new("a"), ETag::new("b")])));
        assert_eq!(of("*"), Some(EtagCondition::Any));
        assert_eq!(etags(&[]).unwrap(), None);
    }

    #[test]
    fn a_date_that_is_none_is_no_condition() {
        assert_eq!(date_ms(Some(&value("Sun, 06 Nov 1994 08:49:37 GMT"))), Some(784_111_777_000));
        assert_eq!(date_ms(Some(&value("yesterday"))), None);
    }

    #[test]
    fn writes_take_only_the_conditions_s3_has_there() {
        let set = |name: &str, text| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value(text));
            Raw::take(&mut headers).object.of_write()
        };
        assert_eq!(set("if-none-match", "*").unwrap().if_none_match, Some(EtagCondition::Any));
        assert!(set("if-match", "\"a\"").unwrap().if_match.is_some());
        assert!(set("if-none-match", "\"a\"").unwrap().if_none_match.is_some());
        assert_eq!(set("if-modified-since", "x").unwrap_err().code().as_str(), "NotImplemented");
    }

    #[test]
    fn conditions_leave_the_request_they_were_taken_from() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_MATCH, value("\"a\""));
        headers.append(header::IF_MATCH, value("\"b\""));
        headers.insert(header::RANGE, value("bytes=0-0"));
        headers.insert("x-amz-copy-source-if-match", value("\"c\""));
        let raw = Raw::take(&mut headers);
        assert!(headers.is_empty());
        assert_eq!(raw.object.if_match.len(), 2);
        assert_eq!(raw.source.if_match.len(), 1);
        assert!(raw.range.is_some());
    }
}
