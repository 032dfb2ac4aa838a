//! Rights: which key may do what to which buckets and keys. Plain functions over values.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::network::Network;
use crate::model::glob;

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Right {
    /// Read objects and listings.
    Read,
    /// Write objects, their tags and their uploads.
    Write,
    /// Delete objects.
    Delete,
    /// Make, remove and configure buckets.
    Admin,
}

/// Rights on the buckets of a pattern, for keys that begin with a prefix, asked from some networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `*` is any run of characters, `?` any one.
    pub buckets: String,
    /// Only keys that begin with it; empty is all.
    #[serde(default)]
    pub prefix: String,
    /// Only keys that end with one of them; none is all. Such a grant lists nothing: a listing shows keys of every end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suffixes: Vec<String>,
    /// Only requests that come from one of them; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Whether only buckets that the key's own owner made are meant. Left out, it is so for `*` alone, as on S3: an
    /// account reaches all that is its own, and of others' what a grant names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<bool>,
    pub rights: Vec<Right>,
}

impl Right {
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Delete, Self::Admin];
}

impl Grant {
    /// Every right everywhere, whoever made a bucket: the operator's.
    pub fn everything() -> Self {
        Self { owned: Some(false), ..Self::on("*", &Right::ALL) }
    }

    /// These rights on the buckets of a pattern.
    pub fn on(buckets: &str, rights: &[Right]) -> Self {
        Self {
            buckets: buckets.into(),
            prefix: String::new(),
            suffixes: Vec::new(),
            networks: Vec::new(),
            owned: None,
            rights: rights.to_vec(),
        }
    }

    /// What is wrong with it: a grant that could never count was meant otherwise.
    pub fn fault(&self) -> Option<&'static str> {
        if self.buckets.is_empty() {
            return Some("a grant has no buckets; \"*\" is all of its owner's");
        }
        self.suffixes.iter().any(String::is_empty).then_some("a grant has an empty suffix; leave `suffixes` out for every key")
    }

    fn allows(&self, right: Right, bucket: Bucket<'_>) -> bool {
        self.rights.contains(&right) && self.covers(bucket)
    }

    fn covers(&self, bucket: Bucket<'_>) -> bool {
        glob(&self.buckets, bucket.name) && (bucket.mine || !self.only_owned())
    }

    /// Whether it counts for the owner's own buckets only.
    pub fn only_owned(&self) -> bool {
        self.owned.unwrap_or(self.buckets == "*")
    }

    /// Whether it counts for a request from there. Of one that comes from nowhere, nobody knows whether it is inside.
    fn reaches(&self, from: Option<IpAddr>) -> bool {
        self.networks.is_empty() || from.is_some_and(|from| self.networks.iter().any(|network| network.holds(from)))
    }

    fn is_for_every_key(&self) -> bool {
        self.prefix.is_empty() && self.suffixes.is_empty()
    }
}

/// A bucket as grants see it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a str,
    /// Whether the key's owner made it; so too where it is not there at all.
    pub mine: bool,
}

/// A key's grants, asked from somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    pub grants: &'a [Grant],
    pub from: Option<IpAddr>,
}

