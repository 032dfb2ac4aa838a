//! A request's body on its way to the site: what the client claims of it, and why it was refused.
//!
//! s3s checks chunk signatures and the signed hash while the body streams, but neither Content-MD5 nor any checksum,
//! and leaves it to us to turn a stream's error into an answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderName, header};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, TrailingHeaders};

use super::layer::Progress;
use super::{convert, error};
use crate::backend::{Body, BodyError};
use crate::model::ChecksumAlgorithm;
use crate::site::{Claims, Error, Trailer, Upload};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const SDK_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// Headers with that prefix that are no checksums.
const NOT_VALUES: [&str; 3] = ["algorithm", "type", "mode"];

/// Keeps why a body was refused while the site only knows that it was.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<Mutex<Option<S3Error>>>);

impl Verdict {
    fn refuse(&self, err: S3Error) {
        let mut first = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        first.get_or_insert(err);
    }

    /// The answer to a failed upload: our reason where the body was the cause.
    pub fn judge(&self, err: Error) -> S3Error {
        let ours = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match (err, ours) {
            (Error::BodyRefused | Error::IncompleteBody(_), Some(reason)) => reason,
            (err, _) => error::from_site(err),
        }
    }
}

/// The body of a PUT or a part with all its claims.
pub fn upload(
    body: Option<StreamingBlob>,
    headers: &HeaderMap,
    trailers: Option<TrailingHeaders>,
    bytes_max: u64,
    progress: Option<Arc<Progress>>,
) -> S3Result<(Upload, Verdict)> {
    let size = content_length(headers)?;
    if size.is_some_and(|size| size > bytes_max) {
        return Err(error::entity_too_large());
    }
    let verdict = Verdict::default();
    let claims = claims(headers, trailers, &verdict)?;
    let body = body.unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
    let left = size.unwrap_or(bytes_max);
    let measured = Measured { body, left, exact: size.is_some(), ended: false, verdict: verdict.clone(), progress };
    let body = Body::new(size, measured);
    Ok((Upload { body, claims }, verdict))
}

/// The bytes announced. The gate saw to it that there is a length; only the file of a form has none.
fn content_length(headers: &HeaderMap) -> S3Result<Option<u64>> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(error::missing_content_length)
}

