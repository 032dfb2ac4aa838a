//! Copies to plain names, each for itself: one that takes a store long holds up nobody who wants another name.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use super::Site;
use super::settle::SettleWorker;
use crate::tasks::{Step, Worker};

/// Copies under way at once: each is some calls at a service, one after the other.
const SIDE_BY_SIDE: usize = 64;
/// A step is no longer than this, though a copy may be. Those under way go on in the next.
const STEP_MAX: Duration = Duration::from_secs(1);

/// Settles what a store has to copy.
pub(super) struct CopyWorker {
    site: Site,
    /// If they are dropped, the next start finds their redo rows.
    under_way: FuturesUnordered<BoxFuture<'static, Result<(), String>>>,
}

impl CopyWorker {
    pub fn new(site: Site) -> Self {
        Self { site, under_way: FuturesUnordered::new() }
    }

    /// Begins as many as may be under way.
    fn begin(&mut self) {
        for one in self.site.inner.settler.copies().take(SIDE_BY_SIDE - self.under_way.len()) {
            let worker = SettleWorker::fresh(self.site.clone());
            self.under_way.push(Box::pin(async move { worker.settle(vec![one]).await }));
        }
    }
}

#[async_trait]
impl Worker for CopyWorker {
    fn name(&self) -> &str {
        "settle-copies"
    }

    async fn step(&mut self) -> Result<Step, String> {
        let end = sleep(STEP_MAX);
        tokio::pin!(end);
        loop {
            self.begin();
            let outcome = tokio::select! {
                outcome = self.under_way.next() => outcome,
                () = &mut end => return Ok(Step::Worked),
            };
            match outcome {
                Some(Ok(())) => {}
                // Told by the worker that has it now, and tried again after its pauses.
                Some(Err(reason)) => tracing::warn!(reason, "not everything could be settled at once"),
                None => return Ok(Step::Idle),
            }
        }
    }

    async fn wait(&mut self) {
        self.site.inner.settler.copies().filled().await;
    }
}

impl fmt::Debug for CopyWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyWorker").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}
