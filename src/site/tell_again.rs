//! Telling the current state of a unit again, because a person asked for it: who was told before hears it as news.

use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{SiteNumber, State, Unit};
use crate::status::tables::Failed;
use crate::status::{Commit, CommitError};

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
            let Some(mut told) = self.rewritten(unit).await? else { return Ok(ToldAgain::Unknown) };
            let forget = |commit: Commit, site: &SiteNumber| commit.delete::<Failed>(&(*site, unit.clone()));
            told.commit = to.iter().fold(told.commit, forget);
            let owed = self.owed(unit, told.seq).await?;
            if self.told_to(unit, told, owed, to).await? {
                return Ok(ToldAgain::Queued);
            }
        }
        Err(Error::from(CommitError::Conflict))
    }

    /// Whether it is known here without its bytes.
    async fn lacks_bytes(&self, unit: &Unit) -> Result<bool> {
        let Unit::Object { object, slot } = unit else { return Ok(false) };
        Ok(self.inner.status.unit(object, *slot).await?.is_some_and(|stored| stored.row.state == State::Wanted))
    }
}
