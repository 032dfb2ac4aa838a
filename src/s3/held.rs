//! What bodies hold in memory: documents until they are answered, signed chunks until their signature is checked. Bounded
//! for all requests together, since each of them may stand still half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// There is no room for another piece.
#[derive(Debug, thiserror::Error)]
#[error("requests hold {0} bytes in memory, the most they may")]
pub struct TooMuch(usize);

/// What all requests hold; clones share it.
#[derive(Clone, Debug)]
pub struct Holding {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Holding {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::default(), bytes_max }
    }

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
        let before = self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.all.bytes_max { Err(TooMuch(self.all.bytes_max)) } else { Ok(()) }
    }

    /// What came in was passed on.
    pub fn pass_on(&self) {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        self.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
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
        let all = Holding::new(1000);
        let (one, other) = (all.share(), all.share());
        one.hold(999).unwrap();
        other.hold(1).unwrap();
        other.hold(1).unwrap_err();
        one.pass_on();
        other.hold(1).unwrap();
        drop((one, other));
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }
}
