//! The outermost layer of the S3 listener: request ids, complete error documents, spans and counts, and what has to be
//! refused before s3s sees it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3Result};
use tokio::time::Instant;
use tracing::Instrument;

use super::auth::Caller;
use super::cors::{Browsers, Wanted};
use super::final_chunk::Tail;
use super::form::{self, Forms};
use super::held::{Holding, Share};
use super::idle::{Patience, Patient};
use super::request_id::{RequestId, RequestIds};
use super::{convert, encryption, error, gate, uri};
use crate::tasks::{Brake, Waiting};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// Largest body without a length, bytes: it is held in memory before its signature is checked.
const UNMEASURED_BYTES_MAX: usize = 64 << 10;
const SECURITY_TOKEN: &str = "x-amz-security-token";

pub type StdError = Box<dyn std::error::Error + Send + Sync>;

/// Hears of every request once its answer is sent or given up.
pub trait Observe: Send + Sync + 'static {
    /// `op` is S3's name of the operation, or empty where the request did not get that far. `micros` runs from the
    /// request's head to the last byte of the answer; bytes are those of the bodies as they travelled.
    fn request(&self, op: &str, status: u16, micros: u64, bytes_in: u64, bytes_out: u64);
}

/// Hears and forgets.
#[derive(Debug)]
pub struct Unobserved;

impl Observe for Unobserved {
    fn request(&self, _: &str, _: u16, _: u64, _: u64, _: u64) {}
}

/// What is known of a request while it runs; the operation behind it finds this in the request's extensions.
#[derive(Debug)]
pub struct Progress {
    pub id: RequestId,
    op: OnceLock<Box<str>>,
    started: Instant,
    bytes_in: AtomicU64,
    /// What of it is in memory.
    pub held: Share,
    /// Whether some of the body is still to come.
    unread: AtomicBool,
    /// Known with the key; none where it may go as fast as it can.
    brake: OnceLock<Brake>,
}

impl Progress {
    fn new(id: RequestId, held: Share) -> Self {
        let (bytes_in, unread) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { id, op: OnceLock::new(), started: Instant::now(), bytes_in, held, unread, brake: OnceLock::new() }
    }

    /// Slows the bodies of this request down from now on.
    pub fn brake(&self, brake: Brake) {
        let _ = self.brake.set(brake);
    }

    /// Notes which operation the request turned out to be.
    pub fn is(&self, op: &str) {
        self.op.get_or_init(|| op.into());
    }

    /// Whether the client may still send, or never send, a body that nobody read: then the next request on the connection
    /// could be taken for it, so the answer must say that the connection ends (RFC 9110 §10.1.1, RFC 9112 §9.6).
    fn leaves_body_behind(&self, expects_continue: bool) -> bool {
        let nothing_read = self.bytes_in.load(Ordering::Relaxed) == 0;
        self.unread.load(Ordering::Relaxed) || (expects_continue && nothing_read)
    }

    fn op(&self) -> &str {
        self.op.get().map_or("", |op| op)
    }
}

/// The S3 face as a hyper service; clones share it.
#[derive(Clone)]
pub struct S3Layer {
    service: S3Service,
    forms: Forms,
    browsers: Browsers,
    ids: Arc<RequestIds>,
    observe: Arc<dyn Observe>,
    holding: Holding,
}

impl S3Layer {
    pub(super) fn new(service: S3Service, forms: Forms, browsers: Browsers, ids: RequestIds, observe: Arc<dyn Observe>) -> Self {
        let holding = Holding::new(forms.settings.limits.held_bytes_max);
        Self { service, forms, browsers, ids: Arc::new(ids), observe, holding }
    }

    /// Answers one request.
    async fn answer(self, request: Request<Incoming>) -> Response<Answer> {
        let progress = Arc::new(Progress::new(self.ids.next(), self.holding.share()));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // The level of the span, not of what is said in it: at log.level = "warn" a warning still carries the request's id.
        let span = tracing::error_span!("request", id = %progress.id, %method, path, op = tracing::field::Empty);
        let counted = Arc::clone(&progress);
        let tail = Tail::of(request.headers().get(CONTENT_SHA256).map(HeaderValue::as_bytes));
        let one_at_a_time = request.version() < Version::HTTP_2;
        let expects = request.headers().contains_key(header::EXPECT);
        let limits = &self.forms.settings.limits;
        let patience = Patience { idle_max: limits.idle_max, bytes_per_second_min: limits.body_bytes_per_second_min };
        let mut request = request.map(|body| watch_body(body, patience, counted, tail));
        request.extensions_mut().insert(Arc::clone(&progress));
        join_encodings(request.headers_mut());
        let page = Wanted::of(&request, &self.browsers.hosts);
        let mut response = self.serve(request).instrument(span.clone()).await;
        if self.forms.settings.vouch_encryption && response.status().is_success() {
            encryption::show(progress.op(), response.headers_mut());
        }
        if let Some(page) = page {
            self.browsers.allow(&page, &mut response).await;
        }
        complete(&mut response, &method, &path, &progress.id);
        if one_at_a_time && progress.leaves_body_behind(expects) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        span.record("op", progress.op());
        span.in_scope(|| note(&response, &progress));
        let status = response.status().as_u16();
        response.map(|body| Answer { body, sent: 0, status, progress, observe: self.observe, waiting: Waiting::default() })
    }

