//! Versions that a service issued itself, before the site came: listed, and removed one by one. They are read like anything else.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::mark::binding_of_version;
use super::names::is_unspeakable;
use super::notes::gone;
use super::store::Core;
use super::{ListedVersion, Service, Spot, VersionCursor};
use crate::backend::{Error, FoundVersion, NULL_VERSION, Result};
use crate::model::{Binding, BucketName, Key, ObjectId, Versioning};

const DOING: &str = "listing versions";

/// A listing as far as it was read.
struct Listing<S> {
    core: Arc<Core<S>>,
    bucket: String,
    prefix: String,
    from: Option<VersionCursor>,
    is_last: bool,
}

impl<S: Service> Listing<S> {
    async fn page(mut self) -> Result<Option<(Vec<ListedVersion>, Self)>> {
        if self.is_last {
            return Ok(None);
        }
        let call = || self.core.service.page_versions(&self.bucket, &self.prefix, self.from.as_ref());
        let mut page = match self.core.quick(DOING, 0, call).await {
            // Of a key that the service cannot have.
            Err(fault) if !self.prefix.is_empty() && fault.is_no_name() => return Ok(None),
            page => page?,
        };
        // Some begin with the name that they were to go on behind.
        if let Some(VersionCursor { name, version: None }) = &self.from {
            page.listed.retain(|listed| listed.name > *name);
        }
        if page.next.is_some() && page.next == self.from {
            return Err(Error::Unavailable(format!("the store's listing of versions in {} does not get on", self.bucket)));
        }
        (self.is_last, self.from) = (page.next.is_none(), page.next);
        self.pass_over_reserved();
        Ok(Some((page.listed, self)))
    }

    /// As a listing of names does.
    fn pass_over_reserved(&mut self) {
        let names = &self.core.names;
        if self.prefix.is_empty() && self.from.as_ref().is_some_and(|from| names.is_reserved(&from.name)) {
            self.from = Some(VersionCursor { name: names.behind_reserved(), version: None });
        }
    }
}

impl<S: Service> Core<S> {
    pub(super) async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        Ok(self.quick("looking at a bucket's versioning", 0, || self.service.versioning(bucket.as_str())).await?)
    }

    pub(super) fn list_versions(
        self: &Arc<Self>,
        bucket: &BucketName,
        after: Option<&Key>,
    ) -> BoxStream<'static, Result<FoundVersion>> {
        let from = after.map(|key| VersionCursor { name: key.to_string(), version: None });
        self.versions(bucket, String::new(), from).boxed()
    }

    /// Those of one key.
    pub(super) fn versions_of(self: &Arc<Self>, object: &ObjectId) -> BoxStream<'static, Result<FoundVersion>> {
        let key = object.key.clone();
        let listing = self.versions(&object.bucket, key.to_string(), None);
        // Longer names begin with it too, and come behind it.
        listing.try_take_while(move |found| std::future::ready(Ok(found.key == key))).boxed()
    }

    fn versions(
        self: &Arc<Self>,
        bucket: &BucketName,
        prefix: String,
        from: Option<VersionCursor>,
    ) -> impl futures::Stream<Item = Result<FoundVersion>> + Send + 'static + use<S> {
        let (core, bucket) = (self.clone(), bucket.to_string());
        let names = self.clone();
        let listing = Listing { core, bucket, prefix, from, is_last: false };
        let found = move |listed: ListedVersion| {
            let is_key = !names.names.is_reserved(&listed.name) && !is_unspeakable(&listed.name);
            let key = Key::new(&listed.name).ok().filter(|_| is_key);
            std::future::ready(Ok(key.map(|key| listed.found(key))))
        };
        let pages = stream::try_unfold(listing, Listing::page);
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().try_filter_map(found)
    }

    /// Removes a version. No other one ever has its id, but the null one, which others may have replaced by bytes or by a delete
    /// marker: that goes only if it is `only`, as a listing tells, since of a marker nothing else does.
    pub(super) async fn delete_version(&self, at: &Spot, only: &Binding) -> Result<()> {
        let is_it =
            at.version.as_deref() != Some(NULL_VERSION) || self.listed_version(at).await?.is_some_and(|null| null == *only);
        if !is_it {
            return Ok(());
        }
        match self.remove_any("removing a version", at).await {
            // versitygw calls the id of one that is gone an invalid one.
            Err(fault) if fault.status == Some(400) && self.listed_version(at).await?.is_none() => Ok(()),
            removed => Ok(gone(removed)?),
        }
    }

    /// How a version is known, if it is there.
    async fn listed_version(&self, at: &Spot) -> Result<Option<Binding>> {
        let mut from = None;
        loop {
            let call = || self.service.page_versions(&at.bucket, &at.name, from.as_ref());
            let page = match self.quick(DOING, 0, call).await {
                Err(fault) if fault.is_bucket_missing() => return Ok(None),
                page => page?,
            };
            let is_it = |listed: &&ListedVersion| listed.name == at.name && Some(&listed.version) == at.version.as_ref();
            if let Some(found) = page.listed.iter().find(is_it) {
                return Ok(Some(found.binding()));
            }
            match page.next.filter(|next| next.name == at.name && Some(next) != from.as_ref()) {
                Some(next) => from = Some(next),
                None => return Ok(None),
            }
        }
    }
}

impl ListedVersion {
    fn found(self, key: Key) -> FoundVersion {
        let (binding, is_marker) = (self.binding(), self.etag.is_none());
        let Self { version, size, stored_ms, .. } = self;
        FoundVersion { key, version, is_marker, binding, size, stored_ms }
    }

    fn binding(&self) -> Binding {
        match &self.etag {
            Some(etag) => binding_of_version(&self.version, Some(etag)),
            None => Binding::Tag(format!("marker:{}", self.version)),
        }
    }
}
