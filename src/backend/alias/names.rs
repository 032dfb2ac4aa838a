//! What buckets are called in their store, and which keys there are theirs. Rules say it, so that it is known before the store
//! was asked anything.

use super::super::{Error, Result};
use crate::model::{BucketName, Key, glob};

/// Longest prefix with the longest name of a bucket in it, in bytes: keys have 1,024.
const PREFIX_BYTES_MAX: usize = 256;
/// Longest name of a bucket, in bytes.
const BUCKET_BYTES_MAX: usize = 63;
/// The folder of a prefix that stands for a bucket's name here.
const NAME: &str = "{bucket}";
const PREFIX_ALLOWED: &str = "allowed: folders such as \"photos/2019/\" or \"{bucket}/\", each ended by '/', of a-z, A-Z, 0-9, '.', '-' \
                              and '_', none beginning with '.', 256 bytes in all";

/// Where some buckets lie in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A bucket's name here; a pattern of several only where the prefix has each of them in it.
    pub buckets: String,
    /// The bucket there.
    pub bucket: BucketName,
    /// What their keys begin with there: folders, of which `{bucket}` stands for the name here. Empty: the bucket is one of ours
    /// as a whole.
    pub prefix: String,
}

impl Rule {
    /// Why there can be no such rule.
    pub fn refusal(&self) -> Option<String> {
        let (bucket, prefix) = (self.bucket.as_str(), &self.prefix);
        if !prefix.is_empty() && !is_prefix(prefix) {
            return Some(format!("found {prefix:?}; {PREFIX_ALLOWED}"));
        }
        let is_one = BucketName::new(&self.buckets).is_ok();
        match prefix.is_empty() {
            true if !is_one => Some(format!(
                "found {bucket:?}, a name for one bucket: give that one's in `buckets`, without '*', or say with `prefix` where in it \
                 each lies, such as \"{{bucket}}/\""
            )),
            false if !is_one && !self.folders().any(|folder| folder == NAME) => Some(format!(
                "found {prefix:?}, where several buckets would lie at once: give each a folder, such as \"{prefix}{{bucket}}/\", or \
                 name one in `buckets`, without '*'"
            )),
            _ => None,
        }
    }

    /// Whether some bucket of this rule and another one of that may lie one in the other.
    pub fn meets(&self, other: &Self) -> bool {
        self.bucket == other.bucket && !self.folders().zip(other.folders()).any(|(own, its)| self.differs(own, other, its))
    }

    /// Whether two folders, each of a rule, are never the same of two buckets.
    fn differs(&self, own: &str, other: &Self, its: &str) -> bool {
        match (own == NAME, its == NAME) {
            (true, true) => true,
            (true, false) => !glob(&self.buckets, its),
            (false, true) => !glob(&other.buckets, own),
            (false, false) => own != its,
        }
    }

    fn folders(&self) -> impl Iterator<Item = &str> {
        self.prefix.split_terminator('/')
    }

    /// Where it lies, for people.
    pub fn place(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        if prefix.is_empty() { bucket.to_string() } else { format!("{bucket} below {prefix}") }
    }
}

fn is_prefix(prefix: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_folder =
        |folder: &str| folder == NAME || (!folder.is_empty() && !folder.starts_with('.') && folder.chars().all(legal));
    let longest = prefix.replace(NAME, &"x".repeat(BUCKET_BYTES_MAX)).len();
    longest <= PREFIX_BYTES_MAX && prefix.strip_suffix('/').is_some_and(|folders| folders.split('/').all(is_folder))
}

/// A bucket of ours, in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub bucket: BucketName,
    /// What its keys begin with there; empty where the bucket is ours as a whole.
    pub prefix: String,
}

impl Spot {
    pub fn is_whole(&self) -> bool {
        self.prefix.is_empty()
    }

    /// What a key is called there.
    pub fn key(&self, key: &Key) -> Result<Key> {
        if self.is_whole() {
            return Ok(key.clone());
        }
        let (size, room) = (key.as_str().len(), Key::BYTES_MAX - self.prefix.len());
        let refused = |_| {
            Error::Name(format!("the key has {size} bytes, and in its store there is room for {room} behind {:?}", self.prefix))
        };
        Key::new(&format!("{}{key}", self.prefix)).map_err(refused)
    }

