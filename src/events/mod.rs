//! Telling on a bus what this site changed, and hearing there what others changed: a shorter way than the log, never the
//! only one. A bus may lose, repeat and reorder; what is owed stands in `pending`, and readers follow the log (protocol §1).

mod error;
mod hear;
mod jetstream;
mod publish;
#[cfg(test)]
mod tests;
pub mod wire;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::Error;
pub use jetstream::{Credentials, JetStream, Settings, Tls};

use crate::replicate::Bell;
use crate::site::Site;
use crate::tasks::Worker;

/// A message as it travels: JSON of [`wire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    /// The same for the same telling: a bus may drop repeats by it.
    pub id: String,
    pub payload: Bytes,
}

/// A message that was heard. It is heard again unless it is acknowledged.
#[async_trait]
pub trait Delivery: Send + Sync {
    fn payload(&self) -> &[u8];

    /// Says that what it told is durable here.
    async fn ack(&self) -> Result<(), Error>;
}

/// What carries messages between sites.
#[async_trait]
pub trait Bus: Debug + Send + Sync + 'static {
    /// Publishes in order; answers how many of them, from the first on, the bus took.
    async fn publish(&self, messages: &[Message]) -> Result<usize, Error>;

    /// Waits a while for what the site of this name told: some, or none.
    async fn hear(&self, origin: &str) -> Result<Vec<Box<dyn Delivery>>, Error>;
}

/// The workers that tell and hear over a bus.
pub fn workers(site: &Site, bus: &Arc<dyn Bus>, bell: &Bell) -> Vec<Box<dyn Worker>> {
    let publisher = publish::Publisher::new(site.clone(), bus.clone(), publish::BEHIND_MAX);
    let mut workers: Vec<Box<dyn Worker>> = vec![Box::new(publisher)];
    for neighbour in site.neighbours().iter() {
        workers.push(Box::new(hear::Listener::new(site.clone(), bus.clone(), neighbour.id.clone(), bell.clone())));
    }
    workers
}
