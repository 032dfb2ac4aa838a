//! Subresources that no bucket has here: what is asked of them is answered as S3 answers for a bucket without, since clients
//! ask before they do anything else. Putting one answers NotImplemented.

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::{Face, auth, convert, documents, error};

type Answer<T> = S3Result<S3Response<T>>;

/// What a bucket that is there answers.
async fn of<T>(face: &Face, bucket: &str, output: T) -> Answer<T> {
    face.site.bucket(&convert::bucket_name(bucket)?).await.map_err(error::from_site)?;
    Ok(S3Response::new(output))
}

/// The refusal of a bucket that is there.
async fn none<T>(face: &Face, bucket: &str, refusal: fn() -> S3Error) -> Answer<T> {
    face.site.bucket(&convert::bucket_name(bucket)?).await.map_err(error::from_site)?;
    Err(refusal())
}

pub async fn get_policy(face: &Face, req: S3Request<GetBucketPolicyInput>) -> Answer<GetBucketPolicyOutput> {
    none(face, &req.input.bucket, error::no_policy).await
}

pub async fn delete_policy(face: &Face, req: S3Request<DeleteBucketPolicyInput>) -> Answer<DeleteBucketPolicyOutput> {
    of(face, &req.input.bucket, DeleteBucketPolicyOutput {}).await
}

/// Without policies it is the list that makes a bucket public, where it counts.
pub async fn policy_status(face: &Face, req: S3Request<GetBucketPolicyStatusInput>) -> Answer<GetBucketPolicyStatusOutput> {
    let bucket = documents::read(face, &req.input.bucket).await?;
    let is_public = auth::counting(bucket.row.acl(), &bucket.row).is_some_and(|list| list.is_public());
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(is_public) }) }))
}

pub async fn get_encryption(face: &Face, req: S3Request<GetBucketEncryptionInput>) -> Answer<GetBucketEncryptionOutput> {
    none(face, &req.input.bucket, error::no_encryption_configuration).await
}

pub async fn delete_encryption(face: &Face, req: S3Request<DeleteBucketEncryptionInput>) -> Answer<DeleteBucketEncryptionOutput> {
    of(face, &req.input.bucket, DeleteBucketEncryptionOutput {}).await
}

pub async fn get_website(face: &Face, req: S3Request<GetBucketWebsiteInput>) -> Answer<GetBucketWebsiteOutput> {
    none(face, &req.input.bucket, error::no_website).await
}

pub async fn delete_website(face: &Face, req: S3Request<DeleteBucketWebsiteInput>) -> Answer<DeleteBucketWebsiteOutput> {
    of(face, &req.input.bucket, DeleteBucketWebsiteOutput {}).await
}

pub async fn get_replication(face: &Face, req: S3Request<GetBucketReplicationInput>) -> Answer<GetBucketReplicationOutput> {
    none(face, &req.input.bucket, error::no_replication).await
}

pub async fn delete_replication(
    face: &Face,
    req: S3Request<DeleteBucketReplicationInput>,
) -> Answer<DeleteBucketReplicationOutput> {
    of(face, &req.input.bucket, DeleteBucketReplicationOutput {}).await
}

pub async fn get_logging(face: &Face, req: S3Request<GetBucketLoggingInput>) -> Answer<GetBucketLoggingOutput> {
    of(face, &req.input.bucket, GetBucketLoggingOutput::default()).await
}

pub async fn get_notification(
    face: &Face,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> Answer<GetBucketNotificationConfigurationOutput> {
    of(face, &req.input.bucket, GetBucketNotificationConfigurationOutput::default()).await
}

pub async fn get_request_payment(
    face: &Face,
    req: S3Request<GetBucketRequestPaymentInput>,
) -> Answer<GetBucketRequestPaymentOutput> {
    let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
    of(face, &req.input.bucket, GetBucketRequestPaymentOutput { payer }).await
}

pub async fn get_accelerate(
    face: &Face,
    req: S3Request<GetBucketAccelerateConfigurationInput>,
) -> Answer<GetBucketAccelerateConfigurationOutput> {
    of(face, &req.input.bucket, GetBucketAccelerateConfigurationOutput::default()).await
}
