//! CopyObject and UploadPartCopy.

use http::HeaderName;
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
use crate::model::{Checksum, ChecksumKind, ObjectId, Registers, Slot, Versioning};
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
    let Source { object: from, version, conditions, has_shut_tags } = Source::of(face, &req.input.copy_source, &req).await?;
    let list = acl::of_new(face, &req.extensions, &to.bucket, &req.headers).await?;
    let registers = Registers { acl: list, ..lock::of_headers(face, &to.bucket, &req.headers).await? };
    let request = CopyRequest { source: conditions, version, registers, ..request(&req)? };
    if has_shut_tags && request.replace_tags.is_none() {
        return Err(error::access_denied());
    }
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
    convert::show_buffered(written.is_buffered, &mut headers);
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
        source: ReadConditions::default(),
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

/// The source of a copy, which the caller may read.
#[derive(Debug)]
struct Source {
    object: ObjectId,
    /// The one that was named.
    version: Option<Slot>,
    conditions: ReadConditions,
    /// Whether it has tags that the caller may not read: a list opens none.
    has_shut_tags: bool,
}

impl Source {
    async fn of<T>(face: &Face, source: &CopySource, req: &S3Request<T>) -> S3Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(error::not_implemented("copying from an access point"));
        };
        let caller = auth::caller(&req.extensions)?;
        let opened = caller.must_read(&face.site, bucket, key, version_id.as_deref()).await?;
        if let Some(owner) = req.headers.get(SOURCE_OWNER)
            && bucket::info(face, bucket).await?.owner.as_bytes() != owner.as_bytes()
        {
            return Err(error::access_denied());
        }
        let asked = req.extensions.get::<Asked>().cloned().unwrap_or_default();
        let object = convert::object_id(bucket, key)?;
        let version = versioning::named(&face.site, &object, version_id.as_deref()).await?;
        let source = Self { object, version, conditions: asked.conditions.source.of_read()?, has_shut_tags: false };
        match opened {
            Some(opened) => source.pinned(face, caller, &opened).await,
            None => Ok(source),
        }
    }

    /// Bound to the bytes that a list let the caller read: others, under the same key, may be nobody's business.
    async fn pinned(self, face: &Face, caller: &Caller, opened: &Opened) -> S3Result<Self> {
        let ReadConditions { if_match, if_unmodified_since_ms, .. } = self.conditions.clone();
        let first = ReadConditions { if_match, if_unmodified_since_ms, ..ReadConditions::default() };
        let seen = face.site.head(&self.object, self.version, Selection::All, &first).await.map_err(error::from_copy)?;
        caller.must_still(&face.site, Some(opened), &self.object, &seen.record.row).await?;
        let only = EtagCondition::OneOf(vec![seen.record.identity.etag.clone()]);
        let conditions = ReadConditions { if_match: Some(only), if_unmodified_since_ms: None, ..self.conditions };
        Ok(Self { conditions, has_shut_tags: !seen.record.identity.tags.is_empty(), ..self })
    }
}

/// UploadPartCopy.
pub async fn part(face: &Face, req: S3Request<UploadPartCopyInput>) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let to = convert::object_id(&req.input.bucket, &req.input.key)?;
    let number = multipart::part_number(req.input.part_number)?;
    let Source { object, version, conditions, .. } = Source::of(face, &req.input.copy_source, &req).await?;
    let range = copy_range(req.input.copy_source_range.as_deref())?;
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
