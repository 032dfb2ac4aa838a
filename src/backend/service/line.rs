//! The line to a service: how many bytes of bodies a second go over it, both ways together.

use std::sync::Arc;

use futures::stream::StreamExt;

use crate::backend::Body;
use crate::tasks::Brake;

/// Waits here are outside every deadline of a call: what waits for its turn says nothing of the service.
#[derive(Clone, Debug)]
pub(super) struct Line(Option<Brake>);

impl Line {
    /// None is no bound.
    pub fn new(bytes_per_second_max: Option<u64>) -> Self {
        Self(bytes_per_second_max.map(|rate| Brake::new(Arc::default(), rate)))
    }

    /// How much that is; none is no bound.
    pub fn bytes_per_second_max(&self) -> Option<u64> {
        self.0.as_ref().map(Brake::bytes_per_second)
    }

    /// Until a body that begins may begin, whose length nobody knows yet.
    pub async fn settled(&self) {
        if let Some(brake) = &self.0 {
            brake.settled().await;
        }
    }

    /// Until it is these bytes' turn.
    pub async fn pass(&self, bytes: usize) {
        if let Some(brake) = &self.0 {
            brake.pass(bytes).await;
        }
    }

    /// A body whose pieces come when it is their turn: whoever sends it takes the wait for the sender's.
    pub fn slowed(&self, body: Body) -> Body {
        let Some(brake) = self.0.clone() else { return body };
        let pieces = body.stream.then(move |piece| {
            let brake = brake.clone();
            async move {
                if let Ok(piece) = &piece {
                    brake.pass(piece.len()).await;
                }
                piece
            }
        });
        Body { stream: pieces.boxed(), ..body }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures::future::join_all;
    use futures::stream;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::backend::service::late::HOME;
    use crate::backend::service::{Common, Late, buffer};
    use crate::backend::{Backend, GetOptions, Place, PutOptions};
    use crate::model::{BucketName, Key, ObjectId};

    const RATE: usize = 1000;
    const SIZE: usize = 2 << 20;

    fn common() -> Common {
        Common { bytes_per_second_max: Some(RATE as u64), ..Common::at(HOME) }
    }

    /// A store with a bucket, whose line is free for a second of bytes.
    async fn open(common: Common) -> (Arc<dyn Backend>, Late) {
        let service = Late::new(1, false);
        let store = service.open_with(common).await;
        store.recover(&[]).await.unwrap();
        store.create_bucket(&object().bucket).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        (store, service)
    }

    fn object() -> ObjectId {
        ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new("a").unwrap() }
    }

    fn pieces(size: usize, piece: usize) -> Body {
        let bytes = Bytes::from(vec![7; size]);
        let pieces: Vec<_> = (0..size).step_by(piece).map(|at| Ok(bytes.slice(at..(at + piece).min(size)))).collect();
        Body::new(Some(size as u64), stream::iter(pieces))
    }

    async fn put(store: &Arc<dyn Backend>, body: Body) -> Place {
        let location = store.put(&object(), body, PutOptions::any()).await.unwrap().location;
        Place { object: object(), location }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_its_time_and_is_not_taken_for_one_that_stands_still() {
        let (store, _) = open(common()).await;
        let began = Instant::now();
        // Two minutes a piece: longer than a service may do nothing, and than a body may bring nothing.
        let at = put(&store, pieces(SIZE, SIZE / 16)).await;
        assert_eq!(began.elapsed().as_secs() as usize, SIZE / RATE - 1);
        let opened = store.get(&at, GetOptions::default()).await.unwrap();
        assert_eq!(opened.body.collect(SIZE).await.unwrap().len(), SIZE);
        assert_eq!(began.elapsed().as_secs() as usize, 2 * SIZE / RATE - 1, "both ways over one line");
        assert!(store.traffic().iter().all(|traffic| traffic.outcome != "silent"), "{:?}", store.traffic());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_come_together_share_the_line_and_no_call_is_slow_for_it() {
        let (store, service) = open(common()).await;
        let began = Instant::now();
        join_all((0..20).map(|_| put(&store, pieces(10 * RATE, RATE)))).await;
        assert_eq!(began.elapsed().as_secs(), 199);
        assert_eq!(service.names("bucket").len(), 20);
        let spent: f64 = store.traffic().iter().map(|traffic| traffic.seconds).sum();
        assert!(spent < 10.0, "nobody held a call while it waited: {spent} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_line_is_no_reason_to_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let buffer = buffer::Settings { free_bytes_min: 0, ..buffer::Settings::at(dir.path(), "main") };
        let (store, service) = open(Common { buffer: Some(buffer), ..common() }).await;
        let places = join_all((0..10).map(|_| put(&store, pieces(10 * RATE, RATE)))).await;
        assert!(places.iter().all(|at| !store.is_buffered(at)));
        assert_eq!(service.names("bucket").len(), 10);
    }
}
