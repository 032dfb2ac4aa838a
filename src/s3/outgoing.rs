//! An object's bytes on their way to the client: exactly as many as announced, or a broken connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Frame, SizeHint};
use s3s::dto::StreamingBlob;

use crate::backend::{Body, BodyError};

/// A body that never ends cleanly short of its length: hyper answers an error in it by closing the connection.
pub struct Outgoing {
    body: Body,
    left: u64,
}

impl Outgoing {
    /// The body as s3s wants it. `length` is what Content-Length says.
    pub fn blob(body: Body, length: u64) -> StreamingBlob {
        // Our streams are Send only; this one s3s puts behind a lock that nobody contends.
        StreamingBlob::from(s3s::Body::http_body_unsync(Self { body, left: length }))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let chunk = std::task::ready!(Pin::new(&mut self.body.stream).poll_next(cx));
        Poll::Ready(match chunk {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(Frame::data(bytes)))
                }
                None => Some(Err(BodyError::Read("more bytes came than the object has".into()))),
            },
            None if self.left > 0 => Some(Err(BodyError::Read(format!("{} bytes are missing", self.left)))),
            Some(Err(err)) => Some(Err(err)),
            None => None,
        })
    }

    /// Only when the stream itself has ended: it may still refuse its last byte.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    async fn read(chunks: Vec<Result<Bytes, BodyError>>, length: u64) -> Result<usize, String> {
        let blob = Outgoing::blob(Body::new(Some(length), futures::stream::iter(chunks)), length);
        let read: Result<Vec<Bytes>, _> = blob.try_collect().await;
        read.map(|chunks| chunks.iter().map(Bytes::len).sum()).map_err(|err| err.to_string())
    }

    #[tokio::test]
    async fn a_short_body_is_an_error_and_not_an_end() {
        assert_eq!(read(vec![Ok(Bytes::from_static(b"abc"))], 3).await, Ok(3));
        assert!(read(vec![Ok(Bytes::from_static(b"ab"))], 3).await.is_err());
        assert!(read(vec![Ok(Bytes::from_static(b"abcd"))], 3).await.is_err());
        assert!(read(vec![Ok(Bytes::from_static(b"ab")), Err(BodyError::Refused)], 3).await.is_err());
    }
}
