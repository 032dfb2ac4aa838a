//! A site may take an absence for a fact only once it has what the others had when it met them, in this life of its data:
//! until then a list of it would make sync tools delete the rest (protocol §8, §11).
//!
//! The rule is one for a new site, one that lost everything and one that came back from a snapshot, since none can tell which
//! of them it is: every other site was heard in this life, and what each had was compared and has arrived. A site that told
//! nobody anything has nothing. What another one that is restoring itself still lacks need not be waited for: whoever has it is
//! to be compared too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Site;
use super::error::{Error, Result};
use crate::peer::SiteState;

/// When to come back while this site gets its data.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Site {
    /// Decides at the start whether this site has everything still to learn.
    pub(super) async fn note_restoring(&self) -> Result<()> {
        let facts = self.inner.status.facts();
        self.inner.restoring.store(facts.established != facts.incarnation, Ordering::Relaxed);
        // A lone site knows everything there is, and so do several that are all new and met before anybody was served.
        self.establish().await?;
        if self.inner.restoring.load(Ordering::Relaxed) {
            tracing::warn!(reason = self.lacking(), "objects are not listed yet");
        }
        Ok(())
    }

    /// Takes absences here for facts from now on, unless something is still to be learned. Durable.
    pub async fn establish(&self) -> Result<()> {
        let learned = self.inner.neighbours.iter().all(|neighbour| neighbour.is_learned());
        if learned && self.inner.restoring.load(Ordering::Relaxed) {
            self.inner.status.establish().await?;
            self.inner.restoring.store(false, Ordering::Relaxed);
            tracing::info!("this site has what the others had when it met them");
        }
        Ok(())
    }

    /// Whether this site's absences prove anything.
    pub fn state(&self) -> SiteState {
        let is_restoring = self.inner.restoring.load(Ordering::Relaxed) || self.is_rebuilding();
        if is_restoring { SiteState::Restoring } else { SiteState::Active }
    }

    /// Refuses what would take an absence for a fact.
    pub(super) fn require_established(&self) -> Result<()> {
        self.require_rebuilt()?;
        match self.state() {
            SiteState::Active => Ok(()),
            SiteState::Restoring if planted!(RestoringLists) => Ok(()),
            SiteState::Restoring => Err(Error::Unavailable { reason: self.lacking(), retry_after: RETRY_AFTER }),
        }
    }

    /// What a list of this site would lack, and what a person can do about it.
    fn lacking(&self) -> String {
        let unheard = self.inner.neighbours.iter().filter(|neighbour| neighbour.seen().heads.is_none());
        let unheard: Vec<&str> = unheard.map(|neighbour| neighbour.id.name.as_str()).collect();
        if unheard.is_empty() {
            return "this site is still fetching what the others have: a list of it would be incomplete".into();
        }
        format!(
            "this site's store is new and has not heard of {} yet, which may have more: a list of it would be incomplete. \
             A site that does not exist yet is best left out of the settings ([[peer]]) until it does",
            unheard.join(", ")
        )
    }
}
