//! Pages of versions, in the order of the answer.
//!
//! The SDK gives versions and delete markers as two lists, and times in whole seconds: which of a second came first only the
//! document tells.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::EncodingType;

use super::S3;
use super::error::ask;
use super::list::decoded;
use super::objects::millis;
use crate::backend::service::{Answer, Fault, ListedVersion, VersionCursor, VersionPage};

const DOING: &str = "listing versions";

/// What an entry of the document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Version,
    DeleteMarker,
}

/// Sees the document before the SDK takes it apart.
#[derive(Clone, Debug, Default)]
struct Order(Arc<Mutex<Vec<Kind>>>);

impl Intercept for Order {
    fn name(&self) -> &'static str {
        "order of versions"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let document = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().expect("nothing panics while it holds the order") = kinds(document);
        Ok(())
    }
}

/// The entries of a document, by their tags: no text has a `<` in it.
fn kinds(document: &[u8]) -> Vec<Kind> {
    let tags = document.split(|byte| *byte == b'<');
    tags.filter_map(|tag| match tag {
        _ if tag.starts_with(b"Version>") => Some(Kind::Version),
        _ if tag.starts_with(b"DeleteMarker>") => Some(Kind::DeleteMarker),
        _ => None,
    })
    .collect()
}

/// An entry, and whether something newer has its name.
struct Entry {
    listed: ListedVersion,
    is_old: bool,
}

/// Both lists as one: by name, what is current first, then by time, then as the document has it.
fn in_order(kinds: &[Kind], versions: Vec<Entry>, markers: Vec<Entry>) -> Vec<ListedVersion> {
    let (mut versions, mut markers) = (versions.into_iter(), markers.into_iter());
    let mut all: Vec<_> = kinds
        .iter()
        .filter_map(|kind| match kind {
            Kind::Version => versions.next(),
            Kind::DeleteMarker => markers.next(),
        })
        .collect();
    // Of a document that is spelled in another way.
    all.extend(versions.chain(markers));
    let key = |entry: &Entry| (entry.listed.name.clone(), entry.is_old, std::cmp::Reverse(entry.listed.stored_ms));
    all.sort_by_cached_key(key);
    all.into_iter().map(|entry| entry.listed).collect()
}

impl S3 {
    pub(super) async fn list_object_versions(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<&VersionCursor>,
    ) -> Answer<VersionPage> {
        let request = self.caller.client().list_object_versions().bucket(bucket).encoding_type(EncodingType::Url);
        let request = request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        let request = request.set_key_marker(from.map(|from| from.name.clone()));
        let request = request.set_version_id_marker(from.and_then(|from| from.version.clone()));
        let order = Order::default();
        let page = ask(DOING, request.customize().interceptor(order.clone()).send()).await?;
        let kinds = std::mem::take(&mut *order.0.lock().expect("nothing panics while it holds the order"));
        let next = next(&page)?;
        Ok(VersionPage { listed: in_order(&kinds, versions(&page), markers(&page)), next })
    }
}

fn name(page: &ListObjectVersionsOutput, key: Option<&str>) -> Option<String> {
    if page.encoding_type() == Some(&EncodingType::Url) { decoded(key?) } else { key.map(str::to_owned) }
}

fn next(page: &ListObjectVersionsOutput) -> Answer<Option<VersionCursor>> {
    match (page.is_truncated(), name(page, page.next_key_marker())) {
        (Some(true), None) => Err(Fault::nonsense(DOING, "the service does not say where the listing goes on")),
        (Some(true), Some(name)) => Ok(Some(VersionCursor { name, version: page.next_version_id_marker().map(str::to_owned) })),
        _ => Ok(None),
    }
}

fn versions(page: &ListObjectVersionsOutput) -> Vec<Entry> {
    let entry = |version: &aws_sdk_s3::types::ObjectVersion| {
        let listed = ListedVersion {
            name: name(page, version.key())?,
            version: version.version_id()?.to_owned(),
            etag: Some(version.e_tag().unwrap_or_default().to_owned()),
            size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            stored_ms: version.last_modified().and_then(millis).unwrap_or(0),
        };
        Some(Entry { listed, is_old: version.is_latest() != Some(true) })
    };
    page.versions().iter().filter_map(entry).collect()
}

fn markers(page: &ListObjectVersionsOutput) -> Vec<Entry> {
    let entry = |marker: &aws_sdk_s3::types::DeleteMarkerEntry| {
        let listed = ListedVersion {
            name: name(page, marker.key())?,
            version: marker.version_id()?.to_owned(),
            etag: None,
            size: 0,
            stored_ms: marker.last_modified().and_then(millis).unwrap_or(0),
        };
        Some(Entry { listed, is_old: marker.is_latest() != Some(true) })
    };
    page.delete_markers().iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, seconds: u64, is_old: bool) -> Entry {
        let (name, version, etag) = ("a".to_owned(), id.to_owned(), None);
        Entry { listed: ListedVersion { name, version, etag, size: 0, stored_ms: seconds * 1000 }, is_old }
    }

    #[test]
    fn what_came_in_one_second_is_in_the_order_of_the_document() {
        let document = b"<ListVersionsResult><Name>b</Name><Version><Key>a</Key><IsLatest>true</IsLatest></Version>\
            <DeleteMarker><Key>a</Key></DeleteMarker><Version><VersionId>1</VersionId></Version></ListVersionsResult>";
        let kinds = kinds(document);
        assert_eq!(kinds, [Kind::Version, Kind::DeleteMarker, Kind::Version]);
        let both = |kinds: &[Kind]| {
            let versions = vec![entry("3", 9, false), entry("1", 9, true)];
            let listed = in_order(kinds, versions, vec![entry("2", 9, true), entry("0", 8, true)]);
            listed.into_iter().map(|listed| listed.version).collect::<Vec<_>>()
        };
        assert_eq!(both(&kinds), ["3", "2", "1", "0"]);
        // Where the document has the one kind behind the other, as far as times tell.
        assert_eq!(both(&[]), ["3", "1", "2", "0"]);
    }
}
