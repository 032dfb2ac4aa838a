//! ListObjectVersions, while every object has one version, the null one.

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::list::{Asked, Encoding, common_prefixes, is_odd, page};
use super::{Face, bucket, convert, error, sites, xml};
use crate::model::Record;
use crate::status::{ListEntry, ListPage};

/// ListObjectVersions. The one version of a key comes with it, so that a page always goes on behind a key.
pub async fn list(face: &Face, req: S3Request<ListObjectVersionsInput>) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    sites::reach_all(&face.site, &req.headers, &req.input.bucket).await?;
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (prefix, delimiter, marker) = (input.prefix.as_deref(), input.delimiter.as_deref(), input.key_marker.as_deref());
    check_markers(marker, input.version_id_marker.as_deref())?;
    let after = marker.map(str::to_owned);
    let asked = Asked { bucket: &input.bucket, prefix, delimiter, after, max_keys: input.max_keys };
    let (page, max_keys) = page(face, asked).await?;
    let owner = bucket::info(face, &input.bucket).await?.owner;
    let odd = is_odd(&page, encoding, &[prefix, delimiter, marker]);
    let last = page.entries.last().filter(|_| page.more);
    let output = ListObjectVersionsOutput {
        common_prefixes: Some(common_prefixes(&page, encoding)),
        delimiter: delimiter.filter(|text| !text.is_empty()).map(|text| encoding.show(text)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.more),
        key_marker: Some(encoding.show(marker.unwrap_or_default())),
        max_keys: Some(convert::number(max_keys)),
        next_key_marker: last.map(|entry| encoding.show(entry.text())),
        next_version_id_marker: last.filter(|entry| matches!(entry, ListEntry::Object { .. })).map(|_| "null".into()),
        prefix: Some(encoding.show(prefix.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions(&page, encoding, &owner)),
        name: Some(input.bucket),
        ..ListObjectVersionsOutput::default()
    };
    Ok(if odd { xml::replaced(&output) } else { S3Response::new(output) })
}

fn check_markers(key: Option<&str>, version: Option<&str>) -> S3Result<()> {
    match (key, version) {
        (None, Some(_)) => Err(error::invalid_argument("A version-id marker cannot be specified without a key marker.")),
        (Some(_), Some("")) => Err(error::invalid_argument("A version-id marker cannot be empty.")),
        (_, version) => convert::slot(version).map(drop),
    }
}

fn versions(page: &ListPage, encoding: Encoding, owner: &str) -> Vec<ObjectVersion> {
    let version = |entry: &ListEntry| match entry {
        ListEntry::Object { key, record } => Some(version(key, &record.row, encoding, owner)),
        ListEntry::CommonPrefix(_) => None,
    };
    page.entries.iter().filter_map(version).collect()
}

fn version(key: &str, record: &Record, encoding: Encoding, owner: &str) -> ObjectVersion {
    let identity = &record.identity;
    let checksum = identity.shown_checksum();
    let class = identity.headers.storage_class.clone().unwrap_or_else(|| ObjectVersionStorageClass::STANDARD.to_owned());
    ObjectVersion {
        checksum_algorithm: Some(vec![ChecksumAlgorithm::from(checksum.algorithm.name().to_owned())]),
        checksum_type: Some(ChecksumType::from_static(convert::checksum_kind_name(checksum.kind))),
        e_tag: Some(convert::etag(&identity.etag)),
        is_latest: Some(true),
        key: Some(encoding.show(key)),
        last_modified: Some(convert::timestamp(record.vector.data.ms())),
        owner: Some(convert::owner(owner)),
        size: Some(convert::size(identity.size)),
        storage_class: Some(ObjectVersionStorageClass::from(class)),
        version_id: Some("null".into()),
        ..ObjectVersion::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_marker_needs_its_key() {
        assert!(check_markers(None, None).is_ok());
        assert!(check_markers(Some("k"), Some("null")).is_ok());
        assert!(check_markers(None, Some("null")).is_err());
        assert!(check_markers(Some("k"), Some("")).is_err());
        assert!(check_markers(Some("k"), Some("bogus")).is_err());
    }
}
