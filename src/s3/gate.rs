//! Between the signature and the operation.
//!
//! s3s runs twice: once to check the signature of every request, here as a "custom route" that claims all of them, and
//! once, without signatures, to parse and dispatch it. In between we put right what s3s would refuse or not see: it
//! answers 400 to headers that HTTP says to ignore, 500 to an XML body with a wrong hash, cannot take an XML body in
//! chunks, and never checks the digest of one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3Request, S3Response, S3Result, TrailingHeaders};

use super::auth::{Caller, Keyring};
use super::conditions::Raw;
use super::host::Hosts;
use super::layer::Progress;
use super::pace::{Pace, Paces};
use super::{digest, error, sites, unsigned, upload, uri};
use crate::model::Source;
use crate::peer::http::HOP;

/// Query parameters that carry the signature.
const SIGNATURE_PARAMETERS: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-content-sha256",
];

/// Names a part of an object, or a bucket, that is put as a document rather than as bytes.
const SUBRESOURCES: [&str; 8] =
    ["tagging", "acl", "retention", "legal-hold", "encryption", "restore", "annotation", "renameobject"];

/// Headers of answers, which say nothing in a request.
const ANSWERS: [&str; 5] =
    ["x-anybucket-stamp", "x-anybucket-replication", "x-anybucket-scope", "x-anybucket-uncertain", "x-anybucket-buffered"];

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// A plus in the source of a copy is a space, as S3 reads it: some clients encode it as they would a form.
fn spaces_of_source(headers: &mut HeaderMap) {
    let source = headers.get(&COPY_SOURCE).and_then(|source| source.to_str().ok()).filter(|source| source.contains('+'));
    if let Some(source) = source.and_then(|source| HeaderValue::try_from(source.replace('+', "%20")).ok()) {
        headers.insert(COPY_SOURCE, source);
    }
}

/// What the gate read out of a request for the operation behind it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub conditions: Raw,
    pub trailers: Option<TrailingHeaders>,
}

/// What an operation wants changed in the answer that s3s writes for it.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    pub status: Option<StatusCode>,
    /// An XML document that s3s could not write.
    pub document: Option<Bytes>,
}

/// Claims every request once its signature is checked.
pub struct Gate {
    pub operations: S3Service,
    pub hosts: Hosts,
    pub keys: Keyring,
    /// Whether other sites take part in what is written here.
    pub others: bool,
    pub xml_bytes_max: usize,
    pub paces: Paces,
    /// Of each key that has none of its own.
    pub pace: Pace,
}

#[async_trait]
impl S3Route for Gate {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        true
    }

    async fn check_access(&self, req: &mut S3Request<Body>) -> S3Result<()> {
        let is_admitted = req.credentials.is_some() || unsigned::is_unsigned(req.uri.query(), &req.headers);
        if is_admitted { Ok(()) } else { Err(error::access_denied()) }
    }

    async fn call(&self, req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let is_stranger = req.credentials.is_none();
        let request = self.admit(req).await?;
        let is_scoped = self.others && is_conditional_write(&request);
        let response = self.operations.call(request).await.map_err(of_http_error)?;
        let (mut parts, mut body) = response.into_parts();
        let rewrite = parts.extensions.remove::<Rewrite>().unwrap_or_default();
        if let Some(document) = rewrite.document {
            body = Body::from(document);
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        if is_scoped {
            sites::put_scope(&mut parts.headers);
        }
        if is_stranger {
            unsigned::without_inside(&mut parts.headers);
        }
        let status = Some(rewrite.status.unwrap_or(parts.status));
        Ok(S3Response { output: body, status, headers: parts.headers, extensions: parts.extensions })
    }
}

impl Gate {
    /// Whoever signed, or anybody.
    fn caller(&self, req: &S3Request<Body>) -> S3Result<Caller> {
        let from = req.extensions.get::<Source>().map(|source| source.address);
        let Some(credentials) = &req.credentials else { return Ok(Caller::anonymous(from)) };
        let key = self.keys.usable(&credentials.access_key).ok_or_else(error::unknown_access_key)?;
        Ok(Caller::new(key, from))
    }

