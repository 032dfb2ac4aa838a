//! ListParts and ListMultipartUploads.

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListPartsInput, ListPartsOutput, MultipartUpload, Part, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::convert::{self, show_checksum};
use super::list::Encoding;
use super::{Face, error, xml};
use crate::model::{Checksum, ChecksumKind};
use crate::site::{PartInfo, UploadInfo, UploadsPage, UploadsQuery};

const PARTS_MAX: usize = 1000;
const UPLOADS_MAX: usize = 1000;

/// ListParts.
pub async fn parts(face: &Face, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let object = convert::object_id(&input.bucket, &input.key)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let Ok(clamped) = u16::try_from(marker.min(i32::from(u16::MAX))) else {
        return Err(error::invalid_argument("Argument part-number-marker must be an integer between 0 and 2147483647"));
    };
    let max = convert::limit(input.max_parts, "max-parts", PARTS_MAX)?;
    let page = face.site.list_parts(&object, &input.upload_id, clamped, max).await.map_err(error::from_site)?;
    let upload = &page.upload;
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| ChecksumAlgorithm::from(algorithm.name().to_owned())),
        checksum_type: upload.checksum.map(|(_, kind)| ChecksumType::from_static(convert::checksum_kind_name(kind))),
        initiator: Some(initiator(&upload.owner)),
        is_truncated: Some(page.more && max > 0),
        key: Some(input.key.clone()),
        max_parts: Some(convert::number(max)),
        next_part_number_marker: Some(page.parts.last().map_or(0, |last| i32::from(last.number))),
        owner: Some(convert::owner(&upload.owner)),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(shown_part).collect()),
        storage_class: Some(storage_class(upload)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    Ok(xml::response(output, [input.key.as_str()]))
}

fn initiator(name: &str) -> Initiator {
    Initiator { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

fn storage_class(upload: &UploadInfo) -> StorageClass {
    StorageClass::from(upload.storage_class.clone().unwrap_or_else(|| StorageClass::STANDARD.to_owned()))
}

fn shown_part(part: &PartInfo) -> Part {
    let mut shown = Part {
        e_tag: Some(convert::etag(&part.etag)),
        last_modified: Some(convert::timestamp(part.modified_ms)),
        part_number: Some(i32::from(part.number)),
        size: Some(convert::size(part.size)),
        ..Part::default()
    };
    if let Some((algorithm, value)) = part.checksum.clone() {
        let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value };
        show_checksum!(shown, algorithm, convert::checksum_text(&checksum, 1));
    }
    shown
}

/// ListMultipartUploads.
pub async fn uploads(face: &Face, req: S3Request<ListMultipartUploadsInput>) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let bucket = convert::bucket_name(&input.bucket)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = convert::limit(input.max_uploads, "max-uploads", UPLOADS_MAX)?;
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    let query = UploadsQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        // Without a key marker S3 does not look at the other one.
        upload_id_marker: key_marker.as_ref().and(input.upload_id_marker.clone()).filter(|marker| !marker.is_empty()),
        key_marker,
        uploads_max: max,
    };
    let mut page = face.site.list_uploads(&bucket, query).await.map_err(error::from_site)?;
    if max == 0 {
        page = UploadsPage::default();
    }
    let show = |text: Option<&String>| encoding.show(text.map_or("", String::as_str));
    let prefix = |prefix: &String| CommonPrefix { prefix: Some(encoding.show(prefix)) };
    let odd = is_odd(&page, encoding)
        || [&input.prefix, &input.key_marker, &input.delimiter].into_iter().flatten().any(|text| xml::is_odd(text));
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket.clone()),
        common_prefixes: Some(page.common_prefixes.iter().map(prefix).collect()),
        delimiter: input.delimiter.as_ref().filter(|text| !text.is_empty()).map(|text| encoding.show(text)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(show(input.key_marker.as_ref())),
        max_uploads: Some(convert::number(max)),
        next_key_marker: page.next.as_ref().map(|(key, _)| encoding.show(key)),
        next_upload_id_marker: page.next.as_ref().map(|(_, upload)| upload.clone()),
        prefix: Some(show(input.prefix.as_ref())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(page.uploads.iter().map(|upload| shown_upload(upload, encoding)).collect()),
        ..ListMultipartUploadsOutput::default()
    };
    Ok(if odd { xml::replaced(&output) } else { S3Response::new(output) })
}

fn is_odd(page: &UploadsPage, encoding: Encoding) -> bool {
    let keys = page.uploads.iter().map(|upload| upload.object.key.as_str());
    encoding == Encoding::Plain && keys.chain(page.common_prefixes.iter().map(String::as_str)).any(xml::is_odd)
}

fn shown_upload(upload: &UploadInfo, encoding: Encoding) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| ChecksumAlgorithm::from(algorithm.name().to_owned())),
        checksum_type: upload.checksum.map(|(_, kind)| ChecksumType::from_static(convert::checksum_kind_name(kind))),
        initiated: Some(convert::timestamp(upload.initiated_ms)),
        initiator: Some(initiator(&upload.owner)),
        key: Some(encoding.show(upload.object.key.as_str())),
        owner: Some(convert::owner(&upload.owner)),
        storage_class: Some(storage_class(upload)),
        upload_id: Some(upload.upload_id.clone()),
    }
}
