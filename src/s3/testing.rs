//! A client for tests: raw HTTP/1.1 over a pipe to the whole layer, signed by hand, so that requests no SDK would send
//! can be sent.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::dto::{Timestamp, TimestampFormat};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Face, Grant, Key, Keyring, Observe, Right, S3Layer, Settings, service};
use crate::clock::{SystemClock, WallClock};
use crate::model::{Source, hex};
use crate::site::Site;

pub const ACCESS_KEY: &str = "ABTESTACCESSKEY";
pub const SECRET_KEY: &str = "test/secret+key";
/// Another account: everything, but only in buckets of its own.
pub const OTHER_KEY: &str = "ABOTHER";
/// May read and write `p/` in buckets `bucket*`.
pub const LIMITED_KEY: &str = "ABLIMITED";
pub const REGION: &str = "us-east-1";
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One observed request: operation, status, bytes in, bytes out.
pub type Seen = (String, u16, u64, u64);

#[derive(Default)]
pub struct Observed(pub Mutex<Vec<Seen>>);

impl Observe for Observed {
    fn request(&self, op: &str, status: u16, _: u64, bytes_in: u64, bytes_out: u64) {
        self.0.lock().unwrap().push((op.into(), status, bytes_in, bytes_out));
    }
}

/// The S3 face over a site in memory that has the bucket `bucket`.
pub struct Server {
    pub layer: S3Layer,
    pub observed: Arc<Observed>,
    pub site: Site,
    /// Where requests come from; nobody knows where it is none.
    pub from: Option<Source>,
}

pub async fn server() -> Server {
    server_with(Settings { domains: vec!["s3.test".into()], ..Settings::default() }).await
}

pub async fn server_with(settings: Settings) -> Server {
    server_over(crate::site::testing::site().await, settings).await
}

/// The S3 face over this site, where it makes the bucket `bucket`.
pub async fn server_over(site: Site, settings: Settings) -> Server {
    let key = |access: &str, grant| Key { grants: vec![grant], ..Key::with_every_right(access, SECRET_KEY, "tester") };
    let some = Grant { prefix: "p/".into(), ..Grant::on("bucket*", &[Right::Read, Right::Write]) };
    let own = Grant { owned: None, ..Grant::everything() };
    let other = Key { owner: "other".into(), ..key(OTHER_KEY, own) };
    let keys = Keyring::new(vec![key(ACCESS_KEY, Grant::everything()), key(LIMITED_KEY, some), other]).unwrap();
    let observed = Arc::new(Observed::default());
    let layer = service(Face::new(site.clone(), settings), keys, observed.clone(), 1);
    let server = Server { layer, observed, site, from: None };
    assert_eq!(server.send(Call::new("PUT", "/bucket")).await.status, 200);
    server
}

impl Server {
    /// Sends a signed request and reads the answer to its end.
    pub async fn send(&self, call: Call) -> Reply {
        self.raw(&call.to_bytes()).await
    }

    /// Sends these very bytes and reads the answer.
    pub async fn raw(&self, bytes: &[u8]) -> Reply {
        Reply::parse(&self.exchange(bytes, false).await)
    }

    /// What comes back, as it came. `hang_up` ends the connection behind the bytes.
    pub async fn exchange(&self, bytes: &[u8], hang_up: bool) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let http = hyper::server::conn::http1::Builder::new();
        let (layer, from) = (self.layer.clone(), self.from.clone());
        let asked = service_fn(move |mut request: Request<Incoming>| {
            from.clone().map(|from| request.extensions_mut().insert(from));
            layer.call(request)
        });
        let served = tokio::spawn(async move {
            let _ = http.serve_connection(TokioIo::new(far), asked).await;
        });
        let (mut from, mut to) = tokio::io::split(near);
        let write = async {
            // The server may answer and close before it has read everything.
            let _ = to.write_all(bytes).await;
            if hang_up {
                let _ = to.shutdown().await;
            }
        };
        let mut answer = Vec::new();
        let (read, ()) = tokio::join!(from.read_to_end(&mut answer), write);
        read.unwrap();
        served.await.unwrap();
        answer
    }

    pub async fn put(&self, key: &str, body: &str) -> Reply {
        let reply = self.send(Call::new("PUT", &format!("/bucket/{key}")).body(body)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    }

    pub async fn get(&self, key: &str) -> Reply {
        self.send(Call::new("GET", &format!("/bucket/{key}"))).await
    }
}

