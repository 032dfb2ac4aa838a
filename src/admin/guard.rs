//! Who may ask: whoever has the token, and nobody by way of a browser that was led here.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderMap, header};

use super::error::Error;
use super::{Parts, Shared};

/// Lets a request with the token pass.
pub async fn token(State(parts): State<Shared>, request: Request, next: Next) -> Result<Response, Error> {
    let needs_token = !(parts.open_metrics && request.uri().path() == "/metrics");
    if needs_token {
        check_token(&parts, request.headers())?;
    }
    Ok(next.run(request).await)
}

fn check_token(parts: &Parts, headers: &HeaderMap) -> Result<(), Error> {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = presented.and_then(|value| value.split_once(' ')).ok_or(Error::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::NoToken);
    }
    if parts.token.is(token.trim()) { Ok(()) } else { Err(Error::WrongToken) }
}

/// Refuses a Host that is a foreign name. A page whose name was made to point here (DNS rebinding) sends its own name; an
/// address cannot be rebound.
pub async fn host(State(parts): State<Shared>, request: Request, next: Next) -> Result<Response, Error> {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if is_own(&parts.hosts, host) { Ok(next.run(request).await) } else { Err(Error::Host(host.into())) }
}

fn is_own(hosts: &[String], host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let known = |own: &String| own.eq_ignore_ascii_case(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() || hosts.iter().any(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_own_names_are_answered() {
        let hosts = ["admin.example.com".to_owned()];
        for own in ["127.0.0.1:9001", "localhost", "LOCALHOST:9001", "[::1]:9001", "10.0.0.7:9001", "admin.example.com:9001"] {
            assert!(is_own(&hosts, own), "{own}");
        }
        for foreign in ["", "evil.example.com", "evil.example.com:9001", "localhost.evil.com", "127.0.0.1.evil.com", "a b"] {
            assert!(!is_own(&hosts, foreign), "{foreign}");
        }
    }
}