    /// Preflights have no signature, and are counted with all else that has none.
    async fn preflight(&self, request: &Request<Body>) -> S3Result<Response<Body>> {
        let stranger = Caller::anonymous(None);
        gate::slow_down(&self.forms.paces, self.forms.settings.limits.key_pace, &stranger, None).await?;
        self.browsers.preflight(request).await
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let early = check_size(request.uri(), request.headers(), self.forms.settings.limits.header_bytes_max)
            .and_then(|()| refuse_early(request.uri().query(), request.headers()));
        if let Err(refused) = early {
            return document_of(refused);
        }
        // Browsers ask before they sign.
        if request.method() == Method::OPTIONS {
            return self.preflight(&request).await.unwrap_or_else(document_of);
        }
        if form::is_form(request.method(), request.headers()) {
            return self.forms.answer(request).await.unwrap_or_else(document_of);
        }
        let request = match measured(request).await {
            Ok(request) => request,
            Err(refused) => return document_of(refused),
        };
        match self.service.call(request).await {
            Ok(response) => response,
            Err(err) => document_of(gate::of_http_error(err)),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for S3Layer {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let layer = self.clone();
        Box::pin(async move { Ok(layer.answer(request).await) })
    }
}

/// Whether request line and headers are no larger than they may be.
fn check_size(uri: &Uri, headers: &HeaderMap, bytes_max: usize) -> Result<(), S3Error> {
    let line = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if line + lines > bytes_max { Err(error::headers_too_large()) } else { Ok(()) }
}

/// Encodings that came in several lines are put into one, as they are for their signature: AWS's SDK for Rust says `aws-chunked` in a
/// line of its own beside what the body is, which s3s would refuse.
fn join_encodings(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b","[..]))
    {
        headers.insert(header::CONTENT_ENCODING, joined);
    }
}

/// Ways to sign that we do not offer: s3s would ignore a session token, and answer SigV2 in its own words.
fn refuse_early(query: Option<&str>, headers: &HeaderMap) -> Result<(), S3Error> {
    if headers.get(SECURITY_TOKEN).is_some_and(|token| !token.is_empty()) {
        return Err(error::invalid_token());
    }
    let authorization = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    if authorization.starts_with(b"AWS ") {
        return Err(error::signature_v2());
    }
    if let Some(service) = foreign_service(authorization) {
        return Err(error::wrong_service(&service));
    }
    uri::parameters(query).try_for_each(|(name, value)| refuse_parameter(name, value))
}

/// The same of a parameter. It is asked of each of every request: what it is not must cost next to nothing.
fn refuse_parameter(name: &str, value: &str) -> Result<(), S3Error> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is(SECURITY_TOKEN) {
        Err(error::invalid_token())
    } else if is("AWSAccessKeyId") || is("Signature") {
        Err(error::signature_v2())
    } else if name == "X-Amz-Algorithm" && value != "AWS4-HMAC-SHA256" {
        Err(error::wrong_algorithm())
    } else if name == "X-Amz-Expires" && value.starts_with('-') {
        Err(error::expired())
    } else {
        Ok(())
    }
}

/// The service that a signature is for, where it is another than ours: s3s would call that not implemented.
fn foreign_service(authorization: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authorization).ok()?;
    let scope = text.split_once("Credential=")?.1.split(',').next()?.trim();
    let service = scope.rsplit('/').nth(1).filter(|_| scope.split('/').count() >= 5)?;
    (service != "s3").then(|| service.to_owned())
}

