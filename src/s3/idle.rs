//! Bodies that stand still or drip: a client that sends next to nothing holds a connection for which others wait.

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

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For its next piece to come.
    pub idle_max: Duration,
    /// What it must bring, beyond what `idle_max` grants.
    pub bytes_per_second_min: u64,
}

/// A body that ends in [`Stalled`]. Only time counts in which a piece of it was waited for: a store that is slow is not
/// the client's fault.
#[derive(Debug)]
pub struct Patient<B> {
    body: B,
    patience: Patience,
    /// What came, bytes.
    came: u64,
    /// How long it was waited for in all.
    waited: Duration,
    /// Since when the next piece is waited for.
    since: Option<Instant>,
    /// Set when the body has to wait for the first time, and again only when it rings: not for each piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Patient<B> {
    pub fn new(body: B, patience: Patience) -> Self {
        Self { body, patience, came: 0, waited: Duration::ZERO, since: None, timer: None }
    }

    /// How long the next piece may take: each may rest, and all of them together must bring something.
    fn grace(&self) -> Duration {
        let Patience { idle_max, bytes_per_second_min } = self.patience;
        let earned = Duration::from_secs(self.came / bytes_per_second_min.max(1));
        idle_max.min((idle_max + earned).saturating_sub(self.waited))
    }

    /// Ready once the next piece was waited for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Stalled> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.grace();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        while Instant::now() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Stalled(self.grace()))
    }
}

impl<B: Body<Data = Bytes, Error: Into<StdError>> + Unpin> Body for Patient<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(since) = self.since.take() {
                    self.waited += since.elapsed();
                }
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
                self.came += data.map_or(0, |data| data.len() as u64);
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

    /// Pieces of a kilobyte that come after these pauses, in seconds.
    fn pieces(pauses: &'static [u64]) -> Patient<impl Body<Data = Bytes, Error = StdError> + Unpin> {
        sized(pauses, 1024)
    }

    fn sized(pauses: &'static [u64], bytes: usize) -> Patient<impl Body<Data = Bytes, Error = StdError> + Unpin> {
        let pieces = stream::iter(pauses).then(move |pause| async move {
            sleep(Duration::from_secs(*pause)).await;
            Ok(Frame::data(Bytes::from(vec![b'x'; bytes])))
        });
        Patient::new(StreamBody::new(pieces.boxed()), Patience { idle_max: IDLE_MAX, bytes_per_second_min: 10 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_to_its_end() {
        assert_eq!(pieces(&[59, 1, 59, 59]).collect().await.unwrap().to_bytes().len(), 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_not_waited_for_much_longer_than_one_that_stands_still() {
        let began = Instant::now();
        let err = sized(&[50, 50, 50, 50], 100).collect().await.unwrap_err();
        assert!(err.is::<Stalled>(), "{err}");
        // A minute, and ten seconds for the hundred bytes that came: the second piece comes too late.
        assert_eq!(began.elapsed().as_secs(), 70);
        assert_eq!(sized(&[50, 9, 9, 9], 100).collect().await.unwrap().to_bytes().len(), 400);
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
        assert_eq!(read, 3 * 1024);
    }
}
