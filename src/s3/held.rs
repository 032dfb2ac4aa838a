//! What bodies hold in memory: documents until they are answered, signed chunks until their signature is checked. Bounded
//! for all requests together, since each of them may stand still half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all requests together may hold. A signed chunk of the usual 64 to 128 KiB on each of 2,000 connections.
const HELD_BYTES_MAX: usize = 256 << 20;

/// There is no room for another piece.
#[derive(Debug, thiserror::Error)]
#[error("requests hold {HELD_BYTES_MAX} bytes in memory, the most they may")]
pub struct TooMuch;

/// What all requests hold; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Holding(Arc<AtomicUsize>);

impl Holding {
    /// The share of a request, which holds nothing yet.
    pub fn share(&self) -> Share {
        Share { all: self.clone(), bytes: AtomicUsize::new(0) }
    }
}

/// What one request holds.
#[derive(Debug)]
pub struct Share {
    all: Holding,
    bytes: AtomicUsize,
}

impl Share {
    /// A piece came in.
    pub fn hold(&self, bytes: usize) -> Result<(), TooMuch> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self.all.0.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > HELD_BYTES_MAX { Err(TooMuch) } else { Ok(()) }
    }

    /// What came in was passed on.
    pub fn pass_on(&self) {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_by_all_is_bounded_and_given_back() {
        let all = Holding::default();
        let (one, other) = (all.share(), all.share());
        one.hold(HELD_BYTES_MAX - 1).unwrap();
        other.hold(1).unwrap();
        other.hold(1).unwrap_err();
        one.pass_on();
        other.hold(1).unwrap();
        drop((one, other));
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
