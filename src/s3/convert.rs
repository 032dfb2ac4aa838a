//! The site's values as S3 shows them: times, ETags, checksums, headers, and back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{self, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result};

use super::error;
use crate::model::{
    BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, ETag, Identity, Key, Metadata, ObjectId, Parts, Slot,
    Stamp, without_chunking,
};
use crate::site::Error;

const METADATA_PREFIX: &str = "x-amz-meta-";
/// How much of it could not be shown.
const MISSING_METADATA: HeaderName = HeaderName::from_static("x-amz-missing-meta");

/// Most bytes of user metadata, names and values together.
const METADATA_BYTES_MAX: usize = 2048;

/// Most bytes of the other headers that are stored, together: a row of 64 KiB holds them beside all else. S3 takes 8 KiB
/// of headers, these among them. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Most bytes of a website redirect.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html>
const REDIRECT_BYTES_MAX: usize = 2 << 10;

/// The stamp of what was read or written.
pub const STAMP: HeaderName = HeaderName::from_static("x-anybucket-stamp");

/// Told where the bytes wait on a local disk for their store.
const BUFFERED: HeaderName = HeaderName::from_static("x-anybucket-buffered");

/// Storage classes a client may name. They are kept and shown; where bytes lie is the route's business.
const STORAGE_CLASSES: [&str; 8] = [
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
];

/// The object a request names.
pub fn object_id(bucket: &str, key: &str) -> S3Result<ObjectId> {
    ObjectId::parse(bucket, key).map_err(|err| error::from_site(Error::Name(err)))
}

/// The bucket a request names.
pub fn bucket_name(bucket: &str) -> S3Result<BucketName> {
    BucketName::new(bucket).map_err(|err| error::from_site(Error::Name(err)))
}

/// A key that came in a document.
pub fn key(text: &str) -> S3Result<Key> {
    Key::new(text).map_err(|err| error::from_site(Error::Name(err)))
}

/// The slot that `versionId=` names.
pub fn slot(version: Option<&str>) -> S3Result<Option<Slot>> {
    match version {
        None => Ok(None),
        Some("null") => Ok(Some(Slot::Null)),
        Some(id) => match id.parse::<Stamp>() {
            Ok(stamp) => Ok(Some(Slot::Version(stamp))),
            Err(_) => Err(error::invalid_argument("Invalid version id specified")),
        },
    }
}

/// Milliseconds since 1970 as S3 shows them: whole seconds.
pub fn timestamp(ms: u64) -> Timestamp {
    let seconds = (ms / 1000).to_string();
    Timestamp::parse(TimestampFormat::EpochSeconds, &seconds).unwrap_or_default()
}

/// Milliseconds since 1970; `None` before that.
pub fn millis(time: &Timestamp) -> Option<u64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let seconds = text.split('.').next()?.parse::<u64>().ok()?;
    seconds.checked_mul(1000)
}

/// A date as headers show it.
pub fn http_date(ms: u64) -> String {
    let mut text = Vec::new();
    let written = timestamp(ms).format(TimestampFormat::HttpDate, &mut text);
    written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
}

pub fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.as_str().to_owned())
}

/// A checksum value as S3 writes it; a composite one names its number of parts.
pub fn checksum_text(checksum: &Checksum, parts: usize) -> String {
    let value = BASE64.encode(&checksum.value);
    match checksum.kind {
        ChecksumKind::Composite => format!("{value}-{parts}"),
        ChecksumKind::FullObject => value,
    }
}

/// The bytes of a checksum value; a composite one may end in its number of parts.
pub fn parse_checksum(algorithm: ChecksumAlgorithm, text: &str) -> S3Result<Vec<u8>> {
    let value = text.rsplit_once('-').map_or(text, |(value, _)| value);
    let bytes = BASE64.decode(value).ok().filter(|bytes| bytes.len() == algorithm.value_len());
    // What is no checksum at all matches none.
    bytes.ok_or_else(|| error::bad_digest(algorithm.name()))
}

pub fn checksum_header(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Sha512 => "x-amz-checksum-sha512",
        ChecksumAlgorithm::Md5 => "x-amz-checksum-md5",
        ChecksumAlgorithm::XxHash64 => "x-amz-checksum-xxhash64",
        ChecksumAlgorithm::XxHash3 => "x-amz-checksum-xxhash3",
        ChecksumAlgorithm::XxHash128 => "x-amz-checksum-xxhash128",
    })
}

