//! A bucket's lifecycle: which versions, delete markers and uploads go by themselves, and when. Plain functions over values.

use serde::{Deserialize, Serialize};

use super::identity::Tags;

/// A bucket's rules, as its register keeps them: at most 1,000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub rules: Vec<LifecycleRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    pub id: String,
    pub enabled: bool,
    /// Whether its prefix came outside of a filter, as it once did: it is shown as it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare_prefix: bool,
    #[serde(default)]
    pub filter: LifecycleFilter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Uploads that were not completed go so many days after they began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_days: Option<u32>,
}

/// What a rule is about; what is `None` or empty says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Tags,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_above: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_below: Option<u64>,
    /// Whether it came as a conjunction: it is shown as it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_and: bool,
}

/// When current versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    /// So many days after they were written.
    Days(u32),
    /// At once from a moment on, milliseconds since 1970.
    Date(u64),
    /// Never; but delete markers with nothing behind them go.
    Markers,
}

/// When versions go that are not current any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// Days since they were replaced.
    pub days: u32,
    /// So many of the newest stay.
    pub keep: Option<u32>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Expiring<'a> {
    pub key: &'a str,
    pub tags: &'a Tags,
    /// Bytes; `None` of what has none, which no filter by size or tags is about.
    pub size: Option<u64>,
}

/// A day of rules, milliseconds: 24 hours, but for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub u64);