    /// The request as the operations are to see it.
    async fn admit(&self, req: S3Request<Body>) -> S3Result<http::Request<Body>> {
        if ![Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE].contains(&req.method) {
            return Err(error::method_not_allowed());
        }
        let caller = self.caller(&req)?;
        let progress = req.extensions.get::<Arc<Progress>>();
        slow_down(&self.paces, self.pace, &caller, progress.map(Arc::as_ref)).await?;
        let (mut headers, mut body, mut extensions) = (req.headers, req.input, req.extensions);
        if caller.is_anonymous() {
            unsigned::admit(&req.method, &req.uri, self.is_document(&req.method, &req.uri, &headers), &mut headers)?;
            body = unsigned::body(&headers, body)?;
        }
        let uri = without_signature(&req.uri, &mut headers)?;
        check_listing(&uri)?;
        // Said between sites only: whoever says it here would switch off what is done for a client.
        headers.remove(&HOP);
        // Clients send back what they were answered, as S3's own such headers.
        ANSWERS.iter().for_each(|name| drop(headers.remove(*name)));
        spaces_of_source(&mut headers);
        settle_length(&mut headers, &body, &req.method)?;
        if self.is_document(&req.method, &uri, &headers) {
            let bytes = self.read_document(&mut headers, body, req.trailing_headers.as_ref(), &uri).await?;
            body = Body::from(bytes);
        }
        let asked = Asked { conditions: Raw::take(&mut headers), trailers: req.trailing_headers };
        extensions.insert(caller);
        extensions.insert(asked);
        let mut request = http::Request::new(body);
        *request.method_mut() = req.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        Ok(request)
    }

    /// Whether the body is an XML document rather than an object's bytes.
    fn is_document(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        if method == Method::POST {
            return true;
        }
        let of_subresource = || SUBRESOURCES.iter().any(|name| uri::has_parameter(uri.query(), name));
        method == Method::PUT && (of_subresource() || !self.names_key(uri, headers))
    }

    fn names_key(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let path = uri.path().trim_start_matches('/');
        if self.hosts.bucket(host).is_some() {
            return !path.is_empty();
        }
        path.split_once('/').is_some_and(|(_, key)| !key.is_empty())
    }

    /// Reads a document whole and checks what the headers claim of it.
    async fn read_document(
        &self,
        headers: &mut HeaderMap,
        body: Body,
        trailers: Option<&TrailingHeaders>,
        uri: &Uri,
    ) -> S3Result<Bytes> {
        let collected = Limited::new(body, self.xml_bytes_max).collect().await;
        let bytes = collected.map_err(|err| of_body_error(err.as_ref()))?.to_bytes();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        // The checksums of a Complete are the object's.
        if !uri::has_parameter(uri.query(), "uploadId") {
            check_document(headers, trailers, &bytes, uri::has_parameter(uri.query(), "delete"))?;
        }
        Ok(bytes)
    }
}

/// Counts a request of a key, of which there may be one too many, and puts the brake of the key on its bodies.
pub async fn slow_down(paces: &Paces, all: Pace, caller: &Caller, progress: Option<&Progress>) -> S3Result<()> {
    let (name, pace) = caller.pace(all);
    let Some(brake) = paces.admit(name, pace).map_err(error::slow_down)? else { return Ok(()) };
    brake.settled().await;
    if let Some(progress) = progress {
        progress.brake(brake);
    }
    Ok(())
}

fn is_conditional_write(request: &http::Request<Body>) -> bool {
    let asked = request.extensions().get::<Asked>();
    asked.is_some_and(|asked| sites::is_conditional_write(request.method(), asked, request.headers()))
}

fn check_document(headers: &HeaderMap, trailers: Option<&TrailingHeaders>, bytes: &[u8], required: bool) -> S3Result<()> {
    let claims = upload::claims(headers, None, &upload::Verdict::default())?;
    if required && claims.md5.is_none() && claims.checksums.is_empty() && claims.compute.is_none() {
        return Err(error::invalid_request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*"));
    }
    if claims.md5.is_some_and(|md5| md5 != digest::md5(bytes)) {
        return Err(error::bad_digest("Content-MD5"));
    }
    let mut checksums = claims.checksums;
    if let Some(algorithm) = claims.compute {
        let found = trailers.and_then(TrailingHeaders::take);
        checksums.push((algorithm, upload::trailer_value(algorithm, found.as_ref())?));
    }
    let wrong = checksums.into_iter().find(|(algorithm, value)| digest::checksum(*algorithm, bytes) != *value);
    wrong.map_or(Ok(()), |(algorithm, _)| Err(error::bad_digest(algorithm.name())))
}

/// s3s gives up on its own answer only where XML cannot hold what the request made it repeat.
pub fn of_http_error(err: HttpError) -> S3Error {
    let err = err.into_std_error();
    let told = err.to_string();
    if told.contains("control character") {
        return error::invalid_request("The request has a control character where there can be none");
    }
    tracing::error!(error = %told, "an answer could not be written");
    error::internal()
}

fn of_body_error(err: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    if err.is::<http_body_util::LengthLimitError>() {
        return error::message_too_long();
    }
    error::from_stream(err)
}

/// Takes the signature out of headers and query: it is checked, and the second pass must not look for it again.
/// Headers that a presigned URL carries as parameters become headers, so that none goes unseen; checksums stay out,
/// since SDKs sign that of an empty body into URLs meant for any body.
fn without_signature(uri: &Uri, headers: &mut HeaderMap) -> S3Result<Uri> {
    for name in [header::AUTHORIZATION, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.remove("x-amz-content-sha256");
    let presigned = uri::has_parameter(uri.query(), "X-Amz-Signature");
    let mut kept = uri.path().to_owned();
    let mut before = '?';
    for (name, value) in uri::parameters(uri.query()) {
        if SIGNATURE_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            continue;
        }
        if presigned && name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
            hoist(&name.to_ascii_lowercase(), value, headers)?;
            continue;
        }
        kept.push(std::mem::replace(&mut before, '&'));
        kept.push_str(name);
        if !value.is_empty() {
            kept.push('=');
            kept.push_str(value);
        }
    }
    Uri::try_from(kept).map_err(|_| error::invalid_request("The request URI cannot be parsed"))
}

