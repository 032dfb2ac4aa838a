//! The feed over HTTP: one route a verb, all of the same shape. `peer::http` says how things travel.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Feed;
use super::auth::{Denied, Readers};
use crate::model::{SiteNumber, Unit};
use crate::peer::http::{self as carried, HOP, HeadsAsk, MEDIA_TYPE, OpenAsk, REQUEST_BYTES_MAX, RowsAsk, VERSION, Verb};
use crate::peer::{DigestAsk, Error, LogAsk, PROTOCOL};
use crate::tasks::Shutdown;

/// For a request to arrive whole.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

type Answer = Result<Response, Refusal>;
type Shared = Arc<Served>;

/// What is served, and to whom.
#[derive(Debug)]
pub struct Served {
    pub feed: Feed,
    pub readers: Readers,
    /// Ends heartbeats that are held back, so that they do not hold up the end of the process.
    pub closing: Shutdown,
}

/// The feed as a service.
pub fn router(served: Served) -> Router {
    Router::new()
        .route(Verb::Heads.path(), post(heads))
        .route(Verb::Log.path(), post(log))
        .route(Verb::Fetch.path(), post(fetch))
        .route(Verb::Open.path(), post(open))
        .route(Verb::Digests.path(), post(digests))
        .route(Verb::Rows.path(), post(rows))
        .route(Verb::Buckets.path(), post(buckets))
        .method_not_allowed_fallback(nothing)
        .fallback(nothing)
        .layer(axum::middleware::map_response(versioned))
        .with_state(Arc::new(served))
}

async fn heads(State(served): State<Shared>, Asker(reader): Asker, Asked(ask): Asked<HeadsAsk>) -> Answer {
    let mut closing = served.closing.clone();
    let heads = tokio::select! {
        heads = served.feed.heads(reader, ask.mine, Duration::from_millis(ask.wait_ms)) => heads?,
        () = closing.stopping() => return Err(Error::Unreachable("it is shutting down".into()).into()),
    };
    told(Verb::Heads, &heads)
}

async fn log(State(served): State<Shared>, Asker(reader): Asker, Asked(ask): Asked<LogAsk>) -> Answer {
    told(Verb::Log, &served.feed.log(reader, ask).await?)
}

async fn fetch(State(served): State<Shared>, Asker(reader): Asker, Asked(units): Asked<Vec<Unit>>) -> Answer {
    told(Verb::Fetch, &served.feed.fetch(reader, &units).await?)
}

async fn open(State(served): State<Shared>, Asker(reader): Asker, Asked(ask): Asked<OpenAsk>) -> Answer {
    let size = ask.range.end.checked_sub(ask.range.start);
    let size = size.ok_or_else(|| Error::Malformed("the range ends before it begins".into()))?;
    let body = served.feed.open(reader, &ask.object, ask.data, ask.range).await?;
    let headers = [(header::CONTENT_LENGTH, HeaderValue::from(size)), (header::CONTENT_TYPE, octets())];
    Ok((headers, Body::from_stream(body.stream)).into_response())
}

async fn digests(State(served): State<Shared>, Asker(reader): Asker, Asked(ask): Asked<DigestAsk>) -> Answer {
    told(Verb::Digests, &served.feed.digests(reader, ask).await?)
}

async fn rows(State(served): State<Shared>, Asker(reader): Asker, Asked(ask): Asked<RowsAsk>) -> Answer {
    told(Verb::Rows, &served.feed.rows(reader, &ask.bucket, ask.range, ask.rows_max).await?)
}

async fn buckets(State(served): State<Shared>, Asker(reader): Asker) -> Answer {
    told(Verb::Buckets, &served.feed.buckets(reader).await?)
}

/// What is asked for is nothing that this version has.
async fn nothing(_: Asker, uri: Uri) -> Refusal {
    let path = uri.path().escape_default();
    Refusal::NoSuchVerb(format!("this site speaks version {PROTOCOL} of the feed, which has no {path}"))
}

fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

/// A document as an answer.
fn told(verb: Verb, answer: &impl Serialize) -> Answer {
    let bytes = postcard::to_stdvec(answer).map_err(|err| Error::Unreachable(format!("it cannot write its answer: {err}")))?;
    if bytes.len() > verb.answer_bytes_max() {
        let (found, max) = (bytes.len(), verb.answer_bytes_max());
        return Err(Refusal::TooLarge(format!("its answer has {found} bytes, {max} are allowed: ask for less")));
    }
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response())
}

/// Every answer says which version is spoken: what does not is no feed.
async fn versioned(mut response: Response) -> Response {
    response.headers_mut().insert(VERSION, HeaderValue::from(PROTOCOL));
    response
}

/// The site that asks, once its token is known to be good.
struct Asker(SiteNumber);

impl FromRequestParts<Shared> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, served: &Shared) -> Result<Self, Refusal> {
        let text = |name: &http::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let said = text(&HOP).and_then(|number| number.parse().ok()).map_or(SiteNumber(0), SiteNumber);
        let reader = served.readers.admit(bearer(&parts.headers), said).map_err(|denied| match denied {
            Denied::Token => Refusal::Token,
            Denied::Known(why) => Error::Refused(why).into(),
        })?;
        carried::check_version(text(&VERSION)).map_err(Error::Refused)?;
        Ok(Self(reader))
    }
}

fn bearer(headers: &HeaderMap) -> &str {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, token) = presented.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" }
}

/// What is asked, of a bounded size and in a bounded time.
struct Asked<T>(T);

impl<T: DeserializeOwned> FromRequest<Shared> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refusal> {
        let bytes = timeout(REQUEST_PATIENCE, to_bytes(request.into_body(), REQUEST_BYTES_MAX)).await;
        let bytes = bytes.map_err(|_| Error::Malformed("the request did not arrive in time".into()))?;
        let bytes =
            bytes.map_err(|_| Refusal::TooLarge(format!("the request broke off or is longer than {REQUEST_BYTES_MAX} bytes")))?;
        Ok(Self(postcard::from_bytes(&bytes).map_err(|err| Error::Malformed(format!("the request: {err}")))?))
    }
}

/// An answer that is none.
#[derive(Debug)]
enum Refusal {
    /// Nothing more is said.
    Token,
    NoSuchVerb(String),
    TooLarge(String),
    Peer(Error),
}

impl From<Error> for Refusal {
    fn from(err: Error) -> Self {
        Self::Peer(err)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED.into_response(),
            Self::NoSuchVerb(text) => (StatusCode::NOT_FOUND, text).into_response(),
            Self::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, text).into_response(),
            Self::Peer(err) => (carried::status_of(&err), shortened(carried::text_of(&err))).into_response(),
        }
    }
}

/// The reader takes no longer text.
fn shortened(text: &str) -> String {
    text.chars().take(carried::ERROR_BYTES_MAX / 4).collect()
}
