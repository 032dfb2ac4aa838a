//! What access control lists open to whoever comes without a grant: strangers, and keys of other owners.
//!
//! A list makes somebody else's bucket as good as one's own, and no better: a key gets by it what its grants say of the
//! buckets of its owner. What is everybody's is every key's too, which could leave its signature out.

use http::HeaderMap;
use s3s::S3Result;
use tokio::sync::Semaphore;

use super::access::{Caller, allowed};
use super::need::{Need, Wish};
use super::rights::Right;
use crate::model::{Acl, Bucket, ObjectId, Permission, Record, Slot, Visitor};
use crate::s3::{convert, error, versioning};
use crate::site::{Error, ReadConditions, Selection, Site};

/// How many strangers are looked up at a time: what is not known here is asked of other sites, and those who are known wait
/// for the same few ways there.
static STRANGERS: Semaphore = Semaphore::const_new(16);

/// A request that came in by a list alone.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Which permission of an object's list it was; what is read must have it when it is read.
    pub object: Option<Permission>,
    /// Whether the key's grants would do for a bucket of its owner, so that what the list says of that owner counts.
    pub at_home: bool,
}

/// What decides beside the wish itself.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub op: &'a str,
    pub version: Option<String>,
    pub upload: Option<String>,
    pub headers: &'a HeaderMap,
}

/// The permission that stands for an operation, and on which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Object(Permission),
    Bucket(Permission),
    /// WRITE on the bucket, by whoever began the upload.
    Upload,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#acl-access-policy-permission-mapping>
fn door(op: &str) -> Option<Door> {
    Some(match op {
        "GetObject" | "HeadObject" => Door::Object(Permission::Read),
        "GetObjectAcl" => Door::Object(Permission::ReadAcp),
        "PutObjectAcl" => Door::Object(Permission::WriteAcp),
        "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" | "HeadBucket" => {
            Door::Bucket(Permission::Read)
        }
        "GetBucketAcl" => Door::Bucket(Permission::ReadAcp),
        "PutBucketAcl" => Door::Bucket(Permission::WriteAcp),
        "PutObject" | "CopyObject" | "DeleteObject" | "CreateMultipartUpload" => Door::Bucket(Permission::Write),
        "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "AbortMultipartUpload" | "ListParts" => Door::Upload,
        _ => return None,
    })
}

/// What nobody does who is not known, whatever lists say: nobody could be asked what became of it.
fn is_for_known(op: &str) -> bool {
    matches!(op, "CopyObject" | "CreateMultipartUpload" | "PutObjectAcl" | "PutBucketAcl") || door(op) == Some(Door::Upload)
}

/// A list as it counts: nothing where lists do not, and nothing of strangers where the bucket ignores them.
pub fn counting(acl: Acl, bucket: &Bucket) -> Option<Acl> {
    if !bucket.has_acls() {
        return None;
    }
    let ignores = bucket.public_access().unwrap_or_default().ignore_acls;
    Some(if ignores { acl.without_public() } else { acl })
}

/// The list of an object as it counts.
fn list_of(record: &Record, bucket: &Bucket) -> Option<Acl> {
    counting(record.registers.acl.clone().unwrap_or_else(|| Acl::private(&bucket.owner)), bucket)
}

