//! Registers: what can be changed of an object without touching its bytes. Each has a stamp of its own.

use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{Event, ObjectId, Record, Stamp, Tags, Unit, Vector};
use crate::status::tables::{Buckets, Objects};
use crate::status::{Commit, CommitError};

impl Site {
    /// Replaces the tags of an object; none are fine. Tags are read with [`Site::head`].
    pub async fn set_tags(&self, object: &ObjectId, tags: Tags) -> Result<Stamp> {
        self.existing(object).await?;
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.set_tags_locked(&object, tags).await }).await
    }

    async fn set_tags_locked(&self, object: &ObjectId, tags: Tags) -> Result<Stamp> {
        let _key = self.inner.keys.lock(object).await;
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&object.bucket).await?;
            let stored = self.current(object).await?.ok_or(Error::NoSuchKey)?;
            let stamp = self.inner.clock.tick(Some(stored.row.vector.greatest()));
            let mut record: Record = stored.row.clone();
            record.vector = Vector { tags: Some(stamp), ..record.vector };
            planted!(OneStampForAll => {
                record.vector = Vector::of(stamp);
            });
            record.identity.tags.clone_from(&tags);
            let commit = Commit::new()
                .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                .expect::<Objects>(object, Some(stored.revision))
                .put::<Objects>(object, &record)
                .tell(Event { unit: Unit::null(object), vector: record.vector })
                .to(self.audience());
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    tracing::debug!(%stamp, %object, "tags written");
                    return Ok(stamp);
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }
}
