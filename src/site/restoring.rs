//! A store that is new among sites that have data knows nothing yet: its absences prove nothing, and a list of what it has
//! would make sync tools delete the rest (protocol §8, §11). It says so until it was compared with one of them.

use std::sync::atomic::Ordering;

use super::Site;
use super::error::{Error, Result};
use crate::peer::SiteState;
use crate::status::Commit;
use crate::status::tables::Checkpoints;

/// Its row stands while the store is not established.
const ROW: &str = "restoring";

impl Site {
    /// Notes at the first start of a store, or of a new life of one, that it has everything still to learn.
    pub(super) async fn note_restoring(&self) -> Result<()> {
        let (status, row) = (&self.inner.status, ROW.to_owned());
        if self.inner.neighbours.is_empty() {
            return Ok(());
        }
        // Asked before this store was opened (`replicate::greet`). Where all are new there is nothing to restore, and one that
        // does not answer cannot tell a new site from one that lost everything.
        let others_have_data = self.inner.neighbours.iter().any(|neighbour| neighbour.has_data());
        if status.facts().new && others_have_data {
            status.commit(Commit::new().put::<Checkpoints>(&row, &Vec::new())).await?;
        }
        let restoring = status.get::<Checkpoints>(&row).await?.is_some();
        self.inner.restoring.store(restoring, Ordering::Relaxed);
        Ok(())
    }

    /// It has what one of the others had.
    pub async fn established(&self) -> Result<()> {
        if self.inner.restoring.swap(false, Ordering::Relaxed) {
            self.inner.status.commit(Commit::new().delete::<Checkpoints>(&ROW.to_owned())).await?;
            tracing::info!("this site has what the others had when it met them");
        }
        Ok(())
    }

    /// Whether this site's absences prove anything.
    pub fn state(&self) -> SiteState {
        if self.inner.restoring.load(Ordering::Relaxed) { SiteState::Restoring } else { SiteState::Active }
    }

    /// Refuses what would take an absence for a fact.
    pub(super) fn require_established(&self) -> Result<()> {
        match self.state() {
            SiteState::Active => Ok(()),
            SiteState::Restoring => Err(Error::Unavailable {
                reason: "this site is still fetching what the others have: a list of it would be incomplete".into(),
                retry_after: std::time::Duration::from_secs(2),
            }),
        }
    }
}
