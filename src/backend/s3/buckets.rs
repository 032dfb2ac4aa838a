//! Buckets of the service.

use aws_sdk_s3::types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration};

use super::S3;
use super::error::ask;
use crate::backend::service::{Answer, Fault};
use crate::model::Versioning;

/// The one region of AWS that is not named when a bucket is made.
const UNNAMED_REGION: &str = "us-east-1";

impl S3 {
    pub(super) async fn create_bucket(&self, bucket: &str) -> Answer<()> {
        // Others refuse names of regions that they do not know.
        let is_aws = self.settings.endpoint.as_ref().is_none_or(|endpoint| endpoint.contains(".amazonaws.com"));
        let region = Some(self.settings.region.as_str()).filter(|region| is_aws && *region != UNNAMED_REGION);
        let constraint = region.map(|region| {
            let constraint = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(constraint).build()
        });
        let request = self.caller.client().create_bucket().bucket(bucket).set_create_bucket_configuration(constraint);
        match ask("making a bucket", request.send()).await {
            Err(fault) if fault.is(&["BucketAlreadyOwnedByYou"]) => Ok(()),
            // Some say so of what is ours.
            Err(fault) if fault.is(&["BucketAlreadyExists"]) => self.head_bucket(bucket).await.map_err(|seen| match seen {
                // To a HEAD: it has no reason.
                seen if seen.status == Some(403) => Fault::foreign_bucket("making a bucket", bucket),
                seen => seen,
            }),
            made => made.map(drop),
        }
    }

    pub(super) async fn head_bucket(&self, bucket: &str) -> Answer<()> {
        ask("looking at a bucket", self.caller.client().head_bucket().bucket(bucket).send()).await.map(drop)
    }

    pub(super) async fn delete_bucket(&self, bucket: &str) -> Answer<()> {
        ask("removing a bucket", self.caller.client().delete_bucket().bucket(bucket).send()).await.map(drop)
    }

    pub(super) async fn bucket_versioning(&self, bucket: &str) -> Answer<Versioning> {
        let request = self.caller.client().get_bucket_versioning().bucket(bucket);
        let told = match ask("looking at a bucket's versioning", request.send()).await {
            Err(fault) if fault.is_unknown_call() => return Ok(Versioning::Off),
            // One that the access key may not ask, or that is in another region, keeps no other from being served.
            Err(fault) if is_refused(&fault) => {
                tracing::warn!(
                    bucket,
                    ?fault,
                    "whether it has versions is not told: what is current there is taken for all there is"
                );
                return Ok(Versioning::Off);
            }
            told => told?,
        };
        Ok(match told.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            _ => Versioning::Off,
        })
    }

    pub(super) async fn list_buckets(&self) -> Answer<Vec<String>> {
        let (mut buckets, mut token) = (Vec::new(), None);
        loop {
            let request = self.caller.client().list_buckets().set_continuation_token(token.take());
            let page = ask("listing the buckets", request.send()).await?;
            buckets.extend(page.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)));
            token = page.continuation_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(buckets);
            }
        }
    }
}

/// Whether the service will not answer, however often it is asked.
fn is_refused(fault: &Fault) -> bool {
    fault.is_forbidden() || !fault.is_denied() && matches!(fault.status, Some(301 | 307 | 400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_end_are_no_word_on_versions() {
        let fault =
            |status, code: &str| Fault { doing: "looking", status: Some(status), code: code.to_owned(), detail: String::new() };
        for (status, code) in [(403, "AccessDenied"), (400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect")] {
            assert!(is_refused(&fault(status, code)), "{code}");
        }
        for (status, code) in [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (503, "SlowDown")] {
            assert!(!is_refused(&fault(status, code)), "{code}");
        }
    }
}
