//! PutObject, GetObject, HeadObject, GetObjectAttributes.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode, header};
use s3s::dto::{
    Checksum as ShownChecksum, ChecksumType, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectPart, PutObjectInput, PutObjectOutput,
    StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::auth::Opened;
use super::conditions;
use super::convert::{self, show_checksum};
use super::gate::{Asked, Rewrite};
use super::layer::Progress;
use super::outgoing::Outgoing;
use super::sites::{self, Wait};
use super::{Face, acl, error, lifecycle, lock, tagging, upload, uri, versioning};
use crate::model::{
    Checksum, ChecksumKind, ContentHeaders, Expiring, ObjectId, PartEntry, Parts, Registers, Slot, UNSAID_CONTENT_TYPE,
};
use crate::site::{Description, ReadConditions, Seen, Selection};

/// Most parts in one page of GetObjectAttributes.
const PARTS_MAX: usize = 1000;

/// PutObject.
pub async fn put(face: &Face, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let asked = req.extensions.remove::<Asked>().unwrap_or_default();
    let list = acl::of_new(face, &req.extensions, &object.bucket, &req.headers).await?;
    let registers = Registers { acl: list, ..lock::of_headers(face, &object.bucket, &req.headers).await? };
    let description = Description { registers, ..describe(&req.headers, req.input.tagging.as_deref())? };
    let tags = description.tags.clone();
    let conditions = asked.conditions.object.of_write()?;
    let wait = Wait::read(&face.site, &req.headers)?;
    let bytes_max = face.settings.limits.put_bytes_max;
    let progress = req.extensions.get::<Arc<Progress>>().cloned();
    let (upload, verdict) = upload::upload(req.input.body.take(), &req.headers, asked.trailers, bytes_max, progress)?;
    let written = face.site.put(&object, upload, description, conditions).await.map_err(|err| verdict.judge(err))?;
    let mut output = PutObjectOutput {
        e_tag: Some(convert::etag(&written.etag)),
        checksum_type: Some(ChecksumType::from_static(convert::checksum_kind_name(written.checksum.kind))),
        ..PutObjectOutput::default()
    };
    show_checksum!(output, written.checksum.algorithm, convert::checksum_text(&written.checksum, 1));
    output.version_id = versioning::written(written.slot);
    let mut headers = convert::stamp_header(written.stamp);
    convert::show_buffered(written.is_buffered, &mut headers);
    let what = Expiring { key: object.key.as_str(), tags: &tags, size: Some(written.size) };
    lifecycle::show(face, &object.bucket, what, written.stamp.ms(), &mut headers).await?;
    Wait::until_there(wait, &face.site, &object, written.slot, &mut headers).await;
    Ok(S3Response::with_headers(output, headers))
}

/// Everything but the bytes.
pub fn describe(headers: &HeaderMap, tags: Option<&str>) -> S3Result<Description> {
    Ok(Description {
        headers: convert::content_headers(headers)?,
        metadata: convert::metadata(headers)?,
        tags: tagging::of_header(tags)?,
        registers: Registers::default(),
    })
}

/// What GET and HEAD ask alike.
struct Wanted {
    object: ObjectId,
    version: Option<Slot>,
    select: Selection,
    conditions: ReadConditions,
    checksums: bool,
}

impl Wanted {
    async fn read(
        face: &Face,
        (bucket, key, version): (&str, &str, Option<&str>),
        part: Option<i32>,
        (headers, extensions): (&HeaderMap, &http::Extensions),
    ) -> S3Result<Self> {
        let asked = extensions.get::<Asked>().cloned().unwrap_or_default();
        let mode = headers.get("x-amz-checksum-mode").map(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"));
        let object = convert::object_id(bucket, key)?;
        Ok(Self {
            version: versioning::named(&face.site, &object, version).await?,
            object,
            select: select(part, asked.conditions.range.as_ref())?,
            conditions: asked.conditions.object.of_read()?,
            checksums: mode.unwrap_or(false),
        })
    }
}

fn select(part: Option<i32>, range: Option<&http::HeaderValue>) -> S3Result<Selection> {
    let Some(part) = part else { return Ok(conditions::selection(range)) };
    if range.is_some() {
        return Err(error::invalid_request("Cannot specify both Range header and partNumber query parameter"));
    }
    super::multipart::part_number(part).map(Selection::Part)
}

/// GetObject.
pub async fn get(face: &Face, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &req.input;
    let wanted = Wanted::read(
        face,
        (&input.bucket, &input.key, input.version_id.as_deref()),
        input.part_number,
        (&req.headers, &req.extensions),
    )
    .await?;
    sites::reach(&face.site, &req.headers, &wanted.object).await?;
    let opened =
        face.site.get(&wanted.object, wanted.version, wanted.select, &wanted.conditions).await.map_err(error::from_read)?;
    acl::must_still(face, &req.extensions, &wanted.object, &opened.seen.record.row).await?;
    let mut headers = shown_headers(face, &wanted, &opened.seen).await?;
    without_shut(&req.extensions, &mut headers);
    override_headers(&mut headers, req.uri.query());
    let length = opened.seen.range.end - opened.seen.range.start;
    let output = GetObjectOutput { body: Some(Outgoing::blob(opened.body, length)), ..GetObjectOutput::default() };
    Ok(answer(output, headers, &opened.seen))
}

/// HeadObject.
pub async fn head(face: &Face, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &req.input;
    let wanted = Wanted::read(
        face,
        (&input.bucket, &input.key, input.version_id.as_deref()),
        input.part_number,
        (&req.headers, &req.extensions),
    )
    .await?;
    sites::reach(&face.site, &req.headers, &wanted.object).await?;
    let seen =
        face.site.head(&wanted.object, wanted.version, wanted.select, &wanted.conditions).await.map_err(error::from_read)?;
    acl::must_still(face, &req.extensions, &wanted.object, &seen.record.row).await?;
    let mut headers = shown_headers(face, &wanted, &seen).await?;
    without_shut(&req.extensions, &mut headers);
    override_headers(&mut headers, req.uri.query());
    Ok(answer(HeadObjectOutput::default(), headers, &seen))
}

/// A list opens an object's bytes and headers, not its tags.
fn without_shut(extensions: &http::Extensions, headers: &mut HeaderMap) {
    if extensions.get::<Opened>().is_some() {
        headers.remove("x-amz-tagging-count");
    }
}

fn answer<T>(output: T, headers: HeaderMap, seen: &Seen) -> S3Response<T> {
    let mut response = S3Response::with_headers(output, headers);
    if seen.partial {
        response.extensions.insert(Rewrite { status: Some(StatusCode::PARTIAL_CONTENT), document: None });
    }
    response
}

/// The headers that show an object, the same for GET and HEAD.
async fn shown_headers(face: &Face, wanted: &Wanted, seen: &Seen) -> S3Result<HeaderMap> {
    let identity = &seen.record.identity;
    let mut headers = convert::stamp_header(seen.record.vector.data);
    convert::show_buffered(face.site.is_buffered(&wanted.object, &seen.record.row), &mut headers);
    let mut put = |name: &'static str, value: &str| convert::put_header(&mut headers, HeaderName::from_static(name), value);
    put("accept-ranges", "bytes");
    put("etag", &format!("\"{}\"", identity.etag));
    put("last-modified", &convert::http_date(seen.modified_ms));
    put("content-length", &(seen.range.end - seen.range.start).to_string());
    if seen.partial && !seen.range.is_empty() {
        put("content-range", &format!("bytes {}-{}/{}", seen.range.start, seen.range.end - 1, identity.size));
    }
    if !identity.tags.is_empty() {
        put("x-amz-tagging-count", &identity.tags.len().to_string());
    }
    if let (Selection::Part(_), Parts::Mapped { count }) = (wanted.select, identity.parts) {
        put("x-amz-mp-parts-count", &count.to_string());
    }
    match wanted.version {
        Some(named) => convert::put_header(&mut headers, HeaderName::from_static("x-amz-version-id"), &named.to_string()),
        None => versioning::put_header(face, &wanted.object.bucket, seen.record.row.slot(), &mut headers).await?,
    }
    lock::show(seen, &mut headers);
    if wanted.version.is_none() {
        let what = Expiring { key: wanted.object.key.as_str(), tags: &identity.tags, size: Some(identity.size) };
        lifecycle::show(face, &wanted.object.bucket, what, seen.record.vector.data.ms(), &mut headers).await?;
    }
    sites::show(&face.site, &wanted.object, &seen.record, &mut headers).await?;
    stored_headers(&identity.headers, &mut headers);
    convert::put_metadata(&mut headers, &identity.metadata);
    if wanted.checksums {
        show_checksum_headers(face, wanted, seen, &mut headers).await?;
    }
    Ok(headers)
}

fn stored_headers(stored: &ContentHeaders, headers: &mut HeaderMap) {
    let fallback = Some(UNSAID_CONTENT_TYPE.to_owned());
    let named = [
        (header::CONTENT_TYPE, stored.content_type.as_ref().or(fallback.as_ref())),
        (header::CONTENT_ENCODING, stored.content_encoding.as_ref()),
        (header::CONTENT_DISPOSITION, stored.content_disposition.as_ref()),
        (header::CONTENT_LANGUAGE, stored.content_language.as_ref()),
        (header::CACHE_CONTROL, stored.cache_control.as_ref()),
        (header::EXPIRES, stored.expires.as_ref()),
        (HeaderName::from_static("x-amz-website-redirect-location"), stored.website_redirect_location.as_ref()),
        (HeaderName::from_static("x-amz-storage-class"), stored.storage_class.as_ref()),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            convert::put_header(headers, name, value);
        }
    }
}

/// The checksum of what is sent: the object's for the whole, a part's for that part, none for other ranges.
async fn show_checksum_headers(face: &Face, wanted: &Wanted, seen: &Seen, headers: &mut HeaderMap) -> S3Result<()> {
    let identity = &seen.record.identity;
    let Some(whole) = seen.record.shown_checksum() else { return Ok(()) };
    let (value, kind) = match (wanted.select, identity.parts) {
        (Selection::Part(number), Parts::Mapped { .. }) => {
            let Some(value) = part_checksum(face, wanted, seen, number).await? else { return Ok(()) };
            let part = Checksum { algorithm: whole.algorithm, kind: ChecksumKind::FullObject, value };
            (convert::checksum_text(&part, 1), whole.kind)
        }
        _ if seen.range.end - seen.range.start == identity.size => {
            (convert::checksum_text(&whole, convert::parts_count(identity)), whole.kind)
        }
        _ => return Ok(()),
    };
    convert::put_header(headers, convert::checksum_header(whole.algorithm), &value);
    convert::put_header(headers, HeaderName::from_static("x-amz-checksum-type"), convert::checksum_kind_name(kind));
    Ok(())
}

async fn part_checksum(face: &Face, wanted: &Wanted, seen: &Seen, number: u16) -> S3Result<Option<Vec<u8>>> {
    let found = face.site.object_parts(&wanted.object, &seen.record, number - 1, 1).await.map_err(error::from_site)?;
    Ok(found.parts.into_iter().find(|part| part.number == number).and_then(|part| part.checksum))
}

/// `response-content-type=…` and the like. Every request with them is signed, which S3 requires.
fn override_headers(headers: &mut HeaderMap, query: Option<&str>) {
    for (name, value) in uri::parameters(query) {
        let header = match name {
            "response-content-type" => header::CONTENT_TYPE,
            "response-content-language" => header::CONTENT_LANGUAGE,
            "response-expires" => header::EXPIRES,
            "response-cache-control" => header::CACHE_CONTROL,
            "response-content-disposition" => header::CONTENT_DISPOSITION,
            "response-content-encoding" => header::CONTENT_ENCODING,
            _ => continue,
        };
        if let Some(value) = uri::decode_form(value) {
            convert::put_header(headers, header, &value);
        }
    }
}

/// GetObjectAttributes.
pub async fn attributes(
    face: &Face,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = &req.input;
    let object = convert::object_id(&input.bucket, &input.key)?;
    let version = versioning::named(&face.site, &object, input.version_id.as_deref()).await?;
    let names: Vec<_> = input.object_attributes.iter().flat_map(|list| list.as_str().split(',').map(str::trim)).collect();
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if names.iter().any(|name| !known.contains(name)) {
        return Err(error::invalid_argument("Invalid attribute name specified."));
    }
    let asks = |name: &str| names.contains(&name);
    let seen = face.site.head(&object, version, Selection::All, &ReadConditions::default()).await.map_err(error::from_site)?;
    let identity = &seen.record.identity;
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(convert::timestamp(seen.modified_ms)),
        version_id: versioning::shown(face, &object.bucket, seen.record.row.slot()).await?,
        ..GetObjectAttributesOutput::default()
    };
    if asks("ETag") {
        output.e_tag = Some(convert::etag(&identity.etag));
    }
    if asks("Checksum") {
        output.checksum = shown_checksum(&seen);
    }
    if asks("ObjectParts") {
        output.object_parts = shown_parts(face, &object, &seen, input.part_number_marker, input.max_parts).await?;
    }
    if asks("StorageClass") {
        let class = identity.headers.storage_class.clone().unwrap_or_else(|| StorageClass::STANDARD.to_owned());
        output.storage_class = Some(StorageClass::from(class));
    }
    if asks("ObjectSize") {
        output.object_size = Some(convert::size(identity.size));
    }
    Ok(S3Response::with_headers(output, convert::stamp_header(seen.record.vector.data)))
}

