//! Pausing another site: it is neither followed nor fed, over restarts too, until a person or the time ends it.

use super::Site;
use super::error::{Error, Result};
use super::neighbours::{Neighbour, UNTIL_RESUMED};
use crate::model::SiteNumber;
use crate::status::Commit;
use crate::status::tables::Meta;

/// Name of the row that says until when a site is paused, milliseconds since 1970.
fn row(site: SiteNumber) -> String {
    format!("paused.{}", site.0)
}

impl Site {
    /// Stops the traffic with a site, for so many milliseconds or until it is resumed. Durable when it returns.
    pub async fn pause(&self, neighbour: &Neighbour, for_ms: Option<u64>) -> Result<()> {
        let until_ms = for_ms.map_or(UNTIL_RESUMED, |for_ms| self.inner.clock.wall_ms().saturating_add(for_ms));
        let commit = Commit::new().put::<Meta>(&row(neighbour.id.number), &until_ms);
        self.inner.status.commit(commit).await.map_err(Error::from)?;
        neighbour.pause(Some(until_ms));
        tracing::info!(peer = %neighbour.id.name, for_ms, "paused");
        Ok(())
    }

    /// Starts the traffic with a site again.
    pub async fn resume(&self, neighbour: &Neighbour) -> Result<()> {
        let commit = Commit::new().delete::<Meta>(&row(neighbour.id.number));
        self.inner.status.commit(commit).await.map_err(Error::from)?;
        neighbour.pause(None);
        tracing::info!(peer = %neighbour.id.name, "resumed");
        Ok(())
    }

    /// Whether a site is paused; one whose time has come is resumed.
    pub async fn is_paused(&self, neighbour: &Neighbour) -> Result<bool> {
        match neighbour.seen().paused_until_ms {
            None => Ok(false),
            Some(until_ms) if self.inner.clock.wall_ms() < until_ms => Ok(true),
            Some(_) => self.resume(neighbour).await.map(|()| false),
        }
    }

    /// What was paused before the start still is.
    pub(super) async fn recall_pauses(&self) -> Result<()> {
        for neighbour in self.inner.neighbours.iter() {
            let paused = self.inner.status.get::<Meta>(&row(neighbour.id.number)).await?;
            neighbour.pause(paused.map(|paused| paused.row));
        }
        Ok(())
    }
}
