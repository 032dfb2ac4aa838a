//! Which version of an object a request names, and which an answer speaks of; a bucket's versioning.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, MFADelete, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{Face, bucket, convert, error};
use crate::model::{BucketName, ObjectId, Slot, Versioning};
use crate::site::{Deleted, Site};

const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// The version that `versionId=` names. One that a store issued before the site came is found by the store's id too, which clients
/// and their databases know.
pub async fn named(site: &Site, object: &ObjectId, version: Option<&str>) -> S3Result<Option<Slot>> {
    let ours = convert::slot(version);
    let Some(id) = version.filter(|_| site.has_versions_there(&object.bucket) && !matches!(ours, Ok(Some(Slot::Null)))) else {
        return ours;
    };
    match site.version_called(object, id).await.map_err(error::from_site)? {
        Some(slot) => Ok(Some(slot)),
        None => ours,
    }
}

/// What an answer calls a version: nothing in a bucket that never had any.
pub async fn shown(face: &Face, bucket: &BucketName, slot: Slot) -> S3Result<Option<String>> {
    if let Slot::Version(_) = slot {
        return Ok(Some(slot.to_string()));
    }
    let info = face.site.bucket(bucket).await.map_err(error::from_site)?;
    Ok((info.versioning != Versioning::Off).then(|| slot.to_string()))
}

/// What the answer to a write calls the version it made; nothing where it is the null one.
pub fn written(slot: Slot) -> Option<String> {
    matches!(slot, Slot::Version(_)).then(|| slot.to_string())
}

/// What an answer calls a version, in its headers.
pub async fn put_header(face: &Face, bucket: &BucketName, slot: Slot, headers: &mut HeaderMap) -> S3Result<()> {
    if let Some(version) = shown(face, bucket, slot).await? {
        convert::put_header(headers, VERSION_ID, &version);
    }
    Ok(())
}

/// What a DELETE came to: which version it made or destroyed.
pub fn put_deleted(deleted: &Deleted, shown: Option<&str>, headers: &mut HeaderMap) {
    if let Some(version) = shown {
        convert::put_header(headers, VERSION_ID, version);
    }
    if deleted.is_marker {
        headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    }
}

/// Headers of an answer about a delete marker.
pub fn of_marker(marker: Slot) -> [(HeaderName, HeaderValue); 2] {
    let version = HeaderValue::try_from(marker.to_string()).expect("versions are named in ASCII");
    [(DELETE_MARKER, HeaderValue::from_static("true")), (VERSION_ID, version)]
}

/// Headers of an answer that there is nothing, hidden or not.
pub fn no_marker() -> [(HeaderName, HeaderValue); 1] {
    [(DELETE_MARKER, HeaderValue::from_static("false"))]
}

/// GetBucketVersioning: a bucket that never had versions answers an empty document.
pub async fn get(face: &Face, req: S3Request<GetBucketVersioningInput>) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let status = match bucket::info(face, &req.input.bucket).await?.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

/// PutBucketVersioning. The answer waits a moment for the other sites, so that whoever writes there next makes versions.
pub async fn put(face: &Face, req: S3Request<PutBucketVersioningInput>) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let name = convert::bucket_name(&req.input.bucket)?;
    let asked = req.input.versioning_configuration;
    if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(error::not_implemented("MFA delete"));
    }
    let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(error::malformed_xml()),
        None => return Err(error::illegal_versioning()),
    };
    let missing = face.site.set_versioning(&name, versioning).await.map_err(error::from_site)?;
    let mut response = S3Response::new(PutBucketVersioningOutput::default());
    if !missing.is_empty() {
        convert::put_header(&mut response.headers, HeaderName::from_static("x-anybucket-uncertain"), &missing.join(", "));
    }
    Ok(response)
}