fn shown_checksum(seen: &Seen) -> Option<ShownChecksum> {
    let checksum = seen.record.shown_checksum()?;
    let mut shown = ShownChecksum {
        checksum_type: Some(ChecksumType::from_static(convert::checksum_kind_name(checksum.kind))),
        ..ShownChecksum::default()
    };
    let text = convert::checksum_text(&checksum, convert::parts_count(&seen.record.identity));
    show_checksum!(shown, checksum.algorithm, text);
    Some(shown)
}

/// How the object was cut, a page of parts at a time.
async fn shown_parts(
    face: &Face,
    object: &ObjectId,
    seen: &Seen,
    marker: Option<i32>,
    max: Option<i32>,
) -> S3Result<Option<GetObjectAttributesParts>> {
    if seen.record.identity.parts == Parts::Single {
        return Ok(None);
    }
    let after = u16::try_from(marker.unwrap_or(0)).map_err(|_| error::invalid_argument("part-number-marker is out of range"))?;
    let max = convert::limit(max, "max-parts", PARTS_MAX)?;
    let found = face.site.object_parts(object, &seen.record, after, max).await.map_err(error::from_site)?;
    let algorithm = seen.record.identity.checksum.as_ref().map(|checksum| checksum.algorithm);
    let part = |part: &PartEntry| {
        let mut shown = ObjectPart {
            part_number: Some(i32::from(part.number)),
            size: Some(convert::size(part.size)),
            ..ObjectPart::default()
        };
        if let (Some(algorithm), Some(value)) = (algorithm, part.checksum.clone()) {
            let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value };
            show_checksum!(shown, algorithm, convert::checksum_text(&checksum, 1));
        }
        shown
    };
    Ok(Some(GetObjectAttributesParts {
        total_parts_count: Some(i32::from(found.total)),
        is_truncated: Some(found.more),
        max_parts: Some(convert::number(max)),
        part_number_marker: Some(i32::from(after)),
        next_part_number_marker: found.parts.last().map(|last| i32::from(last.number)),
        parts: Some(found.parts.iter().map(part).collect()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_number_and_a_range_exclude_each_other() {
        let range = http::HeaderValue::from_static("bytes=0-1");
        assert!(select(Some(1), Some(&range)).is_err());
        assert_eq!(select(Some(7), None).unwrap(), Selection::Part(7));
        assert!(select(Some(0), None).is_err());
    }

    #[test]
    fn overrides_replace_what_is_stored() {
        let mut headers = HeaderMap::new();
        convert::put_header(&mut headers, header::CONTENT_TYPE, "text/plain");
        override_headers(&mut headers, Some("response-content-type=image%2Fpng&response-expires=never&x-id=GetObject"));
        assert_eq!(headers[header::CONTENT_TYPE], "image/png");
        assert_eq!(headers[header::EXPIRES], "never");
    }
}
