//! Rights: which key may do what to which buckets and keys. Plain functions over values.

use serde::{Deserialize, Serialize};

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

/// Rights on the buckets of a pattern, for keys that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `*` is any run of characters, `?` any one.
    pub buckets: String,
    /// Only keys that begin with it; empty is all.
    #[serde(default)]
    pub prefix: String,
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
        Self { buckets: "*".into(), prefix: String::new(), owned: Some(false), rights: Right::ALL.to_vec() }
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
}

/// A bucket as grants see it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a str,
    /// Whether the key's owner made it; so too where it is not there at all.
    pub mine: bool,
}

/// Whether these grants allow this on keys that begin with `key`: the whole key of an object, the prefix of a listing.
pub fn on_key(grants: &[Grant], right: Right, bucket: Bucket<'_>, key: &str) -> bool {
    grants.iter().any(|grant| grant.allows(right, bucket) && key.starts_with(&grant.prefix))
}

/// Whether these grants allow this on the bucket itself. A grant for some keys is none for the bucket, but for looking
/// at it: clients ask whether a bucket is there before they use it.
pub fn on_bucket(grants: &[Grant], right: Right, bucket: Bucket<'_>) -> bool {
    grants.iter().any(|grant| grant.allows(right, bucket) && (grant.prefix.is_empty() || right == Right::Read))
}

/// Whether a key with these grants may know that the bucket exists.
pub fn sees(grants: &[Grant], bucket: Bucket<'_>) -> bool {
    grants.iter().any(|grant| !grant.rights.is_empty() && grant.covers(bucket))
}

/// Whether `text` matches `pattern`, in time linear in both but for the last star.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a character fails: behind the last star, one character later.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (p, t) = (star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(buckets: &str, prefix: &str, rights: &[Right]) -> Grant {
        Grant { buckets: buckets.into(), prefix: prefix.into(), owned: None, rights: rights.to_vec() }
    }

    fn mine(name: &str) -> Bucket<'_> {
        Bucket { name, mine: true }
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text) in
            [("*", "abc"), ("logs-*", "logs-"), ("logs-*", "logs-7"), ("a?c", "abc"), ("*-x-*", "a-x-b-x-c"), ("abc", "abc")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("logs-*", "log"), ("abc", "abcd"), ("a?c", "ac"), ("*-x", "a-x-b"), ("", "a")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_prefix_bounds_keys_and_listings() {
        let grants = [grant("logs-*", "2026/", &[Right::Read, Right::Write])];
        assert!(on_key(&grants, Right::Read, mine("logs-a"), "2026/11/x"));
        assert!(!on_key(&grants, Right::Read, mine("logs-a"), "2025/x"));
        assert!(!on_key(&grants, Right::Read, mine("logs-a"), "20"));
        assert!(!on_key(&grants, Right::Delete, mine("logs-a"), "2026/x"));
        assert!(!on_key(&grants, Right::Read, mine("other"), "2026/x"));
    }

    #[test]
    fn a_grant_for_some_keys_is_not_one_for_the_bucket() {
        let some = [grant("b", "p/", &[Right::Read, Right::Admin])];
        assert!(on_bucket(&some, Right::Read, mine("b")));
        assert!(!on_bucket(&some, Right::Admin, mine("b")));
        assert!(on_bucket(&[Grant::everything()], Right::Admin, mine("b")));
        assert!(sees(&some, mine("b")) && !sees(&some, mine("c")) && !sees(&[grant("*", "", &[])], mine("b")));
    }

    #[test]
    fn a_grant_on_own_buckets_is_none_on_others() {
        let own = [grant("*", "", &Right::ALL)];
        let theirs = Bucket { name: "b", mine: false };
        assert!(on_key(&own, Right::Write, mine("b"), "k") && on_bucket(&own, Right::Admin, mine("b")));
        assert!(!on_key(&own, Right::Read, theirs, "k") && !sees(&own, theirs));
        assert!(sees(&[Grant::everything()], theirs) && sees(&[grant("b*", "", &[Right::Read])], theirs));
    }
}
