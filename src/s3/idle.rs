//! Bodies that stand still: a client that sends nothing holds a connection for which others wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::layer::StdError;

/// Nothing of the body came for so long.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the body came for {0:?}")]
pub struct Stalled(Duration);

/// A body that ends in [`Stalled`]. Only time counts in which a piece of it was waited for: a store that is slow is not
/// the client's fault.
#[derive(Debug)]
pub struct Patient<B> {
    body: B,
    idle_max: Duration,
    /// Since when the next piece is waited for.
    since: Option<Instant>,
    /// Set when the body has to wait for the first time, and again only when it rings: not for each piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Patient<B> {
    pub fn new(body: B, idle_max: Duration) -> Self {
        Self { body, idle_max, since: None, timer: None }
    }

    /// Ready once the next piece was waited for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Stalled> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.idle_max;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        while Instant::now() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Stalled(self.idle_max))
    }
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin> Body for Patient<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.since = None;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let stalled = ready!(self.poll_stalled(cx));
                Poll::Ready(Some(Err(stalled.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const IDLE_MAX: Duration = Duration::from_secs(60);

    /// Pieces that come after these pauses, in seconds.
    fn pieces(pauses: &'static [u64]) -> Patient<impl Body<Data = Bytes, Error = StdError> + Unpin> {
        let pieces = stream::iter(pauses).then(|pause| async move {
            sleep(Duration::from_secs(*pause)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        Patient::new(StreamBody::new(pieces.boxed()), IDLE_MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_to_its_end() {
        assert_eq!(pieces(&[59, 1, 59, 59]).collect().await.unwrap().to_bytes().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_ends_in_an_error_when_its_time_is_over() {
        let began = Instant::now();
        let err = pieces(&[59, 3_600]).collect().await.unwrap_err();
        assert!(err.is::<Stalled>(), "{err}");
        assert_eq!(began.elapsed().as_secs(), 59 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_may_take_its_time() {
        let mut body = pieces(&[1, 59, 1]);
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            sleep(Duration::from_secs(600)).await;
        }
        assert_eq!(read, 3);
    }
}
