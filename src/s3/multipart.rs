//! Multipart uploads: start, put a part, complete, abort.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm as ShownAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::convert::{self, show_checksum};
use super::gate::Asked;
use super::layer::Progress;
use super::sites::Wait;
use super::{Face, acl, auth, error, lock, object, upload, versioning, xml};
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectId, Registers, is_part_number};
use crate::site::{self, CompleteUpload, Description, NamedPart, StartUpload, Written};

const PARTS_MAX: usize = 10_000;

/// How long a Complete may take before its client is kept awake with white space.
const QUIET: Duration = Duration::from_secs(5);

const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const OBJECT_SIZE: HeaderName = HeaderName::from_static("x-amz-mp-object-size");

/// A part's number.
pub fn part_number(number: i32) -> S3Result<u16> {
    let legal = u16::try_from(number).ok().filter(|number| is_part_number(*number));
    legal.ok_or_else(|| error::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))
}

/// CreateMultipartUpload.
pub async fn create(
    face: &Face,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let list = acl::of_new(face, &req.extensions, &object.bucket, &req.headers).await?;
    let registers = Registers { acl: list, ..lock::of_headers(face, &object.bucket, &req.headers).await? };
    let start = StartUpload {
        description: Description { registers, ..object::describe(&req.headers, req.input.tagging.as_deref())? },
        owner: auth::caller(&req.extensions)?.owner().to_owned(),
        checksum: chosen_checksum(&req.headers)?,
    };
    let started = face.site.start_upload(&object, start).await.map_err(error::from_site)?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(req.input.bucket),
        checksum_algorithm: started.checksum.map(|(algorithm, _)| ShownAlgorithm::from(algorithm.name().to_owned())),
        checksum_type: started.checksum.map(|(_, kind)| ChecksumType::from_static(convert::checksum_kind_name(kind))),
        key: Some(req.input.key.clone()),
        upload_id: Some(started.upload_id),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(xml::response(output, [req.input.key.as_str()]))
}

