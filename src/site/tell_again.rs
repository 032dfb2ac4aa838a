//! Telling the current state of a unit again, because a person asked for it: who was told before hears it as news.

use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{Event, Seq, SiteNumber, Slot, State, Unit, Vector};
use crate::status::tables::{Buckets, Failed, Graves, Objects, Pending};
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

/// A unit as it stands, and the commit that writes it again as it is.
struct Standing {
    commit: Commit,
    vector: Vector,
    /// Under which it was told last; 0 where it was not.
    seq: Seq,
}

impl Site {
    /// Tells these sites what a unit is now. Nothing of the unit changes but the seq under which it was told.
    pub async fn tell_again(&self, unit: &Unit, to: &[SiteNumber]) -> Result<ToldAgain> {
        for _ in 0..CONFLICTS_MAX {
            let standing = match self.standing_of(unit).await? {
                Ok(standing) => standing,
                Err(nothing) => return Ok(nothing),
            };
            let owed = self.owed_with(unit, standing.seq, to).await?;
            let audience = Audience { owed, ..self.audience() };
            let event = Event { unit: unit.clone(), vector: standing.vector };
            let forget = |commit: Commit, site: &SiteNumber| commit.delete::<Failed>(&(*site, unit.clone()));
            let commit = to.iter().fold(standing.commit.tell(event).to(audience), forget);
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    if let Unit::Bucket(bucket) = unit {
                        self.forget_bucket(bucket);
                    }
                    tracing::debug!(stamp = %standing.vector.data, %unit, "told again");
                    return Ok(ToldAgain::Queued);
                }
                Err(CommitError::Conflict) => self.count_conflict(unit.bucket()),
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::from(CommitError::Conflict))
    }

    /// Those named, and whoever is still owed the unit: receipts are looked up under the seq that the unit carries, which
    /// is a new one now.
    async fn owed_with(&self, unit: &Unit, seq: Seq, named: &[SiteNumber]) -> Result<Vec<SiteNumber>> {
        let mut owed = named.to_vec();
        for site in self.inner.neighbours.numbers() {
            let row = self.inner.status.get::<Pending>(&(site, seq)).await?;
            if !owed.contains(&site) && row.is_some_and(|row| row.row.unit == *unit) {
                owed.push(site);
            }
        }
        Ok(owed)
    }

    async fn standing_of(&self, unit: &Unit) -> Result<Result<Standing, ToldAgain>> {
        let object = match unit {
            Unit::Bucket(bucket) => {
                let Some(stored) = self.inner.status.get::<Buckets>(bucket).await? else { return Ok(Err(ToldAgain::Unknown)) };
                let commit = Commit::new().expect::<Buckets>(bucket, Some(stored.revision)).put::<Buckets>(bucket, &stored.row);
                return Ok(Ok(Standing { commit, vector: Vector::of(stored.row.greatest()), seq: stored.seq }));
            }
            Unit::Object { object, slot: Slot::Null } => object,
            Unit::Object { .. } => return Ok(Err(ToldAgain::Unknown)),
        };
        if let Some(stored) = self.current(object).await? {
            if stored.row.state == State::Wanted {
                return Ok(Err(ToldAgain::NoBytes));
            }
            let commit = Commit::new().expect::<Objects>(object, Some(stored.revision)).put::<Objects>(object, &stored.row);
            return Ok(Ok(Standing { commit, vector: stored.row.vector, seq: stored.seq }));
        }
        let slot = (object.clone(), Slot::Null);
        let Some(grave) = self.inner.status.get::<Graves>(&slot).await? else { return Ok(Err(ToldAgain::Unknown)) };
        let commit = Commit::new().expect::<Objects>(object, None).expect::<Graves>(&slot, Some(grave.revision));
        let vector = Vector::of(grave.row.stamp);
        Ok(Ok(Standing { commit: commit.put::<Graves>(&slot, &grave.row), vector, seq: grave.seq }))
    }
}
