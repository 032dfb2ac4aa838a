//! Buckets: one to one, but for the home bucket, which nobody sees.

use std::sync::Arc;

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::Core;
use super::error::Answer;
use crate::backend::{Error, Result};
use crate::model::BucketName;

/// The one region of AWS that is not named when a bucket is made.
const UNNAMED_REGION: &str = "us-east-1";

impl Core {
    /// One that is ours already is success.
    pub(super) async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        if bucket.as_str() == self.settings.home {
            return Err(Error::Name(format!("in the bucket {bucket} the site keeps notes of its own")));
        }
        self.make_bucket(bucket.as_str()).await
    }

    async fn make_bucket(&self, bucket: &str) -> Result<()> {
        // Others refuse names of regions that they do not know.
        let is_aws = self.settings.endpoint.as_ref().is_none_or(|endpoint| endpoint.contains(".amazonaws.com"));
        let region = Some(self.settings.region.as_str()).filter(|region| is_aws && *region != UNNAMED_REGION);
        let constraint = region.map(|region| {
            let constraint = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(constraint).build()
        });
        let request = self.service.quick().create_bucket().bucket(bucket).set_create_bucket_configuration(constraint);
        match self.service.ask("making a bucket", request.send()).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.is(&["BucketAlreadyOwnedByYou"]) => Ok(()),
            // Some say so of what is ours.
            Err(fault) if fault.is(&["BucketAlreadyExists"]) => match self.look_at_bucket(bucket).await {
                Ok(()) => Ok(()),
                Err(denied) if denied.is_denied() => Err(Error::Name(format!(
                    "the bucket {bucket} belongs to another account of the service; choose another name"
                ))),
                Err(fault) => Err(fault.into()),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    pub(super) async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        let call = self.service.quick().head_bucket().bucket(bucket).send();
        self.service.ask("looking at a bucket", call).await.map(drop)
    }

    pub(super) async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        if bucket.as_str() == self.settings.home {
            return Err(Error::Name(format!("in the bucket {bucket} the site keeps notes of its own")));
        }
        let call = self.service.quick().delete_bucket().bucket(bucket.as_str()).send();
        match self.service.ask("removing a bucket", call).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.is(&["BucketNotEmpty"]) => {
                let name = self.first_name(bucket).await;
                Err(Error::NotEmpty(name.unwrap_or_else(|| "versions of the service's own, or uploads".to_owned())))
            }
            Err(fault) if fault.is(&["NoSuchBucket"]) || fault.is_missing() => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    pub(super) async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let (mut buckets, mut token) = (Vec::new(), None);
        loop {
            let call = self.service.quick().list_buckets().set_continuation_token(token.take()).send();
            let page = self.service.ask("listing the buckets", call).await?;
            let names = page.buckets().iter().filter_map(|bucket| bucket.name()).filter(|name| *name != self.settings.home);
            buckets.extend(names.filter_map(|name| BucketName::new(name).ok()));
            token = page.continuation_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        buckets.sort();
        buckets.dedup();
        Ok(buckets)
    }

    /// The bucket of notes, made where it is missing.
    pub(super) async fn open_home(self: &Arc<Self>) -> Result<()> {
        let home = &self.settings.home;
        match self.look_at_bucket(home).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.is_missing() || fault.is(&["NoSuchBucket"]) => self.make_bucket(home).await,
            Err(fault) => Err(fault.into()),
        }
    }
}
