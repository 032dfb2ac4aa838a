//! Buckets: one to one, but for the home bucket, which nobody sees.

use super::store::Core;
use super::{Answer, Service};
use crate::backend::{Error, Result};
use crate::model::BucketName;

impl<S: Service> Core<S> {
    /// One that is ours already is success.
    pub(super) async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.check_not_home(bucket)?;
        self.make_bucket(bucket.as_str()).await?;
        self.note_bucket(bucket);
        Ok(())
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.quick("making a bucket", 0, || self.service.make_bucket(bucket)).await
    }

    pub(super) async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.quick("looking at a bucket", 0, || self.service.look_at_bucket(bucket)).await
    }

    pub(super) async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.check_not_home(bucket)?;
        if let Some(object) = self.waits_for_bucket(bucket) {
            return Err(Error::NotEmpty(format!("{object} waits in the buffer")));
        }
        match self.quick("removing a bucket", 0, || self.service.remove_bucket(bucket.as_str())).await {
            Err(fault) if fault.is_not_empty() => {
                let name = self.first_name(bucket).await;
                Err(Error::NotEmpty(name.unwrap_or_else(|| "versions of the service's own, or uploads".to_owned())))
            }
            // One of a name that the service does not take was never there.
            Err(fault) if fault.is_bucket_missing() || fault.is_missing() || fault.is_name_refused() => Ok(()),
            removed => Ok(removed?),
        }
    }

    pub(super) async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let names = self.quick("listing the buckets", 0, || self.service.buckets()).await?;
        let others = names.iter().filter(|name| **name != self.home);
        let mut buckets: Vec<_> = others.filter_map(|name| BucketName::new(name).ok()).collect();
        buckets.sort();
        buckets.dedup();
        Ok(buckets)
    }

    /// The bucket of notes, made where it is missing.
    pub(super) async fn open_home(&self) -> Result<()> {
        match self.look_at_bucket(&self.home).await {
            Err(fault) if fault.is_missing() || fault.is_bucket_missing() => self.make_bucket(&self.home).await?,
            seen => seen?,
        }
        Ok(())
    }

    fn check_not_home(&self, bucket: &BucketName) -> Result<()> {
        match bucket.as_str() == self.home {
            true => Err(Error::Name(format!("in the bucket {bucket} the site keeps notes of its own"))),
            false => Ok(()),
        }
    }
}
