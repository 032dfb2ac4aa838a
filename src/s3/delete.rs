//! DeleteObject and DeleteObjects.

use futures::StreamExt;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::auth::{self, Caller, Opened};
use super::gate::Asked;
use super::sites::Wait;
use super::{Face, convert, error, lock, versioning, xml};
use crate::model::{self, BucketName, Bypass, ObjectId, Slot};
use crate::site::{Deleted, EtagCondition, Purge, WriteConditions};

/// Most keys in one DeleteObjects.
const KEYS_MAX: usize = 1000;

/// Deletes of one request that run at a time: enough to share commits, not enough to crowd others out.
const AT_A_TIME: usize = 32;

/// DeleteObject.
pub async fn one(face: &Face, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let asked = req.extensions.get::<Asked>().cloned().unwrap_or_default();
    let conditions = WriteConditions {
        if_modified_at_ms: req.input.if_match_last_modified_time.as_ref().and_then(convert::millis),
        if_size: req.input.if_match_size.map(size).transpose()?,
        ..asked.conditions.object.of_write()?
    };
    let wait = Wait::read(&face.site, &req.headers)?;
    let version = req.input.version_id.as_deref();
    let slot = versioning::named(&face.site, &object, version).await?;
    // Destroying a version is for keys with the right to it.
    if slot.is_some() && req.extensions.get::<Opened>().is_some() {
        return Err(error::access_denied());
    }
    let bypass = lock::bypass(face, &req.extensions, &req.input.bucket, &req.headers).await?;
    let deleted = remove(face, &object, slot.map(|slot| Purge { slot, bypass }), conditions).await?;
    let mut headers = deleted.stamp.map(convert::stamp_header).unwrap_or_default();
    let shown = shown(face, &object.bucket, slot, &deleted).await?;
    versioning::put_deleted(&deleted, shown.as_deref(), &mut headers);
    Wait::until_there(wait.filter(|_| deleted.stamp.is_some()), &face.site, &object, deleted.slot, &mut headers).await;
    Ok(S3Response::with_headers(DeleteObjectOutput::default(), headers))
}

/// The version that was named, or else that which was made; none in a bucket without versions.
async fn shown(face: &Face, bucket: &BucketName, named: Option<Slot>, deleted: &Deleted) -> S3Result<Option<String>> {
    match named {
        Some(slot) => Ok(Some(slot.to_string())),
        None => versioning::shown(face, bucket, deleted.slot).await,
    }
}

/// Destroys the version that is named; without one it hides or deletes the object, as its bucket has it.
async fn remove(face: &Face, object: &ObjectId, purge: Option<Purge>, conditions: WriteConditions) -> S3Result<Deleted> {
    let deleted = match purge {
        None => face.site.delete(object, conditions).await,
        Some(purge) => face.site.purge(object, purge, conditions).await,
    };
    deleted.map_err(error::from_site)
}

fn size(asked: i64) -> S3Result<u64> {
    u64::try_from(asked).map_err(|_| error::invalid_argument("x-amz-if-match-size is negative"))
}

/// DeleteObjects: each key has its own outcome.
pub async fn many(face: &Face, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let bucket = convert::bucket_name(&req.input.bucket)?;
    let caller = auth::caller(&req.extensions)?;
    let objects = req.input.delete.objects;
    if objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(error::malformed_xml());
    }
    face.site.bucket(&bucket).await.map_err(error::from_site)?;
    let quiet = req.input.delete.quiet.unwrap_or(false);
    let bypass = lock::bypass(face, &req.extensions, &req.input.bucket, &req.headers).await?;
    let outcomes = objects.into_iter().map(|named| outcome(face, caller, (&bucket, bypass), named));
    let outcomes: Vec<_> = futures::stream::iter(outcomes).buffered(AT_A_TIME).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (named, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(told_deleted(face, &bucket, named, done).await?),
            Err(err) => errors.push(told(named, &err)),
        }
    }
    let odd = deleted.iter().map(|one| &one.key).chain(errors.iter().map(|one| &one.key)).flatten().any(|key| xml::is_odd(key));
    let output = DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..DeleteObjectsOutput::default() };
    Ok(if odd { xml::replaced(&output) } else { S3Response::new(output) })
}

/// A line of the answer: which marker was made or destroyed, if it was one.
async fn told_deleted(face: &Face, bucket: &BucketName, named: ObjectIdentifier, deleted: Deleted) -> S3Result<DeletedObject> {
    let marker = match deleted.is_marker {
        true => versioning::shown(face, bucket, deleted.slot).await?,
        false => None,
    };
    Ok(DeletedObject {
        key: Some(named.key),
        version_id: named.version_id,
        delete_marker: deleted.is_marker.then_some(true),
        delete_marker_version_id: marker,
    })
}

type Outcome = (ObjectIdentifier, S3Result<Deleted>);

/// The bucket of many keys, and with which right they are deleted.
type From<'a> = (&'a BucketName, Bypass);

async fn outcome(face: &Face, caller: &Caller, from: From<'_>, named: ObjectIdentifier) -> Outcome {
    let result = remove_named(face, caller, from, &named).await;
    (named, result)
}

async fn remove_named(face: &Face, caller: &Caller, (bucket, bypass): From<'_>, named: &ObjectIdentifier) -> S3Result<Deleted> {
    let object = ObjectId { bucket: bucket.clone(), key: convert::key(&named.key)? };
    caller.must_delete(&face.site, bucket.as_str(), &named.key, named.version_id.as_deref()).await?;
    let etag = |etag: &ETag| match etag.value() {
        "*" => EtagCondition::Any,
        value => EtagCondition::OneOf(vec![model::ETag::new(value)]),
    };
    let conditions = WriteConditions {
        if_match: named.e_tag.as_ref().map(etag),
        if_none_match: None,
        if_modified_at_ms: named.last_modified_time.as_ref().and_then(convert::millis),
        if_size: named.size.map(size).transpose()?,
    };
    let slot = versioning::named(&face.site, &object, named.version_id.as_deref()).await?;
    let purge = slot.map(|slot| Purge { slot, bypass });
    remove(face, &object, purge, conditions).await
}

fn told(named: ObjectIdentifier, err: &S3Error) -> Error {
    let (code, message) = error::code_and_message(err);
    Error { code: Some(code), key: Some(named.key), message: Some(message), version_id: named.version_id }
}
