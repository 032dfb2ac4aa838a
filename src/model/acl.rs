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

/// Who asks, as lists see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor<'a> {
    /// Nobody knows who: without a signature.
    Anybody,
    /// An owner of keys, by canonical id.
    Owner(&'a str),
}

impl Permission {
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    /// As documents name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    /// The permission of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }
}

impl Grantee {
    /// Whether it is a group that strangers are in.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    fn is(&self, visitor: Visitor<'_>) -> bool {
        match (self, visitor) {
            (Self::AllUsers, _) | (Self::AuthenticatedUsers, Visitor::Owner(_)) => true,
            (Self::User(id), Visitor::Owner(owner)) => id == owner,
            _ => false,
        }
    }
}

impl Acl {
    /// The list of what has none: its owner may everything, and nobody else anything.
    pub fn private(owner: &str) -> Self {
        let grantee = Grantee::User(owner.to_owned());
        Self { owner: owner.to_owned(), grants: vec![AclGrant { grantee, permission: Permission::FullControl }] }
    }

    /// Whether strangers may anything.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Without what it says of strangers.
    pub fn without_public(mut self) -> Self {
        self.grants.retain(|grant| !grant.grantee.is_public());
        self
    }

    /// Whether it allows a visitor this. Who owns a thing may always see and change who may.
    pub fn allows(&self, visitor: Visitor<'_>, permission: Permission) -> bool {
        let of_owner = matches!(permission, Permission::ReadAcp | Permission::WriteAcp);
        if of_owner && visitor == Visitor::Owner(&self.owner) {
            return true;
        }
        let granted = |grant: &AclGrant| grant.permission == permission || grant.permission == Permission::FullControl;
        self.grants.iter().any(|grant| granted(grant) && grant.grantee.is(visitor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(grants: &[(Grantee, Permission)]) -> Acl {
        let grant =
            |(grantee, permission): &(Grantee, Permission)| AclGrant { grantee: grantee.clone(), permission: *permission };
        Acl { owner: "ann".into(), grants: grants.iter().map(grant).collect() }
    }

    fn allowed(acl: &Acl, visitor: Visitor<'_>) -> Vec<Permission> {
        Permission::ALL.into_iter().filter(|permission| acl.allows(visitor, *permission)).collect()
    }

    #[test]
    fn a_private_list_is_for_its_owner() {
        let private = Acl::private("ann");
        assert_eq!(allowed(&private, Visitor::Owner("ann")), Permission::ALL);
        assert_eq!(allowed(&private, Visitor::Owner("bob")), []);
        assert_eq!(allowed(&private, Visitor::Anybody), []);
        assert!(!private.is_public());
    }

    #[test]
    fn groups_hold_whom_they_name() {
        let all = acl(&[(Grantee::AllUsers, Permission::Read)]);
        let known = acl(&[(Grantee::AuthenticatedUsers, Permission::Read)]);
        let logs = acl(&[(Grantee::LogDelivery, Permission::Write)]);
        assert_eq!(allowed(&all, Visitor::Anybody), [Permission::Read]);
        assert_eq!(allowed(&all, Visitor::Owner("bob")), [Permission::Read]);
        assert_eq!(allowed(&known, Visitor::Anybody), []);
        assert_eq!(allowed(&known, Visitor::Owner("bob")), [Permission::Read]);
        assert_eq!(allowed(&logs, Visitor::Owner("bob")), []);
        assert!(all.is_public() && known.is_public() && !logs.is_public());
        assert_eq!(allowed(&all.without_public(), Visitor::Anybody), []);
    }

    #[test]
    fn one_permission_is_not_another_and_full_control_is_all() {
        let one = acl(&[(Grantee::User("bob".into()), Permission::Write)]);
        assert_eq!(allowed(&one, Visitor::Owner("bob")), [Permission::Write]);
        let full = acl(&[(Grantee::User("bob".into()), Permission::FullControl)]);
        assert_eq!(allowed(&full, Visitor::Owner("bob")), Permission::ALL);
    }

    #[test]
    fn an_owner_who_shut_himself_out_can_let_himself_in() {
        assert_eq!(allowed(&acl(&[]), Visitor::Owner("ann")), [Permission::ReadAcp, Permission::WriteAcp]);
        assert_eq!(allowed(&acl(&[]), Visitor::Anybody), []);
    }
}
