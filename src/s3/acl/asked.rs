//! What a request asks for as an access control list: a canned one, grants in headers, or a document.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::S3Result;
use s3s::dto::{AccessControlPolicy, Grant, Grantee as Named, Type};

use crate::model::{Acl, AclGrant, Grantee, Permission};
use crate::s3::auth::Keyring;
use crate::s3::error;

const CANNED: HeaderName = HeaderName::from_static("x-amz-acl");

/// The order in which such grants are kept and shown.
const GRANT_HEADERS: [(HeaderName, Permission); 5] = [
    (HeaderName::from_static("x-amz-grant-read"), Permission::Read),
    (HeaderName::from_static("x-amz-grant-write"), Permission::Write),
    (HeaderName::from_static("x-amz-grant-read-acp"), Permission::ReadAcp),
    (HeaderName::from_static("x-amz-grant-write-acp"), Permission::WriteAcp),
    (HeaderName::from_static("x-amz-grant-full-control"), Permission::FullControl),
];

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>
const GRANTS_MAX: usize = 100;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// Lists that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Canned(Canned),
    Grants(Vec<AclGrant>),
}

/// Who can be named: owners of keys of this site, and whoever owns what the list is about.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    pub keys: Option<&'a Keyring>,
    pub here: Vec<&'a str>,
}

impl Known<'_> {
    fn is_owner(&self, id: &str) -> bool {
        self.here.contains(&id) || self.keys.is_some_and(|keys| keys.has_owner(id))
    }

    fn user(&self, id: &str) -> S3Result<Grantee> {
        if self.is_owner(id) { Ok(Grantee::User(id.to_owned())) } else { Err(error::invalid_argument("Invalid id")) }
    }

    /// An address is known where an owner is called by it.
    fn by_email(&self, address: &str) -> S3Result<Grantee> {
        if self.is_owner(address) { Ok(Grantee::User(address.to_owned())) } else { Err(error::unresolvable_email()) }
    }
}

impl Canned {
    fn named(name: &str) -> S3Result<Self> {
        Ok(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            // For an account of Amazon's own.
            "aws-exec-read" => return Err(error::not_implemented("x-amz-acl: aws-exec-read")),
            _ => return Err(error::invalid_argument("x-amz-acl has an unknown value")),
        })
    }

    /// What it allows beside the owner's full control: strangers first, as S3 shows them.
    fn grants(self, owner: &str, bucket_owner: &str) -> Vec<AclGrant> {
        let of = |grantee, permission| AclGrant { grantee, permission };
        let user = |id: &str, permission| of(Grantee::User(id.to_owned()), permission);
        let full = user(owner, Permission::FullControl);
        let others = match self {
            Self::Private => Vec::new(),
            Self::PublicRead => vec![of(Grantee::AllUsers, Permission::Read)],
            Self::PublicReadWrite => {
                vec![of(Grantee::AllUsers, Permission::Read), of(Grantee::AllUsers, Permission::Write)]
            }
            Self::AuthenticatedRead => vec![of(Grantee::AuthenticatedUsers, Permission::Read)],
            Self::LogDeliveryWrite => {
                vec![of(Grantee::LogDelivery, Permission::Write), of(Grantee::LogDelivery, Permission::ReadAcp)]
            }
            // Said of a bucket, or of what is its owner's anyway, they add nothing.
            Self::BucketOwnerRead | Self::BucketOwnerFullControl if owner == bucket_owner => Vec::new(),
            Self::BucketOwnerRead => return vec![full, user(bucket_owner, Permission::Read)],
            Self::BucketOwnerFullControl => return vec![full, user(bucket_owner, Permission::FullControl)],
        };
        others.into_iter().chain([full]).collect()
    }
}

impl Asked {
    /// What the headers ask for.
    pub fn read(headers: &HeaderMap, known: &Known<'_>) -> S3Result<Self> {
        let canned = headers.get(CANNED).map(HeaderValue::as_bytes).filter(|value| !value.is_empty());
        let has_grants = GRANT_HEADERS.iter().any(|(name, _)| headers.contains_key(name));
        match (canned, has_grants) {
            (None, false) => Ok(Self::Nothing),
            (Some(_), true) => Err(error::invalid_request("Specifying both Canned ACLs and Header Grants is not allowed")),
            (Some(name), false) => Canned::named(std::str::from_utf8(name).unwrap_or_default()).map(Self::Canned),
            (None, true) => grants_of(headers, known).map(Self::Grants),
        }
    }

