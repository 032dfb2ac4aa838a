//! Telling the current state of a unit again, because a person asked for it: who was told before hears it as news.

use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{Event, SiteNumber, Slot, State, Unit};
use crate::status::tables::Failed;
use crate::status::{Audience, Commit, CommitError};

/// What telling a unit again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldAgain {
    /// The sites are owed it now; what they had refused of it is forgotten.
    Queued,
    /// Nothing is known of it here.
    Unknown,
    /// Its bytes are missing here: nobody could fetch it.
    NoBytes,
}

impl Site {
    /// Tells these sites what a unit is now. Nothing of the unit changes but the seq under which it was told.
    pub async fn tell_again(&self, unit: &Unit, to: &[SiteNumber]) -> Result<ToldAgain> {
        for _ in 0..CONFLICTS_MAX {
            if self.lacks_bytes(unit).await? {
                return Ok(ToldAgain::NoBytes);
            }
            let Some((seq, vector, commit)) = self.rewritten(unit).await? else { return Ok(ToldAgain::Unknown) };
            // Receipts are looked up under the seq of the row: whoever is still owed it under the old one is told again too.
            let mut owed = self.owed(unit, seq).await?;
            owed.extend(to);
            owed.sort_unstable();
            owed.dedup();
            let audience = Audience { owed, ..self.audience() };
            let event = Event { unit: unit.clone(), vector };
            let forget = |commit: Commit, site: &SiteNumber| commit.delete::<Failed>(&(*site, unit.clone()));
            let commit = to.iter().fold(commit.tell(event).to(audience), forget);
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    if let Unit::Bucket(bucket) = unit {
                        self.forget_bucket(bucket);
                    }
                    tracing::debug!(stamp = %vector.data, %unit, "told again");
                    return Ok(ToldAgain::Queued);
                }
                Err(CommitError::Conflict) => self.count_conflict(unit.bucket()),
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::from(CommitError::Conflict))
    }

    /// Whether it is known here without its bytes.
    async fn lacks_bytes(&self, unit: &Unit) -> Result<bool> {
        let Unit::Object { object, slot: Slot::Null } = unit else { return Ok(false) };
        Ok(self.current(object).await?.is_some_and(|stored| stored.row.state == State::Wanted))
    }
}