impl Day {
    /// As long as this.
    pub fn lasting(day: std::time::Duration) -> Self {
        Self(u64::try_from(day.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// When something is due that happened at `ms` and waits so many days: the next midnight, where a day is a real one.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html#intro-lifecycle-rules-number-of-days>
    pub fn after(self, ms: u64, days: u32) -> u64 {
        let due = ms.saturating_add(self.0.saturating_mul(u64::from(days)));
        if self.0 == REAL_DAY_MS { due.div_ceil(REAL_DAY_MS) * REAL_DAY_MS } else { due }
    }
}

const REAL_DAY_MS: u64 = 24 * 3_600_000;

impl LifecycleFilter {
    fn covers(&self, what: Expiring<'_>) -> bool {
        let by_size = self.size_above.is_none() && self.size_below.is_none();
        let by_tags = self.tags.is_empty();
        let size_fits = match what.size {
            Some(size) => self.size_above.is_none_or(|above| size > above) && self.size_below.is_none_or(|below| size < below),
            None => by_size && by_tags,
        };
        size_fits
            && self.prefix.as_ref().is_none_or(|prefix| what.key.starts_with(prefix.as_str()))
            && self.tags.iter().all(|tag| what.tags.contains(tag))
    }
}

impl LifecycleRule {
    /// Whether it is in force and about this.
    pub fn covers(&self, what: Expiring<'_>) -> bool {
        self.enabled && self.filter.covers(what)
    }
}

impl Lifecycle {
    /// When a current version goes that was written at `written_ms`, and by which rule: the first to be due.
    pub fn expiry(&self, what: Expiring<'_>, written_ms: u64, day: Day) -> Option<(u64, &str)> {
        let due = |rule: &LifecycleRule| match rule.expiration? {
            Expiration::Days(days) => Some(day.after(written_ms, days)),
            Expiration::Date(ms) => Some(ms),
            Expiration::Markers => None,
        };
        let rules = self.rules.iter().filter(|rule| rule.covers(what));
        rules.filter_map(|rule| Some((due(rule)?, rule.id.as_str()))).min_by_key(|(due, _)| *due)
    }

    /// Whether a version has gone by that was replaced at `replaced_ms`; `newer` others were replaced after it.
    pub fn is_noncurrent_over(&self, what: Expiring<'_>, replaced_ms: u64, newer: usize, now_ms: u64, day: Day) -> bool {
        self.rules.iter().filter(|rule| rule.covers(what)).filter_map(|rule| rule.noncurrent).any(|noncurrent| {
            let is_kept = noncurrent.keep.is_some_and(|keep| newer < keep as usize);
            !is_kept && day.after(replaced_ms, noncurrent.days) <= now_ms
        })
    }

    /// Whether a delete marker goes that has no other version behind it. Rules that expire objects by age take it too once it
    /// is of that age.
    pub fn is_marker_over(&self, key: &str, written_ms: u64, now_ms: u64, day: Day) -> bool {
        let what = Expiring { key, tags: &Tags::new(), size: None };
        self.rules.iter().filter(|rule| rule.covers(what)).filter_map(|rule| rule.expiration).any(|expiration| match expiration {
            Expiration::Markers => true,
            Expiration::Days(days) => day.after(written_ms, days) <= now_ms,
            Expiration::Date(ms) => ms <= now_ms,
        })
    }

    /// Whether an upload goes that began at `initiated_ms`.
    pub fn is_upload_over(&self, key: &str, initiated_ms: u64, now_ms: u64, day: Day) -> bool {
        let what = Expiring { key, tags: &Tags::new(), size: None };
        let rules = self.rules.iter().filter(|rule| rule.covers(what));
        rules.filter_map(|rule| rule.abort_days).any(|days| day.after(initiated_ms, days) <= now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day(REAL_DAY_MS);

    fn rule(id: &str, filter: LifecycleFilter) -> LifecycleRule {
        let (id, bare_prefix) = (id.to_owned(), false);
        LifecycleRule { id, enabled: true, bare_prefix, filter, expiration: None, noncurrent: None, abort_days: None }
    }

    fn of(rules: Vec<LifecycleRule>) -> Lifecycle {
        Lifecycle { rules }
    }

    fn what<'a>(key: &'a str, tags: &'a Tags) -> Expiring<'a> {
        Expiring { key, tags, size: Some(10) }
    }

    #[test]
    fn days_end_at_the_next_midnight() {
        assert_eq!(DAY.after(5, 1), 2 * REAL_DAY_MS);
        assert_eq!(DAY.after(REAL_DAY_MS, 1), 2 * REAL_DAY_MS);
        assert_eq!(Day(10).after(5, 3), 35);
    }

    #[test]
    fn the_first_rule_to_be_due_decides() {
        let (tags, none) = (vec![("a".to_owned(), "b".to_owned())], Tags::new());
        let prefixed = LifecycleFilter { prefix: Some("logs/".into()), ..Default::default() };
        let tagged = LifecycleFilter { tags: tags.clone(), ..Default::default() };
        let all = of(vec![
            LifecycleRule { expiration: Some(Expiration::Days(9)), ..rule("all", LifecycleFilter::default()) },
            LifecycleRule { expiration: Some(Expiration::Days(3)), ..rule("logs", prefixed) },
            LifecycleRule { expiration: Some(Expiration::Days(1)), ..rule("tagged", tagged) },
            LifecycleRule { enabled: false, expiration: Some(Expiration::Days(0)), ..rule("off", LifecycleFilter::default()) },
        ]);
        let by = |key, tags| all.expiry(what(key, tags), 0, Day(10)).map(|(ms, id)| (ms, id.to_owned()));
        assert_eq!(by("a", &none), Some((90, "all".into())));
        assert_eq!(by("logs/a", &none), Some((30, "logs".into())));
        assert_eq!(by("logs/a", &tags), Some((10, "tagged".into())));
    }

    #[test]
    fn sizes_are_bounds_that_are_not_met() {
        let filter = LifecycleFilter { size_above: Some(9), size_below: Some(11), ..Default::default() };
        let all = of(vec![LifecycleRule { expiration: Some(Expiration::Date(5)), ..rule("size", filter) }]);
        let of_size = |size| all.expiry(Expiring { key: "k", tags: &Tags::new(), size: Some(size) }, 0, DAY).is_some();
        assert_eq!([9, 10, 11].map(of_size), [false, true, false]);
    }

    #[test]
    fn the_newest_noncurrent_versions_stay() {
        let noncurrent = Some(NoncurrentExpiration { days: 1, keep: Some(2) });
        let all = of(vec![LifecycleRule { noncurrent, ..rule("old", LifecycleFilter::default()) }]);
        let none = Tags::new();
        let over = |newer, now| all.is_noncurrent_over(what("k", &none), 0, newer, now, Day(10));
        assert_eq!([over(1, 100), over(2, 9), over(2, 10)], [false, false, true]);
    }

    #[test]
    fn rules_by_size_or_tags_take_no_markers_and_no_uploads() {
        let filter = LifecycleFilter { size_above: Some(1), ..Default::default() };
        let markers = LifecycleRule { expiration: Some(Expiration::Markers), abort_days: Some(1), ..rule("m", filter) };
        let bounded = of(vec![markers.clone()]);
        assert!(!bounded.is_marker_over("k", 0, 100, DAY) && !bounded.is_upload_over("k", 0, u64::MAX, Day(1)));
        let all = of(vec![LifecycleRule { filter: LifecycleFilter::default(), ..markers }]);
        assert!(
            all.is_marker_over("k", 0, 100, DAY)
                && all.is_upload_over("k", 0, 1, Day(1))
                && !all.is_upload_over("k", 5, 5, Day(1))
        );
    }
}
