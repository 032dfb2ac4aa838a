//! Bodies that are sent once, for a library that would like to send them again.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::Body;
use azure_core::stream::SeekableStream;
use bytes::Bytes;
use futures::io::AsyncRead;
use http_body::Body as _;

use crate::backend::service::Outgoing;

/// What is read at once, in bytes: room for so much is made for every read.
const READ_BYTES: usize = 64 << 10;

/// A body that is cut in pieces while it streams.
pub(super) struct Cut {
    source: Arc<Mutex<Source>>,
    /// Bytes that are in no piece yet.
    left: u64,
}

struct Source {
    body: Outgoing,
    rest: Bytes,
}

impl Cut {
    pub fn new(body: Outgoing) -> Self {
        let left = body.size();
        Self { source: Arc::new(Mutex::new(Source { body, rest: Bytes::new() })), left }
    }

    /// The next piece, of so many bytes at the most; `None` behind the end. The piece before it has been sent.
    pub fn next(&mut self, bytes_max: u64) -> Option<Piece> {
        let size = self.left.min(bytes_max);
        self.left -= size;
        (size > 0).then(|| Piece { source: self.source.clone(), size, left: size })
    }

    /// Reads on to the end, where nothing is left to be sent: its sender may refuse even no bytes.
    pub async fn end(&self) -> io::Result<()> {
        let is_end = std::future::poll_fn(|cx| lock(&self.source).poll_rest(cx).map_ok(|rest| rest.is_empty())).await?;
        if is_end { Ok(()) } else { Err(io::Error::other("the body is longer than it said")) }
    }
}

impl Source {
    /// Bytes that were read and not sent; none at the end.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Bytes>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => self.rest = frame?.into_data().unwrap_or_default(),
                None => break,
            }
        }
        Poll::Ready(Ok(&mut self.rest))
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().expect("nothing panics while it reads a body")
}

/// Some of a body. Its clones are the same piece, of which one is read.
#[derive(Clone)]
pub(super) struct Piece {
    source: Arc<Mutex<Source>>,
    /// Bytes.
    pub size: u64,
    left: u64,
}

impl From<Piece> for Body {
    fn from(piece: Piece) -> Self {
        Self::SeekableStream(Box::new(piece))
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("size", &self.size).finish_non_exhaustive()
    }
}

impl AsyncRead for Piece {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let source = self.source.clone();
        let mut source = lock(&source);
        let rest = ready!(source.poll_rest(cx))?;
        if rest.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = rest.split_to(room.min(rest.len()));
        to[..taken.len()].copy_from_slice(&taken);
        self.left -= taken.len() as u64;
        Poll::Ready(Ok(taken.len()))
    }
}

#[async_trait]
impl SeekableStream for Piece {
    async fn reset(&mut self) -> azure_core::Result<()> {
        Err(azure_core::Error::with_message(ErrorKind::Io, "a body that streams is sent once"))
    }

    fn len(&self) -> Option<u64> {
        Some(self.size)
    }

    fn buffer_size(&self) -> usize {
        READ_BYTES
    }
}

#[cfg(test)]
mod tests {
    use futures::io::AsyncReadExt;

    use super::*;
    use crate::backend::{Body, BodyError};

    fn cut(chunks: Vec<Result<Bytes, BodyError>>, size: u64) -> Cut {
        Cut::new(Outgoing::new(Body::new(None, futures::stream::iter(chunks)), size).0)
    }

    async fn read(cut: &mut Cut, bytes_max: u64) -> io::Result<String> {
        let mut text = String::new();
        cut.next(bytes_max).expect("there is more").read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn a_body_is_cut_wherever_its_chunks_end() {
        let chunks = ["abc", "", "defgh"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let mut cut = cut(chunks.into(), 8);
        assert_eq!(read(&mut cut, 4).await.unwrap(), "abcd");
        assert_eq!(read(&mut cut, 3).await.unwrap(), "efg");
        assert_eq!(read(&mut cut, 4).await.unwrap(), "h");
        assert!(cut.next(4).is_none());
    }

    #[tokio::test]
    async fn the_last_piece_is_not_whole_before_its_sender_says_so() {
        let chunks = vec![Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"def")), Err(BodyError::Refused)];
        let mut cut = cut(chunks, 6);
        assert_eq!(read(&mut cut, 3).await.unwrap(), "abc");
        assert!(read(&mut cut, 3).await.is_err());
    }

    #[tokio::test]
    async fn even_no_bytes_may_be_refused() {
        assert!(cut(vec![], 0).end().await.is_ok());
        assert!(cut(vec![Err(BodyError::Refused)], 0).end().await.is_err());
    }
}
