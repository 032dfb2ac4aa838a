//! ListObjectVersions: every version and delete marker, by key and then newest first.

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput,
    ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::list::{Asked, Encoding};
use super::{Face, acl, convert, documents, error, list, sites, xml};
use crate::model::{Record, State};
use crate::status::{VersionEntry, VersionsPage, VersionsQuery};

/// ListObjectVersions.
pub async fn list(face: &Face, req: S3Request<ListObjectVersionsInput>) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    sites::reach_all(&face.site, &req.headers, &req.input.bucket).await?;
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (prefix, delimiter, marker) = (input.prefix.as_deref(), input.delimiter.as_deref(), input.key_marker.as_deref());
    check_markers(marker, input.version_id_marker.as_deref())?;
    let after = marker.map(str::to_owned);
    let keys = list::query(Asked { bucket: &input.bucket, prefix, delimiter, after, max_keys: input.max_keys })?;
    let max_keys = keys.entries_max;
    let after_version = convert::slot(input.version_id_marker.as_deref())?;
    let page = face.site.list_versions(VersionsQuery { keys, after_version }).await.map_err(error::from_site)?;
    let bucket = documents::read(face, &input.bucket).await?;
    let odd = page.entries.iter().any(|entry| encoding == Encoding::Plain && xml::is_odd(text(entry)))
        || [prefix, delimiter, marker].iter().flatten().any(|text| xml::is_odd(&encoding.show(text)));
    let last = page.entries.last().filter(|_| page.more);
    let output = ListObjectVersionsOutput {
        common_prefixes: Some(common_prefixes(&page, encoding)),
        delete_markers: Some(of_kind(&page, true, |key, record, latest| {
            delete_marker(key, record, latest, encoding, acl::owner_of(record, &bucket.row))
        })),
        delimiter: delimiter.filter(|text| !text.is_empty()).map(|text| encoding.show(text)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.more),
        key_marker: Some(encoding.show(marker.unwrap_or_default())),
        max_keys: Some(convert::number(max_keys)),
        next_key_marker: last.map(|entry| encoding.show(text(entry))),
        next_version_id_marker: last.and_then(version_of),
        prefix: Some(encoding.show(prefix.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(of_kind(&page, false, |key, record, latest| {
            version(key, record, latest, encoding, acl::owner_of(record, &bucket.row))
        })),
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

/// The key or the common prefix.
fn text(entry: &VersionEntry) -> &str {
    match entry {
        VersionEntry::Version { key, .. } => key,
        VersionEntry::CommonPrefix(prefix) => prefix,
    }
}

fn version_of(entry: &VersionEntry) -> Option<String> {
    match entry {
        VersionEntry::Version { record, .. } => Some(record.row.slot().to_string()),
        VersionEntry::CommonPrefix(_) => None,
    }
}

fn common_prefixes(page: &VersionsPage, encoding: Encoding) -> Vec<CommonPrefix> {
    let prefix = |entry: &VersionEntry| match entry {
        VersionEntry::CommonPrefix(prefix) => Some(CommonPrefix { prefix: Some(encoding.show(prefix)) }),
        VersionEntry::Version { .. } => None,
    };
    page.entries.iter().filter_map(prefix).collect()
}

/// The delete markers of a page, or what is none.
fn of_kind<T>(page: &VersionsPage, markers: bool, shown: impl Fn(&str, &Record, bool) -> T) -> Vec<T> {
    let one = |entry: &VersionEntry| match entry {
        VersionEntry::Version { key, record, is_latest } if (record.row.state == State::Marker) == markers => {
            Some(shown(key, &record.row, *is_latest))
        }
        _ => None,
    };
    page.entries.iter().filter_map(one).collect()
}

fn delete_marker(key: &str, record: &Record, is_latest: bool, encoding: Encoding, owner: &str) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(is_latest),
        key: Some(encoding.show(key)),
        last_modified: Some(convert::timestamp(record.vector.data.ms())),
        owner: Some(convert::owner(owner)),
        version_id: Some(record.slot().to_string()),
    }
}

fn version(key: &str, record: &Record, is_latest: bool, encoding: Encoding, owner: &str) -> ObjectVersion {
    let identity = &record.identity;
    let checksum = record.shown_checksum();
    let class = identity.headers.storage_class.clone().unwrap_or_else(|| ObjectVersionStorageClass::STANDARD.to_owned());
    ObjectVersion {
        checksum_algorithm: checksum.as_ref().map(|sum| vec![ChecksumAlgorithm::from(sum.algorithm.name().to_owned())]),
        checksum_type: checksum.map(|sum| ChecksumType::from_static(convert::checksum_kind_name(sum.kind))),
        e_tag: Some(convert::etag(&identity.etag)),
        is_latest: Some(is_latest),
        key: Some(encoding.show(key)),
        last_modified: Some(convert::timestamp(record.vector.data.ms())),
        owner: Some(convert::owner(owner)),
        size: Some(convert::size(identity.size)),
        storage_class: Some(ObjectVersionStorageClass::from(class)),
        version_id: Some(record.slot().to_string()),
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