/// An algorithm by the name that requests use.
pub fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    let known = ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let names = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ");
        let refusal = "Checksum algorithm provided is unsupported. Please try again with any of the valid types:";
        error::invalid_request(format!("{refusal} [{names}]"))
    })
}

/// What a checksum covers, by the name that requests use.
pub fn checksum_kind(name: &str) -> S3Result<ChecksumKind> {
    match name {
        "FULL_OBJECT" => Ok(ChecksumKind::FullObject),
        "COMPOSITE" => Ok(ChecksumKind::Composite),
        _ => Err(error::invalid_request("Value for x-amz-checksum-type header is invalid.")),
    }
}

pub fn checksum_kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    }
}

pub fn parts_count(identity: &Identity) -> usize {
    match identity.parts {
        Parts::Single => 1,
        Parts::Mapped { count } => usize::from(count),
    }
}

/// Sets the one field of an output that shows this checksum; all outputs name these fields alike.
macro_rules! show_checksum {
    ($output:expr, $algorithm:expr, $text:expr) => {{
        let text = Some($text);
        match $algorithm {
            $crate::model::ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = text,
            $crate::model::ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = text,
            $crate::model::ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = text,
            $crate::model::ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = text,
            $crate::model::ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = text,
            $crate::model::ChecksumAlgorithm::Sha512 => $output.checksum_sha512 = text,
            $crate::model::ChecksumAlgorithm::Md5 => $output.checksum_md5 = text,
            $crate::model::ChecksumAlgorithm::XxHash64 => $output.checksum_xxhash64 = text,
            $crate::model::ChecksumAlgorithm::XxHash3 => $output.checksum_xxhash3 = text,
            $crate::model::ChecksumAlgorithm::XxHash128 => $output.checksum_xxhash128 = text,
        }
    }};
}
pub(super) use show_checksum;

/// The checksums that a part of CompleteMultipartUpload names.
pub fn part_checksums(part: &dto::CompletedPart) -> S3Result<Vec<(ChecksumAlgorithm, Vec<u8>)>> {
    let named = [
        (ChecksumAlgorithm::Crc32, &part.checksum_crc32),
        (ChecksumAlgorithm::Crc32c, &part.checksum_crc32c),
        (ChecksumAlgorithm::Crc64Nvme, &part.checksum_crc64nvme),
        (ChecksumAlgorithm::Sha1, &part.checksum_sha1),
        (ChecksumAlgorithm::Sha256, &part.checksum_sha256),
        (ChecksumAlgorithm::Sha512, &part.checksum_sha512),
        (ChecksumAlgorithm::Md5, &part.checksum_md5),
        (ChecksumAlgorithm::XxHash64, &part.checksum_xxhash64),
        (ChecksumAlgorithm::XxHash3, &part.checksum_xxhash3),
        (ChecksumAlgorithm::XxHash128, &part.checksum_xxhash128),
    ];
    let present = named.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.as_deref()?)));
    present.map(|(algorithm, text)| Ok((algorithm, parse_checksum(algorithm, text)?))).collect()
}

/// The headers of a request that S3 stores.
pub fn content_headers(headers: &HeaderMap) -> S3Result<ContentHeaders> {
    let text = |name: HeaderName| text_of(headers, &name);
    let stored = ContentHeaders {
        content_type: text(header::CONTENT_TYPE)?,
        content_encoding: text(header::CONTENT_ENCODING)?.and_then(|value| without_chunking(&value)),
        content_disposition: text(header::CONTENT_DISPOSITION)?,
        content_language: text(header::CONTENT_LANGUAGE)?,
        cache_control: text(header::CACHE_CONTROL)?,
        expires: text(header::EXPIRES)?,
        website_redirect_location: website_redirect(headers)?,
        storage_class: storage_class(headers)?,
    };
    let values = [
        &stored.content_type,
        &stored.content_encoding,
        &stored.content_disposition,
        &stored.content_language,
        &stored.cache_control,
        &stored.expires,
    ];
    let bytes: usize = values.into_iter().flatten().map(String::len).sum();
    if bytes > HEADER_BYTES_MAX { Err(error::headers_too_large()) } else { Ok(stored) }
}

/// A header's text. S3 takes UTF-8 where HTTP would not.
pub fn text_of(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| error::invalid_argument(format!("the header {name} is not UTF-8")))?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