/// What the headers claim of the bytes.
pub fn claims(headers: &HeaderMap, trailers: Option<TrailingHeaders>, verdict: &Verdict) -> S3Result<Claims> {
    let checksums = claimed_checksums(headers)?;
    let promised = promised_trailer(headers)?;
    if promised.is_some() && !checksums.is_empty() {
        return Err(error::invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    let found = checksums.first().map(|(algorithm, _)| *algorithm).or(promised);
    check_sdk_algorithm(headers, found)?;
    let trailer = promised.map(|algorithm| read_trailer(algorithm, trailers, verdict.clone()));
    Ok(Claims { md5: content_md5(headers)?, checksums, compute: promised, trailer })
}

/// Content-MD5, if there is one. An empty one is malformed.
pub fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get(CONTENT_MD5) else { return Ok(None) };
    let bytes = BASE64.decode(value.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(error::invalid_digest)
}

/// At most one checksum comes ahead of the body.
pub fn claimed_checksums(headers: &HeaderMap) -> S3Result<Vec<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let Some(algorithm) = name.as_str().strip_prefix(CHECKSUM_PREFIX) else { continue };
        if NOT_VALUES.contains(&algorithm) {
            continue;
        }
        let algorithm = convert::algorithm(algorithm)?;
        found.push((algorithm, convert::parse_checksum(algorithm, value.to_str().unwrap_or_default())?));
    }
    if found.len() > 1 {
        return Err(error::invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    Ok(found)
}

/// The algorithm whose value `x-amz-trailer` promises behind the body.
fn promised_trailer(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(value) = headers.get(TRAILER) else { return Ok(None) };
    let names: Vec<_> = value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let [name] = names[..] else {
        return Err(error::invalid_request("The value specified in the x-amz-trailer header is not supported"));
    };
    let lower = name.to_ascii_lowercase();
    let Some(algorithm) = lower.strip_prefix(CHECKSUM_PREFIX) else {
        return Err(error::invalid_request("The value specified in the x-amz-trailer header is not supported"));
    };
    convert::algorithm(algorithm).map(Some)
}

/// What an SDK says it will send must be what it sends.
fn check_sdk_algorithm(headers: &HeaderMap, found: Option<ChecksumAlgorithm>) -> S3Result<()> {
    let Some(name) = convert::text_of(headers, &SDK_ALGORITHM)? else { return Ok(()) };
    match (convert::algorithm(&name)?, found) {
        (said, Some(sent)) if said == sent => Ok(()),
        (_, Some(_)) => Err(error::invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid.")),
        (_, None) => Err(error::invalid_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        )),
    }
}

fn read_trailer(algorithm: ChecksumAlgorithm, trailers: Option<TrailingHeaders>, verdict: Verdict) -> Trailer {
    Box::new(move || {
        let found = trailers.and_then(|trailers| trailers.take());
        trailer_value(algorithm, found.as_ref()).map(|value| vec![(algorithm, value)]).map_err(|err| {
            verdict.refuse(err);
            Error::BodyRefused
        })
    })
}

/// The promised value, which must be there, well-formed and alone.
pub fn trailer_value(algorithm: ChecksumAlgorithm, trailers: Option<&HeaderMap>) -> S3Result<Vec<u8>> {
    let missing = || {
        error::malformed_trailer(
            "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        )
    };
    let trailers = trailers.ok_or_else(missing)?;
    let checksums = trailers.keys().filter(|name| name.as_str().starts_with(CHECKSUM_PREFIX)).count();
    let value = trailers.get(convert::checksum_header(algorithm)).and_then(|value| value.to_str().ok());
    match value {
        Some(text) if checksums == 1 => convert::parse_checksum(algorithm, text),
        _ => Err(missing()),
    }
}

/// Passes the bytes on and sees that there are as many as announced.
struct Measured {
    body: StreamingBlob,
    /// What may still come.
    left: u64,
    /// Whether it must come.
    exact: bool,
    ended: bool,
    verdict: Verdict,
    /// What of the body is held in memory before it comes here.
    progress: Option<Arc<Progress>>,
}

impl Measured {
    fn refused(&mut self, reason: S3Error) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.ended = true;
        self.verdict.refuse(reason);
        Poll::Ready(Some(Err(BodyError::Refused)))
    }
}

impl Stream for Measured {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_next(cx)) {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    self.progress.iter().for_each(|progress| progress.held.pass_on());
                    Poll::Ready(Some(Ok(bytes)))
                }
                None if self.exact => self.refused(error::incomplete_body("The request body is longer than announced")),
                None => self.refused(error::entity_too_large()),
            },
            Some(Err(err)) => {
                let reason = error::from_stream(err.as_ref());
                self.refused(reason)
            }
            None if self.exact && self.left > 0 => {
                self.refused(error::incomplete_body("The request body is shorter than announced"))
            }
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn refused(pairs: &[(&'static str, &'static str)]) -> String {
        claims(&headers(pairs), None, &Verdict::default()).unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn a_malformed_content_md5_is_an_invalid_digest() {
        for bad in ["", "YWJyYWNhZGFicmE=", "not base64"] {
            assert_eq!(refused(&[("content-md5", bad)]), "InvalidDigest", "{bad:?}");
        }
        let good = headers(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]);
        assert!(content_md5(&good).unwrap().is_some());
    }

    #[test]
    fn checksums_that_nobody_knows_are_never_ignored() {
        assert_eq!(refused(&[("x-amz-checksum-rot13", "AAAA")]), "InvalidRequest");
        assert_eq!(refused(&[("x-amz-trailer", "x-amz-checksum-rot13")]), "InvalidRequest");
    }

    #[test]
    fn one_checksum_is_enough_and_it_must_be_the_one_announced() {
        assert_eq!(refused(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")]), "InvalidRequest");
        assert_eq!(refused(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "SHA1")]), "InvalidRequest");
        assert_eq!(refused(&[("x-amz-sdk-checksum-algorithm", "CRC32")]), "InvalidRequest");
        assert_eq!(refused(&[("x-amz-checksum-crc32", "short")]), "BadDigest");
        assert_eq!(refused(&[("x-amz-trailer", "x-amz-meta-a")]), "InvalidRequest");
        let fine = headers(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "CRC32")]);
        assert_eq!(claims(&fine, None, &Verdict::default()).unwrap().checksums.len(), 1);
    }

    #[test]
    fn a_promised_trailer_must_come() {
        let verdict = Verdict::default();
        let claims = claims(&headers(&[("x-amz-trailer", "x-amz-checksum-crc32")]), None, &verdict).unwrap();
        assert_eq!(claims.compute, Some(ChecksumAlgorithm::Crc32));
        let err = claims.trailer.unwrap()().unwrap_err();
        assert_eq!(verdict.judge(err).code().as_str(), "MalformedTrailerError");
    }

    #[test]
    fn a_trailer_of_another_algorithm_is_malformed() {
        let other = headers(&[("x-amz-checksum-sha1", "AAAA")]);
        assert!(trailer_value(ChecksumAlgorithm::Crc32, Some(&other)).is_err());
        let two = headers(&[("x-amz-checksum-sha1", "AAAA"), ("x-amz-checksum-crc32", "AAAAAA==")]);
        assert!(trailer_value(ChecksumAlgorithm::Crc32, Some(&two)).is_err());
        let right = headers(&[("x-amz-checksum-crc32", "AAAAAA==")]);
        assert_eq!(trailer_value(ChecksumAlgorithm::Crc32, Some(&right)).unwrap(), vec![0; 4]);
    }

    async fn measured(announced: &[(&'static str, &'static str)], sent: &'static [u8]) -> Result<Bytes, String> {
        let body = Some(StreamingBlob::from_bytes(Bytes::from_static(sent)));
        let (upload, verdict) = upload(body, &headers(announced), None, 10, None).map_err(|err| err.to_string())?;
        let read = upload.body.collect(100).await;
        read.map_err(|_| verdict.judge(Error::BodyRefused).code().as_str().to_owned())
    }

    #[tokio::test]
    async fn a_body_has_as_many_bytes_as_announced() {
        let announced = |length| [("content-length", length)];
        assert_eq!(measured(&announced("3"), b"abc").await.unwrap(), "abc");
        assert_eq!(measured(&announced("4"), b"abc").await.unwrap_err(), "IncompleteBody");
        assert_eq!(measured(&announced("2"), b"abc").await.unwrap_err(), "IncompleteBody");
        assert!(measured(&announced("11"), b"abc").await.unwrap_err().contains("EntityTooLarge"));
        assert!(measured(&announced(""), b"abc").await.unwrap_err().contains("MissingContentLength"));
        assert_eq!(measured(&[], b"abc").await.unwrap(), "abc");
        assert_eq!(measured(&[], b"elevenbytes").await.unwrap_err(), "EntityTooLarge");
    }
}
