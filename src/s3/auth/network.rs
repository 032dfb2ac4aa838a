//! Networks that a grant counts for: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The addresses that share the first bits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    /// How many bits of it count.
    bits: u8,
}

/// The text is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: an address or ADDRESS/BITS is expected, such as \"10.0.0.0/8\", \"192.168.1.7\" or \"::1\"")]
pub struct NotANetwork(String);

impl Network {
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same_begin(own.to_bits().into(), other.to_bits().into(), self.bits, 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same_begin(own.to_bits(), other.to_bits(), self.bits, 128),
            _ => false,
        }
    }

    fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

fn same_begin(one: u128, other: u128, bits: u8, width: u8) -> bool {
    let behind = u32::from(width - bits);
    // A shift by the whole width is none.
    (one ^ other).checked_shr(behind).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let refused = || NotANetwork(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let width = Self::width(address);
        let is_number = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => bits.parse().ok().filter(|found| *found <= width && is_number(bits)).ok_or_else(refused)?,
        };
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.bits < Self::width(self.address) { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().holds(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_alike() {
        for (network, address) in [
            ("10.0.0.0/8", "10.255.1.2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3"),
            ("192.168.1.7", "192.168.1.7"),
            ("0.0.0.0/0", "8.8.8.8"),
            ("10.1.2.3/31", "10.1.2.2"),
            ("::1", "::1"),
            ("fd00::/8", "fdff::1"),
            ("::/0", "2001:db8::1"),
        ] {
            assert!(holds(network, address), "{network} {address}");
        }
        for (network, address) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("192.168.1.7", "192.168.1.6"),
            ("10.1.2.3/31", "10.1.2.4"),
            ("0.0.0.0/0", "::1"),
            ("::/0", "1.2.3.4"),
            ("fd00::/8", "fe00::1"),
        ] {
            assert!(!holds(network, address), "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_and_the_rest_is_shown_as_it_was_written() {
        for bad in ["", "10", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "localhost", "10.0.0.0/8/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        for text in ["10.0.0.0/8", "192.168.1.7", "::1", "fd00::/8"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }
}