pub fn website_redirect(headers: &HeaderMap) -> S3Result<Option<String>> {
    let location = text_of(headers, &HeaderName::from_static("x-amz-website-redirect-location"))?;
    match &location {
        Some(to) if to.len() > REDIRECT_BYTES_MAX => Err(error::headers_too_large()),
        Some(to) if !["/", "http://", "https://"].iter().any(|start| to.starts_with(start)) => {
            Err(error::invalid_argument("The website redirect location must have a prefix of 'http://' or 'https://' or '/'."))
        }
        _ => Ok(location),
    }
}

/// The class a request asks for; STANDARD is `None`.
pub fn storage_class(headers: &HeaderMap) -> S3Result<Option<String>> {
    match text_of(headers, &HeaderName::from_static("x-amz-storage-class"))?.as_deref() {
        None | Some("STANDARD") => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => Err(error::invalid_storage_class()),
    }
}

/// User metadata as it came: a header is bytes, and a character stands for each (ISO 8859-1), so that whatever a client
/// sent, RFC 2047 or raw, is what it gets back.
pub fn metadata(headers: &HeaderMap) -> S3Result<Metadata> {
    let mut metadata = Metadata::new();
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix(METADATA_PREFIX) else { continue };
        let values: Vec<&[u8]> = headers.get_all(header).iter().map(HeaderValue::as_bytes).collect();
        metadata.push((name.to_owned(), values.join(&b',').iter().copied().map(char::from).collect()));
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.chars().count()).sum();
    if bytes > METADATA_BYTES_MAX { Err(error::metadata_too_large()) } else { Ok(metadata) }
}

/// User metadata as headers. What no header can hold is left out, and counted.
pub fn put_metadata(headers: &mut HeaderMap, metadata: &Metadata) {
    let mut missing = 0;
    for (name, value) in metadata {
        let bytes: Option<Vec<u8>> = value.chars().map(|char| u8::try_from(char).ok()).collect();
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}"));
        match (name, bytes.map(|bytes| HeaderValue::from_bytes(&bytes))) {
            (Ok(name), Some(Ok(value))) => drop(headers.insert(name, value)),
            _ => missing += 1,
        }
    }
    if missing > 0 {
        headers.insert(MISSING_METADATA, HeaderValue::from(missing));
    }
}

/// Adds a header where the value can be one.
pub fn put_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Stored values came in as headers; one that is none any more is better left out than answered with an error.
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Says where bytes are not at their store yet.
pub fn show_buffered(is_buffered: bool, headers: &mut HeaderMap) {
    if is_buffered {
        put_header(headers, BUFFERED, "true");
    }
}

/// The response header that names a stamp.
pub fn stamp_header(stamp: Stamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put_header(&mut headers, STAMP, &stamp.to_string());
    headers
}

/// An owner as XML shows it.
pub fn owner(name: &str) -> dto::Owner {
    dto::Owner { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

/// A count or limit of a request: `default` where absent, at most `max`, never negative.
pub fn limit(asked: Option<i32>, name: &str, max: usize) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(max) };
    let asked = usize::try_from(asked).map_err(|_| negative(name))?;
    Ok(asked.min(max))
}

fn negative(name: &str) -> S3Error {
    error::invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647"))
}

