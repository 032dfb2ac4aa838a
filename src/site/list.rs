//! LIST: one look-up in the rows, in byte order, whatever the store behind does. Where files may have no row yet, those that
//! the page shows get theirs first.

use std::time::Duration;

use super::Site;
use super::error::{Error, Result};
use crate::status::{ListPage, ListQuery, VersionEntry, VersionsPage, VersionsQuery};

impl Site {
    /// One page of a bucket's objects.
    pub async fn list(&self, query: ListQuery) -> Result<ListPage> {
        self.known_bucket(&query.bucket).await?;
        self.require_established()?;
        let mut covered = self.covered(&query).await?;
        loop {
            let page = self.inner.status.list(query.clone()).await?;
            let last = page.entries.last().filter(|_| page.more);
            if covered.is_enough(last.map(|entry| entry.text())) {
                return Ok(page);
            }
            covered = self.cover(&query, covered).await?;
        }
    }

    /// One page of a bucket's versions and delete markers.
    pub async fn list_versions(&self, query: VersionsQuery) -> Result<VersionsPage> {
        self.known_bucket(&query.keys.bucket).await?;
        self.require_established()?;
        // A key of which nothing is current is in no listing that a page could be completed by.
        if self.is_walked(&query.keys.bucket) && self.has_versions_there(&query.keys.bucket) {
            let reason = "the versions that the store had before this site are being imported".into();
            return Err(Error::Unavailable { reason, retry_after: Duration::from_secs(5) });
        }
        let mut covered = self.covered(&query.keys).await?;
        loop {
            let page = self.inner.status.list_versions(query.clone()).await?;
            let last = page.entries.last().filter(|_| page.more).map(|entry| match entry {
                VersionEntry::Version { key, .. } => key.as_str(),
                VersionEntry::CommonPrefix(prefix) => prefix,
            });
            if covered.is_enough(last) {
                return Ok(page);
            }
            covered = self.cover(&query.keys, covered).await?;
        }
    }
}