impl<'a> Granted<'a> {
    fn counting(self) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(move |grant| grant.reaches(self.from))
    }

    /// Whether this is allowed on this very key.
    pub fn on_key(self, right: Right, bucket: Bucket<'_>, key: &str) -> bool {
        let ends = |grant: &Grant| grant.suffixes.is_empty() || grant.suffixes.iter().any(|suffix| key.ends_with(suffix));
        self.counting().any(|grant| grant.allows(right, bucket) && key.starts_with(&grant.prefix) && ends(grant))
    }

    /// Whether keys that begin with `prefix` may be listed.
    pub fn on_listing(self, bucket: Bucket<'_>, prefix: &str) -> bool {
        let covers = |grant: &Grant| grant.suffixes.is_empty() && prefix.starts_with(&grant.prefix);
        self.counting().any(|grant| grant.allows(Right::Read, bucket) && covers(grant))
    }

    /// Whether this is allowed on the bucket itself. A grant for some keys is none for the bucket, but for looking at it:
    /// clients ask whether a bucket is there before they use it.
    pub fn on_bucket(self, right: Right, bucket: Bucket<'_>) -> bool {
        self.counting().any(|grant| grant.allows(right, bucket) && (grant.is_for_every_key() || right == Right::Read))
    }

    /// Whether one may know that the bucket exists.
    pub fn sees(self, bucket: Bucket<'_>) -> bool {
        self.counting().any(|grant| !grant.rights.is_empty() && grant.covers(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(buckets: &str, prefix: &str, rights: &[Right]) -> Grant {
        Grant { prefix: prefix.into(), ..Grant::on(buckets, rights) }
    }

    fn granted(grants: &[Grant]) -> Granted<'_> {
        Granted { grants, from: None }
    }

    fn mine(name: &str) -> Bucket<'_> {
        Bucket { name, mine: true }
    }

    #[test]
    fn a_prefix_bounds_keys_and_listings() {
        let grants = [grant("logs-*", "2026/", &[Right::Read, Right::Write])];
        let granted = granted(&grants);
        assert!(granted.on_key(Right::Read, mine("logs-a"), "2026/11/x"));
        assert!(!granted.on_key(Right::Read, mine("logs-a"), "2025/x"));
        assert!(!granted.on_key(Right::Delete, mine("logs-a"), "2026/x"));
        assert!(!granted.on_key(Right::Read, mine("other"), "2026/x"));
        assert!(granted.on_listing(mine("logs-a"), "2026/11"));
        assert!(!granted.on_listing(mine("logs-a"), "20") && !granted.on_listing(mine("other"), "2026/"));
    }

    #[test]
    fn a_suffix_bounds_keys_and_lists_nothing() {
        let ends = |suffixes: &[&str]| Grant {
            suffixes: suffixes.iter().map(ToString::to_string).collect(),
            ..grant("b", "p/", &Right::ALL)
        };
        let grants = [ends(&[".log", ".gz"])];
        let granted = granted(&grants);
        for right in Right::ALL {
            assert!(granted.on_key(right, mine("b"), "p/a.log") && granted.on_key(right, mine("b"), "p/a.gz"));
            assert!(!granted.on_key(right, mine("b"), "p/a.log.txt") && !granted.on_key(right, mine("b"), "a.log"));
        }
        assert!(!granted.on_listing(mine("b"), "p/") && !granted.on_listing(mine("b"), "p/.log"));
        assert!(granted.on_bucket(Right::Read, mine("b")) && !granted.on_bucket(Right::Admin, mine("b")));
        assert!(granted.sees(mine("b")));
        assert!(ends(&[""]).fault().is_some() && ends(&[".log"]).fault().is_none());
    }

    #[test]
    fn a_network_bounds_everything() {
        let grants = [Grant { networks: vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()], ..Grant::everything() }];
        let from = |address: Option<&str>| Granted { grants: &grants, from: address.map(|address| address.parse().unwrap()) };
        for inside in ["10.1.2.3", "::1", "::ffff:10.0.0.1"] {
            let granted = from(Some(inside));
            assert!(granted.on_key(Right::Write, mine("b"), "k") && granted.on_bucket(Right::Admin, mine("b")), "{inside}");
            assert!(granted.on_listing(mine("b"), "") && granted.sees(mine("b")), "{inside}");
        }
        for outside in [Some("11.0.0.1"), Some("::2"), None] {
            let granted = from(outside);
            assert!(!granted.on_key(Right::Write, mine("b"), "k") && !granted.on_bucket(Right::Read, mine("b")), "{outside:?}");
            assert!(!granted.on_listing(mine("b"), "") && !granted.sees(mine("b")), "{outside:?}");
        }
    }

    #[test]
    fn a_grant_for_some_keys_is_not_one_for_the_bucket() {
        let some = [grant("b", "p/", &[Right::Read, Right::Admin])];
        assert!(granted(&some).on_bucket(Right::Read, mine("b")));
        assert!(!granted(&some).on_bucket(Right::Admin, mine("b")));
        assert!(granted(&[Grant::everything()]).on_bucket(Right::Admin, mine("b")));
        assert!(granted(&some).sees(mine("b")) && !granted(&some).sees(mine("c")));
        assert!(!granted(&[grant("*", "", &[])]).sees(mine("b")));
    }

    #[test]
    fn a_grant_on_own_buckets_is_none_on_others() {
        let own = [grant("*", "", &Right::ALL)];
        let own = granted(&own);
        let theirs = Bucket { name: "b", mine: false };
        assert!(own.on_key(Right::Write, mine("b"), "k") && own.on_bucket(Right::Admin, mine("b")));
        assert!(!own.on_key(Right::Read, theirs, "k") && !own.sees(theirs));
        assert!(granted(&[Grant::everything()]).sees(theirs) && granted(&[grant("b*", "", &[Right::Read])]).sees(theirs));
    }
}
