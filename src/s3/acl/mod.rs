//! Access control lists: of buckets, of objects, and of objects about to be written. What they open is `auth`'s business.

mod asked;

use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Permission,
    PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use self::asked::{Asked, Canned, Known};
use super::auth::{self, Opened};
use super::{Face, convert, documents, error};
use crate::model::{Acl, AclGrant, Bucket, BucketName, Grantee, ObjectId, Ownership, Record, Stamp};
use crate::site::{ReadConditions, Register, Selection};

/// The list of an object about to be written; `None` is private to the bucket's owner.
pub async fn of_new(
    face: &Face,
    extensions: &http::Extensions,
    bucket: &BucketName,
    headers: &HeaderMap,
) -> S3Result<Option<Acl>> {
    let writer = auth::caller(extensions)?.owner();
    let bucket = face.site.bucket_registers(bucket).await.map_err(error::from_site)?;
    let asked = Asked::read(headers, &known(face, vec![writer, &bucket.row.owner]))?;
    written(&asked, writer, &bucket.row)
}

fn written(asked: &Asked, writer: &str, bucket: &Bucket) -> S3Result<Option<Acl>> {
    // Most writes: by the bucket's owner, who says nothing of lists.
    if *asked == Asked::Nothing && writer == bucket.owner {
        return Ok(None);
    }
    let is_handed_over = *asked == Asked::Canned(Canned::BucketOwnerFullControl);
    let owner = match bucket.ownership().unwrap_or_default() {
        Ownership::BucketOwnerEnforced if asked.is_bucket_owners(&bucket.owner) => return Ok(None),
        Ownership::BucketOwnerEnforced => return Err(error::no_acls()),
        Ownership::BucketOwnerPreferred if is_handed_over => &bucket.owner,
        _ => writer,
    };
    let list = asked.list(owner, &bucket.owner);
    check_public(&list, bucket)?;
    Ok(Some(list).filter(|list| *list != Acl::private(&bucket.owner)))
}

/// The list and the ownership of a bucket about to be made.
pub fn of_new_bucket(face: &Face, owner: &str, headers: &HeaderMap) -> S3Result<(Acl, Option<Ownership>)> {
    let asked = Asked::read(headers, &known(face, vec![owner]))?;
    let named = convert::text_of(headers, &http::HeaderName::from_static("x-amz-object-ownership"))?;
    let unknown = || error::invalid_argument("Invalid x-amz-object-ownership header");
    let ownership = named.map(|name| Ownership::named(&name).ok_or_else(unknown)).transpose()?;
    let list = asked.list(owner, owner);
    check_ownership(ownership, &list)?;
    Ok((list, ownership))
}

/// Where there are no lists, none may have said something.
pub fn check_ownership(ownership: Option<Ownership>, list: &Acl) -> S3Result<()> {
    let is_enforced = ownership == Some(Ownership::BucketOwnerEnforced);
    if is_enforced && *list != Acl::private(&list.owner) { Err(error::acl_with_ownership()) } else { Ok(()) }
}

fn known<'a>(face: &'a Face, here: Vec<&'a str>) -> Known<'a> {
    Known { keys: face.keys.as_ref(), here }
}

fn check_public(list: &Acl, bucket: &Bucket) -> S3Result<()> {
    let is_blocked = list.is_public() && bucket.public_access().unwrap_or_default().block_acls;
    if is_blocked { Err(error::access_denied()) } else { Ok(()) }
}

/// Who owns an object, as everybody is told.
pub fn owner_of<'a>(record: &'a Record, bucket: &'a Bucket) -> &'a str {
    let list = record.registers.acl.as_ref().filter(|_| bucket.has_acls());
    list.map_or(&bucket.owner, |list| &list.owner)
}

/// The list of an object, as it is shown.
fn list_of(record: &Record, bucket: &Bucket) -> Acl {
    let list = record.registers.acl.clone().filter(|_| bucket.has_acls());
    list.unwrap_or_else(|| Acl::private(&bucket.owner))
}

/// Groups before users: clients look for the owner behind them.
fn shown(list: &Acl) -> Vec<Grant> {
    let mut grants: Vec<_> = list.grants.iter().collect();
    grants.sort_by_key(|grant| matches!(grant.grantee, Grantee::User(_)));
    let grant = |grant: &AclGrant| Grant {
        grantee: Some(asked::shown(&grant.grantee)),
        permission: Some(Permission::from_static(grant.permission.name())),
    };
    grants.into_iter().map(grant).collect()
}

/// What a Put…Acl asks for, said in one way and no more.
fn asked(headers: &HeaderMap, document: Option<AccessControlPolicy>, before: &Acl, known: &Known<'_>) -> S3Result<Asked> {
    match (Asked::read(headers, known)?, document) {
        (Asked::Nothing, Some(document)) => {
            let before = before.grants.iter().filter_map(|grant| match &grant.grantee {
                Grantee::User(id) => Some(id.as_str()),
                _ => None,
            });
            // What is sent back as it was read names nobody new.
            let known = Known { here: known.here.iter().copied().chain(before.clone()).collect(), ..known.clone() };
            Asked::of_document(document, known.here[0], &known)
        }
        (Asked::Nothing, None) => Err(error::missing_acl()),
        (_, Some(_)) => Err(error::unexpected_content()),
        (asked, None) => Ok(asked),
    }
}

/// GetBucketAcl.
pub async fn get_of_bucket(face: &Face, req: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let bucket = documents::read(face, &req.input.bucket).await?;
    let owner = convert::owner(&bucket.row.owner);
    let list = if bucket.row.has_acls() { bucket.row.acl() } else { Acl::private(&bucket.row.owner) };
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(shown(&list)), owner: Some(owner) }))
}

