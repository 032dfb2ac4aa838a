//! Where another site's feed is.

use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, uri};

/// The address of a feed, such as `https://10.0.0.2:9002`: a host and a port, nothing behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: Authority,
    /// Whether it is spoken to over TLS.
    tls: bool,
}

/// The text is no address of a feed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a feed: http://HOST:PORT or https://HOST:PORT is expected")]
pub struct NotAnAddress;

impl Address {
    /// A path below it.
    pub(super) fn at(&self, path: &'static str) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(if self.tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    /// Whether it is spoken to over TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAnAddress)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(NotAnAddress),
        };
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| NotAnAddress)?;
        let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        if is_plain && authority.port_u16().is_some() { Ok(Self { authority, tls }) } else { Err(NotAnAddress) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["http://127.0.0.1:9002", "http://[::1]:9002/", "https://berlin.example.com:443"] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good.trim_end_matches('/'));
            assert_eq!(address.at("/feed/v3/log").path(), "/feed/v3/log");
            assert_eq!(address.tls(), good.starts_with("https"));
        }
        for bad in [
            "",
            "127.0.0.1:9002",
            "ftp://a:1",
            "https://a",
            "http://a",
            "http://u:p@a:1",
            "http://a:1/x",
            "http://:1",
            "http://a:b",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad}");
        }
    }
}