/// A body whose hash is signed but whose length is not said, as some HTTP libraries send small ones: s3s needs the length
/// to check the hash. Larger ones are refused, as are those of which not even the hash is known.
async fn measured(request: Request<Body>) -> Result<Request<Body>, S3Error> {
    let has_hash = request.headers().get(CONTENT_SHA256).is_some_and(|hash| hash.len() == 64);
    if !has_hash || request.body().size_hint().exact().is_some() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let whole = Limited::new(body, UNMEASURED_BYTES_MAX).collect().await;
    let bytes = whole
        .map_err(|err| match err.is::<LengthLimitError>() {
            true => error::missing_content_length(),
            false => error::from_stream(err.as_ref()),
        })?
        .to_bytes();
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// What a site answers to everything before it serves.
pub fn not_yet() -> Response<Body> {
    document_of(error::not_yet())
}

fn document_of(err: S3Error) -> Response<Body> {
    err.to_http_response().unwrap_or_else(|err| {
        tracing::error!(error = %err, "an error could not be written");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Adds what every answer has, and to an error document what S3's have.
fn complete(response: &mut Response<Body>, method: &Method, path: &str, id: &RequestId) {
    let headers = response.headers_mut();
    convert::put_header(headers, REQUEST_ID, id.as_str());
    convert::put_header(headers, HOST_ID, id.host());
    headers.insert(header::SERVER, HeaderValue::from_static("anybucket"));
    let status = response.status();
    if method == Method::HEAD {
        let is_error = status.is_client_error() || status.is_server_error();
        if is_error {
            *response.body_mut() = Body::empty();
        }
        return;
    }
    let Some(document) = response.body().bytes().filter(|_| status.is_client_error() || status.is_server_error()) else { return };
    if let Some(full) = complete_document(&document, path, id) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(full);
    }
}

/// Puts Resource, RequestId and HostId before the end of an error document.
fn complete_document(document: &[u8], path: &str, id: &RequestId) -> Option<String> {
    let open = std::str::from_utf8(document).ok()?.strip_suffix("</Error>")?;
    let resource = path.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (request, host) = (id.as_str(), id.host());
    Some(format!("{open}<Resource>{resource}</Resource><RequestId>{request}</RequestId><HostId>{host}</HostId></Error>"))
}

fn note(response: &Response<Body>, progress: &Progress) {
    let status = response.status().as_u16();
    let stamp = response.headers().get(convert::STAMP).and_then(|stamp| stamp.to_str().ok());
    let micros = micros(progress);
    if status >= 500 && status != 501 {
        tracing::warn!(status, stamp, micros, "answered");
    } else {
        tracing::debug!(status, stamp, micros, "answered");
    }
}

fn micros(progress: &Progress) -> u64 {
    u64::try_from(progress.started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A request's body, counted as it travels. A request without one is left as it is.
fn watch_body(body: Incoming, patience: Patience, progress: Arc<Progress>, tail: Option<Tail>) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    progress.unread.store(true, Ordering::Relaxed);
    Body::http_body(Watched { body: Patient::new(body, patience), progress, tail, waiting: Waiting::default() })
}

struct Watched {
    body: Patient<Incoming>,
    progress: Arc<Progress>,
    /// Taken when the end was checked.
    tail: Option<Tail>,
    waiting: Waiting,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        std::task::ready!(self.waiting.poll(cx));
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.progress.unread.store(false, Ordering::Relaxed);
        }
        let Some(frame) = frame else {
            let end = self.tail.take().map_or(Ok(()), |tail| tail.check());
            return Poll::Ready(end.err().map(|err| Err(err.into())));
        };
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            self.progress.bytes_in.fetch_add(data.len() as u64, Ordering::Relaxed);
            if let Some(tail) = &mut self.tail {
                tail.pass(data);
            }
            let this = &mut *self;
            this.waiting.after(this.progress.brake.get(), data.len());
            this.progress.held.hold(data.len())?;
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. Tells the observer when it is sent or given up.
pub struct Answer {
    body: Body,
    sent: u64,
    status: u16,
    progress: Arc<Progress>,
    observe: Arc<dyn Observe>,
    waiting: Waiting,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        std::task::ready!(self.waiting.poll(cx));
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let this = &mut *self;
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.sent += bytes as u64;
                this.waiting.after(this.progress.brake.get(), bytes);
            }
            // hyper closes the connection without a proper end: the client must not take this for the whole.
            Some(Err(err)) => tracing::warn!(id = %this.progress.id, error = %err, sent = this.sent, "an answer broke off"),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let bytes_in = self.progress.bytes_in.load(Ordering::Relaxed);
        self.observe.request(self.progress.op(), self.status, micros(&self.progress), bytes_in, self.sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_document_is_completed_and_its_resource_escaped() {
        let id = RequestIds::from_seed(7).next();
        let full = complete_document(b"<Error><Code>X</Code></Error>", "/b/<k>&", &id).unwrap();
        assert!(full.contains("<Resource>/b/&lt;k&gt;&amp;</Resource>"));
        assert!(full.contains(&format!("<RequestId>{}</RequestId>", id.as_str())) && full.ends_with("</Error>"));
        assert_eq!(complete_document(b"<ListBucketResult/>", "/", &id), None);
    }

    #[test]
    fn ways_to_sign_that_are_not_offered_are_refused_before_s3s() {
        let told = |query: Option<&str>, name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            refuse_early(query, &headers).map_err(|err| err.code().as_str().to_owned())
        };
        assert_eq!(told(None, "authorization", "AWS key:sig"), Err("InvalidRequest".into()));
        assert_eq!(told(Some("AWSAccessKeyId=a&Signature=b&Expires=1"), "host", "h"), Err("InvalidRequest".into()));
        assert_eq!(told(None, "x-amz-security-token", "bogus"), Err("InvalidToken".into()));
        assert_eq!(told(Some("X-Amz-Security-Token=bogus"), "host", "h"), Err("InvalidToken".into()));
        assert_eq!(told(Some("X-Amz-Signature=b"), "authorization", "AWS4-HMAC-SHA256 x"), Ok(()));
        let scope = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host";
        assert_eq!(told(None, "authorization", scope), Ok(()));
        assert_eq!(
            told(Some("X-Amz-Algorithm=&X-Amz-Signature=b"), "host", "h"),
            Err("AuthorizationQueryParametersError".into())
        );
        let foreign = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host";
        assert_eq!(told(None, "authorization", foreign), Err("AuthorizationHeaderMalformed".into()));
    }
}
