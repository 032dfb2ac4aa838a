//! CopyObject and UploadPartCopy.

use http::{HeaderMap, HeaderName};
use s3s::dto::{
    ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, UploadPartCopyInput,
    UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::auth::{self, Caller, Opened};
use super::conditions::copy_range;
use super::convert::{self, show_checksum};
use super::gate::Asked;
use super::sites::Wait;
use super::{Face, acl, bucket, error, lock, multipart, object, versioning};
use crate::model::{Checksum, ChecksumKind, ETag, ObjectId, Permission, Registers, Slot, Versioning};
use crate::site::{CopyRequest, EtagCondition, PartSource, ReadConditions, Selection};

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const SOURCE_OWNER: HeaderName = HeaderName::from_static("x-amz-source-expected-bucket-owner");

/// What a directive says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

impl Directive {
    fn read(asked: Option<&str>, what: &str) -> S3Result<Self> {
        match asked {
            None | Some("COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(_) => Err(error::invalid_argument(format!("Unknown {what} directive."))),
        }
    }
}

/// CopyObject.
pub async fn object(face: &Face, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let to = convert::object_id(&req.input.bucket, &req.input.key)?;
    let (from, version, pinned) = source(face, &req.input.copy_source, &req.headers, &req.extensions).await?;
    let list = acl::of_new(face, &req.extensions, &to.bucket, &req.headers).await?;
    let registers = Registers { acl: list, ..lock::of_headers(face, &to.bucket, &req.headers).await? };
    let request = CopyRequest { version, registers, ..request(&req)? };
    let request = CopyRequest { source: pinned.over(request.source), ..request };
    let wait = Wait::read(&face.site, &req.headers)?;
    // Before: the copy may be the current version of its own source.
    let copied_version = source_version(face, &from, version).await?;
    let written = face.site.copy(&from, &to, request).await.map_err(error::from_copy)?;
    let mut result = CopyObjectResult {
        e_tag: Some(convert::etag(&written.etag)),
        last_modified: Some(convert::timestamp(written.modified_ms)),
        checksum_type: Some(ChecksumType::from_static(convert::checksum_kind_name(written.checksum.kind))),
        ..CopyObjectResult::default()
    };
    show_checksum!(
        result,
        written.checksum.algorithm,
        convert::checksum_text(&written.checksum, parts_of(written.etag.as_str()))
    );
    let output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: copied_version,
        version_id: versioning::written(written.slot),
        ..CopyObjectOutput::default()
    };
    let mut headers = convert::stamp_header(written.stamp);
    Wait::until_there(wait, &face.site, &to, written.slot, &mut headers).await;
    Ok(S3Response::with_headers(output, headers))
}

/// A copy keeps its source's ETag, whose suffix counts the parts.
fn parts_of(etag: &str) -> usize {
    etag.rsplit_once('-').and_then(|(_, parts)| parts.parse().ok()).unwrap_or(1)
}

fn request(req: &S3Request<CopyObjectInput>) -> S3Result<CopyRequest> {
    let asked = req.extensions.get::<Asked>().cloned().unwrap_or_default();
    let input = &req.input;
    let metadata = Directive::read(input.metadata_directive.as_ref().map(|directive| directive.as_str()), "metadata")?;
    let tags = Directive::read(input.tagging_directive.as_ref().map(|directive| directive.as_str()), "tagging")?;
    let replaced = object::describe(&req.headers, input.tagging.as_deref())?;
    let algorithm = convert::text_of(&req.headers, &CHECKSUM_ALGORITHM)?;
    Ok(CopyRequest {
        source: asked.conditions.source.of_read()?,
        target: asked.conditions.object.of_write()?,
        replace: (metadata == Directive::Replace).then_some((replaced.headers, replaced.metadata)),
        replace_tags: (tags == Directive::Replace).then_some(replaced.tags),
        checksum: algorithm.as_deref().map(convert::algorithm).transpose()?,
        storage_class: convert::storage_class(&req.headers)?,
        website_redirect_location: convert::website_redirect(&req.headers)?,
        version: None,
        registers: Registers::default(),
    })
}

/// Which version was copied, where the bucket has any: the one that was named, or else what is current.
async fn source_version(face: &Face, from: &ObjectId, version: Option<Slot>) -> S3Result<Option<String>> {
    if let Some(slot) = version {
        return Ok(Some(slot.to_string()));
    }
    if face.site.bucket(&from.bucket).await.map_err(error::from_site)?.versioning == Versioning::Off {
        return Ok(None);
    }
    match face.site.head(from, None, Selection::All, &ReadConditions::default()).await {
        Ok(seen) => versioning::shown(face, &from.bucket, seen.record.row.slot()).await,
        // Whoever copies it says so.
        Err(_) => Ok(None),
    }
}

/// The source of a copy, which the caller must be allowed to read, and the version of it that was named.
async fn source(
    face: &Face,
    source: &CopySource,
    headers: &HeaderMap,
    extensions: &http::Extensions,
) -> S3Result<(ObjectId, Option<Slot>, Pinned)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(error::not_implemented("copying from an access point"));
    };
    let caller = auth::caller(extensions)?;
    let by_list = caller.must_read(&face.site, bucket, key, version_id.as_deref()).await?;
    let version = convert::slot(version_id.as_deref())?;
    if let Some(owner) = headers.get(SOURCE_OWNER)
        && bucket::info(face, bucket).await?.owner.as_bytes() != owner.as_bytes()
    {
        return Err(error::access_denied());
    }
    let object = convert::object_id(bucket, key)?;
    let pinned = if by_list { pin(face, caller, &object, version).await? } else { Pinned(None) };
    Ok((object, version, pinned))
}

