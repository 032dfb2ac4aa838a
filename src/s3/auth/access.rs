//! The two questions s3s asks: what is the secret of this key, and may this caller do that.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result};

use super::keys::{Key, Keyring};
use super::rights::{Bucket, Grant, Granted, Right};
use crate::s3::layer::Progress;
use crate::s3::{convert, error, unbuilt, uri};
use crate::site::{Error, Site};

/// Who signed a request, and where it came from.
#[derive(Clone, Debug)]
pub struct Caller {
    key: Arc<Key>,
    from: Option<IpAddr>,
}

impl Caller {
    pub fn new(key: Arc<Key>, from: Option<IpAddr>) -> Self {
        Self { key, from }
    }

    pub fn owner(&self) -> &str {
        &self.key.owner
    }

    fn granted(&self) -> Granted<'_> {
        Granted { grants: &self.key.grants, from: self.from }
    }

    /// Refuses what the caller may not do to this key.
    pub async fn must(&self, site: &Site, right: Right, bucket: &str, key: &str) -> S3Result<()> {
        let mine = self.is_mine(site, bucket).await?;
        allowed(self.granted().on_key(right, Bucket { name: bucket, mine }, key))
    }

    /// Whether the caller may know that the bucket exists.
    pub fn sees(&self, bucket: &str, owner: &str) -> bool {
        self.granted().sees(Bucket { name: bucket, mine: owner == self.key.owner })
    }

    async fn must_list(&self, site: &Site, bucket: &str, prefix: &str) -> S3Result<()> {
        let mine = self.is_mine(site, bucket).await?;
        allowed(self.granted().on_listing(Bucket { name: bucket, mine }, prefix))
    }

    pub async fn must_on_bucket(&self, site: &Site, right: Right, bucket: &str) -> S3Result<()> {
        let mine = self.is_mine(site, bucket).await?;
        allowed(self.granted().on_bucket(right, Bucket { name: bucket, mine }))
    }

    /// Whether the caller's owner made the bucket, asked only where a grant depends on it. A bucket that is not there is
    /// everybody's, so that they hear of that.
    async fn is_mine(&self, site: &Site, bucket: &str) -> S3Result<bool> {
        if !self.key.grants.iter().any(Grant::only_owned) {
            return Ok(true);
        }
        match site.bucket(&convert::bucket_name(bucket)?).await {
            Ok(info) => Ok(info.owner == self.key.owner),
            Err(Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => Ok(true),
            Err(err) => Err(error::from_site(err)),
        }
    }
}

fn allowed(yes: bool) -> S3Result<()> {
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

/// What an operation needs.
enum Need {
    /// Its handler asks for each thing it touches.
    InHandler,
    Key(Right),
    Bucket(Right),
    /// ADMIN on a bucket that is not there yet; whose it is, if it is, the site says.
    NewBucket,
    /// READ on all keys under the prefix asked for.
    Listing,
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let op = cx.s3_op().name().to_owned();
        if let Some(progress) = cx.extensions_mut().get::<Arc<Progress>>() {
            progress.is(&op);
        }
        let caller = cx.extensions_mut().get::<Caller>().cloned().ok_or_else(error::access_denied)?;
        self.check_rights(&caller, &op, cx).await?;
        unbuilt::check(&op, cx.headers(), self.vouch_encryption)?;
        self.check_owner(cx).await
    }
}

impl Access {
    async fn check_rights(&self, caller: &Caller, op: &str, cx: &S3AccessContext<'_>) -> S3Result<()> {
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => return Ok(()),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        match need(op, cx.method()) {
            Need::InHandler => Ok(()),
            Need::Key(right) => caller.must(&self.site, right, bucket, key).await,
            Need::Bucket(right) => caller.must_on_bucket(&self.site, right, bucket).await,
            Need::NewBucket => allowed(caller.granted().on_bucket(Right::Admin, Bucket { name: bucket, mine: true })),
            Need::Listing => caller.must_list(&self.site, bucket, &prefix(cx)).await,
        }
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

fn prefix(cx: &S3AccessContext<'_>) -> String {
    let found = uri::parameters(cx.uri().query()).find(|(name, _)| *name == "prefix");
    found.and_then(|(_, value)| uri::decode_form(value)).unwrap_or_default()
}

fn need(op: &str, method: &http::Method) -> Need {
    match op {
        "ListBuckets" | "DeleteObjects" => Need::InHandler,
        "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => Need::Listing,
        "GetObject" | "HeadObject" | "GetObjectAttributes" | "GetObjectTagging" | "GetObjectTorrent" | "ListParts" => {
            Need::Key(Right::Read)
        }
        "GetObjectRetention" | "GetObjectLegalHold" => Need::Key(Right::Read),
        "PutObject" | "CopyObject" | "PutObjectTagging" | "DeleteObjectTagging" => Need::Key(Right::Write),
        "PutObjectRetention" | "PutObjectLegalHold" => Need::Key(Right::Write),
        "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "AbortMultipartUpload" => {
            Need::Key(Right::Write)
        }
        "DeleteObject" => Need::Key(Right::Delete),
        "CreateBucket" => Need::NewBucket,
        _ if method == http::Method::GET || method == http::Method::HEAD => Need::Bucket(Right::Read),
        _ => Need::Bucket(Right::Admin),
    }
}

/// The caller that the gate put into a request.
pub fn caller(extensions: &http::Extensions) -> Result<&Caller, S3Error> {
    extensions.get::<Caller>().ok_or_else(error::access_denied)
}
