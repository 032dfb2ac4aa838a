//! The first bytes of a connection, which must come in time. Until hyper knows from them which HTTP is spoken it watches no
//! clock: somebody who connects and says nothing, or only begins to speak HTTP/2, would hold the connection for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How HTTP/2 begins; HTTP/1 never does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails where its beginning takes too long.
#[derive(Debug)]
pub struct Hello<S> {
    stream: S,
    /// `None` once the version is known: from then on hyper watches.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    timer: Pin<Box<Sleep>>,
    /// Bytes that came, all of them as HTTP/2 begins.
    seen: usize,
}

impl<S> Hello<S> {
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, waiting: Some(Waiting { timer: Box::pin(sleep(patience)), seen: 0 }) }
    }

    /// Whether `came` leaves open which HTTP is spoken.
    fn is_open(seen: usize, came: &[u8]) -> bool {
        seen + came.len() < PREFACE.len() && PREFACE[seen..].starts_with(came)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hello<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(waiting) = &mut self.waiting else { return read };
        if read.is_pending() {
            std::task::ready!(waiting.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let came = &buffer.filled()[before..];
        if came.is_empty() || !Self::is_open(waiting.seen, came) {
            self.waiting = None;
        } else {
            waiting.seen += came.len();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hello<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What reading fails with, and after how many seconds, where this was said and then nothing more.
    async fn after(said: &[u8]) -> (Option<io::ErrorKind>, u64) {
        let (mut near, far) = duplex(100);
        near.write_all(said).await.unwrap();
        let (began, mut far) = (Instant::now(), Hello::new(far, PATIENCE));
        let mut heard = Vec::new();
        let read = tokio::time::timeout(PATIENCE * 10, far.read_to_end(&mut heard)).await;
        assert_eq!(heard, said);
        (read.ok().map(|read| read.unwrap_err().kind()), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_a_preface_is_cut_off() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(after(said).await, (Some(io::ErrorKind::TimedOut), 30), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_what_is_spoken_is_not_watched_here() {
        for said in [PREFACE, b"G", b"PUT / HTTP/1.1\r\n"] {
            assert_eq!(after(said).await.0, None, "{said:?}");
        }
    }
}
