//! What a store still has of a bucket whose row is a grave.

use futures::StreamExt;

use super::Site;
use super::error::Error;
use crate::backend::{self, FoundOwn, Place};
use crate::model::{BucketName, Location, ObjectId};
use crate::peer::SiteState;
use crate::status::tables::Settle;

impl Site {
    /// Removes such a bucket from the store, with what only waits there to be tidied up.
    pub(super) async fn remove_dead_bucket(&self, bucket: &BucketName) -> backend::Result<()> {
        match self.inner.backend.delete_bucket(bucket).await {
            Err(backend::Error::NotEmpty(_)) if self.state() == SiteState::Active => {}
            outcome => return outcome,
        }
        if let Err(reason) = self.tidy_up(bucket).await {
            tracing::warn!(%bucket, reason, "what is left of a deleted bucket in the store stays for now");
        }
        self.inner.backend.delete_bucket(bucket).await
    }

    /// Does what redo rows say of the bucket, which drop nothing that a row names, and removes names of earlier processes. What
    /// this one named may be a write that finds the bucket made again.
    async fn tidy_up(&self, bucket: &BucketName) -> Result<(), String> {
        let mut rows = Vec::new();
        let collected = self.each_row::<Settle>(|write, row| {
            if row.object().bucket == *bucket {
                rows.push((*write, row.clone()));
            }
        });
        collected.await.map_err(|err| err.to_string())?;
        for (write, row) in rows {
            self.redo(write, &row).await?;
        }
        self.remove_own_names(bucket).await.map_err(|err| err.to_string())
    }

    async fn remove_own_names(&self, bucket: &BucketName) -> Result<(), Error> {
        let mut listing = self.inner.backend.list_own(bucket, None);
        while let Some(found) = listing.next().await {
            let FoundOwn { found, write } = found?;
            let object = ObjectId { bucket: bucket.clone(), key: found.key };
            if self.inner.writes.is_of_this_start(write) || self.is_of_upload(&object, write).await? {
                continue;
            }
            self.remove_own_name(&Place { object, location: Location::Own(write) }).await?;
        }
        Ok(())
    }
}
