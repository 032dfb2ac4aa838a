//! The CRC-32 of a body on its way out: some services keep it of each part, do not tell it where it came in a trailer, and
//! want to hear it again when the upload ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use http_body::{Body, Frame, SizeHint};

use crate::backend::service::Outgoing;

/// Of what went out so far.
#[derive(Clone)]
pub(super) struct Sum(Arc<Mutex<Digest>>);

impl Sum {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Digest::new(CrcAlgorithm::Crc32IsoHdlc))))
    }

    /// Of bytes in memory.
    pub fn of(bytes: &Bytes) -> Self {
        let sum = Self::new();
        sum.digest().update(bytes);
        sum
    }

    fn digest(&self) -> MutexGuard<'_, Digest> {
        self.0.lock().expect("nothing panics while it holds the sum")
    }

    /// As `x-amz-checksum-crc32` has it.
    pub fn text(&self) -> String {
        let crc32 = u32::try_from(self.digest().finalize()).expect("a CRC-32 has 32 bits");
        STANDARD.encode(crc32.to_be_bytes())
    }
}

/// A body that is summed as it goes.
pub(super) struct Summed {
    body: Outgoing,
    sum: Sum,
}

impl Summed {
    pub fn new(body: Outgoing) -> (Self, Sum) {
        let sum = Sum::new();
        (Self { body, sum: sum.clone() }, sum)
    }
}

impl Body for Summed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(chunk) = frame.data_ref()
        {
            self.sum.digest().update(chunk);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_has_the_sum_of_its_bytes_in_memory() {
        let bytes = Bytes::from_static(b"123456789");
        let (outgoing, _sending) = Outgoing::new(crate::backend::Body::from(bytes.clone()), 9);
        let (summed, sum) = Summed::new(outgoing);
        assert_eq!(summed.collect().await.unwrap().to_bytes(), bytes);
        // The check value of CRC-32: 0xCBF43926.
        assert_eq!((sum.text(), Sum::of(&bytes).text()), ("y/Q5Jg==".to_owned(), "y/Q5Jg==".to_owned()));
    }
}
