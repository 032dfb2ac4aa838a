//! Documents of a bucket that say something of the bucket alone: its tags, who owns what is in it, what is kept from
//! strangers. Each is a register, so that every site says the same.

use std::sync::Arc;

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::gate::Rewrite;
use super::{Face, acl, convert, error, tagging};
use crate::model::{Bucket, Ownership, PublicAccess, Stamp, Tags};
use crate::status::Stored;

type Answer<T> = S3Result<S3Response<T>>;

/// Largest document of a bucket, bytes as it is kept: a row has room for all of them, which different sites may write at once.
pub const BYTES_MAX: usize = 10 << 10;
/// The same of a lifecycle.
pub const LIFECYCLE_BYTES_MAX: usize = 24 << 10;

/// Refuses what would crowd out a bucket's other documents.
pub fn check_size(bytes: usize, bytes_max: usize) -> S3Result<()> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(error::invalid_request(format!(
        "The document has {bytes} bytes as it is kept, more than the {bytes_max} there is room for"
    )))
}

/// Writes a document of a bucket.
pub async fn write(face: &Face, bucket: &str, change: impl Fn(Bucket, Stamp) -> Bucket + Send + Sync + 'static) -> S3Result<()> {
    let name = convert::bucket_name(bucket)?;
    let changed = face.site.change_bucket(&name, move |row, stamp| Ok(change(row, stamp))).await;
    changed.map(drop).map_err(error::from_site)
}

/// The row of a bucket.
pub async fn read(face: &Face, bucket: &str) -> S3Result<Arc<Stored<Bucket>>> {
    let name = convert::bucket_name(bucket)?;
    face.site.bucket_registers(&name).await.map_err(error::from_site)
}

/// GetBucketTagging.
pub async fn get_tags(face: &Face, req: S3Request<GetBucketTaggingInput>) -> Answer<GetBucketTaggingOutput> {
    let tags = read(face, &req.input.bucket).await?.row.tags().ok_or_else(error::no_tags)?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tagging::shown(&tags) }))
}

/// PutBucketTagging.
pub async fn put_tags(face: &Face, req: S3Request<PutBucketTaggingInput>) -> Answer<PutBucketTaggingOutput> {
    let tags = tagging::of_bucket(req.input.tagging.tag_set)?;
    check_size(tags.iter().map(|(name, value)| name.len() + value.len() + 6).sum(), BYTES_MAX)?;
    write(face, &req.input.bucket, move |row, stamp| row.with_tags(Some(&tags).filter(|tags| !Tags::is_empty(tags)), stamp))
        .await?;
    let mut response = S3Response::new(PutBucketTaggingOutput::default());
    response.extensions.insert(Rewrite { status: Some(StatusCode::NO_CONTENT), document: None });
    Ok(response)
}

/// DeleteBucketTagging.
pub async fn delete_tags(face: &Face, req: S3Request<DeleteBucketTaggingInput>) -> Answer<DeleteBucketTaggingOutput> {
    write(face, &req.input.bucket, |row, stamp| row.with_tags(None, stamp)).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput {}))
}

/// GetBucketOwnershipControls.
pub async fn get_ownership(
    face: &Face,
    req: S3Request<GetBucketOwnershipControlsInput>,
) -> Answer<GetBucketOwnershipControlsOutput> {
    let ownership = read(face, &req.input.bucket).await?.row.ownership().ok_or_else(error::no_ownership_controls)?;
    let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(ownership.name()) };
    let shown = OwnershipControls { rules: vec![rule] };
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(shown) }))
}

/// PutBucketOwnershipControls.
pub async fn put_ownership(
    face: &Face,
    req: S3Request<PutBucketOwnershipControlsInput>,
) -> Answer<PutBucketOwnershipControlsOutput> {
    let [rule] = req.input.ownership_controls.rules.as_slice() else { return Err(error::malformed_xml()) };
    let ownership = Ownership::named(rule.object_ownership.as_str()).ok_or_else(error::malformed_xml)?;
    let bucket = &read(face, &req.input.bucket).await?.row;
    // Two sites may have opened the bucket and switched lists off at once: that is said again to be rid of it.
    if bucket.ownership() != Some(ownership) {
        acl::check_ownership(Some(ownership), &bucket.acl())?;
    }
    write(face, &req.input.bucket, move |row, stamp| row.with_ownership(Some(ownership), stamp)).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// DeleteBucketOwnershipControls.
pub async fn delete_ownership(
    face: &Face,
    req: S3Request<DeleteBucketOwnershipControlsInput>,
) -> Answer<DeleteBucketOwnershipControlsOutput> {
    write(face, &req.input.bucket, |row, stamp| row.with_ownership(None, stamp)).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput {}))
}

/// GetPublicAccessBlock.
pub async fn get_public_access(face: &Face, req: S3Request<GetPublicAccessBlockInput>) -> Answer<GetPublicAccessBlockOutput> {
    let access = read(face, &req.input.bucket).await?.row.public_access().ok_or_else(error::no_public_access_block)?;
    let shown = PublicAccessBlockConfiguration {
        block_public_acls: Some(access.block_acls),
        ignore_public_acls: Some(access.ignore_acls),
        block_public_policy: Some(access.block_policy),
        restrict_public_buckets: Some(access.restrict),
    };
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(shown) }))
}

/// PutPublicAccessBlock.
pub async fn put_public_access(face: &Face, req: S3Request<PutPublicAccessBlockInput>) -> Answer<PutPublicAccessBlockOutput> {
    let asked = req.input.public_access_block_configuration;
    let access = PublicAccess {
        block_acls: asked.block_public_acls.unwrap_or(false),
        ignore_acls: asked.ignore_public_acls.unwrap_or(false),
        block_policy: asked.block_public_policy.unwrap_or(false),
        restrict: asked.restrict_public_buckets.unwrap_or(false),
    };
    write(face, &req.input.bucket, move |row, stamp| row.with_public_access(Some(&access), stamp)).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// DeletePublicAccessBlock.
pub async fn delete_public_access(
    face: &Face,
    req: S3Request<DeletePublicAccessBlockInput>,
) -> Answer<DeletePublicAccessBlockOutput> {
    write(face, &req.input.bucket, |row, stamp| row.with_public_access(None, stamp)).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_document_crowds_out_the_others() {
        assert!(check_size(BYTES_MAX, BYTES_MAX).is_ok());
        assert_eq!(check_size(BYTES_MAX + 1, BYTES_MAX).unwrap_err().code().as_str(), "InvalidRequest");
    }
}
