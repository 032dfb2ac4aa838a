//! The end of a connection whose client still sends, because its request was refused before its body was read: what comes is
//! read and thrown away for a while. Closed at once, the kernel would answer it with a reset, and the client might never
//! read why it was refused. <https://www.rfc-editor.org/rfc/rfc9112#section-9.6>

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Longest pause of a client that still sends.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// For all of it, and how much.
const TIME_MAX: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 64 << 20;
const PIECE_BYTES: usize = 16 << 10;

/// A stream that lingers when it is shut down.
pub struct Linger<I> {
    stream: I,
    end: Option<End>,
}

/// What is left of a stream that was shut down.
struct End {
    pause: Pin<Box<Sleep>>,
    until: Instant,
    bytes: usize,
}

impl<I> Linger<I> {
    pub fn new(stream: I) -> Self {
        Self { stream, end: None }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Linger<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { stream, end } = &mut *self;
        if end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let begun = || End { pause: Box::pin(sleep(PAUSE_MAX)), until: Instant::now() + TIME_MAX, bytes: 0 };
        let end = end.get_or_insert_with(begun);
        let mut piece = [0; PIECE_BYTES];
        while end.bytes < BYTES_MAX && Instant::now() < end.until {
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    end.bytes += buffer.filled().len();
                    end.pause.as_mut().reset(Instant::now() + PAUSE_MAX);
                }
                // It has said all it had to say, or is gone.
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(end.pause.as_mut().poll(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_client_that_still_sends_reads_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let mut stream = Linger::new(listener.accept().await.unwrap().0);
            stream.write_all(b"refused").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..200 {
            client.write_all(&[7; 10_000]).await.unwrap();
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "refused");
        drop(client);
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_neither_sends_nor_ends_is_not_waited_for() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let began = Instant::now();
        Linger::new(ours).shutdown().await.unwrap();
        assert!(began.elapsed() <= 2 * PAUSE_MAX);
    }
}