fn chosen_checksum(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let kind = convert::text_of(headers, &TYPE)?.as_deref().map(convert::checksum_kind).transpose()?;
    let Some(name) = convert::text_of(headers, &ALGORITHM)? else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(error::invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = convert::algorithm(&name)?;
    let kind = kind.unwrap_or(algorithm.default_kind());
    if !algorithm.allows(kind) {
        let (kind, name) = (convert::checksum_kind_name(kind), algorithm.name().to_ascii_lowercase());
        return Err(error::invalid_request(format!(
            "The {kind} checksum type cannot be used with the {name} checksum algorithm."
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// UploadPart.
pub async fn part(face: &Face, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let number = part_number(req.input.part_number)?;
    let asked = req.extensions.remove::<Asked>().unwrap_or_default();
    let bytes_max = face.settings.limits.put_bytes_max;
    let progress = req.extensions.get::<Arc<Progress>>().cloned();
    let (upload, verdict) = upload::upload(req.input.body.take(), &req.headers, asked.trailers, bytes_max, progress)?;
    let stored = face.site.put_part(&object, &req.input.upload_id, number, upload).await;
    let part = stored.map_err(|err| verdict.judge(err))?;
    let mut output = UploadPartOutput { e_tag: Some(convert::etag(&part.etag)), ..UploadPartOutput::default() };
    if let Some((algorithm, value)) = part.checksum {
        let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value };
        show_checksum!(output, algorithm, convert::checksum_text(&checksum, 1));
    }
    Ok(S3Response::new(output))
}

/// AbortMultipartUpload.
pub async fn abort(face: &Face, req: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    if req.input.if_match_initiated_time.is_some() {
        return Err(error::not_implemented("x-amz-if-match-initiated-time"));
    }
    face.site.abort_upload(&object, &req.input.upload_id).await.map_err(error::from_site)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// CompleteMultipartUpload. Runs apart from its client, who is answered plainly when it takes less than [`QUIET`], and
/// else kept awake, unless a condition may still fail: that needs a status of its own.
pub async fn complete(
    face: &Face,
    mut req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let asked = req.extensions.remove::<Asked>().unwrap_or_default();
    let wait = Wait::read(&face.site, &req.headers)?;
    // So does an answer whose headers are known only at the end.
    let may_fail_late = asked.conditions.object.has_etags() || wait.is_some();
    let complete = named(&mut req, asked)?;
    let told = Told { location: location(&req.headers, &object), parts: complete.parts.len(), object };
    let (site, upload_id, target) = (face.site.clone(), req.input.upload_id, told.object.clone());
    let checked = Arc::new(Notify::new());
    let telling = Arc::clone(&checked);
    let mut running = tokio::spawn(async move { site.complete_upload_telling(&target, &upload_id, complete, telling).await });
    // The status goes out with the first white space: not before the parts are checked, however long that takes.
    let quiet = async {
        checked.notified().await;
        tokio::time::sleep(QUIET).await;
    };
    tokio::select! {
        done = &mut running => told.answer_after(wait, face, done).await,
        () = quiet, if !may_fail_late => Ok(kept_awake(running, told, req.extensions.get::<Arc<Progress>>().cloned())),
    }
}

type Completed = Result<site::Result<Written>, tokio::task::JoinError>;

fn kept_awake(
    running: JoinHandle<site::Result<Written>>,
    told: Told,
    progress: Option<Arc<Progress>>,
) -> S3Response<CompleteMultipartUploadOutput> {
    let future = async move {
        let mut outcome = told.output(running.await);
        if let (Err(err), Some(progress)) = (&mut outcome, progress) {
            err.set_request_id(progress.id.as_str());
        }
        outcome
    };
    S3Response::new(CompleteMultipartUploadOutput { future: Some(Box::pin(future)), ..CompleteMultipartUploadOutput::default() })
}

/// What the answer to a Complete repeats of its request.
struct Told {
    object: ObjectId,
    location: String,
    parts: usize,
}

impl Told {
    async fn answer_after(
        &self,
        wait: Option<Wait>,
        face: &Face,
        done: Completed,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let written = done.as_ref().ok().and_then(|done| Some(done.as_ref().ok()?.clone()));
        let mut response = xml::response(self.output(done)?, [self.object.key.as_str()]);
        let Some(written) = written else { return Ok(response) };
        response.headers = convert::stamp_header(written.stamp);
        if let Some(version) = versioning::written(written.slot) {
            convert::put_header(&mut response.headers, HeaderName::from_static("x-amz-version-id"), &version);
        }
        Wait::until_there(wait, &face.site, &self.object, written.slot, &mut response.headers).await;
        Ok(response)
    }

    fn output(&self, done: Completed) -> S3Result<CompleteMultipartUploadOutput> {
        let done = done.map_err(|err| {
            tracing::error!(error = %err, object = %self.object, "completing an upload broke");
            error::internal()
        })?;
        let written = done.map_err(error::from_site)?;
        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(self.object.bucket.as_str().to_owned()),
            key: Some(self.object.key.as_str().to_owned()),
            location: Some(self.location.clone()),
            e_tag: Some(convert::etag(&written.etag)),
            ..CompleteMultipartUploadOutput::default()
        };
        // A repeated Complete of an object that is gone does not know it any more.
        if !written.checksum.value.is_empty() {
            output.checksum_type = Some(ChecksumType::from_static(convert::checksum_kind_name(written.checksum.kind)));
            show_checksum!(output, written.checksum.algorithm, convert::checksum_text(&written.checksum, self.parts));
        }
        Ok(output)
    }
}

fn location(headers: &HeaderMap, object: &ObjectId) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}/{}/{}", object.bucket, super::uri::encode(object.key.as_str()))
}

fn named(req: &mut S3Request<CompleteMultipartUploadInput>, asked: Asked) -> S3Result<CompleteUpload> {
    let parts = req.input.multipart_upload.take().and_then(|list| list.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(error::malformed_xml());
    }
    let checksum = upload::claimed_checksums(&req.headers)?.pop();
    let kind = convert::text_of(&req.headers, &TYPE)?;
    Ok(CompleteUpload {
        parts: parts.iter().map(named_part).collect::<S3Result<_>>()?,
        conditions: asked.conditions.object.of_write()?,
        checksum,
        checksum_kind: kind.as_deref().map(convert::checksum_kind).transpose()?,
        size: object_size(&req.headers)?,
    })
}

fn object_size(headers: &HeaderMap) -> S3Result<Option<u64>> {
    let Some(text) = convert::text_of(headers, &OBJECT_SIZE)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| error::invalid_request("Value for x-amz-mp-object-size header is invalid."))
}

fn named_part(part: &CompletedPart) -> S3Result<NamedPart> {
    let number = part.part_number.ok_or_else(error::malformed_xml)?;
    Ok(NamedPart {
        number: part_number(number)?,
        etag: part.e_tag.as_ref().map(|etag| ETag::new(etag.value())),
        checksums: convert::part_checksums(part)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn chosen(pairs: &[(&'static str, &'static str)]) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, String> {
        let headers = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        chosen_checksum(&headers.collect()).map_err(|err| err.code().as_str().to_owned())
    }

    #[test]
    fn a_checksum_covers_what_its_algorithm_allows() {
        let (name, kind) = ("x-amz-checksum-algorithm", "x-amz-checksum-type");
        assert_eq!(chosen(&[]), Ok(None));
        assert_eq!(chosen(&[(name, "CRC32")]), Ok(Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite))));
        assert_eq!(chosen(&[(name, "CRC64NVME")]), Ok(Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject))));
        assert_eq!(chosen(&[(name, "SHA256"), (kind, "FULL_OBJECT")]), Err("InvalidRequest".into()));
        assert_eq!(chosen(&[(name, "CRC64NVME"), (kind, "COMPOSITE")]), Err("InvalidRequest".into()));
        assert_eq!(chosen(&[(kind, "COMPOSITE")]), Err("InvalidRequest".into()));
        assert_eq!(chosen(&[(name, "XXHASH128")]), Ok(Some((ChecksumAlgorithm::XxHash128, ChecksumKind::Composite))));
        assert_eq!(chosen(&[(name, "ROT13")]), Err("InvalidRequest".into()));
    }

    #[test]
    fn part_numbers_are_bounded() {
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        for bad in [0, -1, 10_001, i32::MAX] {
            assert_eq!(part_number(bad).unwrap_err().code().as_str(), "InvalidArgument", "{bad}");
        }
    }
}
