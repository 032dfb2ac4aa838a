//! Whose the store's files are: what becomes of those that others put there or change (the setting `ownership`).

use super::Site;
use crate::model::{BucketName, glob};

/// What the settings say of files that others put into the store.
#[derive(Clone, Debug)]
pub struct Custody {
    /// The region of buckets that are made of folders.
    pub region: String,
    /// First match wins; none is [`Ownership::Auto`].
    pub rules: Vec<Rule>,
}

/// Whose the files of some buckets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `*` is any text, `?` any one character.
    pub buckets: String,
    pub ownership: Ownership,
}

/// Whose files they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Where there is no other site, what others put there or change is taken over.
    #[default]
    Auto,
    /// Others write there as well: the store is looked at before anything is answered, whatever other sites there are.
    Shared,
    /// This site's alone: what others change is lost, as damage is, and what they put there is nobody's.
    Exclusive,
}

impl Default for Custody {
    fn default() -> Self {
        Self { region: super::claim::FIRST_REGION.into(), rules: Vec::new() }
    }
}

impl Custody {
    pub(super) fn of(&self, bucket: &BucketName) -> Ownership {
        let rule = self.rules.iter().find(|rule| glob(&rule.buckets, bucket.as_str()));
        rule.map_or(Ownership::default(), |rule| rule.ownership)
    }
}

impl Site {
    /// Whether what others put into a bucket's folder, or change there, is taken for writes.
    pub fn adopts(&self, bucket: &BucketName) -> bool {
        match self.inner.custody.of(bucket) {
            Ownership::Auto => self.inner.neighbours.is_empty(),
            Ownership::Shared => true,
            Ownership::Exclusive => false,
        }
    }
}
