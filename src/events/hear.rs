//! From the bus to work: what is heard is written down, then acknowledged. What cannot be read is put aside; the log tells
//! the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::wire::{Payload, Unreadable};
use super::{Bus, Delivery};
use crate::model::{Incarnation, Seq, SiteId, Telling};
use crate::replicate::{Bell, absorb_hints};
use crate::site::{SeenNeighbour as Seen, Site};
use crate::status::tables::Poison;
use crate::status::{Commit, Page};
use crate::tasks::{Step, Worker};

/// Unreadable messages that are kept for people to look at.
const POISON_ROWS_MAX: usize = 1_000;
/// Bytes of one that are kept.
const POISON_BYTES_MAX: usize = 8 * 1024;

/// Hears what one other site tells.
#[derive(Debug)]
pub(super) struct Listener {
    site: Site,
    bus: Arc<dyn Bus>,
    origin: SiteId,
    bell: Bell,
    name: String,
}

impl Listener {
    pub fn new(site: Site, bus: Arc<dyn Bus>, origin: SiteId, bell: Bell) -> Self {
        let name = format!("hear-{}", origin.name);
        Self { site, bus, origin, bell, name }
    }

    /// The tellings of this life of the origin that concern this site and are not known through the log already.
    async fn read(&self, deliveries: &[Box<dyn Delivery>]) -> Result<Vec<Telling>, String> {
        let seen = self.site.neighbours().get(self.origin.number).map(|neighbour| neighbour.seen()).unwrap_or_default();
        let mut tellings = Vec::new();
        for delivery in deliveries {
            match Payload::read(delivery.payload()).and_then(|payload| Ok((payload.telling()?, payload))) {
                Ok((telling, payload)) if self.is_news(&payload, &seen) => tellings.push(telling),
                Ok(_) => {}
                Err(why) => self.put_aside(delivery.payload(), &why).await?,
            }
        }
        Ok(tellings)
    }

    /// The mark goes to what was heard last, where a test wants that.
    #[cfg(test)]
    async fn hole_as_planted(&self, deliveries: &[Box<dyn Delivery>]) -> Result<(), String> {
        planted!(HoleNotAsked => {
            let heard = deliveries.iter().filter_map(|delivery| Payload::read(delivery.payload()).ok());
            let last = heard.map(|payload| (payload.origin(), crate::model::Seq(payload.seq))).max();
            let neighbour = self.site.neighbours().get(self.origin.number);
            if let (Some((origin, seq)), Some(neighbour)) = (last, neighbour)
                && neighbour.seen().received.is_none_or(|known| known < (origin.1, seq))
            {
                let commit = Commit::new().put::<crate::status::tables::Received>(&origin, &seq);
                self.site.status().commit(commit).await.map_err(|err| err.to_string())?;
                neighbour.received(origin.1, seq);
            }
        });
        Ok(())
    }

    /// The bus carries to everybody what the origin tells some, and goes on while a person stopped the traffic. Until the log
    /// was read to its end nobody knows what of a stream the origin still owes this site: it may go back to before the data
    /// here began, or to before a restart, and what it tells of may be gone from everywhere by now.
    fn is_news(&self, payload: &Payload, seen: &Seen) -> bool {
        let (site, life) = payload.origin();
        let tells_us = seen.heads.as_ref().is_some_and(|heads| heads.tells) && !seen.is_paused();
        let is_unknown = |(known, seq): (Incarnation, Seq)| life > known || (life == known && payload.seq > seq.0);
        site == self.origin.number && tells_us && seen.caught_up.is_some() && seen.received.is_some_and(is_unknown)
    }

    async fn put_aside(&self, payload: &[u8], why: &Unreadable) -> Result<(), String> {
        tracing::warn!(peer = %self.origin.name, error = %why, "a message on the bus cannot be read; the log tells the same");
        let kept: Page<Poison> = self.site.status().page(&(), None, POISON_ROWS_MAX).await.map_err(|err| err.to_string())?;
        if kept.rows.len() >= POISON_ROWS_MAX {
            return Ok(());
        }
        let number = kept.rows.last().map_or(0, |(number, _)| number + 1);
        let bytes = payload[..payload.len().min(POISON_BYTES_MAX)].to_vec();
        let commit = Commit::new().put::<Poison>(&number, &bytes);
        self.site.status().commit(commit).await.map(drop).map_err(|err| err.to_string())
    }
}

#[async_trait]
impl Worker for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&mut self) -> Result<Step, String> {
        let deliveries = self.bus.hear(&self.origin.name).await.map_err(|err| err.to_string())?;
        let tellings = self.read(&deliveries).await?;
        let has_work = absorb_hints(&self.site, self.origin.number, &tellings).await.map_err(|err| err.to_string())?;
        #[cfg(test)]
        self.hole_as_planted(&deliveries).await?;
        if has_work {
            self.bell.ring();
        }
        for delivery in deliveries {
            delivery.ack().await.map_err(|err| err.to_string())?;
        }
        Ok(Step::Worked)
    }

    /// Hearing waits by itself.
    async fn wait(&mut self) {}

    fn pause_max(&self) -> Duration {
        Duration::from_secs(5)
    }
}
