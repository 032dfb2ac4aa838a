//! Request ids: unique within a site's life, unpredictable enough not to be confused with another site's.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The id of a request, as `x-amz-request-id` and `x-amz-id-2` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    request: String,
    host: String,
}

impl RequestId {
    pub fn as_str(&self) -> &str {
        &self.request
    }

    /// The longer one.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.request)
    }
}

/// Draws ids.
#[derive(Debug)]
pub struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    pub fn from_seed(seed: u64) -> Self {
        Self { next: AtomicU64::new(seed) }
    }

    /// Distinct ids, since mixing is one-to-one.
    pub fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let word = mix(count);
        let mut host = [0; 24];
        for (n, chunk) in host.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&mix(word ^ (n as u64 + 1)).to_be_bytes());
        }
        RequestId { request: format!("{word:016X}"), host: BASE64.encode(host) }
    }
}

/// The finaliser of splitmix64: one-to-one, and neighbours look unrelated.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_and_have_the_shape_of_s3s() {
        let ids = RequestIds::from_seed(1);
        let drawn: HashSet<_> = (0..1000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(drawn.len(), 1000);
        let one = ids.next();
        assert_eq!(one.as_str().len(), 16);
        assert_eq!(one.host().len(), 32);
    }
}
