//! Another site, read over HTTP/1.1 with connections that are kept, with TLS where its address says so.
//!
//! It tries nothing again: whoever asks knows better when, and whom else to ask.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::http::{self as carried, ERROR_BYTES_MAX, HOP, HeadsAsk, MEDIA_TYPE, OpenAsk, RowsAsk, VERSION, Verb};
use super::{Address, Digest, DigestAsk, Error, Fetched, Heads, KeyRange, LogAsk, LogPage, PROTOCOL, Peer, Result, RowsPage};
use crate::backend::{Body, BodyError};
use crate::model::{BucketName, ObjectId, SiteNumber, Stamp, Unit};
use crate::tls::{self, ClientConfig};

/// For a connection to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// For an answer to begin, beyond the time it is held back on purpose.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// The same for a heartbeat, which costs nothing to answer: who is slower is taken for unreachable.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(3);
/// For more of a body to come.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(30);
/// A connection that rests longer is closed here, before the other site or anything between forgets it.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Connections that may rest: one for heartbeats, the others for what is fetched side by side.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Another site, as this one reads it.
pub struct Client {
    address: Address,
    /// With what this site proves itself there. Shown to nobody.
    token: HeaderValue,
    reader: SiteNumber,
    /// Replaced where the files of its TLS changed; what is under way ends with the old one.
    http: RwLock<Http>,
}

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The token cannot be sent in a header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token travels in a header: it has visible ASCII characters only, and no spaces")]
pub struct NotAToken;

/// Whether a site can present it.
pub fn check_token(token: &str) -> Result<(), NotAToken> {
    let can_travel = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if can_travel { Ok(()) } else { Err(NotAToken) }
}

impl Client {
    /// A client for the feed at `address`, which is presented `token` and told that `reader` asks. It believes nobody over
    /// TLS until [`Client::trust`] says whom.
    pub fn new(address: Address, token: &str, reader: SiteNumber) -> Result<Self, NotAToken> {
        check_token(token)?;
        let mut token = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| NotAToken)?;
        token.set_sensitive(true);
        Ok(Self { address, token, reader, http: RwLock::new(http(tls::trusting_nobody())) })
    }

    /// Whom to believe over TLS and what to show, from the next request on.
    pub fn trust(&self, tls: ClientConfig) {
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http(tls);
    }

    /// Asks, and hands over the answer once it is known to be good.
    async fn send(&self, verb: Verb, ask: &impl Serialize, patience: Duration) -> Result<Response<Incoming>> {
        let request = self.request(verb, ask)?;
        let http = self.http.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = timeout(patience, http.request(request)).await;
        let answer = answer.map_err(|_| late(patience))?.map_err(|err| Error::Unreachable(causes(&err)))?;
        let version = answer.headers().get(&VERSION).map(|version| version.to_str().unwrap_or_default());
        let status = answer.status();
        // A proxy on the way that cannot reach the site answers so, and knows nothing of versions.
        if version.is_none() && status.is_server_error() {
            return Err(Error::Unreachable(format!("{} answers {status}", self.address)));
        }
        carried::check_version(version).map_err(|text| Error::Refused(format!("{}: {text}", self.address)))?;
        if status != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        Ok(answer)
    }

    fn request(&self, verb: Verb, ask: &impl Serialize) -> Result<Request<Full<Bytes>>> {
        let body = postcard::to_stdvec(ask).map_err(|err| Error::Malformed(format!("what is asked cannot be written: {err}")))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.address.at(verb.path()))
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header(HOP, self.reader.0)
            .header(VERSION, PROTOCOL);
        Ok(request.body(Full::from(body)).expect("every part of it is well-formed"))
    }

    /// Asks for a document.
    async fn ask<T: DeserializeOwned>(&self, verb: Verb, ask: &impl Serialize, patience: Duration) -> Result<T> {
        let answer = self.send(verb, ask, patience).await?;
        let bytes = collect(answer.into_body(), verb.answer_bytes_max()).await?;
        postcard::from_bytes(&bytes).map_err(|err| Error::Malformed(err.to_string()))
    }
}

/// Connections that are kept, and made with TLS where the address asks for it.
fn http(tls: ClientConfig) -> Http {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
    tcp.set_keepalive(Some(IDLE_MAX));
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
    builder.build(connector)
}

#[async_trait]
impl Peer for Client {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.ask(Verb::Heads, &HeadsAsk { mine, wait_ms }, wait + HEARTBEAT_PATIENCE).await
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        self.ask(Verb::Log, &ask, ANSWER_PATIENCE).await
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.ask(Verb::Fetch, &units, ANSWER_PATIENCE).await
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        let size = range.end.saturating_sub(range.start);
        let ask = OpenAsk { object: object.clone(), data, range };
        let answer = self.send(Verb::Open, &ask, ANSWER_PATIENCE).await?;
        Ok(streamed(answer.into_body(), size))
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        self.ask(Verb::Digests, &ask, ANSWER_PATIENCE).await
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        let ask = RowsAsk { bucket: bucket.clone(), range, rows_max };
        self.ask(Verb::Rows, &ask, ANSWER_PATIENCE).await
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        self.ask(Verb::Buckets, &(), ANSWER_PATIENCE).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

fn late(patience: Duration) -> Error {
    Error::Unreachable(format!("no answer in {} s", patience.as_secs()))
}

/// An error of HTTP says little; what caused it says what happened.
fn causes(err: &dyn StdError) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(&format!(": {err}"));
        cause = err.source();
    }
    text
}

/// What an answer that is none says. The text comes from elsewhere and goes to logs: one line of it, of a bounded length.
async fn refusal(answer: Response<Incoming>) -> Error {
    let status = answer.status();
    let text = match collect(answer.into_body(), ERROR_BYTES_MAX).await {
        Ok(bytes) if !bytes.is_empty() => String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect(),
        _ => format!("it answers {status}"),
    };
    carried::error_of(status, text)
}

/// The next bytes of a body; `None` is its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    loop {
        let frame = timeout(PROGRESS_PATIENCE, body.frame()).await;
        match frame.map_err(|_| format!("nothing came for {} s", PROGRESS_PATIENCE.as_secs()))? {
            None => return Ok(None),
            Some(Err(err)) => return Err(causes(&err)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                // Trailers mean nothing here.
                _ => {}
            },
        }
    }
}

async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(bytes) = next(&mut body).await.map_err(Error::Unreachable)? {
        if all.len() + bytes.len() > bytes_max {
            return Err(Error::Malformed(format!("it is longer than {bytes_max} bytes")));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

/// A body of exactly `size` bytes: one that ends before or goes on is broken.
fn streamed(body: Incoming, size: u64) -> Body {
    let chunks = stream::try_unfold((body, size), |(mut body, left)| async move {
        match next(&mut body).await.map_err(BodyError::Truncated)? {
            Some(bytes) if bytes.len() as u64 <= left => {
                let left = left - bytes.len() as u64;
                Ok(Some((bytes, (body, left))))
            }
            Some(_) => Err(BodyError::Truncated("more came than was asked for".into())),
            None if left > 0 => Err(BodyError::Truncated(format!("{left} bytes are missing"))),
            None => Ok(None),
        }
    });
    Body::new(Some(size), chunks)
}
