//! Listings: pages that go on behind a name, in the byte order of names, or an error.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_s3::types::{EncodingType, Object};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::Core;
use super::error::Answer;
use super::mark::{binding_of, changed_ms, millis};
use super::names::is_unspeakable;
use crate::backend::{Error, Found, FoundOwn, Result};
use crate::model::{Binding, BucketName, Key, WriteId};

/// Objects whose names do not tell their keys, looked at at once.
const LOOKS_AT_ONCE: usize = 8;

/// What a listing says of an object.
#[derive(Clone, Debug)]
struct Listed {
    name: String,
    size: u64,
    modified_ms: u64,
    changed_ms: Option<u64>,
}

/// A listing as far as it was read.
struct Listing {
    core: Arc<Core>,
    bucket: String,
    prefix: String,
    /// Where the next page begins, behind it.
    after: Option<String>,
    page: VecDeque<Listed>,
    is_last: bool,
}

impl Listing {
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
        let (page, more) = self.core.page(&self.bucket, &self.prefix, self.after.as_deref()).await?;
        for listed in page {
            // Whoever merges a listing with rows takes what is out of order for lost, or for new.
            if self.after.as_ref().is_some_and(|after| listed.name <= *after) {
                let reason = format!("the store lists {}/{} out of byte order", self.bucket, listed.name);
                return Err(Error::Unavailable(reason));
            }
            self.after = Some(listed.name.clone());
            self.page.push_back(listed);
        }
        if more && self.page.is_empty() {
            return Err(Error::Unavailable(format!("the store lists nothing of {} and says that there is more", self.bucket)));
        }
        self.is_last = !more;
        self.pass_over_reserved();
        Ok(())
    }

    /// Names of ours are as many as there are versions: no listing of keys reads through them.
    fn pass_over_reserved(&mut self) {
        let names = &self.core.names;
        if self.prefix.is_empty() && self.after.as_ref().is_some_and(|after| names.is_reserved(after)) {
            self.after = Some(names.behind_reserved());
        }
    }
}

impl Core {
    /// One page of names behind `after`, and whether there are more.
    async fn page(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Answer<(Vec<Listed>, bool)> {
        let request = self.service.quick().list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        let request = request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        let call = request.set_start_after(after.map(str::to_owned)).send();
        let page = self.service.ask("listing a bucket", call).await?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let listed = |object: &Object| {
            let name = object.key()?;
            let name = if is_encoded { decoded(name)? } else { name.to_owned() };
            let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            let (modified_ms, changed_ms) = (object.last_modified().map_or(0, millis), object.last_modified().map(changed_ms));
            Some(Listed { name, size, modified_ms, changed_ms })
        };
        Ok((page.contents().iter().filter_map(listed).collect(), page.is_truncated().unwrap_or(false)))
    }

    fn listing(self: &Arc<Self>, bucket: &str, prefix: String, after: Option<String>) -> BoxStream<'static, Result<Listed>> {
        let (core, bucket) = (self.clone(), bucket.to_owned());
        let listing = Listing { core, bucket, prefix, after, page: VecDeque::new(), is_last: false };
        stream::try_unfold(listing, Listing::next).boxed()
    }

    pub(super) fn list(self: &Arc<Self>, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'static, Result<Found>> {
        let names = self.names.clone();
        let listing = self.listing(bucket.as_str(), String::new(), after.map(|key| key.as_str().to_owned()));
        let found = move |listed: Listed| {
            let is_key = !names.is_reserved(&listed.name) && !is_unspeakable(&listed.name);
            let key = Key::new(&listed.name).ok().filter(|_| is_key);
            let Listed { size, modified_ms, changed_ms, .. } = listed;
            std::future::ready(Ok(key.map(|key| Found { key, binding: Binding::None, size, modified_ms, changed_ms })))
        };
        listing.try_filter_map(found).boxed()
    }

    pub(super) fn list_own(
        self: &Arc<Self>,
        bucket: &BucketName,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'static, Result<FoundOwn>> {
        let after = after.map(|(key, write)| self.names.own(&key, write));
        let listing = self.listing(bucket.as_str(), self.names.own_prefix(), after);
        let (core, bucket) = (self.clone(), bucket.clone());
        let found = listing.map(move |listed| {
            let (core, bucket) = (core.clone(), bucket.clone());
            async move { core.found_own(&bucket, listed?).await }
        });
        found.buffered(LOOKS_AT_ONCE).try_filter_map(|found| std::future::ready(Ok(found))).boxed()
    }

    /// What is at an own name; `None` where it is none of ours, or went meanwhile.
    async fn found_own(&self, bucket: &BucketName, listed: Listed) -> Result<Option<FoundOwn>> {
        let Some(own) = self.names.parse_own(&listed.name) else { return Ok(None) };
        let key = match own.key {
            Some(key) => Some(key),
            None => match self.look_at(bucket.as_str(), &listed.name).await {
                Ok(told) => told.key,
                Err(fault) if fault.is_missing() => None,
                Err(fault) => return Err(fault.into()),
            },
        };
        let Listed { size, modified_ms, changed_ms, .. } = listed;
        let found = key.map(|key| Found { key, binding: binding_of(own.write), size, modified_ms, changed_ms });
        Ok(found.map(|found| FoundOwn { found, write: own.write }))
    }

    /// Something that is still in a bucket.
    pub(super) async fn first_name(&self, bucket: &BucketName) -> Option<String> {
        let (page, _) = self.page(bucket.as_str(), "", None).await.ok()?;
        page.into_iter().next().map(|listed| listed.name)
    }

    /// Everything under a prefix, in order.
    pub(super) async fn names_under(self: &Arc<Self>, bucket: &str, prefix: String) -> Result<Vec<String>> {
        self.listing(bucket, prefix, None).map_ok(|listed| listed.name).try_collect().await
    }
}

/// A name as `encoding-type=url` has it: `+` is a space.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn names_are_decoded_as_they_were_encoded() {
        assert_eq!(decoded("a%2Fb+c%2B%C3%A9%01").as_deref(), Some("a/b c+é\u{1}"));
        for broken in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
