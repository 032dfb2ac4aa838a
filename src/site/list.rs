//! LIST: one look-up in the rows, in byte order, whatever the store behind does.

use super::Site;
use super::error::Result;
use crate::status::{ListPage, ListQuery, VersionsPage, VersionsQuery};

impl Site {
    /// One page of a bucket's objects.
    pub async fn list(&self, query: ListQuery) -> Result<ListPage> {
        self.known_bucket(&query.bucket).await?;
        self.require_established()?;
        Ok(self.inner.status.list(query).await?)
    }

    /// One page of a bucket's versions and delete markers.
    pub async fn list_versions(&self, query: VersionsQuery) -> Result<VersionsPage> {
        self.known_bucket(&query.keys.bucket).await?;
        self.require_established()?;
        Ok(self.inner.status.list_versions(query).await?)
    }
}
