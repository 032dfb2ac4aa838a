//! Switching a bucket's versioning (protocol §6): told to every site, and waited for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{Error, Result};
use super::{Replication, Site};
use crate::model::{Bucket, BucketName, ObjectLock, Stamp, Unit, Vector, Versioning};

/// How long the other sites have to hear of a switch before the answer names those that have not.
const PATIENCE: Duration = Duration::from_secs(10);

impl Site {
    /// Makes writes to a bucket versions, or no longer. Answers the sites that have not heard of it yet: what is written there
    /// replaces the null version meanwhile, which S3's own propagation allows too.
    pub async fn set_versioning(&self, bucket: &BucketName, versioning: Versioning) -> Result<Vec<String>> {
        let switched = move |row: Bucket, stamp| match row.object_lock() {
            Some(_) if versioning != Versioning::Enabled => Err(Error::BucketState(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            )),
            _ => Ok(row.with_versioning(versioning, stamp)),
        };
        let stamp = self.change_bucket(bucket, switched).await?;
        self.told_of_bucket(bucket, stamp).await
    }

    /// Gives a bucket that has versions object lock, or another default retention. Answers as [`Site::set_versioning`] does.
    pub async fn set_object_lock(&self, bucket: &BucketName, lock: ObjectLock) -> Result<Vec<String>> {
        let locked = move |row: Bucket, stamp| match row.versioning() {
            Versioning::Enabled => Ok(row.with_object_lock(lock, stamp)),
            _ => Err(Error::BucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")),
        };
        let stamp = self.change_bucket(bucket, locked).await?;
        self.told_of_bucket(bucket, stamp).await
    }

    /// Waits until every site in scope has a bucket as it was written with this stamp; names those that have not.
    async fn told_of_bucket(&self, bucket: &BucketName, stamp: Stamp) -> Result<Vec<String>> {
        let (unit, deadline) = (Unit::Bucket(bucket.clone()), Instant::now() + PATIENCE);
        let mut answered = self.inner.status.answered();
        loop {
            answered.mark_unchanged();
            let Some(seq) = self.told_under(&unit).await? else { return Ok(Vec::new()) };
            let stands = self.replication(&unit, &Vector::of(stamp), seq).await?.unwrap_or_default();
            let lacking = stands.into_iter().filter(|(_, stands)| *stands != Replication::Completed);
            let names: Vec<_> =
                lacking.filter_map(|(site, _)| self.inner.neighbours.get(site)).map(|one| one.id.name.clone()).collect();
            if names.is_empty() || Instant::now() >= deadline {
                return Ok(names);
            }
            tokio::select! {
                _ = answered.changed() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}
