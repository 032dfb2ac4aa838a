//! Documents of a bucket that are short enough to be values: who owns what is written, what strangers may, where browsers
//! may come from. Each is a register; the JSON in it has every field, so that sites compare equal bytes.

use serde::{Deserialize, Serialize};

/// Whose an object is that somebody else than the bucket's owner writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket owner's, and there are no access control lists.
    BucketOwnerEnforced,
    /// The bucket owner's where its writer says `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// Its writer's. So too where nothing is said, as S3 had it before there was anything to say.
    #[default]
    ObjectWriter,
}

impl Ownership {
    pub const ALL: [Self; 3] = [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter];

    /// As S3 names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }

    /// What is named so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ownership| ownership.name() == name)
    }
}

/// What is kept from strangers, whatever lists and policies say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccess {
    /// No list that names strangers is taken any more.
    pub block_acls: bool,
    /// Lists count as if they did not name strangers.
    pub ignore_acls: bool,
    /// No policy that names strangers is taken. There are no policies here.
    pub block_policy: bool,
    /// Strangers get nothing by a policy. There are no policies here.
    pub restrict: bool,
}

/// Which pages of other origins may use a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// The first that fits counts.
    pub rules: Vec<CorsRule>,
}

/// One rule of [`Cors`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    pub id: Option<String>,
    /// Each with at most one `*`.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// What a request may have; each with at most one `*`.
    pub headers: Vec<String>,
    /// What of an answer a page may see.
    pub exposed: Vec<String>,
    pub max_age_seconds: Option<i32>,
}
