//! Telling a site again what it should have: whatever became of the first time, from here on a row of `pending` says it.

use super::apply::Known;
use super::error::Result;
use super::{CONFLICTS_MAX, Site};
use crate::model::{Event, ObjectId, Seq, SiteNumber, Slot, State, Unit, Vector};
use crate::status::tables::{Buckets, Graves, Pending};
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

/// A unit as it is, to be written once more.
pub(super) struct Rewritten {
    /// Under which it was told.
    pub seq: Seq,
    pub vector: Vector,
    pub commit: Commit,
}

impl Site {
    /// Owes a unit to `to` again, as it is here now. Nothing of the unit changes but the seq it was told under.
    pub async fn retell(&self, unit: &Unit, to: SiteNumber) -> Result<Retold> {
        for _ in 0..CONFLICTS_MAX {
            let Some(told) = self.rewritten(unit).await? else { return Ok(Retold::Unknown) };
            let owed = self.owed(unit, told.seq).await?;
            if owed.contains(&to) {
                return Ok(Retold::AlreadyOwed);
            }
            if self.told_to(unit, told, owed, &[to]).await? {
                return Ok(Retold::Told);
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Commits that a unit is told to these sites as it is; not if it changed meanwhile. A receipt is looked up under the seq
    /// of the row: whoever is still `owed` it under the old one is told again too. What was written here and stands under no
    /// seq came back to a site that had lost it, which knows of nobody that has it: everybody is told.
    pub(super) async fn told_to(
        &self,
        unit: &Unit,
        told: Rewritten,
        mut owed: Vec<SiteNumber>,
        to: &[SiteNumber],
    ) -> Result<bool> {
        if told.seq == Seq(0) && told.vector.greatest().parts().site == self.inner.id.number {
            owed = self.inner.neighbours.in_scope();
        }
        owed.extend(to.iter().filter(|site| !owed.contains(site)).copied().collect::<Vec<_>>());
        let event = Event { unit: unit.clone(), vector: told.vector };
        match self.inner.status.commit(told.commit.tell(event).to(Audience { owed, ..self.audience() })).await {
            Ok(_) => {
                if let Unit::Bucket(bucket) = unit {
                    self.forget_bucket(bucket);
                }
                tracing::debug!(stamp = %told.vector.data, %unit, ?to, "told again");
                Ok(true)
            }
            Err(CommitError::Conflict) => {
                self.count_conflict(unit.bucket());
                Ok(false)
            }
            Err(err) => Err(err.into()),
        }
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

    /// A commit that writes a unit's row as it is.
    pub(super) async fn rewritten(&self, unit: &Unit) -> Result<Option<Rewritten>> {
        match unit {
            Unit::Bucket(bucket) => {
                let stored = self.inner.status.get::<Buckets>(bucket).await?;
                Ok(stored.map(|stored| {
                    let commit =
                        Commit::new().expect::<Buckets>(bucket, Some(stored.revision)).put::<Buckets>(bucket, &stored.row);
                    Rewritten { seq: stored.seq, vector: Vector::of(stored.row.greatest()), commit }
                }))
            }
            Unit::Object { object, slot } => self.rewritten_object(object, *slot).await,
        }
    }

    async fn rewritten_object(&self, object: &ObjectId, slot: Slot) -> Result<Option<Rewritten>> {
        if let Some(stored) = self.inner.status.unit(object, slot).await? {
            if stored.row.state == State::Unread {
                return Ok(None);
            }
            let commit = Commit::new().expect_unit(object, slot, Some(stored.revision)).put_unit(object, &stored.row);
            return Ok(Some(Rewritten { seq: stored.seq, vector: stored.row.vector, commit }));
        }
        let key = (object.clone(), slot);
        let grave = self.inner.status.get::<Graves>(&key).await?;
        Ok(grave.map(|grave| {
            let commit = Commit::new().expect_unit(object, slot, None).expect::<Graves>(&key, Some(grave.revision));
            Rewritten { seq: grave.seq, vector: grave.row.vector(), commit: commit.put::<Graves>(&key, &grave.row) }
        }))
    }

    /// What this site wrote itself, lost, and gets back where something older was told under a seq. Of its own it says by the
    /// seq that everybody was told, so everybody is.
    pub(super) fn told_as_own(&self, object: &ObjectId, known: &Known, vector: Vector) -> Option<Commit> {
        let is_own = vector.greatest().parts().site == self.inner.id.number && known.seq() > Seq(0);
        is_own.then(|| Commit::new().tell(Event { unit: Unit::of(object, known.slot()), vector }).to(self.audience()))
    }

    /// A commit of what takes the place of what is here: who was owed that is owed this.
    pub(super) fn superseding(&self, object: &ObjectId, known: &Known, vector: Vector) -> Commit {
        let told = self.told_as_own(object, known, vector);
        told.unwrap_or_else(|| Commit::new().supersedes(self.inner.neighbours.numbers()))
    }
}