    /// What a document asks for, where the thing it is about has this owner, who cannot be changed.
    pub fn of_document(document: AccessControlPolicy, owner: &str, known: &Known<'_>) -> S3Result<Self> {
        let named = document.owner.and_then(|owner| owner.id).ok_or_else(error::malformed_acl)?;
        if named != owner {
            return Err(error::access_denied());
        }
        let grants = document.grants.unwrap_or_default();
        bounded(grants.into_iter().map(|grant| of_element(grant, known)).collect::<S3Result<_>>()?).map(Self::Grants)
    }

    /// The list it comes to for a thing of this owner in a bucket of that one.
    pub fn list(&self, owner: &str, bucket_owner: &str) -> Acl {
        match self {
            Self::Nothing => Acl::private(owner),
            Self::Canned(canned) => Acl { owner: owner.to_owned(), grants: canned.grants(owner, bucket_owner) },
            Self::Grants(grants) => Acl { owner: owner.to_owned(), grants: grants.clone() },
        }
    }

    /// Whether it says, in whatever words, what is so anyway where there are no lists.
    pub fn is_bucket_owners(&self, bucket_owner: &str) -> bool {
        match self {
            Self::Nothing | Self::Canned(Canned::BucketOwnerFullControl) => true,
            Self::Canned(_) => false,
            Self::Grants(grants) => *grants == Acl::private(bucket_owner).grants,
        }
    }
}

fn bounded(grants: Vec<AclGrant>) -> S3Result<Vec<AclGrant>> {
    if grants.len() > GRANTS_MAX { Err(error::malformed_acl()) } else { Ok(grants) }
}

fn of_element(grant: Grant, known: &Known<'_>) -> S3Result<AclGrant> {
    let permission = grant.permission.as_ref().and_then(|permission| Permission::named(permission.as_str()));
    let named = grant.grantee.ok_or_else(error::malformed_acl)?;
    Ok(AclGrant { grantee: grantee(&named, known)?, permission: permission.ok_or_else(error::malformed_acl)? })
}

fn grantee(named: &Named, known: &Known<'_>) -> S3Result<Grantee> {
    let text = |text: &Option<String>| text.clone().ok_or_else(error::malformed_acl);
    match named.type_.as_str() {
        Type::CANONICAL_USER => known.user(&text(&named.id)?),
        Type::GROUP => group(&text(&named.uri)?),
        Type::AMAZON_CUSTOMER_BY_EMAIL => known.by_email(&text(&named.email_address)?),
        _ => Err(error::malformed_acl()),
    }
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Ok(Grantee::LogDelivery),
        _ => Err(error::invalid_argument("Invalid group uri")),
    }
}

/// A grantee as documents show one.
pub fn shown(grantee: &Grantee) -> Named {
    let of = |kind| Named { type_: Type::from_static(kind), display_name: None, email_address: None, id: None, uri: None };
    let group = |uri: &str| Named { uri: Some(uri.to_owned()), ..of(Type::GROUP) };
    match grantee {
        Grantee::User(id) => Named { id: Some(id.clone()), display_name: Some(id.clone()), ..of(Type::CANONICAL_USER) },
        Grantee::AllUsers => group(ALL_USERS),
        Grantee::AuthenticatedUsers => group(AUTHENTICATED_USERS),
        Grantee::LogDelivery => group(LOG_DELIVERY),
    }
}

fn grants_of(headers: &HeaderMap, known: &Known<'_>) -> S3Result<Vec<AclGrant>> {
    let mut grants = Vec::new();
    for (name, permission) in &GRANT_HEADERS {
        for value in headers.get_all(name) {
            let bad = || error::invalid_argument(format!("The header {name} names no grantee"));
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad())?;
            for (kind, value) in pairs(text).ok_or_else(bad)? {
                let grantee = match kind.to_ascii_lowercase().as_str() {
                    "id" => known.user(&value)?,
                    "uri" => group(&value)?,
                    "emailaddress" => known.by_email(&value)?,
                    _ => return Err(bad()),
                };
                grants.push(AclGrant { grantee, permission: *permission });
            }
        }
    }
    bounded(grants)
}