    /// A key there behind which, and behind nothing that is ours and greater than `after`, a listing of what is ours begins.
    pub fn before(&self, after: Option<&Key>) -> Key {
        let mut name = format!("{}{}", self.prefix, after.map_or("", Key::as_str));
        let fits = (0..=name.len().min(Key::BYTES_MAX)).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(fits.unwrap_or(0));
        Key::new(&name).expect("it begins with a prefix, and was cut to the length of a key")
    }

    /// What a key there is called here; `None` where it is not this bucket's. The name of the folder itself is no key here.
    pub fn strip(&self, key: &Key) -> Option<Key> {
        if self.is_whole() { Some(key.clone()) } else { Key::new(key.as_str().strip_prefix(&self.prefix)?).ok() }
    }
}

/// The rules of a store.
#[derive(Debug)]
pub(super) struct Names(Vec<Rule>);

impl Names {
    /// Fails where two buckets may meet.
    pub fn new(rules: Vec<Rule>) -> Result<Self> {
        for (at, rule) in rules.iter().enumerate() {
            let refused = rule.refusal().or_else(|| {
                let taken = rules.iter().find(|other| other.bucket.as_str() == rule.buckets);
                let met = rules[..at].iter().find(|other| *other != rule && rule.meets(other));
                let other = taken.or(met)?;
                Some(format!("{} would lie in {}, where {} lies in {}", rule.buckets, rule.place(), other.buckets, other.place()))
            });
            if let Some(refused) = refused {
                return Err(Error::Setup(refused));
            }
        }
        Ok(Self(rules))
    }

    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Where a bucket of ours lies.
    pub fn there(&self, bucket: &BucketName) -> Result<Spot> {
        if self.is_taken(bucket) {
            return Err(Error::Name(format!("what is called {bucket} in the store holds other buckets of this site")));
        }
        Ok(match self.rule(bucket) {
            Some(rule) => Spot { bucket: rule.bucket.clone(), prefix: rule.prefix.replace(NAME, bucket.as_str()) },
            None => Spot { bucket: bucket.clone(), prefix: String::new() },
        })
    }

    fn rule(&self, bucket: &BucketName) -> Option<&Rule> {
        self.0.iter().find(|rule| glob(&rule.buckets, bucket.as_str()))
    }

    /// Where a bucket of ours is to lie that is not simply called so there.
    pub fn elsewhere(&self, bucket: &BucketName) -> Option<String> {
        self.rule(bucket).map(Rule::place)
    }

    /// Whether a bucket there holds ours under other names.
    pub fn is_taken(&self, there: &BucketName) -> bool {
        self.0.iter().any(|rule| rule.bucket == *there)
    }

    /// Our name of a bucket there that is one of ours as a whole.
    pub fn whole(&self, there: &BucketName) -> Option<BucketName> {
        let rule = self.0.iter().find(|rule| rule.bucket == *there && rule.prefix.is_empty())?;
        BucketName::new(&rule.buckets).ok()
    }

