//! From the outbox to the bus. A row goes once the bus has taken its message; a crash in between tells it twice, which is
//! harmless.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::wire::{Payload, subject};
use super::{Bus, Message};
use crate::model::{Event, Seq};
use crate::site::Site;
use crate::status::tables::Outbox;
use crate::status::{Commit, Page, Stored};
use crate::tasks::{Step, Worker};

/// Messages published at once.
const BATCH_MAX: usize = 256;
/// How far the outbox may fall behind what was told: older rows are dropped, since the log tells the same.
pub(super) const BEHIND_MAX: u64 = 1_000_000;
/// Rows dropped at once.
const GIVE_UP_ROWS: usize = 1_000;

/// Publishes what this site told.
#[derive(Debug)]
pub(super) struct Publisher {
    site: Site,
    bus: Arc<dyn Bus>,
    told: tokio::sync::watch::Receiver<Seq>,
    behind_max: u64,
}

impl Publisher {
    pub fn new(site: Site, bus: Arc<dyn Bus>, behind_max: u64) -> Self {
        let told = site.status().told();
        Self { site, bus, told, behind_max }
    }

    fn message(&self, seq: Seq, event: &Event) -> Message {
        let (id, incarnation) = (self.site.id(), self.site.status().facts().incarnation);
        let payload = Payload::of(id, incarnation, seq, event).bytes().into();
        Message { subject: subject(&id.name, &event.unit), id: format!("{}.{}.{}", id.name, incarnation.0, seq.0), payload }
    }

    async fn drop_rows(&self, rows: &[(Seq, Stored<Event>)]) -> Result<(), String> {
        let commit = rows.iter().fold(Commit::new().frees(), |commit, (seq, _)| commit.delete::<Outbox>(seq));
        self.site.status().commit(commit).await.map(drop).map_err(|err| err.to_string())
    }

    /// A bus that is away for long does not fill the disk.
    async fn give_up_old(&self) -> Result<(), String> {
        loop {
            let last = self.told.borrow().0;
            let page: Page<Outbox> = self.site.status().page(&(), None, GIVE_UP_ROWS).await.map_err(|err| err.to_string())?;
            let old = page.rows.iter().take_while(|(seq, _)| seq.0 + self.behind_max < last).count();
            if old == 0 {
                return Ok(());
            }
            self.drop_rows(&page.rows[..old]).await?;
        }
    }
}

#[async_trait]
impl Worker for Publisher {
    fn name(&self) -> &str {
        "publish"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.told.mark_unchanged();
        let page: Page<Outbox> = self.site.status().page(&(), None, BATCH_MAX).await.map_err(|err| err.to_string())?;
        if page.rows.is_empty() {
            return Ok(Step::Idle);
        }
        let messages: Vec<_> = page.rows.iter().map(|(seq, stored)| self.message(*seq, &stored.row)).collect();
        match self.bus.publish(&messages).await {
            Ok(taken) => {
                self.drop_rows(&page.rows[..taken]).await?;
                Ok(Step::Worked)
            }
            Err(err) => {
                self.give_up_old().await?;
                Err(err.to_string())
            }
        }
    }

    async fn wait(&mut self) {
        // Gone only with the site.
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn pause_max(&self) -> Duration {
        Duration::from_secs(5)
    }
}