fn hoist(name: &str, value: &str, headers: &mut HeaderMap) -> S3Result<()> {
    if name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-mode" || name == "x-amz-sdk-checksum-algorithm" {
        return Ok(());
    }
    let bad = || error::invalid_argument(format!("the parameter {name} cannot be a header"));
    let text = uri::decode_form(value).ok_or_else(bad)?;
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| bad())?;
    headers.entry(header).or_insert(value);
    Ok(())
}

/// s3s takes a list type that nobody knows for the first.
fn check_listing(uri: &Uri) -> S3Result<()> {
    let unknown = uri::parameters(uri.query()).any(|(name, value)| name == "list-type" && value != "2");
    if unknown { Err(error::invalid_argument("Invalid List Type specified in Request")) } else { Ok(()) }
}

/// Makes Content-Length tell the length of the decoded body.
fn settle_length(headers: &mut HeaderMap, body: &Body, method: &Method) -> S3Result<()> {
    let decoded = headers.remove("x-amz-decoded-content-length");
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(());
    }
    let exact = http_body::Body::size_hint(body).exact().map(HeaderValue::from);
    match decoded.or(exact) {
        Some(length) => headers.insert(header::CONTENT_LENGTH, length),
        None if method == Method::PUT || method == Method::POST => return Err(error::missing_content_length()),
        None => None,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_leaves_the_query_and_hoisted_headers_come_out_of_it() {
        let uri: Uri = "/b/k%2F1?partNumber=1&X-Amz-Signature=f&X-Amz-Date=d&x-amz-acl=public-read&x-amz-checksum-crc32=AAAAAA%3D%3D&tagging"
            .parse()
            .unwrap();
        let mut headers = HeaderMap::new();
        let clean = without_signature(&uri, &mut headers).unwrap();
        assert_eq!(clean, "/b/k%2F1?partNumber=1&tagging");
        assert_eq!(headers["x-amz-acl"], "public-read");
        assert!(!headers.contains_key("x-amz-checksum-crc32"));
    }

    #[test]
    fn a_list_type_that_nobody_knows_is_refused() {
        let told = |target: &str| check_listing(&target.parse().unwrap()).is_ok();
        assert!(told("/b?list-type=2&prefix=a") && told("/b?prefix=list-type") && told("/b"));
        assert!(!told("/b?list-type=3") && !told("/b?list-type") && !told("/b?list-type=2&list-type=1"));
    }

    #[test]
    fn a_document_is_checked_against_what_is_claimed_of_it() {
        let check = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            check_document(&headers, None, b"123456789", true).map_err(|err| err.code().as_str().to_owned())
        };
        assert_eq!(check("x-other", "1"), Err("InvalidRequest".into()));
        assert_eq!(check("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="), Ok(()));
        assert_eq!(check("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), Err("BadDigest".into()));
        assert_eq!(check("x-amz-checksum-crc32", "y/Q5Jg=="), Ok(()));
        assert_eq!(check("x-amz-checksum-crc32", "AAAAAA=="), Err("BadDigest".into()));
        assert_eq!(check("x-amz-trailer", "x-amz-checksum-crc32"), Err("MalformedTrailerError".into()));
    }

    #[test]
    fn a_put_without_any_length_is_refused() {
        let streamed = || {
            Body::http_body_unsync(http_body_util::StreamBody::new(futures::stream::pending::<
                Result<http_body::Frame<Bytes>, std::io::Error>,
            >()))
        };
        let mut headers = HeaderMap::new();
        assert!(settle_length(&mut headers, &streamed(), &Method::PUT).is_err());
        settle_length(&mut headers, &Body::empty(), &Method::PUT).unwrap();
        assert_eq!(headers[header::CONTENT_LENGTH], "0");
    }
}