/// A size or count in a document.
pub fn number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Bytes as the documents count them.
pub fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn times_are_shown_in_whole_seconds_and_read_back() {
        let time = timestamp(1_790_000_123_456);
        assert_eq!(millis(&time), Some(1_790_000_123_000));
        assert_eq!(http_date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn versions_are_named_by_their_stamps() {
        let id = "0".repeat(26);
        assert_eq!(slot(None).unwrap(), None);
        assert_eq!(slot(Some("null")).unwrap(), Some(Slot::Null));
        assert_eq!(slot(Some(&id)).unwrap().map(|slot| slot.to_string()), Some(id));
        assert_eq!(slot(Some("")).unwrap_err().code().as_str(), "InvalidArgument");
    }

    #[test]
    fn aws_chunked_is_not_part_of_what_an_object_is() {
        let of = |value| content_headers(&headers(&[("content-encoding", value)])).unwrap().content_encoding;
        assert_eq!(of("aws-chunked"), None);
        assert_eq!(of("gzip, aws-chunked"), Some("gzip".into()));
        assert_eq!(of("aws-chunked,deflate,gzip"), Some("deflate, gzip".into()));
        assert_eq!(of("deflate,gzip"), Some("deflate,gzip".into()));
    }

    #[test]
    fn storage_classes_are_known_or_refused() {
        let of = |class| storage_class(&headers(&[("x-amz-storage-class", class)]));
        assert_eq!(of("STANDARD").unwrap(), None);
        assert_eq!(of("STANDARD_IA").unwrap(), Some("STANDARD_IA".into()));
        assert_eq!(of("FAST").unwrap_err().code().as_str(), "InvalidStorageClass");
    }

    #[test]
    fn metadata_past_two_kilobytes_is_refused() {
        let of = |bytes: usize| {
            let mut sent = headers(&[("x-amz-meta-b", "2")]);
            sent.insert("x-amz-meta-a", HeaderValue::from_str(&"x".repeat(bytes)).unwrap());
            metadata(&sent)
        };
        assert_eq!(of(2045).unwrap().len(), 2);
        assert_eq!(of(2046).unwrap_err().code().as_str(), "MetadataTooLarge");
    }

    #[test]
    fn headers_that_no_row_could_hold_are_refused() {
        let of = |name: &'static str, value: String| {
            let sent = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())]);
            content_headers(&sent).map_err(|err| err.code().as_str().to_owned())
        };
        assert!(of("cache-control", "x".repeat(8 << 10)).is_ok());
        assert_eq!(of("cache-control", "x".repeat((8 << 10) + 1)), Err("RequestHeaderSectionTooLarge".into()));
        assert_eq!(
            of("x-amz-website-redirect-location", format!("/{}", "x".repeat(2048))),
            Err("RequestHeaderSectionTooLarge".into())
        );
    }

    #[test]
    fn metadata_goes_back_as_the_bytes_it_came_in() {
        let mut sent = HeaderMap::new();
        for (name, value) in
            [("x-amz-meta-a", b"\xe9".as_slice()), ("x-amz-meta-b", "\u{e9}".as_bytes()), ("x-amz-meta-c", b"=?UTF-8?B?w6k=?=")]
        {
            sent.insert(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        sent.append("x-amz-meta-c", HeaderValue::from_static("twice"));
        let mut shown = HeaderMap::new();
        put_metadata(&mut shown, &metadata(&sent).unwrap());
        assert_eq!(shown["x-amz-meta-a"], sent["x-amz-meta-a"]);
        assert_eq!(shown["x-amz-meta-b"], sent["x-amz-meta-b"]);
        assert_eq!(shown["x-amz-meta-c"], "=?UTF-8?B?w6k=?=,twice");
        assert!(!shown.contains_key("x-amz-missing-meta"));
    }

    #[test]
    fn metadata_that_no_header_can_hold_is_counted() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut shown = HeaderMap::new();
        put_metadata(&mut shown, &vec![pair("a", "fine"), pair("b", "two\nlines"), pair("c d", "x"), pair("e", "\u{20AC}")]);
        assert_eq!(shown["x-amz-missing-meta"], "3");
        assert_eq!(shown["x-amz-meta-a"], "fine");
    }

    #[test]
    fn checksums_are_read_strictly_and_shown_with_their_parts() {
        let crc = parse_checksum(ChecksumAlgorithm::Crc32, "AAAAAA==").unwrap();
        assert_eq!(crc, vec![0; 4]);
        assert_eq!(parse_checksum(ChecksumAlgorithm::Crc32, "AAAAAA==-3").unwrap(), vec![0; 4]);
        for bad in ["", "AAAA", "AAAAAAAA", "not base64"] {
            assert!(parse_checksum(ChecksumAlgorithm::Crc32, bad).is_err(), "{bad}");
        }
        let composite = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::Composite, value: crc };
        assert_eq!(checksum_text(&composite, 3), "AAAAAA==-3");
    }

    #[test]
    fn algorithms_are_known_by_their_names() {
        assert_eq!(algorithm("crc64nvme").unwrap(), ChecksumAlgorithm::Crc64Nvme);
        assert_eq!(algorithm("SHA512").unwrap(), ChecksumAlgorithm::Sha512);
        assert_eq!(algorithm("ROT13").unwrap_err().code().as_str(), "InvalidRequest");
    }

    #[test]
    fn limits_are_clamped_and_never_negative() {
        assert_eq!(limit(None, "max-keys", 1000).unwrap(), 1000);
        assert_eq!(limit(Some(5000), "max-keys", 1000).unwrap(), 1000);
        assert_eq!(limit(Some(0), "max-keys", 1000).unwrap(), 0);
        assert!(limit(Some(-1), "max-keys", 1000).is_err());
    }
}
