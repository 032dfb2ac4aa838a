//! Requests that nobody signed: what of them goes on to be asked of access control lists. s3s does not look into their
//! bodies, so that what they claim of these is checked here.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body::{Frame, SizeHint};
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{Body, S3Result};
use sha2::{Digest, Sha256};

use super::layer::StdError;
use super::{error, uri};
use crate::model::hex;

const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Parts of a signature in a query: who sends one of them meant to sign.
const OF_SIGNATURE: [&str; 6] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signature", "x-amz-signedheaders"];

/// Whether a request has nothing of a signature: one that went wrong is not taken for one that was not wanted.
pub fn is_unsigned(query: Option<&str>, headers: &HeaderMap) -> bool {
    let is_of_signature = |name: &str| OF_SIGNATURE.contains(&name.to_ascii_lowercase().as_str());
    !headers.contains_key(header::AUTHORIZATION) && !uri::parameters(query).any(|(name, _)| is_of_signature(name))
}

/// Refuses what strangers never do, and takes out of the headers what is said by those who are known.
pub fn admit(method: &Method, uri: &Uri, is_document: bool, headers: &mut HeaderMap) -> S3Result<()> {
    // Every document configures something, or names many objects at once.
    if is_document || method == Method::POST {
        return Err(error::access_denied());
    }
    if uri::parameters(uri.query()).any(|(name, _)| name.starts_with("response-")) {
        return Err(error::invalid_request("Request specific response headers cannot be used for anonymous GET requests."));
    }
    let ours: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("x-anybucket-")).cloned().collect();
    ours.iter().for_each(|name| drop(headers.remove(name)));
    Ok(())
}

/// Takes out of an answer what strangers need not know: which sites there are, and how they stand.
pub fn without_inside(headers: &mut HeaderMap) {
    let is_inside = |name: &str| name.starts_with("x-anybucket-") || name == "x-amz-replication-status";
    let inside: Vec<_> = headers.keys().filter(|name| is_inside(name.as_str())).cloned().collect();
    inside.iter().for_each(|name| drop(headers.remove(name)));
}

/// The body, which must have the hash that is claimed of it.
pub fn body(headers: &HeaderMap, body: Body) -> S3Result<Body> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
    let is_framed = encoding.windows(11).any(|name| name.eq_ignore_ascii_case(b"aws-chunked"))
        || ["x-amz-trailer", "x-amz-decoded-content-length"].iter().any(|name| headers.contains_key(*name));
    if is_framed {
        return Err(error::not_implemented("chunked bodies of requests without a signature"));
    }
    match headers.get(CONTENT_SHA256).map(HeaderValue::as_bytes) {
        None | Some(b"UNSIGNED-PAYLOAD" | b"") => Ok(body),
        Some(hash) if hash.len() == 64 => {
            let expected = String::from_utf8_lossy(hash).to_ascii_lowercase();
            Ok(Body::http_body_unsync(Hashed { body, hash: Some(Sha256::new()), expected }))
        }
        Some(_) => Err(error::not_implemented("chunked bodies of requests without a signature")),
    }
}

struct Hashed {
    body: Body,
    /// Taken when the end was checked.
    hash: Option<Sha256>,
    expected: String,
}

impl http_body::Body for Hashed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(hash)) = (&frame, &mut self.hash)
            && let Some(data) = frame.data_ref()
        {
            hash.update(data);
        }
        if frame.is_none()
            && let Some(hash) = self.hash.take()
            && hex(&hash.finalize()) != self.expected
        {
            return Poll::Ready(Some(Err(UploadStreamError::Sha256Mismatch.into())));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use http_body_util::BodyExt;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_signature_that_went_wrong_is_not_taken_for_none() {
        assert!(is_unsigned(Some("list-type=2&prefix=x-amz-date"), &headers(&[("host", "h")])));
        assert!(!is_unsigned(None, &headers(&[("authorization", "Bearer x")])));
        for query in ["X-Amz-Credential=a", "x-amz-signature", "X-Amz-Expires=1"] {
            assert!(!is_unsigned(Some(query), &HeaderMap::new()), "{query}");
        }
    }

    #[test]
    fn what_only_those_do_who_are_known_is_refused_or_taken_out() {
        let uri: Uri = "/b/k".parse().unwrap();
        let mut sent = headers(&[("x-anybucket-wait", "2"), ("x-amz-acl", "private")]);
        admit(&Method::GET, &uri, false, &mut sent).unwrap();
        assert_eq!(sent.len(), 1);
        assert!(admit(&Method::POST, &uri, false, &mut sent).is_err());
        assert!(admit(&Method::PUT, &uri, true, &mut sent).is_err());
        let overriding: Uri = "/b/k?response-content-type=text/html".parse().unwrap();
        assert!(admit(&Method::GET, &overriding, false, &mut sent).is_err());
    }

    #[tokio::test]
    async fn a_body_has_the_hash_that_is_claimed_of_it() {
        let read = async |claimed: &'static str| {
            let body = body(&headers(&[("x-amz-content-sha256", claimed)]), Body::from(Bytes::from_static(b"abc")))
                .map_err(|err| err.code().as_str().to_owned())?;
            body.collect().await.map(drop).map_err(|err| err.to_string())
        };
        assert_eq!(read("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").await, Ok(()));
        assert!(read("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").await.is_err());
        assert_eq!(read("UNSIGNED-PAYLOAD").await, Ok(()));
        let framed = body(&headers(&[("content-encoding", "gzip,AWS-Chunked")]), Body::empty());
        assert_eq!(framed.err().map(|err| err.code().as_str().to_owned()), Some("NotImplemented".into()));
        assert_eq!(read("STREAMING-UNSIGNED-PAYLOAD-TRAILER").await, Err("NotImplemented".into()));
    }
}
