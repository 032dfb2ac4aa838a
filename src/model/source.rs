//! Where a request came from, as the listener that took its connection knows it.

use std::net::IpAddr;

/// The other end of a connection; every request on it carries this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// IPv4 even where the listener takes both.
    pub address: IpAddr,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
}

impl Source {
    pub fn new(address: IpAddr, tls: bool) -> Self {
        Self { address: address.to_canonical(), tls }
    }
}
