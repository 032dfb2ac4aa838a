//! How many connections come from where, so that no one takes all there are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whoever has one address of IPv6 has all of its network.
const NETWORK_BITS: u32 = 64;

/// Open connections by where they come from; clones share them.
#[derive(Clone, Debug)]
pub struct Sources {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Open connections from one source.
    max: usize,
}

/// The right to one connection, given back in the end.
#[derive(Debug)]
pub struct Turn {
    from: IpAddr,
    sources: Sources,
}

impl Sources {
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// `None` where as many are open as may be.
    pub fn enter(&self, from: IpAddr) -> Option<Turn> {
        let from = source_of(from);
        let mut open = self.lock();
        let count = open.entry(from).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Turn { from, sources: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.sources.lock();
        if let Some(count) = open.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.from);
            }
        }
    }
}

fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_share_and_gives_it_back() {
        let sources = Sources::new(2);
        let (one, _two) = (sources.enter(at("10.0.0.1")).unwrap(), sources.enter(at("::ffff:10.0.0.1")).unwrap());
        assert!(sources.enter(at("10.0.0.1")).is_none());
        assert!(sources.enter(at("10.0.0.2")).is_some());
        drop(one);
        assert!(sources.enter(at("10.0.0.1")).is_some());
        assert_eq!(sources.lock().len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let sources = Sources::new(1);
        let _one = sources.enter(at("2001:db8:1:2::1")).unwrap();
        assert!(sources.enter(at("2001:db8:1:2:ffff::9")).is_none());
        assert!(sources.enter(at("2001:db8:1:3::1")).is_some());
    }
}
