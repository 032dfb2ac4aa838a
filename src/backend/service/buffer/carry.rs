//! Brings what waits to the service, oldest first, and takes it from here once it was seen there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use super::Buffer;
use super::claim::{Claim, Load};
use super::file::Slip;
use crate::backend::service::Service;
use crate::backend::service::mark::binding_of;
use crate::backend::service::put::HELD_BYTES_MAX;
use crate::backend::service::store::Core;
use crate::backend::{Error, GetOptions, Place, PutOptions, Result};
use crate::model::Location;
use crate::tasks::{Step, Worker};

/// Writes that are carried at once, beside those that somebody asks for.
const AT_ONCE_MAX: usize = 16;
/// A step is no longer than this, though a body may be. Those under way go on in the next.
const STEP_MAX: Duration = Duration::from_secs(1);
/// Between two looks at a store that does not answer, and at what was put off.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Empties a buffer.
pub(in crate::backend::service) struct Carrier<S> {
    core: Arc<Core<S>>,
    buffer: Arc<Buffer>,
    name: String,
    /// If they are dropped, the files are there yet.
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl<S: Service> Carrier<S> {
    pub fn new(core: Arc<Core<S>>, buffer: Arc<Buffer>) -> Self {
        let name = format!("carry-{}", buffer.settings.store);
        Self { core, buffer, name, under_way: FuturesUnordered::new() }
    }

    fn begin(&mut self) {
        for load in self.buffer.take_due(AT_ONCE_MAX - self.under_way.len()) {
            let core = self.core.clone();
            self.under_way.push(Box::pin(async move { core.carry(load).await }));
        }
    }
}

impl<S: Service> Core<S> {
    /// Whether the service answers. While it does not, nothing is read from the disk for it.
    async fn is_there(&self) -> bool {
        self.calls.is_alive() || self.once("looking at a bucket", self.service.look_at_bucket(&self.home)).await.is_ok()
    }

    pub(super) async fn carry(&self, mut load: Load) {
        let (buffer, Slip { write, object, .. }) = (load.claim.buffer.clone(), load.slip.clone());
        match self.carry_there(&mut load).await {
            Ok(()) => tracing::debug!(%object, %write, "carried from the buffer to the store"),
            Err(error) => {
                if !matches!(error, Error::Unavailable(_)) {
                    let store = &buffer.settings.store;
                    tracing::error!(store, %object, %write, %error, "the store refuses a buffered write: it stays in the buffer");
                }
                buffer.index.put_off(&load.claim.name, &error);
            }
        }
        if buffer.index.is_empty() {
            buffer.note_emptied();
        }
    }

    /// In the end the service has it and the buffer does not, or, where it was deleted, neither.
    async fn carry_there(&self, Load { claim, slip }: &mut Load) -> Result<()> {
        if !claim.is_doomed() {
            self.bring(claim, slip).await?;
        }
        // Readers who look for the file find none from here on, and go to the service.
        claim.buffer.unlink(&claim.name).await?;
        if claim.leave() {
            claim.buffer.carried.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.remove_there(&slip.object, slip.write).await?;
        claim.end();
        Ok(())
    }

    /// Repeating it is harmless: nobody else's bytes ever have that name.
    async fn bring(&self, claim: &Claim, slip: &Slip) -> Result<()> {
        // What is large may have come before a crash.
        if slip.size > HELD_BYTES_MAX && self.has(slip).await? {
            return Ok(());
        }
        let at = Place { object: slip.object.clone(), location: Location::Own(slip.write) };
        let Some(fetched) = self.get_here(&at, &GetOptions::default()).await? else {
            return if claim.is_doomed() { Ok(()) } else { Err(Error::NotFound) };
        };
        let Slip { write, size, modified_ms, .. } = *slip;
        let put = PutOptions { write, size: Some(size), modified_ms, attributes: slip.attributes.clone() };
        self.put_there(&slip.object, fetched.body, put).await?;
        match self.has(slip).await? {
            true => Ok(()),
            false => Err(Error::Unavailable("the store does not show what it said it had stored".to_owned())),
        }
    }

    async fn has(&self, slip: &Slip) -> Result<bool> {
        let told = self.seen(&self.own(&slip.object, slip.write)).await?;
        Ok(told.is_some_and(|told| told.binding == binding_of(slip.write) && told.size == slip.size))
    }
}

#[async_trait]
impl<S: Service> Worker for Carrier<S> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&mut self) -> std::result::Result<Step, String> {
        let core = self.core.clone();
        if self.under_way.is_empty() && (self.buffer.index.is_empty() || !core.is_there().await) {
            return Ok(Step::Idle);
        }
        let end = sleep(STEP_MAX);
        tokio::pin!(end);
        loop {
            self.begin();
            tokio::select! {
                carried = self.under_way.next() => if carried.is_none() { return Ok(Step::Idle) },
                () = &mut end => return Ok(Step::Worked),
            }
        }
    }

    async fn wait(&mut self) {
        if self.buffer.index.is_empty() {
            return self.buffer.arrived.notified().await;
        }
        tokio::select! {
            () = self.buffer.arrived.notified() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

impl<S> fmt::Debug for Carrier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("name", &self.name).field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}