/// What the payload hash header says.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The body's own hash.
    Hash,
    Says(String),
}

/// A request to be signed.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Encoded as it travels.
    pub path: String,
    /// Encoded as it travels.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Sent but left out of the signature.
    pub unsigned: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub payload: Payload,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub host: String,
    /// Seconds to add to the clock.
    pub late_s: i64,
}

impl Call {
    /// `target` is a path with or without a query, both encoded.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair =
            |pair: &str| pair.split_once('=').map_or((pair.into(), String::new()), |(name, value)| (name.into(), value.into()));
        Self {
            method: method.into(),
            path: path.into(),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            body: Vec::new(),
            payload: Payload::Hash,
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            region: REGION.into(),
            host: "127.0.0.1:9000".into(),
            late_s: 0,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn payload(mut self, says: &str) -> Self {
        self.payload = Payload::Says(says.into());
        self
    }

    pub fn by(mut self, access_key: &str) -> Self {
        self.access_key = access_key.into();
        self
    }

    /// The digest that DeleteObjects wants.
    pub fn with_md5(self) -> Self {
        let md5 = BASE64.encode(super::digest::md5(&self.body));
        self.header("content-md5", &md5)
    }

    fn amz_date(&self) -> String {
        amz_date(self.late_s)
    }

    fn scope(&self, date: &str) -> String {
        format!("{}/{}/s3/aws4_request", &date[..8], self.region)
    }

    fn payload_hash(&self) -> String {
        match &self.payload {
            Payload::Hash => hex(&Sha256::digest(&self.body)),
            Payload::Says(says) => says.clone(),
        }
    }

    fn query_text(&self) -> String {
        let pair = |(name, value): &(String, String)| if value.is_empty() { name.clone() } else { format!("{name}={value}") };
        self.query.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query_text()) }
    }

    fn canonical(&self, headers: &[(String, String)], payload: &str) -> (String, String) {
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        headers.sort();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let mut query = self.query.clone();
        query.sort();
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = format!("{}\n{}\n{}\n{lines}\n{names}\n{payload}", self.method, self.path, query.join("&"));
        (text, names)
    }

    /// Signed by header. Also returns what a chunked body's signatures go on from.
    pub fn sign(&self) -> (Vec<(String, String)>, Chain) {
        let date = self.amz_date();
        let payload = self.payload_hash();
        let mut headers = vec![("host".into(), self.host.clone()), ("x-amz-date".into(), date.clone())];
        headers.push(("x-amz-content-sha256".into(), payload.clone()));
        headers.extend(self.headers.iter().cloned());
        let (canonical, names) = self.canonical(&headers, &payload);
        let chain = Chain::new(&self.secret_key, &date, &self.region, &canonical);
        let credential = format!("{}/{}", self.access_key, self.scope(&date));
        let value = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={}", chain.previous);
        headers.push(("authorization".into(), value));
        (headers, chain)
    }

    /// Signed by query, good for `seconds`.
    pub fn presigned(mut self, seconds: u32) -> Self {
        let date = self.amz_date();
        let credential = format!("{}/{}", self.access_key, self.scope(&date)).replace('/', "%2F");
        let parameters = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", seconds.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ];
        self.query.extend(parameters.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let headers = [("host".to_owned(), self.host.clone())];
        let (canonical, _) = self.canonical(&headers, "UNSIGNED-PAYLOAD");
        let chain = Chain::new(&self.secret_key, &date, &self.region, &canonical);
        self.query.push(("X-Amz-Signature".into(), chain.previous));
        self
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let is_presigned = self.query.iter().any(|(name, _)| name == "X-Amz-Signature");
        let mut headers = if is_presigned { vec![("host".to_owned(), self.host.clone())] } else { self.sign().0 };
        if is_presigned {
            headers.extend(self.headers.iter().cloned());
        }
        self.bytes_with(headers)
    }

    /// The request without any signature.
    pub fn anonymous(&self) -> Vec<u8> {
        let mut headers = vec![("host".to_owned(), self.host.clone())];
        headers.extend(self.headers.iter().cloned());
        self.bytes_with(headers)
    }

    /// The request with these headers, and a length unless they frame the body otherwise.
    pub fn bytes_with(&self, mut headers: Vec<(String, String)>) -> Vec<u8> {
        headers.extend(self.unsigned.iter().cloned());
        headers.push(("connection".into(), "close".into()));
        let framed = headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        if !framed && (!self.body.is_empty() || self.method == "PUT" || self.method == "POST") {
            headers.push(("content-length".into(), self.body.len().to_string()));
        }
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Now, or so many seconds from now, as signatures write it.
pub fn amz_date(late_s: i64) -> String {
    let seconds = i64::try_from(SystemClock.millis() / 1000).unwrap() + late_s;
    let time = Timestamp::parse(TimestampFormat::EpochSeconds, &seconds.to_string()).unwrap();
    let mut text = Vec::new();
    time.format(TimestampFormat::DateTime, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    format!("{}Z", text.split('.').next().unwrap().replace(['-', ':'], ""))
}

/// The signatures of one request, each made of the one before.
#[derive(Clone)]
pub struct Chain {
    key: Vec<u8>,
    date: String,
    scope: String,
    pub previous: String,
}

impl Chain {
    pub fn new(secret: &str, date: &str, region: &str, canonical: &str) -> Self {
        let parts = [&date[..8], region, "s3", "aws4_request"];
        let key = parts.iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
        let mut chain = Self { key, date: date.into(), scope: parts.join("/"), previous: String::new() };
        chain.previous =
            chain.sign_text(&format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", chain.scope, hex(&Sha256::digest(canonical))));
        chain
    }

    pub fn sign_text(&self, text: &str) -> String {
        hex(&hmac(&self.key, text.as_bytes()))
    }

    fn chunk_signature(&mut self, data: &[u8]) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{}",
            self.date,
            self.scope,
            self.previous,
            hex(&Sha256::digest(data))
        );
        self.previous = self.sign_text(&text);
        self.previous.clone()
    }

    /// One signed chunk of an aws-chunked body.
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let signature = self.chunk_signature(data);
        let mut bytes = format!("{:x};chunk-signature={signature}\r\n", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The end of a signed body with a trailer.
    pub fn end_with_trailer(&mut self, name: &str, value: &str) -> Vec<u8> {
        let last = self.chunk_signature(b"");
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            hex(&Sha256::digest(format!("{name}:{value}\n")))
        );
        let signature = self.sign_text(&text);
        format!("0;chunk-signature={last}\r\n{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").into_bytes()
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    let short = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5C)).chain_update(inner).finalize().to_vec()
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {bytes:?}"));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if status == 100 {
            return Self::parse(&bytes[end + 4..]);
        }
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &bytes[end + 4..];
        let body = if chunked { unchunk(body) } else { body.to_vec() };
        Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<&str> {
        self.elements(name).first().copied()
    }

    /// The texts of all elements of that name.
    pub fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text).collect()
    }

    /// The error code.
    pub fn code(&self) -> &str {
        self.element("Code").unwrap_or("")
    }

    /// Status and code at once.
    pub fn told(&self) -> (u16, &str) {
        (self.status, self.code())
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    out
}