/// `id="a", uri=b` as pairs; quotes may be left out. `None` where it is nothing of the kind.
fn pairs(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    loop {
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.find(',').map_or((rest, ""), |end| rest.split_at(end)),
        };
        pairs.push((name.trim().to_owned(), value.trim().to_owned()));
        text = match rest.trim_start() {
            "" => return Some(pairs),
            rest => rest.strip_prefix(',')?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known<'static> {
        Known { keys: None, here: vec!["ann", "bob", "eve@example.org"] }
    }

    fn read(pairs: &[(&'static str, &str)]) -> Result<Asked, String> {
        let headers = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        Asked::read(&headers, &known()).map_err(|err| err.code().as_str().to_owned())
    }

    fn permissions(acl: &Acl) -> Vec<(Grantee, Permission)> {
        acl.grants.iter().map(|grant| (grant.grantee.clone(), grant.permission)).collect()
    }

    #[test]
    fn canned_lists_say_what_their_names_promise() {
        let list = |name: &str, owner: &str| permissions(&read(&[("x-amz-acl", name)]).unwrap().list(owner, "ann"));
        let full = |id: &str| (Grantee::User(id.into()), Permission::FullControl);
        assert_eq!(list("private", "bob"), [full("bob")]);
        assert_eq!(list("public-read", "ann"), [(Grantee::AllUsers, Permission::Read), full("ann")]);
        let write = (Grantee::AllUsers, Permission::Write);
        assert_eq!(list("public-read-write", "ann"), [(Grantee::AllUsers, Permission::Read), write, full("ann")]);
        assert_eq!(list("authenticated-read", "ann"), [(Grantee::AuthenticatedUsers, Permission::Read), full("ann")]);
        assert_eq!(list("bucket-owner-read", "bob"), [full("bob"), (Grantee::User("ann".into()), Permission::Read)]);
        assert_eq!(list("bucket-owner-full-control", "bob"), [full("bob"), full("ann")]);
        assert_eq!(list("bucket-owner-full-control", "ann"), [full("ann")]);
        assert_eq!(read(&[("x-amz-acl", "mine")]), Err("InvalidArgument".into()));
        assert_eq!(read(&[("x-amz-acl", "aws-exec-read")]), Err("NotImplemented".into()));
        assert_eq!(read(&[("x-amz-acl", "")]), Ok(Asked::Nothing));
    }

    #[test]
    fn grants_in_headers_name_many_and_replace_the_owners() {
        let asked = read(&[("x-amz-grant-read", "id=\"bob\", uri=http://acs.amazonaws.com/groups/global/AllUsers")]).unwrap();
        let wanted = [(Grantee::User("bob".into()), Permission::Read), (Grantee::AllUsers, Permission::Read)];
        assert_eq!(permissions(&asked.list("ann", "ann")), wanted);
        let by_address = read(&[("x-amz-grant-full-control", "emailAddress=\"eve@example.org\"")]).unwrap();
        assert!(!by_address.is_bucket_owners("ann") && by_address.is_bucket_owners("eve@example.org"));
        for (bad, code) in [
            ("id=nobody", "InvalidArgument"),
            ("bob", "InvalidArgument"),
            ("id=\"bob", "InvalidArgument"),
            ("id=\"bob\" x", "InvalidArgument"),
            ("uri=http://example.org", "InvalidArgument"),
            ("emailAddress=who@example.org", "UnresolvableGrantByEmailAddress"),
        ] {
            assert_eq!(read(&[("x-amz-grant-read", bad)]), Err(code.into()), "{bad}");
        }
        assert_eq!(read(&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=bob")]), Err("InvalidRequest".into()));
        let many = vec!["id=bob"; 101].join(",");
        assert_eq!(read(&[("x-amz-grant-read", &many)]), Err("MalformedACLError".into()));
    }

    #[test]
    fn a_document_keeps_its_owner() {
        let document = |owner: Option<&str>, id: &str| {
            let user = Grant {
                grantee: Some(shown(&Grantee::User(id.into()))),
                permission: Some(s3s::dto::Permission::from_static("WRITE")),
            };
            let owner = owner.map(crate::s3::convert::owner);
            let document = AccessControlPolicy { grants: Some(vec![user]), owner };
            Asked::of_document(document, "ann", &known()).map_err(|err| err.code().as_str().to_owned())
        };
        let bob = AclGrant { grantee: Grantee::User("bob".into()), permission: Permission::Write };
        assert_eq!(document(Some("ann"), "bob"), Ok(Asked::Grants(vec![bob])));
        assert_eq!(document(Some("bob"), "bob"), Err("AccessDenied".into()));
        assert_eq!(document(None, "bob"), Err("MalformedACLError".into()));
        assert_eq!(document(Some("ann"), "nobody"), Err("InvalidArgument".into()));
    }
}
