//! The two questions s3s asks: what is the secret of this key, and may this caller do that.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result};

use super::keys::{Key, Keyring};
use super::need::{Need, Wish, need};
use super::open::{self, Asked, Opened};
use super::rights::{Bucket, Grant, Granted, Right};
use crate::model::Visitor;
use crate::s3::layer::Progress;
use crate::s3::pace::Pace;
use crate::s3::{convert, error, unbuilt, uri};
use crate::site::{Error, Site};

/// Who sent a request, and where it came from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// None where nobody signed it.
    key: Option<Arc<Key>>,
    from: Option<IpAddr>,
}

/// Who owns what was written without a signature; S3's own id for it.
const NOBODY: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

impl Caller {
    pub fn new(key: Arc<Key>, from: Option<IpAddr>) -> Self {
        Self { key: Some(key), from }
    }

    /// Somebody who did not sign: no grants, and of lists only what is everybody's.
    pub fn anonymous(from: Option<IpAddr>) -> Self {
        Self { key: None, from }
    }

    pub fn is_anonymous(&self) -> bool {
        self.key.is_none()
    }

    pub fn owner(&self) -> &str {
        self.key.as_ref().map_or(NOBODY, |key| &key.owner)
    }

    /// Under which name its requests are counted, and how fast they may come: all strangers together are as one key.
    pub fn pace(&self, all: Pace) -> (&str, Pace) {
        self.key.as_ref().map_or(("", all), |key| (&key.access_key, key.pace(all)))
    }

    pub(super) fn visitor(&self) -> Visitor<'_> {
        self.key.as_ref().map_or(Visitor::Anybody, |key| Visitor::Owner(&key.owner))
    }

    fn grants(&self) -> &[Grant] {
        self.key.as_ref().map_or(&[], |key| &key.grants)
    }

    pub(super) fn granted(&self) -> Granted<'_> {
        Granted { grants: self.grants(), from: self.from }
    }

    /// Whether the caller may know that the bucket exists.
    pub fn sees(&self, bucket: &str, owner: &str) -> bool {
        self.granted().sees(Bucket { name: bucket, mine: owner == self.owner() })
    }

    /// Refuses what the key may not do to the bucket, whatever lists say.
    pub async fn must_on_bucket(&self, site: &Site, right: Right, bucket: &str) -> S3Result<()> {
        let mine = self.is_mine(site, bucket).await?;
        allowed(self.granted().on_bucket(right, Bucket { name: bucket, mine }))
    }

    /// Whether the caller's owner made the bucket, asked only where a grant depends on it. A bucket that is not there is
    /// everybody's, so that they hear of that.
    pub(super) async fn is_mine(&self, site: &Site, bucket: &str) -> S3Result<bool> {
        if !self.grants().iter().any(Grant::only_owned) {
            return Ok(true);
        }
        match site.bucket(&convert::bucket_name(bucket)?).await {
            Ok(info) => Ok(info.owner == self.owner()),
            Err(Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => Ok(true),
            Err(err) => Err(error::from_site(err)),
        }
    }
}

pub(super) fn allowed(yes: bool) -> S3Result<()> {
    if yes { Ok(()) } else { Err(error::access_denied()) }
}

#[async_trait]
impl S3Auth for Keyring {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let key = self.usable(access_key).ok_or_else(error::unknown_access_key)?;
        Ok(SecretKey::from(key.secret_key.expose()))
    }
}

/// Decides for requests whose signature is checked: rights, then what nobody may ask for yet.
pub struct Access {
    pub site: Site,
    pub vouch_encryption: bool,
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let op = cx.s3_op().name().to_owned();
        if let Some(progress) = cx.extensions_mut().get::<Arc<Progress>>() {
            progress.is(&op);
        }
        let caller = cx.extensions_mut().get::<Caller>().cloned().ok_or_else(error::access_denied)?;
        let opened = self.check_rights(&caller, &op, cx).await?;
        opened.map(|opened| cx.extensions_mut().insert(opened));
        unbuilt::check(&op, cx.headers(), self.vouch_encryption)?;
        self.check_owner(cx).await
    }
}

impl Access {
    /// What the key grants, and else what a list opens to whoever asks. Says which list it was: what is read then must
    /// still be what it stood beside.
    async fn check_rights(&self, caller: &Caller, op: &str, cx: &S3AccessContext<'_>) -> S3Result<Option<Opened>> {
        let (bucket, key) = match cx.s3_path() {
            // Nobody's buckets are listed to nobody.
            S3Path::Root => return allowed(!caller.is_anonymous()).map(|()| None),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        let need = if publishes(op, cx.headers()) { Need::KeyAcl } else { need(op, cx.method()) };
        if matches!(need, Need::InHandler) && !caller.is_anonymous() {
            return Ok(None);
        }
        let query = cx.uri().query();
        let prefix = parameter(query, "prefix").unwrap_or_default();
        let wish = Wish { need, bucket, key, prefix: &prefix };
        if wish.is_granted(caller, caller.is_mine(&self.site, bucket).await?) {
            return Ok(None);
        }
        let asked =
            Asked { op, version: parameter(query, "versionId"), upload: parameter(query, "uploadId"), headers: cx.headers() };
        open::by_list(&self.site, caller, &wish, &asked).await.map(Some)
    }

    /// `x-amz-expected-bucket-owner` protects a client from writing to somebody else's bucket.
    async fn check_owner(&self, cx: &S3AccessContext<'_>) -> S3Result<()> {
        let Some(expected) = cx.headers().get("x-amz-expected-bucket-owner") else { return Ok(()) };
        let Some(bucket) = cx.s3_path().get_bucket_name() else { return Ok(()) };
        self.owner_is(bucket, expected.as_bytes()).await
    }

    async fn owner_is(&self, bucket: &str, expected: &[u8]) -> S3Result<()> {
        let info = self.site.bucket(&convert::bucket_name(bucket)?).await.map_err(error::from_site)?;
        allowed(info.owner.as_bytes() == expected)
    }
}

/// Whether an upload asks for a list that lets others in, which is for those who may write the list of what is there.
fn publishes(op: &str, headers: &HeaderMap) -> bool {
    let closed = |name: &[u8]| matches!(name, b"" | b"private" | b"bucket-owner-read" | b"bucket-owner-full-control");
    matches!(op, "PutObject" | "CopyObject" | "CreateMultipartUpload")
        && (headers.get("x-amz-acl").is_some_and(|name| !closed(name.as_bytes()))
            || headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")))
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    // Names are decoded as s3s decodes them: what is decided here is what is done there.
    let found = uri::parameters(query).find(|(known, _)| uri::decode_form(known).as_deref() == Some(name));
    found.and_then(|(_, value)| uri::decode_form(value))
}

/// The caller that the gate put into a request.
pub fn caller(extensions: &http::Extensions) -> Result<&Caller, S3Error> {
    extensions.get::<Caller>().ok_or_else(error::access_denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn an_upload_that_lets_others_in_publishes() {
        let with = |op, name: &'static str, value: &'static str| {
            publishes(op, &HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        assert!(with("PutObject", "x-amz-acl", "public-read") && with("CopyObject", "x-amz-grant-read", "id=bob"));
        assert!(with("CreateMultipartUpload", "x-amz-acl", "nonsense"), "what is not known is not harmless");
        assert!(!with("PutObject", "x-amz-acl", "private") && !with("PutObject", "x-amz-acl", "bucket-owner-full-control"));
        assert!(!with("GetObject", "x-amz-acl", "public-read"));
    }
}