/// The bytes that a list let the caller read: others, under the same key, may be nobody's business.
#[derive(Debug)]
struct Pinned(Option<ETag>);

impl Pinned {
    fn over(&self, asked: ReadConditions) -> ReadConditions {
        let only = self.0.clone().map(|etag| EtagCondition::OneOf(vec![etag]));
        ReadConditions { if_match: only.or(asked.if_match), ..asked }
    }
}

async fn pin(face: &Face, caller: &Caller, object: &ObjectId, version: Option<Slot>) -> S3Result<Pinned> {
    let seen = face.site.head(object, version, Selection::All, &ReadConditions::default()).await.map_err(error::from_site)?;
    let opened = Opened { object: Some(Permission::Read) };
    caller.must_still(&face.site, Some(&opened), object, &seen.record.row).await?;
    Ok(Pinned(Some(seen.record.identity.etag.clone())))
}

/// UploadPartCopy.
pub async fn part(face: &Face, req: S3Request<UploadPartCopyInput>) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let to = convert::object_id(&req.input.bucket, &req.input.key)?;
    let number = multipart::part_number(req.input.part_number)?;
    let (object, version, pinned) = source(face, &req.input.copy_source, &req.headers, &req.extensions).await?;
    let range = copy_range(req.input.copy_source_range.as_deref())?;
    let asked = req.extensions.get::<Asked>().cloned().unwrap_or_default();
    let conditions = pinned.over(asked.conditions.source.of_read()?);
    let source = PartSource { object, version, range, conditions };
    let copied = face.site.copy_part(&source, &to, &req.input.upload_id, number).await;
    let part = copied.map_err(error::from_copy)?;
    let mut result = CopyPartResult {
        e_tag: Some(convert::etag(&part.etag)),
        last_modified: Some(convert::timestamp(part.modified_ms)),
        ..CopyPartResult::default()
    };
    if let Some((algorithm, value)) = part.checksum {
        let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value };
        show_checksum!(result, algorithm, convert::checksum_text(&checksum, 1));
    }
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_version(face, &source.object, version).await?,
        ..UploadPartCopyOutput::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_known_or_refused() {
        assert_eq!(Directive::read(None, "metadata").unwrap(), Directive::Copy);
        assert_eq!(Directive::read(Some("REPLACE"), "metadata").unwrap(), Directive::Replace);
        assert!(Directive::read(Some("replace"), "metadata").is_err());
    }

    #[test]
    fn an_etag_tells_its_parts() {
        assert_eq!(parts_of("d41d8cd98f00b204e9800998ecf8427e-12"), 12);
        assert_eq!(parts_of("d41d8cd98f00b204e9800998ecf8427e"), 1);
    }
}