/// Lets in whom a list names, or answers why not.
pub async fn by_list(site: &Site, caller: &Caller, wish: &Wish<'_>, asked: &Asked<'_>) -> S3Result<Opened> {
    let door = door(asked.op).ok_or_else(error::access_denied)?;
    let is_shut = caller.is_anonymous() && is_for_known(asked.op);
    // Destroying a version, and keeping one from that, is for keys with the right to it.
    let is_final = asked.op == "DeleteObject" && asked.version.is_some() || locks(asked.headers);
    allowed(!is_shut && !is_final)?;
    let name = convert::bucket_name(wish.bucket)?;
    // Nobody else is asked on behalf of a stranger.
    let bucket = match caller.is_anonymous() {
        true => site.bucket_registers_here(&name).await,
        false => site.bucket_registers(&name).await,
    };
    let bucket = match bucket {
        Ok(bucket) => bucket,
        Err(err @ (Error::NoSuchBucket | Error::NoSuchBucketHere { .. })) if caller.is_anonymous() => {
            return Err(error::from_site(err));
        }
        Err(Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => return Err(error::access_denied()),
        Err(err) => return Err(error::from_site(err)),
    };
    let opener = Opener { caller, wish, bucket: &bucket.row };
    let opened = |object| Opened { object, at_home: wish.is_granted(caller, true) };
    match door {
        Door::Bucket(permission) => allowed(opener.of_bucket(permission)).map(|()| opened(None)),
        Door::Upload => {
            allowed(opener.of_bucket(Permission::Write))?;
            let object = convert::object_id(wish.bucket, wish.key)?;
            let owner = site.upload_owner(&object, asked.upload.as_deref().unwrap_or_default()).await;
            allowed(owner.map_err(error::from_site)? == caller.owner()).map(|()| opened(None))
        }
        Door::Object(permission) => {
            let object = convert::object_id(wish.bucket, wish.key)?;
            let version = versioning::named(site, &object, asked.version.as_deref()).await?;
            opener.of_object(site, &object, version, permission).await?;
            Ok(opened(Some(permission)))
        }
    }
}

fn is_absence(err: &Error) -> bool {
    matches!(
        err,
        Error::NoSuchKey
            | Error::NoSuchKeyHere { .. }
            | Error::Hidden { .. }
            | Error::IsMarker { .. }
            | Error::NoSuchVersion
            | Error::NoSuchVersionHere { .. }
    )
}

fn locks(headers: &HeaderMap) -> bool {
    let is_lock = |name: &str| name.starts_with("x-amz-object-lock-") || name == "x-amz-bypass-governance-retention";
    headers.keys().any(|name| is_lock(name.as_str()))
}

/// Who asks for what, in which bucket.
struct Opener<'a> {
    caller: &'a Caller,
    wish: &'a Wish<'a>,
    bucket: &'a Bucket,
}

impl Opener<'_> {
    fn allows(&self, list: Option<&Acl>, permission: Permission) -> bool {
        let Some(list) = list else { return false };
        let is_granted_at_home = self.wish.is_granted(self.caller, true);
        list.allows(Visitor::Anybody, permission) || is_granted_at_home && list.allows(self.caller.visitor(), permission)
    }

    fn of_bucket(&self, permission: Permission) -> bool {
        self.allows(counting(self.bucket.acl(), self.bucket).as_ref(), permission)
    }

    /// That an object is not there hears who may list.
    async fn of_object(&self, site: &Site, object: &ObjectId, version: Option<Slot>, permission: Permission) -> S3Result<()> {
        let _turn = if self.caller.is_anonymous() { STRANGERS.acquire().await.ok() } else { None };
        match site.head(object, version, Selection::All, &ReadConditions::default()).await {
            Ok(seen) => allowed(self.allows(list_of(&seen.record.row, self.bucket).as_ref(), permission)),
            Err(err) if is_absence(&err) => {
                let listing = Wish { need: Need::Listing, prefix: self.wish.key, ..*self.wish };
                let may_list = Opener { wish: &listing, ..*self }.of_bucket(Permission::Read);
                if may_list { Ok(()) } else { Err(error::access_denied()) }
            }
            Err(err) => Err(error::from_site(err)),
        }
    }
}

