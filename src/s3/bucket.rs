//! Buckets: create, delete, look at, list.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use http::HeaderName;

use super::list::Token;
use super::{Face, Settings, acl, auth, convert, error};
use crate::model::{Acl, BucketName, ObjectLock, Ownership};
use crate::site::{BucketInfo, Error};

/// The region whose buckets S3 shows without a location, and where making one's own bucket again is no error.
pub const FIRST_REGION: &str = "us-east-1";

const BUCKETS_MAX: usize = 10_000;

const LOCK: HeaderName = HeaderName::from_static("x-amz-bucket-object-lock-enabled");

/// CreateBucket.
pub async fn create(face: &Face, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    let bucket = convert::bucket_name(&req.input.bucket)?;
    let mut location = face.settings.region.as_str();
    if let Some(config) = &req.input.create_bucket_configuration {
        if config.tags.as_ref().is_some_and(|tags| !tags.is_empty()) || config.bucket.is_some() || config.location.is_some() {
            return Err(error::not_implemented("bucket tags, types and zones in CreateBucketConfiguration"));
        }
        location = asked_location(config.location_constraint.as_ref().map(BucketLocationConstraint::as_str), &face.settings)?;
    }
    let owner = auth::caller(&req.extensions)?.owner();
    let has_lock = match req.headers.get(LOCK).map(|value| value.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"false") => false,
        Some(b"true") => true,
        Some(_) => return Err(error::invalid_argument("x-amz-bucket-object-lock-enabled is true or false")),
    };
    let (list, ownership) = acl::of_new_bucket(face, owner, &req.headers)?;
    let registers = |row: crate::model::Bucket, stamp| {
        let row = if has_lock { row.with_object_lock(ObjectLock::default(), stamp) } else { row };
        let row = if list == row.acl() { row } else { row.with_acl(&list, stamp) };
        if ownership.is_some() { row.with_ownership(ownership, stamp) } else { row }
    };
    match face.site.create_bucket_with(&bucket, owner, location, registers).await {
        Ok(_) => {}
        Err(Error::BucketAlreadyOwnedByYou) if location == FIRST_REGION && is_so(face, &bucket, &list, ownership).await? => {}
        Err(err) => return Err(error::from_site(err)),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")), ..CreateBucketOutput::default() }))
}

/// Whether a bucket is already as it is asked for: what it is not, nobody must take for granted.
async fn is_so(face: &Face, bucket: &BucketName, list: &Acl, ownership: Option<Ownership>) -> S3Result<bool> {
    let row = &face.site.bucket_registers(bucket).await.map_err(error::from_site)?.row;
    let is_there = !face.settings.locations.contains(&row.region);
    let is_asked = *list != Acl::private(&row.owner);
    Ok(is_there && (!is_asked || row.acl() == *list) && (ownership.is_none() || row.ownership() == ownership))
}

/// A bucket is where its endpoint is, or at a location that routes name.
fn asked_location<'a>(constraint: Option<&str>, settings: &'a Settings) -> S3Result<&'a str> {
    let mut known = settings.regions();
    match constraint {
        None | Some("") => Ok(&settings.region),
        Some("EU") if settings.region == "eu-west-1" => Ok(&settings.region),
        Some(asked) => known.find(|known| *known == asked).ok_or_else(|| {
            let known: Vec<_> = settings.regions().collect();
            error::illegal_location(asked, &known)
        }),
    }
}

/// DeleteBucket.
pub async fn delete(face: &Face, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = convert::bucket_name(&req.input.bucket)?;
    face.site.delete_bucket(&bucket).await.map_err(error::from_site)?;
    Ok(S3Response::new(DeleteBucketOutput {}))
}

/// HeadBucket.
pub async fn head(face: &Face, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    let info = info(face, &req.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(info.region), ..HeadBucketOutput::default() }))
}

/// GetBucketLocation.
pub async fn location(face: &Face, req: S3Request<GetBucketLocationInput>) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let info = info(face, &req.input.bucket).await?;
    let constraint = Some(info.region).filter(|region| region != FIRST_REGION);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: constraint.map(BucketLocationConstraint::from) }))
}

pub async fn info(face: &Face, bucket: &str) -> S3Result<BucketInfo> {
    face.site.bucket(&convert::bucket_name(bucket)?).await.map_err(error::from_site)
}

/// ListBuckets: those the caller may see.
pub async fn list(face: &Face, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let caller = auth::caller(&req.extensions)?;
    let max = match req.input.max_buckets {
        Some(asked @ ..=0) => return Err(error::invalid_argument(format!("max-buckets must be at least 1, not {asked}"))),
        asked => convert::limit(asked, "max-buckets", BUCKETS_MAX)?,
    };
    let after = req.input.continuation_token.as_deref().map(Token::read).transpose()?;
    let all = face.site.listed_buckets().await.map_err(error::from_site)?;
    let wanted = |info: &BucketInfo| {
        let name = info.name.as_str();
        caller.sees(name, &info.owner)
            && after.as_ref().is_none_or(|after| name > after.as_str())
            && req.input.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
            && req.input.bucket_region.as_ref().is_none_or(|region| info.region == *region)
    };
    let mut found: Vec<_> = all.into_iter().filter(wanted).take(max + 1).collect();
    let more = found.len() > max;
    found.truncate(max);
    let token = found.last().filter(|_| more).map(|info| Token::write(info.name.as_str()));
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(found.into_iter().map(shown).collect()),
        continuation_token: token,
        owner: Some(convert::owner(caller.owner())),
        prefix: req.input.prefix,
    }))
}

fn shown(info: BucketInfo) -> Bucket {
    Bucket {
        bucket_region: Some(info.region),
        creation_date: Some(convert::timestamp(info.created_ms)),
        name: Some(info.name.as_str().to_owned()),
        ..Bucket::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lies_in_the_region_of_its_endpoint_or_at_a_location_of_a_route() {
        let lies = |constraint, region: &str| {
            let settings =
                Settings { region: region.into(), locations: vec!["cold".into(), "archive".into()], ..Settings::default() };
            asked_location(constraint, &settings).map(str::to_owned)
        };
        for absent in [None, Some("")] {
            assert_eq!(lies(absent, "us-east-1").unwrap(), "us-east-1");
        }
        assert_eq!(lies(Some("eu-west-1"), "eu-west-1").unwrap(), "eu-west-1");
        assert_eq!(lies(Some("EU"), "eu-west-1").unwrap(), "eu-west-1");
        assert_eq!(lies(Some("archive"), "us-east-1").unwrap(), "archive");
        let err = lies(Some("ap-south-1"), "us-east-1").unwrap_err();
        assert_eq!(err.code().as_str(), "IllegalLocationConstraintException");
        assert!(err.message().unwrap().ends_with("There are: us-east-1, cold, archive."), "{err:?}");
    }
}
