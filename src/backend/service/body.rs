//! Bodies on their way to a service: whole in memory, or a stream whose last piece is held back until its sender has
//! said that it was all.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use crate::backend::body::check_size;
use crate::backend::{Body, BodyError, Error, Result};

/// Most that a part of a longer body is handed on in at once.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// What became of a body while it was sent.
#[derive(Debug)]
pub(in crate::backend) struct Sending {
    fault: Mutex<Option<BodyError>>,
    /// Since when it is for the service to take a piece, or to answer; `None` while the sender is waited for.
    its_turn: Mutex<Option<Instant>>,
}

impl Sending {
    fn new() -> Self {
        Self { fault: Mutex::default(), its_turn: Mutex::new(Some(Instant::now())) }
    }

    fn its_turn(&self) -> MutexGuard<'_, Option<Instant>> {
        self.its_turn.lock().expect("nothing panics while it holds a moment")
    }

    /// Ends when the service has done nothing for so long, though it could.
    pub async fn stands_still(&self, patience: Duration) {
        loop {
            let due = self.its_turn().unwrap_or_else(Instant::now) + patience;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<BodyError>> {
        self.fault.lock().expect("nothing panics while it holds the fault of a body")
    }

    /// Why the body ended badly, if it did.
    pub fn take_fault(&self) -> Option<BodyError> {
        self.fault().take()
    }
}

/// A body of known length, to be sent once. A sender may refuse what it sent after its last byte: the service must not have it by then.
pub(in crate::backend) struct Outgoing {
    /// Behind a lock that nobody waits for: requests are shared between threads.
    stream: Mutex<BoxStream<'static, Result<Bytes, BodyError>>>,
    held: Option<Bytes>,
    announced: u64,
    received: u64,
    handed_over: u64,
    is_done: bool,
    sending: Arc<Sending>,
}

impl Outgoing {
    /// The body as it is sent, and what will be known of it.
    pub fn new(body: Body, size: u64) -> (Self, Arc<Sending>) {
        let sending = Arc::new(Sending::new());
        let stream = Mutex::new(body.stream);
        let (received, handed_over) = (0, 0);
        let outgoing =
            Self { stream, held: None, announced: size, received, handed_over, is_done: false, sending: sending.clone() };
        (outgoing, sending)
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.announced
    }

    /// What came is kept; what was kept before goes out.
    fn exchange(&mut self, chunk: Bytes) -> Result<Option<Bytes>, BodyError> {
        self.received += chunk.len() as u64;
        if self.received > self.announced {
            check_size(Some(self.announced), self.received)?;
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        Ok(self.held.replace(chunk))
    }

    fn end(&mut self) -> Result<Option<Bytes>, BodyError> {
        check_size(Some(self.announced), self.received)?;
        self.is_done = true;
        Ok(self.held.take())
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            if self.is_done {
                return Poll::Ready(Ok(None));
            }
            let stream = self.stream.get_mut().expect("nothing panics while it holds the stream");
            let out = match ready!(stream.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.exchange(chunk),
                Some(Err(err)) => Err(err),
                None => return Poll::Ready(self.end()),
            };
            match out {
                Ok(None) => {}
                out => return Poll::Ready(out),
            }
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let chunk = self.poll_chunk(cx);
        *self.sending.its_turn() = chunk.is_ready().then(Instant::now);
        Poll::Ready(match ready!(chunk) {
            Ok(Some(chunk)) => {
                self.handed_over += chunk.len() as u64;
                Some(Ok(Frame::data(chunk)))
            }
            Ok(None) => None,
            Err(err) => {
                let text = err.to_string();
                *self.sending.fault() = Some(err);
                Some(Err(std::io::Error::other(text)))
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced - self.handed_over)
    }
}

/// Reads on until there are so many bytes, or the body ends. In pieces, as they came.
#[derive(Debug)]
pub(in crate::backend) struct Pieces {
    body: Body,
    rest: Bytes,
    is_done: bool,
}

impl Pieces {
    pub fn of(body: Body) -> Self {
        Self { body, rest: Bytes::new(), is_done: false }
    }

    /// The next `bytes_max` bytes, fewer at the end, none behind it.
    pub async fn next(&mut self, bytes_max: usize) -> Result<Bytes> {
        let mut piece = BytesMut::new();
        while piece.len() < bytes_max {
            if self.rest.is_empty() {
                match self.body.stream.next().await {
                    Some(chunk) => self.rest = chunk?,
                    None => {
                        self.is_done = true;
                        break;
                    }
                }
            }
            let take = self.rest.len().min(bytes_max - piece.len());
            piece.extend_from_slice(&self.rest.split_to(take));
        }
        Ok(piece.freeze())
    }

    /// Whether nothing is left, as far as was read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

/// A body that goes out in parts of known length, one after the other.
#[derive(Clone, Debug)]
pub(in crate::backend) struct SharedPieces(Arc<tokio::sync::Mutex<Pieces>>);

impl SharedPieces {
    pub fn of(body: Body) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Pieces::of(body))))
    }

    /// The next so many bytes. Read to its end before the next is asked for.
    pub fn part(&self, size: u64) -> Body {
        let chunks = futures::stream::try_unfold((self.clone(), size), |(pieces, left)| async move {
            let limit = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
            let chunk = pieces.0.lock().await.next(limit).await.map_err(as_body)?;
            let left = left - chunk.len() as u64;
            Ok((!chunk.is_empty()).then_some((chunk, (pieces, left))))
        });
        Body::new(Some(size), chunks)
    }

    /// How many bytes are left behind all parts: at most one, which is one too many.
    pub async fn rest(&self) -> Result<u64> {
        Ok(self.0.lock().await.next(1).await?.len() as u64)
    }
}

fn as_body(err: Error) -> BodyError {
    match err {
        Error::Body(err) => err,
        err => BodyError::Read(err.to_string()),
    }
}

/// The whole body, as long as was announced.
pub(in crate::backend) async fn collect(body: Body, announced: u64) -> Result<Bytes> {
    let mut pieces = Pieces::of(body);
    // One byte more shows what is too long.
    let limit = usize::try_from(announced).unwrap_or(usize::MAX).saturating_add(1);
    let whole = pieces.next(limit).await?;
    check_size(Some(announced), whole.len() as u64).map_err(Error::Body)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn sent(chunks: Vec<Result<Bytes, BodyError>>, size: u64) -> (Vec<Bytes>, bool, Option<BodyError>) {
        let (mut body, sending) = Outgoing::new(Body::new(None, futures::stream::iter(chunks)), size);
        let mut out = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => out.push(frame.into_data().unwrap()),
                Err(_) => return (out, false, sending.take_fault()),
            }
        }
        (out, true, sending.take_fault())
    }

    #[tokio::test]
    async fn the_last_piece_waits_for_the_senders_word() {
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let (out, is_whole, fault) = sent(vec![piece("ab"), piece(""), piece("c")], 3).await;
        assert!(is_whole && fault.is_none() && out == ["ab", "c"], "{out:?}");
        let (out, is_whole, fault) = sent(vec![piece("ab"), piece("c"), Err(BodyError::Refused)], 3).await;
        assert!(!is_whole && matches!(fault, Some(BodyError::Refused)) && out == ["ab"], "{out:?}");
        for size in [2, 4] {
            let (_, is_whole, fault) = sent(vec![piece("ab"), piece("c")], size).await;
            assert!(!is_whole && matches!(fault, Some(BodyError::Truncated(_))), "{size}");
        }
        assert!(sent(vec![], 0).await.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_takes_nothing_is_told_from_a_sender_that_brings_nothing() {
        let (mut sender, chunks) = futures::channel::mpsc::channel(1);
        let (mut body, sending) = Outgoing::new(Body::new(None, chunks), 3);
        let (patience, moment) = (Duration::from_secs(60), Duration::from_secs(600));
        let still = || tokio::time::timeout(moment, sending.stands_still(patience));
        assert!(still().await.is_ok(), "nobody asks for the first piece");
        for piece in ["a", "b"] {
            assert!(futures::poll!(std::pin::pin!(body.frame())).is_pending());
            assert!(still().await.is_err(), "the sender is waited for");
            sender.try_send(Ok(Bytes::from_static(piece.as_bytes()))).unwrap();
        }
        assert!(body.frame().await.is_some());
        assert!(still().await.is_ok(), "nobody asks for the next piece");
        sender.try_send(Ok(Bytes::from_static(b"c"))).unwrap();
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "bc");
        assert!(still().await.is_ok(), "nobody answers");
    }

    #[tokio::test]
    async fn pieces_are_as_long_as_asked_for() {
        let chunks = ["abc", "", "defgh"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let mut pieces = Pieces::of(Body::new(None, futures::stream::iter(chunks)));
        assert_eq!(pieces.next(4).await.unwrap(), "abcd");
        assert_eq!(pieces.next(4).await.unwrap(), "efgh");
        assert!(!pieces.is_done());
        assert_eq!(pieces.next(4).await.unwrap(), "");
        assert!(pieces.is_done());
    }
}
