//! How every command but `serve` and `check-config` asks a running site: JSON over the admin listener, with its token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http::uri::{Scheme, Uri};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Exit;
use crate::config::{self, Sources};
use crate::tls::{self, ClientConfig, Identity, ListenerFiles, Trust};

/// Has the token where the settings do not.
const TOKEN_VARIABLE: &str = "ANYBUCKET_ADMIN_TOKEN";
/// Names the PEM file of the authority to believe, where the machine does not know it.
const CA_VARIABLE: &str = "ANYBUCKET_ADMIN_CA";
/// Name the PEM files to show where the listener asks for a certificate.
const CERT_VARIABLE: &str = "ANYBUCKET_ADMIN_CERT";
const KEY_VARIABLE: &str = "ANYBUCKET_ADMIN_KEY";
/// For the whole of an answer: every page of the admin API is bounded.
const PATIENCE: Duration = Duration::from_secs(60);
/// For a connection: somebody who waits for an answer at a terminal.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer taken.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which running site a command asks, and how it answers.
#[derive(Clone, Debug, Default, Args)]
pub struct AdminArgs {
    /// Admin listener of the site to ask; else where the settings say it listens (127.0.0.1:9001 by default)
    #[arg(long, value_name = "URL", env = "ANYBUCKET_ADMIN")]
    pub admin: Option<String>,
    /// JSON, for machines
    #[arg(long)]
    pub json: bool,
}

/// Why a site could not be asked, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0:?} is not the URL of an admin listener: http://HOST:PORT or https://HOST:PORT is expected (--admin or $ANYBUCKET_ADMIN)"
    )]
    Url(String),
    #[error(
        "the admin token cannot be read: {0}; run this where `serve` runs, with the same --config or --data, or set ${TOKEN_VARIABLE}"
    )]
    Token(String),
    #[error(
        "no site answers at {url} ({reason}): is `anybucket serve` running there? --admin URL or $ANYBUCKET_ADMIN names another place"
    )]
    Absent { url: String, reason: String },
    #[error("{url} does not take the token from {origin}: use the settings that site was started with, or set ${TOKEN_VARIABLE}")]
    WrongToken { url: String, origin: String },
    #[error("no TLS to {url}: {reason}; ${CA_VARIABLE} names the file of an authority to believe")]
    Tls { url: String, reason: String },
    /// The site answered with a refusal, in its words.
    #[error("{message}")]
    Api { status: StatusCode, message: String },
    #[error("{url} does not answer as an anybucket admin listener does: {reason}; is the port right?")]
    Malformed { url: String, reason: String },
}

impl Error {
    /// Whether what was typed or set is at fault, or what happened.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Url(_) | Self::Token(_) | Self::Tls { .. } | Self::WrongToken { .. } => Exit::Usage,
            Self::Api { status, .. } if *status == StatusCode::BAD_REQUEST => Exit::Usage,
            Self::Absent { .. } | Self::Api { .. } | Self::Malformed { .. } => Exit::Failed,
        }
    }
}

/// A site to ask.
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Such as `http://127.0.0.1:9001`, without a path.
    url: String,
    token: String,
    /// Where the token is from, for messages.
    token_origin: String,
}

impl Client {
    /// The site that the arguments name, or else the settings. Settings are read only for what is not given.
    pub fn new(args: &AdminArgs, sources: &Sources) -> Result<Self> {
        let given = args.admin.as_deref().filter(|url| !url.is_empty()).map(base_url).transpose()?;
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let config = if given.is_some() && token.is_some() { None } else { Some(sources.load()?) };
        let url = match (given, &config) {
            (Some(given), _) => given,
            (None, Some(config)) => {
                let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", reachable(config.admin.listen))
            }
            (None, None) => unreachable!("settings are read where no URL is given"),
        };
        let (token, token_origin) = match (token, &config) {
            (Some(token), _) => (token, format!("${TOKEN_VARIABLE}")),
            (None, Some(config)) => token_of(&config.admin.token)?,
            (None, None) => unreachable!("settings are read where no token is given"),
        };
        let believed = if args.admin.is_some() { None } else { config.as_ref().and_then(|config| config.admin.tls.as_ref()) };
        let tls = tls_to(&url, believed).map_err(|err| Error::Tls { url: url.clone(), reason: err.to_string() })?;
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { http: Http::builder(TokioExecutor::new()).build(connector), url, token, token_origin })
    }

    /// Where it asks.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks `path`, such as `/v1/status`, with a query made of the values that are there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<T, Error> {
        let query = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        self.ask(Method::GET, &with_query(path, query), None).await
    }

    /// Sends a document.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = serde_json::to_vec(body).expect("what commands send can be written as JSON");
        self.ask(Method::POST, path, Some(body.into())).await
    }

    /// Ends what `path` and its query name.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        self.ask(Method::DELETE, &with_query(path, query.iter().copied()), None).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<T, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|err| self.malformed(err.to_string()))?;
        let (status, bytes) = timeout(PATIENCE, self.answer(request))
            .await
            .map_err(|_| self.absent(format!("no answer within {} s", PATIENCE.as_secs())))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|err| self.malformed(err.to_string()));
        }
        Err(self.refusal(status, &bytes))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Error> {
        let answer = self.http.request(request).await.map_err(|err| self.absent(deepest(&err)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|err| self.absent(deepest(&*err)))?.to_bytes()))
    }

    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> Error {
        if status == StatusCode::UNAUTHORIZED {
            return Error::WrongToken { url: self.url.clone(), origin: self.token_origin.clone() };
        }
        let document: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
        match document.as_ref().and_then(|document| document["error"]["message"].as_str()) {
            Some(message) => Error::Api { status, message: message.to_owned() },
            None => self.malformed(format!("status {status} without a reason")),
        }
    }

    fn absent(&self, reason: String) -> Error {
        Error::Absent { url: self.url.clone(), reason }
    }

    fn malformed(&self, reason: String) -> Error {
        Error::Malformed { url: self.url.clone(), reason }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Runs a command that asks a site.
pub fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(command)
}