impl Caller {
    /// Refuses a source that neither the key nor the object's list lets the caller read. Answers whether it was the list.
    pub async fn must_read(&self, site: &Site, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Option<Opened>> {
        let wish = Wish { need: Need::Key(Right::Read), bucket, key, prefix: "" };
        if wish.is_granted(self, self.is_mine(site, bucket).await?) {
            return Ok(None);
        }
        let headers = HeaderMap::new();
        let asked = Asked { op: "GetObject", version: version.map(str::to_owned), upload: None, headers: &headers };
        by_list(site, self, &wish, &asked).await.map(Some)
    }

    /// The same of deleting one of many.
    pub async fn must_delete(&self, site: &Site, bucket: &str, key: &str, version: Option<&str>) -> S3Result<()> {
        let wish = Wish { need: Need::Key(Right::Delete), bucket, key, prefix: "" };
        if wish.is_granted(self, self.is_mine(site, bucket).await?) {
            return Ok(());
        }
        let headers = HeaderMap::new();
        let asked = Asked { op: "DeleteObject", version: version.map(str::to_owned), upload: None, headers: &headers };
        by_list(site, self, &wish, &asked).await.map(drop)
    }

    /// Refuses what was let in by the list of another object than is read now: it may have been replaced since.
    pub async fn must_still(&self, site: &Site, opened: Option<&Opened>, object: &ObjectId, record: &Record) -> S3Result<()> {
        let Some(Opened { object: Some(permission), at_home }) = opened else { return Ok(()) };
        let bucket = site.bucket_registers(&object.bucket).await.map_err(error::from_site)?;
        let list = list_of(record, &bucket.row);
        let allows = |visitor| list.as_ref().is_some_and(|list| list.allows(visitor, *permission));
        allowed(allows(Visitor::Anybody) || *at_home && allows(self.visitor()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AclGrant, Grantee, Incarnation, Ownership, PublicAccess, SiteNumber, Stamp, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn bucket() -> Bucket {
        Bucket { created: stamp(1), deleted: None, owner: "ann".into(), region: "r".into(), registers: Vec::new() }
    }

    fn public() -> Acl {
        let grant = AclGrant { grantee: Grantee::AllUsers, permission: Permission::Read };
        Acl { owner: "ann".into(), grants: vec![grant] }
    }

    #[test]
    fn lists_count_as_the_bucket_says() {
        let seen = |bucket: &Bucket| counting(public(), bucket).map(|acl| acl.is_public());
        assert_eq!(seen(&bucket()), Some(true));
        let access = PublicAccess { ignore_acls: true, ..PublicAccess::default() };
        assert_eq!(seen(&bucket().with_public_access(Some(&access), stamp(2))), Some(false));
        let access = PublicAccess { ignore_acls: false, block_acls: true, block_policy: true, restrict: true };
        assert_eq!(seen(&bucket().with_public_access(Some(&access), stamp(2))), Some(true));
        assert_eq!(seen(&bucket().with_ownership(Some(Ownership::BucketOwnerEnforced), stamp(2))), None);
        assert_eq!(seen(&bucket().with_ownership(Some(Ownership::BucketOwnerPreferred), stamp(2))), Some(true));
    }

    #[test]
    fn lists_open_reading_and_writing_and_nothing_that_configures() {
        assert_eq!(door("GetObject"), Some(Door::Object(Permission::Read)));
        assert_eq!(door("ListObjectVersions"), Some(Door::Bucket(Permission::Read)));
        assert_eq!(door("DeleteObject"), Some(Door::Bucket(Permission::Write)));
        for op in ["CreateBucket", "DeleteBucket", "PutBucketCors", "GetBucketPolicy", "PutObjectRetention", "PutObjectTagging"] {
            assert_eq!(door(op), None, "{op}");
        }
        assert!(is_for_known("UploadPart") && is_for_known("PutBucketAcl") && !is_for_known("PutObject"));
    }

    #[test]
    fn locks_are_not_asked_for_by_strangers() {
        let with = |name: &'static str| locks(&HeaderMap::from_iter([(name.parse().unwrap(), "x".parse().unwrap())]));
        assert!(with("x-amz-object-lock-mode") && with("x-amz-bypass-governance-retention") && !with("x-amz-acl"));
    }
}