/// PutBucketAcl.
pub async fn put_of_bucket(face: &Face, req: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let bucket = &documents::read(face, &req.input.bucket).await?.row;
    if !bucket.has_acls() {
        return Err(error::no_acls());
    }
    let known = known(face, vec![&bucket.owner]);
    let asked = asked(&req.headers, req.input.access_control_policy, &bucket.acl(), &known)?;
    let list = asked.list(&bucket.owner, &bucket.owner);
    check_public(&list, bucket)?;
    let bytes = list.grants.iter().map(|grant| format!("{grant:?}").len()).sum();
    documents::check_size(bytes, documents::BYTES_MAX)?;
    documents::write(face, &req.input.bucket, move |row, stamp| row.with_acl(&list, stamp)).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// GetObjectAcl.
pub async fn get_of_object(face: &Face, req: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let list = Current::of(face, &req, &object, req.input.version_id.as_deref()).await?.list;
    let owner = Some(convert::owner(&list.owner));
    Ok(S3Response::new(GetObjectAclOutput { grants: Some(shown(&list)), owner, request_charged: None }))
}

/// PutObjectAcl.
pub async fn put_of_object(face: &Face, req: S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let Current { list: before, bucket, data } = Current::of(face, &req, &object, req.input.version_id.as_deref()).await?;
    if !bucket.has_acls() {
        return Err(error::no_acls());
    }
    let known = known(face, vec![&before.owner, &bucket.owner]);
    let asked = asked(&req.headers, req.input.access_control_policy, &before, &known)?;
    let list = asked.list(&before.owner, &bucket.owner);
    check_public(&list, &bucket)?;
    let list = Some(list).filter(|list| *list != Acl::private(&bucket.owner));
    let version = convert::slot(req.input.version_id.as_deref())?;
    face.site.set_register(&object, version, Register::Acl(list, data)).await.map_err(error::from_site)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// What a list is about, as it is now.
struct Current {
    list: Acl,
    bucket: Bucket,
    /// The stamp of the object's data.
    data: Stamp,
}

impl Current {
    /// Of the version that is named.
    async fn of<T>(face: &Face, req: &S3Request<T>, object: &ObjectId, version: Option<&str>) -> S3Result<Self> {
        let version = convert::slot(version)?;
        let seen = face.site.head(object, version, Selection::All, &ReadConditions::default()).await.map_err(error::from_site)?;
        let record = &seen.record.row;
        must_still(face, &req.extensions, object, record).await?;
        let bucket = face.site.bucket_registers(&object.bucket).await.map_err(error::from_site)?;
        Ok(Self { list: list_of(record, &bucket.row), bucket: bucket.row.clone(), data: record.vector.data })
    }
}

/// Refuses what was let in by the list of something else than was found in the end.
pub async fn must_still(face: &Face, extensions: &http::Extensions, object: &ObjectId, record: &Record) -> S3Result<()> {
    auth::caller(extensions)?.must_still(&face.site, extensions.get::<Opened>(), object, record).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, PublicAccess, SiteNumber, Stamp, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn bucket(ownership: Option<Ownership>) -> Bucket {
        let bare = Bucket { created: stamp(1), deleted: None, owner: "ann".into(), region: "r".into(), registers: Vec::new() };
        bare.with_ownership(ownership, stamp(2))
    }

    fn owner(canned: Option<Canned>, ownership: Option<Ownership>) -> Result<String, String> {
        let asked = canned.map_or(Asked::Nothing, Asked::Canned);
        let list = written(&asked, "bob", &bucket(ownership)).map_err(|err| err.code().as_str().to_owned())?;
        Ok(list.map_or("ann".to_owned(), |list| list.owner))
    }

    #[test]
    fn whose_an_object_is_depends_on_the_bucket_and_the_list() {
        let full = Some(Canned::BucketOwnerFullControl);
        for ownership in [None, Some(Ownership::ObjectWriter)] {
            assert_eq!(owner(None, ownership), Ok("bob".into()));
            assert_eq!(owner(full, ownership), Ok("bob".into()));
        }
        assert_eq!(owner(None, Some(Ownership::BucketOwnerPreferred)), Ok("bob".into()));
        assert_eq!(owner(full, Some(Ownership::BucketOwnerPreferred)), Ok("ann".into()));
        assert_eq!(owner(None, Some(Ownership::BucketOwnerEnforced)), Ok("ann".into()));
        assert_eq!(owner(full, Some(Ownership::BucketOwnerEnforced)), Ok("ann".into()));
        let private = owner(Some(Canned::Private), Some(Ownership::BucketOwnerEnforced));
        assert_eq!(private, Err("AccessControlListNotSupported".into()));
    }

    #[test]
    fn a_list_for_strangers_is_refused_where_that_is_blocked() {
        let access = PublicAccess { block_acls: true, ..PublicAccess::default() };
        let blocked = bucket(None).with_public_access(Some(&access), stamp(3));
        for canned in [Canned::PublicRead, Canned::PublicReadWrite, Canned::AuthenticatedRead] {
            let refused = written(&Asked::Canned(canned), "ann", &blocked).unwrap_err();
            assert_eq!(refused.code().as_str(), "AccessDenied");
        }
        assert!(written(&Asked::Canned(Canned::Private), "ann", &blocked).unwrap().is_none());
    }

    #[test]
    fn groups_are_shown_first() {
        let list = Asked::Canned(Canned::PublicRead).list("ann", "ann");
        let turned = Acl { grants: list.grants.iter().rev().cloned().collect(), ..list };
        assert!(matches!(turned.grants[0].grantee, Grantee::User(_)));
        assert_eq!(shown(&turned)[0].grantee.as_ref().unwrap().type_.as_str(), "Group");
    }
}