    /// Whether a bucket of ours lies below a prefix.
    pub fn is_parted(&self, bucket: &BucketName) -> bool {
        self.rule(bucket).is_some_and(|rule| !rule.prefix.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn rule(buckets: &str, there: &str, prefix: &str) -> Rule {
        Rule { buckets: buckets.to_owned(), bucket: bucket(there), prefix: prefix.to_owned() }
    }

    #[test]
    fn a_rule_gives_each_bucket_a_place_of_its_own() {
        for (buckets, prefix) in
            [("one", ""), ("one", "a/"), ("one", "{bucket}/"), ("*", "{bucket}/"), ("t-*", "a/{bucket}/B_c.d-/")]
        {
            assert_eq!(rule(buckets, "corp", prefix).refusal(), None, "{buckets} {prefix}");
        }
        let long = format!("{}/", "x".repeat(256));
        for prefix in ["/", "a", "a//", "/a/", "../", ".a/", "a/./", "a b/", "x{bucket}/", "{name}/", "%/", "é/", &long] {
            assert!(rule("one", "corp", prefix).refusal().is_some_and(|told| told.contains("allowed: folders")), "{prefix}");
        }
        assert!(rule("one", "corp", &"{bucket}/".repeat(5)).refusal().is_some(), "the names may be longer than the pattern");
        for (buckets, prefix) in [("*", ""), ("*", "a/"), ("t-*", "a/b/")] {
            assert!(
                rule(buckets, "corp", prefix).refusal().is_some_and(|told| told.contains("without '*'")),
                "{buckets} {prefix}"
            );
        }
    }

    #[test]
    fn two_buckets_never_lie_one_in_the_other() {
        let apart = [
            [("one", "corp", "a/"), ("two", "corp", "b/")],
            [("one", "corp", "a/"), ("two", "other", "a/")],
            [("one", "corp", "a/"), ("two", "corp", "ab/")],
            [("t-*", "corp", "{bucket}/"), ("u-*", "corp", "{bucket}/")],
            [("t-*", "corp", "{bucket}/"), ("one", "corp", "u/")],
            [("t-*", "corp", "{bucket}/"), ("one", "corp", "T-1/")],
            [("*", "corp", "x/{bucket}/"), ("one", "corp", "y/")],
            [("one", "corp", "a/"), ("one", "corp", "a/")],
        ];
        for rules in apart {
            let rules = rules.map(|(buckets, there, prefix)| rule(buckets, there, prefix));
            assert!(Names::new(rules.to_vec()).is_ok(), "{rules:?}");
        }
        let together = [
            [("one", "corp", "a/"), ("two", "corp", "a/")],
            [("one", "corp", "a/"), ("two", "corp", "a/b/")],
            [("one", "corp", ""), ("two", "corp", "a/")],
            [("one", "corp", ""), ("two", "corp", "")],
            [("t-*", "corp", "{bucket}/"), ("one", "corp", "t-1/")],
            [("t-*", "corp", "{bucket}/"), ("one", "corp", "t-1/b/")],
            [("*", "corp", "{bucket}/"), ("one", "corp", "x/{bucket}/")],
            [("*", "corp", "x/{bucket}/"), ("one", "corp", "x/")],
            [("one", "two", ""), ("two", "three", "")],
            [("one", "one", ""), ("two", "three", "")],
            [("one", "two", "a/"), ("two", "three", "b/")],
        ];
        for rules in together {
            let rules = rules.map(|(buckets, there, prefix)| rule(buckets, there, prefix));
            for rules in [[&rules[0], &rules[1]], [&rules[1], &rules[0]]] {
                let refused = Names::new(rules.map(Clone::clone).to_vec());
                assert!(matches!(refused, Err(Error::Setup(_))), "{rules:?}");
            }
        }
    }

    #[test]
    fn a_key_is_found_again_behind_its_prefix_and_nobody_elses_is() {
        let names = Names::new(vec![rule("t-*", "corp", "teams/{bucket}/")]).unwrap();
        let spot = names.there(&bucket("t-1")).unwrap();
        assert_eq!(spot, Spot { bucket: bucket("corp"), prefix: "teams/t-1/".to_owned() });
        for text in ["a", "/", "a/b", "../x", "é"] {
            assert_eq!(spot.strip(&spot.key(&key(text)).unwrap()), Some(key(text)));
        }
        for text in ["teams/t-1/", "teams/t-1", "teams/t-10/a", "a"] {
            assert_eq!(spot.strip(&key(text)), None, "{text}");
        }
        assert!(matches!(names.there(&bucket("corp")), Err(Error::Name(_))));
        assert_eq!(names.there(&bucket("other")).unwrap(), Spot { bucket: bucket("other"), prefix: String::new() });
    }

    #[test]
    fn a_key_that_is_too_long_behind_its_prefix_is_refused_and_passed_in_a_listing() {
        let spot = Spot { bucket: bucket("corp"), prefix: "a/".to_owned() };
        assert_eq!(spot.key(&key(&"x".repeat(1022))).unwrap().as_str().len(), 1024);
        let long = key(&"é".repeat(512));
        assert!(matches!(spot.key(&long), Err(Error::Name(told)) if told.contains("room for 1022")));
        let before = spot.before(Some(&long));
        assert!(before.as_str().len() <= 1024 && before.as_str() <= &*format!("a/{long}") && spot.strip(&before).is_some());
        assert_eq!(spot.before(None).as_str(), "a/");
    }
}
