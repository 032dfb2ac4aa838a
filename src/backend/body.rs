//! Bytes on their way into or out of a store: a stream, never a buffer of the whole.

use std::fmt;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

/// A stream of bytes with its length, where it is known.
pub struct Body {
    /// Bytes to come.
    pub size: Option<u64>,
    pub stream: BoxStream<'static, Result<Bytes, BodyError>>,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender went away or sent less than it announced.
    #[error("the body ended early: {0}")]
    Truncated(String),
    /// Whoever checks the body refused it; the reason is with the checker.
    #[error("the body was refused")]
    Refused,
    /// The bytes changed or could not be read while they were sent.
    #[error("reading the body failed: {0}")]
    Read(String),
}

impl Body {
    pub fn new(size: Option<u64>, stream: impl futures::Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self { size, stream: stream.boxed() }
    }

    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Everything in memory: for small bodies and tests. Fails past `bytes_max`.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.stream.next().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > bytes_max {
                return Err(BodyError::Read(format!("longer than {bytes_max} bytes")));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }
}

/// Refuses a body that is not as long as was announced.
pub(super) fn check_size(announced: Option<u64>, received: u64) -> Result<(), BodyError> {
    match announced {
        Some(size) if size != received => Err(BodyError::Truncated(format!("{size} bytes were announced, {received} came"))),
        _ => Ok(()),
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        let chunk = (!bytes.is_empty()).then_some(Ok(bytes));
        Self::new(Some(size), futures::stream::iter(chunk))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size).finish_non_exhaustive()
    }
}
