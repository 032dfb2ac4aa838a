//! Listings: pages of blobs with what is needed to know them.

use azure_storage_blob::models::{
    BlobContainerClientListBlobsOptions, BlobItem, BlobServiceClientListContainersOptions, ListBlobsIncludeItem,
    ListBlobsResponse,
};
use futures::stream::StreamExt;

use super::Azure;
use super::attributes::{described, unspelled};
use super::error::fault;
use super::told::{bare, millis};
use crate::backend::service::{Answer, Cursor, Fault, Listed, Page, Told};
use crate::model::ContentHeaders;

/// What marks a folder of an account with a hierarchy, which lists it among its blobs.
const FOLDER: &str = "hdi-isfolder";

impl Azure {
    pub(super) async fn blobs(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        let behind = match from {
            Cursor::Behind(name) => Some(name.as_str()),
            Cursor::Start | Cursor::Next(_) => None,
        };
        let mut marker = match from {
            Cursor::Next(marker) => Some(marker.clone()),
            Cursor::Start | Cursor::Behind(_) => None,
        };
        loop {
            let start = behind.filter(|behind| marker.is_none() && !behind.is_empty());
            let mut page = self.blobs_from(bucket, prefix, marker.take(), start).await?;
            // The name itself is among those that begin there; all before it, where that is not known how to begin.
            page.listed.retain(|listed| behind.is_none_or(|behind| listed.name.as_str() > behind));
            if behind.is_none() || !page.listed.is_empty() || page.next.is_none() {
                return Ok(page);
            }
            marker = page.next;
        }
    }

    async fn blobs_from(&self, bucket: &str, prefix: &str, marker: Option<String>, start: Option<&str>) -> Answer<Page> {
        let doing = "listing blobs";
        let options = BlobContainerClientListBlobsOptions {
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            marker,
            maxresults: Some(self.page_names_max),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            start_from: start.map(str::to_owned),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let pages = self.client.container(bucket)?.list_blobs(Some(options)).map_err(fault(doing))?;
        let page = pages.into_pages().next().await.ok_or_else(|| Fault::nonsense(doing, "no page came"))?;
        let ListBlobsResponse { blob_items, next_marker, .. } = page.and_then(|page| page.into_model()).map_err(fault(doing))?;
        let listed = blob_items.into_iter().filter_map(listed).collect();
        Ok(Page { listed, next: next_marker.filter(|marker| !marker.is_empty()) })
    }

    /// The names of all containers.
    pub(super) async fn containers(&self) -> Answer<Vec<String>> {
        let doing = "listing containers";
        let options = BlobServiceClientListContainersOptions::default();
        let mut pages = self.client.service().list_containers(Some(options)).map_err(fault(doing))?.into_pages();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.and_then(|page| page.into_model()).map_err(fault(doing))?;
            names.extend(page.container_items.into_iter().filter_map(|container| container.name));
        }
        Ok(names)
    }
}

/// `None` is a folder.
fn listed(item: BlobItem) -> Option<Listed> {
    let properties = item.properties.unwrap_or_default();
    let found = item.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    let metadata = unspelled(found.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if metadata.get(FOLDER).is_some_and(|told| told == "true") {
        return None;
    }
    let stored_ms = properties.last_modified.map(millis);
    let size = properties.content_length.unwrap_or(0);
    let etag = properties.etag.map(|etag| etag.to_string());
    let headers = ContentHeaders {
        content_type: properties.content_type,
        content_encoding: properties.content_encoding,
        content_disposition: properties.content_disposition,
        content_language: properties.content_language,
        cache_control: properties.cache_control,
        ..ContentHeaders::default()
    };
    let told = Told::new(Some(&metadata), etag.as_deref().map(bare), stored_ms, size);
    let told = described(told, headers, metadata, found.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Some(Listed { name: item.name?, told: Some(told), size, stored_ms })
}
