//! What each operation needs of a key's grants.

use http::Method;

use super::access::Caller;
use super::rights::{Bucket, Right};

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its handler asks for each thing it touches.
    InHandler,
    Key(Right),
    /// Who may read and write an object may say who else may read it: it could copy it to where they do.
    KeyAcl,
    Bucket(Right),
    /// ADMIN on a bucket that is not there yet; whose it is, if it is, the site says.
    NewBucket,
    /// READ on all keys under the prefix asked for.
    Listing,
}

/// Something somebody wants to do to something.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub need: Need,
    pub bucket: &'a str,
    /// Empty where it is about the bucket.
    pub key: &'a str,
    pub prefix: &'a str,
}

impl Wish<'_> {
    /// Whether the caller's key allows it, where the bucket is its owner's or is not.
    pub fn is_granted(&self, caller: &Caller, mine: bool) -> bool {
        let (granted, bucket) = (caller.granted(), Bucket { name: self.bucket, mine });
        match self.need {
            Need::InHandler => false,
            Need::Key(right) => granted.on_key(right, bucket, self.key),
            Need::KeyAcl => [Right::Read, Right::Write].into_iter().all(|right| granted.on_key(right, bucket, self.key)),
            Need::Bucket(right) => granted.on_bucket(right, bucket),
            Need::NewBucket => granted.on_bucket(Right::Admin, Bucket { mine: true, ..bucket }),
            Need::Listing => granted.on_listing(bucket, self.prefix),
        }
    }
}

pub fn need(op: &str, method: &Method) -> Need {
    match op {
        "ListBuckets" | "DeleteObjects" => Need::InHandler,
        "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => Need::Listing,
        "GetObject" | "HeadObject" | "GetObjectAttributes" | "GetObjectTagging" | "GetObjectTorrent" | "ListParts" => {
            Need::Key(Right::Read)
        }
        "GetObjectAcl" | "GetObjectRetention" | "GetObjectLegalHold" => Need::Key(Right::Read),
        "PutObject" | "CopyObject" | "PutObjectTagging" | "DeleteObjectTagging" => Need::Key(Right::Write),
        "PutObjectRetention" | "PutObjectLegalHold" => Need::Key(Right::Write),
        "PutObjectAcl" => Need::KeyAcl,
        "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "AbortMultipartUpload" => {
            Need::Key(Right::Write)
        }
        "DeleteObject" => Need::Key(Right::Delete),
        "CreateBucket" => Need::NewBucket,
        _ if method == Method::GET || method == Method::HEAD => Need::Bucket(Right::Read),
        _ => Need::Bucket(Right::Admin),
    }
}
