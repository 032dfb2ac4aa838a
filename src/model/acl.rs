//! An access control list, as S3 keeps one beside a bucket and beside each version of an object.

use serde::{Deserialize, Serialize};

/// Who may do what beside what keys grant: at most 100 grants.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acl {
    /// Canonical id of whoever owns what the list stands beside.
    pub owner: String,
    pub grants: Vec<AclGrant>,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AclGrant {
    pub grantee: Grantee,
    pub permission: Permission,
}

/// Whom a grant speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grantee {
    /// An owner of keys, by canonical id.
    User(String),
    /// Everybody, without a signature too.
    AllUsers,
    /// Everybody with a key.
    AuthenticatedUsers,
    LogDelivery,
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}
