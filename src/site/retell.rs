//! Telling a site again what it should have: whatever became of the first time, from here on a row of `pending` says it.

use super::error::Result;
use super::{CONFLICTS_MAX, Site};
use crate::model::{Event, ObjectId, Seq, SiteNumber, Slot, Unit, Vector};
use crate::status::tables::{Buckets, Graves, Objects, Pending};
use crate::status::{Audience, Commit, CommitError};

/// What telling again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retold {
    /// It is owed the unit from now on.
    Told,
    /// It was owed it already.
    AlreadyOwed,
    /// Nothing is known of the unit here.
    Unknown,
}

impl Site {
    /// Owes a unit to `to` again, as it is here now. Nothing of the unit changes but the seq it was told under.
    pub async fn retell(&self, unit: &Unit, to: SiteNumber) -> Result<Retold> {
        for _ in 0..CONFLICTS_MAX {
            let Some((seq, vector, commit)) = self.rewritten(unit).await? else { return Ok(Retold::Unknown) };
            let owed = self.owed(unit, seq).await?;
            if owed.contains(&to) {
                return Ok(Retold::AlreadyOwed);
            }
            // A receipt is looked up under the seq of the row: whoever is still owed it under the old one is told again too.
            let neighbours = self.neighbours();
            let owed = owed.into_iter().chain([to]).collect();
            let audience = Audience { owed, known: neighbours.numbers(), bus: neighbours.bus };
            let commit = commit.tell(Event { unit: unit.clone(), vector }).to(audience);
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    if let Unit::Bucket(bucket) = unit {
                        self.forget_bucket(bucket);
                    }
                    tracing::debug!(stamp = %vector.data, %unit, site = to.0, "told again");
                    return Ok(Retold::Told);
                }
                Err(CommitError::Conflict) => self.count_conflict(unit.bucket()),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Which sites are owed the state of a unit that was told under `seq`.
    pub async fn owed(&self, unit: &Unit, seq: Seq) -> Result<Vec<SiteNumber>> {
        let mut owed = Vec::new();
        for site in self.neighbours().numbers() {
            let pending = match self.inner.status.owed(site) {
                0 => None,
                _ => self.inner.status.get::<Pending>(&(site, seq)).await?,
            };
            if pending.is_some_and(|pending| pending.row.unit == *unit) {
                owed.push(site);
            }
        }
        Ok(owed)
    }

    /// The seq and vector of a unit, and a commit that writes its row as it is.
    pub(super) async fn rewritten(&self, unit: &Unit) -> Result<Option<(Seq, Vector, Commit)>> {
        match unit {
            Unit::Bucket(bucket) => {
                let stored = self.inner.status.get::<Buckets>(bucket).await?;
                Ok(stored.map(|stored| {
                    let commit = Commit::new().expect::<Buckets>(bucket, Some(stored.revision));
                    (stored.seq, Vector::of(stored.row.greatest()), commit.put::<Buckets>(bucket, &stored.row))
                }))
            }
            Unit::Object { object, slot: Slot::Null } => self.rewritten_object(object).await,
            Unit::Object { .. } => Ok(None),
        }
    }

    async fn rewritten_object(&self, object: &ObjectId) -> Result<Option<(Seq, Vector, Commit)>> {
        if let Some(stored) = self.current(object).await? {
            let commit = Commit::new().expect::<Objects>(object, Some(stored.revision));
            return Ok(Some((stored.seq, stored.row.vector, commit.put::<Objects>(object, &stored.row))));
        }
        let slot = (object.clone(), Slot::Null);
        let grave = self.inner.status.get::<Graves>(&slot).await?;
        Ok(grave.map(|grave| {
            let commit = Commit::new().expect::<Objects>(object, None).expect::<Graves>(&slot, Some(grave.revision));
            (grave.seq, Vector::of(grave.row.stamp), commit.put::<Graves>(&slot, &grave.row))
        }))
    }
}
