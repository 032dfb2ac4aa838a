//! Listings: pages that go on behind a name, in the byte order of names, or an error.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::mark::{binding_of, changed_ms};
use super::names::is_unspeakable;
use super::put::HELD_BYTES_MAX;
use super::store::Core;
use super::{Answer, Cursor, Listed, Page, Service, Spot};
use crate::backend::{Error, Found, FoundOwn, Result};
use crate::model::{Binding, BucketName, Key, WriteId};

/// Objects whose names do not tell their keys, looked at at once.
const LOOKS_AT_ONCE: usize = 8;

/// A listing as far as it was read.
struct Listing<S> {
    core: Arc<Core<S>>,
    bucket: String,
    prefix: String,
    /// The last name that was read.
    last: Option<String>,
    next: Cursor,
    page: VecDeque<Listed>,
    is_last: bool,
}

impl<S: Service> Listing<S> {
    async fn next(mut self) -> Result<Option<(Listed, Self)>> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                return Ok(Some((listed, self)));
            }
            if self.is_last {
                return Ok(None);
            }
            self.turn().await?;
        }
    }

    async fn turn(&mut self) -> Result<()> {
        let page = self.core.page(&self.bucket, &self.prefix, &self.next).await?;
        for listed in page.listed {
            // Whoever merges a listing with rows takes what is out of order for lost, or for new.
            if self.last.as_ref().is_some_and(|last| self.order(&listed.name, last).is_le()) {
                let reason = format!("the store lists {}/{} out of byte order", self.bucket, listed.name);
                return Err(Error::Unavailable(reason));
            }
            self.last = Some(listed.name.clone());
            self.page.push_back(listed);
        }
        match page.next {
            Some(token) if matches!(&self.next, Cursor::Next(before) if *before == token) => {
                return Err(Error::Unavailable(format!("the store's listing of {} does not get on", self.bucket)));
            }
            Some(token) => self.next = Cursor::Next(token),
            None => self.is_last = true,
        }
        self.pass_over_reserved();
        Ok(())
    }

    /// Keys have to be in byte order; nothing is merged with names of ours.
    fn order(&self, a: &str, b: &str) -> Ordering {
        let core = &self.core;
        if core.names.is_reserved(a) && core.names.is_reserved(b) { core.nature.order(a, b) } else { a.cmp(b) }
    }

    /// Names of ours are as many as there are versions: no listing of keys reads through them.
    fn pass_over_reserved(&mut self) {
        let names = &self.core.names;
        if self.prefix.is_empty() && self.last.as_ref().is_some_and(|last| names.is_reserved(last)) {
            self.next = Cursor::Behind(names.behind_reserved());
        }
    }
}

impl<S: Service> Core<S> {
    pub(super) async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.quick("listing a bucket", 0, || self.service.page(bucket, prefix, from)).await
    }

    fn listing(self: &Arc<Self>, bucket: &str, prefix: String, after: Option<String>) -> BoxStream<'static, Result<Listed>> {
        let next = after.clone().map_or(Cursor::Start, Cursor::Behind);
        let (core, bucket, page) = (self.clone(), bucket.to_owned(), VecDeque::new());
        let listing = Listing { core, bucket, prefix, last: after, next, page, is_last: false };
        stream::try_unfold(listing, Listing::next).boxed()
    }

    pub(super) fn list(self: &Arc<Self>, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'static, Result<Found>> {
        let core = self.clone();
        let listing = self.listing(bucket.as_str(), String::new(), after.map(|key| key.as_str().to_owned()));
        let found = move |listed: Listed| {
            let is_key = !core.names.is_reserved(&listed.name) && !is_unspeakable(&listed.name);
            let key = Key::new(&listed.name).ok().filter(|_| is_key);
            std::future::ready(Ok(key.map(|key| listed.found(key))))
        };
        listing.try_filter_map(found).boxed()
    }

    /// Of the keys that begin with `prefix`.
    pub(super) fn list_own(
        self: &Arc<Self>,
        bucket: &BucketName,
        prefix: &str,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'static, Result<FoundOwn>> {
        let own = |(key, write)| self.names.own(&key, write, |name| self.service.is_odd(name));
        let after = after.map(own);
        let listing = self.own_listing(bucket, prefix, after.clone());
        let (core, name) = (self.clone(), bucket.to_string());
        let found = listing.map(move |listed| {
            let (core, bucket) = (core.clone(), name.clone());
            async move { core.found_own(bucket, listed?).await }
        });
        let found = found.buffered(LOOKS_AT_ONCE).try_filter_map(|found| std::future::ready(Ok(found))).boxed();
        let prefix = prefix.to_owned();
        let is_below = move |own: &FoundOwn| own.found.key.as_str().starts_with(&prefix);
        // What is carried from now on is listed by both.
        let all = self.with_waiting(bucket, after.as_deref(), found);
        all.try_filter(move |own| std::future::ready(is_below(own))).boxed()
    }

    /// Own names that may be of keys with that prefix: those that hide their keys, which come first, and those that show it.
    fn own_listing(
        self: &Arc<Self>,
        bucket: &BucketName,
        prefix: &str,
        after: Option<String>,
    ) -> BoxStream<'static, Result<Listed>> {
        let (bucket, showing) = (bucket.as_str(), format!("{}{prefix}", self.names.own_prefix()));
        let is_behind_hidden = after.as_ref().is_some_and(|after| !self.names.hides_key(after));
        if prefix.is_empty() || is_behind_hidden {
            return self.listing(bucket, showing, after);
        }
        let hiding = self.listing(bucket, self.names.hidden_prefix(), after);
        hiding.chain(self.listing(bucket, showing, None)).boxed()
    }

    /// What is at an own name; `None` where it is none of ours, or went meanwhile.
    async fn found_own(&self, bucket: String, listed: Listed) -> Result<Option<FoundOwn>> {
        let Some(own) = self.names.parse_own(&listed.name) else { return Ok(None) };
        let key = match (own.key, &listed.told) {
            (Some(key), _) => Some(key),
            (None, Some(told)) => told.key.clone(),
            (None, None) => {
                let spot = Spot::new(bucket, listed.name.clone());
                self.seen(&spot).await?.and_then(|told| told.key)
            }
        };
        // What came in one quick call has the time of that, whatever the service dates.
        let is_dated = listed.size <= HELD_BYTES_MAX || !self.service.dates_by_begin();
        let found = key.map(|key| {
            let found = listed.found(key);
            Found { binding: binding_of(own.write), changed_ms: found.changed_ms.filter(|_| is_dated), ..found }
        });
        Ok(found.map(|found| FoundOwn { found, write: own.write }))
    }

    /// Something that is still in a bucket.
    pub(super) async fn first_name(&self, bucket: &BucketName) -> Option<String> {
        let page = self.page(bucket.as_str(), "", &Cursor::Start).await.ok()?;
        page.listed.into_iter().next().map(|listed| listed.name)
    }

    /// Everything under a prefix, in order.
    pub(super) async fn names_under(self: &Arc<Self>, bucket: &str, prefix: String) -> Result<Vec<String>> {
        self.listing(bucket, prefix, None).map_ok(|listed| listed.name).try_collect().await
    }
}

impl Listed {
    fn found(self, key: Key) -> Found {
        match self.told {
            Some(told) => told.found(&key),
            None => {
                let (modified_ms, changed_ms) = (self.stored_ms.unwrap_or(0), self.stored_ms.map(changed_ms));
                Found {
                    key,
                    binding: Binding::None,
                    size: self.size,
                    modified_ms,
                    changed_ms,
                    label: None,
                    described: None,
                    etag: None,
                }
            }
        }
    }
}
