//! A DELETE: a grave and the removal to be redone in one commit, the answer, then the store.

use super::error::Result;
use super::land::without_part_map;
use super::settle::{UNSETTLED_MAX, Unsettled};
use super::types::{Deleted, WriteConditions};
use super::{CONFLICTS_MAX, Site, precondition};
use crate::model::{Event, Location, ObjectId, Record, Slot, State, Unit, Vector, WriteId};
use crate::status::tables::{Buckets, Grave, Graves, Objects, Settle, Settling};
use crate::status::{Commit, CommitError};

impl Site {
    /// Deletes an object. One that is not there is fine, unless a condition wants it.
    pub async fn delete(&self, object: &ObjectId, conditions: WriteConditions) -> Result<Deleted> {
        // Longer than writes: deleting is what helps a store in need.
        self.refuse_when_behind(2 * UNSETTLED_MAX)?;
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.delete_locked(&object, &conditions).await }).await
    }

    async fn delete_locked(&self, object: &ObjectId, conditions: &WriteConditions) -> Result<Deleted> {
        self.known_bucket(&object.bucket).await?;
        self.learn(object, conditions).await?;
        let _key = self.inner.keys.lock(object).await;
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&object.bucket).await?;
            let current = self.current(object).await?;
            precondition::write(conditions, current.as_ref().map(|stored| &stored.row))?;
            let (row, revision) = (current.as_ref().map(|stored| &stored.row), current.as_ref().map(|stored| stored.revision));
            // Where there are others one of them may hold it, whatever is known here: an older grave here does not reach
            // what was written there since. So may the store of a site whose rows were lost.
            if row.is_none() && self.inner.neighbours.is_empty() && !self.is_rebuilding() {
                return Ok(Deleted { stamp: None });
            }
            let stamp = self.inner.clock.tick(row.map(|record| record.vector.greatest()));
            let write = self.inner.writes.next();
            let commit = Commit::new()
                .frees()
                .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                .expect::<Objects>(object, revision)
                .tell(Event { unit: Unit::null(object), vector: Vector::of(stamp) })
                .to(self.audience());
            let grave = Grave { stamp, base: row.map(|record| record.vector.data), told: None };
            match self.inner.status.commit(buried(commit, object, row, &grave, write)).await {
                Ok(_) => {
                    tracing::debug!(%stamp, %object, "deleted");
                    if let Some(record) = row {
                        self.remove_bytes(object, record, write).await;
                    }
                    return Ok(Deleted { stamp: Some(stamp) });
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// The delete is durable already: what fails here is tried again by the settler.
    pub(super) async fn remove_bytes(&self, object: &ObjectId, record: &Record, write: WriteId) {
        if record.state != State::Present {
            return;
        }
        let removed = self.inner.backend.delete(&super::plain(object), &record.binding).await;
        if let Err(err) = &removed {
            tracing::warn!(%object, error = %err, "the bytes of a deleted object are still in the store");
        }
        self.inner.settler.add(Unsettled { write, object: object.clone(), staged: None, done: removed.is_ok() });
    }
}

/// Grave, removal and what the record leaves behind: apart, a crash would bring the object back or leave its bytes.
pub(super) fn buried(commit: Commit, object: &ObjectId, record: Option<&Record>, grave: &Grave, write: WriteId) -> Commit {
    let mut commit = match planted!(DeleteWithoutGrave) {
        true => commit,
        false => commit.put::<Graves>(&(object.clone(), Slot::Null), grave),
    };
    let Some(record) = record else { return commit };
    commit = commit.delete::<Objects>(object);
    commit = without_part_map(commit, object, record, 0);
    if record.state == State::Present {
        let removal = Settling::Remove { object: object.clone(), location: Location::Plain, binding: record.binding.clone() };
        commit = commit.put::<Settle>(&write, &removal);
    }
    commit
}