/// Prints a line. Whoever closed the pipe does not want to read on.
pub fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a document for machines.
pub fn say_json(document: &impl Serialize) {
    say(serde_json::to_string_pretty(document).expect("what the API answers can be written as JSON"));
}

/// Whom to believe there: the site of these settings shows the certificate they name, by whatever address it is asked.
fn tls_to(url: &str, own: Option<&ListenerFiles>) -> Result<ClientConfig, tls::Error> {
    if !url.starts_with("https:") {
        return Ok(tls::trusting_nobody());
    }
    let own = own.map(|files| Trust::Exactly(files.identity.cert.clone()));
    let trust = file_in(CA_VARIABLE).map(Trust::Authority).or(own).unwrap_or(Trust::System);
    let identity = file_in(CERT_VARIABLE).zip(file_in(KEY_VARIABLE)).map(|(cert, key)| Identity { cert, key });
    tls::client(&trust, identity.as_ref())
}

fn file_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Scheme, host and port; a path is refused, since it would be dropped without a word.
fn base_url(text: &str) -> Result<String, Error> {
    let refused = || Error::Url(text.into());
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| refused())?;
    let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or_else(refused)?;
    let is_plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|authority| is_plain && !authority.as_str().contains('@')).ok_or_else(refused)?;
    Ok(format!("{scheme}://{authority}"))
}

/// A listener on every address is asked at this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn token_of(secret: &config::Secret) -> Result<(String, String), Error> {
    let origin = match secret {
        config::Secret::Literal(_) => "the setting admin.token".into(),
        config::Secret::Env(name) => format!("${name}"),
        config::Secret::File(path) => path.display().to_string(),
    };
    Ok((secret.resolve().map_err(|err| Error::Token(err.to_string()))?.trim().to_owned(), origin))
}

fn with_query<'q>(path: &str, query: impl Iterator<Item = (&'q str, &'q str)>) -> String {
    let mut text = path.to_owned();
    for (at, (name, value)) in query.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&escaped(value));
    }
    text
}

/// Percent-encoded, for a query or one segment of a path.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What went wrong at the bottom: "connection refused" rather than "client error (Connect)".
fn deepest(err: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = err;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_scheme_host_and_port() {
        assert_eq!(base_url("http://127.0.0.1:9001/").unwrap(), "http://127.0.0.1:9001");
        assert_eq!(base_url("https://[::1]:9001").unwrap(), "https://[::1]:9001");
        for bad in ["", "127.0.0.1:9001", "ftp://h:1", "http://h:1/path", "http://h?x", "http://u:p@h", "http://"] {
            assert!(matches!(base_url(bad), Err(Error::Url(_))), "{bad}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_here() {
        for (listen, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.7:3", "10.0.0.7:3")] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn names_of_any_kind_travel_in_a_query() {
        let query = [("site", "berlin"), ("prefix", "a b/ü&%")].into_iter();
        assert_eq!(with_query("/v1/failed", query), "/v1/failed?site=berlin&prefix=a%20b%2F%C3%BC%26%25");
    }

    #[test]
    fn each_failure_says_what_to_do_and_ends_with_its_code() {
        let url = "http://127.0.0.1:9001".to_owned();
        let api = |status| Error::Api { status, message: "no".into() };
        for (err, told, exit) in [
            (Error::Url("x".into()), "--admin", Exit::Usage),
            (Error::Token("gone".into()), TOKEN_VARIABLE, Exit::Usage),
            (Error::Absent { url: url.clone(), reason: "refused".into() }, "anybucket serve", Exit::Failed),
            (Error::WrongToken { url: url.clone(), origin: "file".into() }, TOKEN_VARIABLE, Exit::Usage),
            (api(StatusCode::BAD_REQUEST), "no", Exit::Usage),
            (api(StatusCode::NOT_FOUND), "no", Exit::Failed),
            (Error::Malformed { url, reason: "html".into() }, "port", Exit::Failed),
        ] {
            assert!(err.to_string().contains(told), "{err}");
            assert_eq!(err.exit(), exit, "{err}");
        }
    }
}
