//! Object lock: what keeps a version from being destroyed (protocol §6).

use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::stamp::Stamp;
use super::vector::Vector;

/// A retention that ends within this is over: clocks of sites differ, milliseconds.
const MARGIN_MS: u64 = 5_000;

/// How strictly a version is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Who may bypass it may delete, shorten and remove.
    Governance,
    /// Nobody may, before its date.
    Compliance,
}

/// Until when a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Retention {
    pub mode: RetentionMode,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

/// How a bucket protects new versions that ask for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: RetentionPeriod,
}

/// How long a default retention lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionPeriod {
    Days(u32),
    /// Of 365 days each.
    Years(u32),
}

const DAY_MS: u64 = 24 * 3_600_000;

impl RetentionMode {
    /// As S3 names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.name() == name)
    }
}

impl DefaultRetention {
    /// The retention of a version that is written now, milliseconds since 1970.
    pub fn from(self, now_ms: u64) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(days) => u64::from(days),
            RetentionPeriod::Years(years) => 365 * u64::from(years),
        };
        Retention { mode: self.mode, until_ms: now_ms.saturating_add(days * DAY_MS) }
    }
}

/// That a bucket has object lock, which it keeps, and its default retention: a register, read by [`ObjectLock::parse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    pub default: Option<DefaultRetention>,
}

impl ObjectLock {
    /// `Enabled`, `Enabled GOVERNANCE 30 days`, `Enabled COMPLIANCE 1 years`.
    pub fn document(self) -> String {
        let Some(DefaultRetention { mode, period }) = self.default else { return "Enabled".to_owned() };
        let (number, unit) = match period {
            RetentionPeriod::Days(days) => (days, "days"),
            RetentionPeriod::Years(years) => (years, "years"),
        };
        format!("Enabled {} {number} {unit}", mode.name())
    }

    /// What [`ObjectLock::document`] wrote. A default that is not understood is none, but the lock stays.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(document).ok()?;
        let mut words = text.strip_prefix("Enabled")?.split_whitespace();
        let mut default = || {
            let (mode, number) = (RetentionMode::named(words.next()?)?, words.next()?.parse().ok()?);
            let period = match words.next()? {
                "days" => RetentionPeriod::Days(number),
                "years" => RetentionPeriod::Years(number),
                _ => return None,
            };
            Some(DefaultRetention { mode, period })
        };
        Some(Self { default: default() })
    }
}

/// What can be changed of a version without touching its bytes, besides its tags, which are part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// `None` is private to the bucket's owner.
    pub acl: Option<Acl>,
    /// The legal hold.
    pub hold: bool,
    pub retention: Option<Retention>,
    /// Whether one of the purges that the version had may bypass GOVERNANCE.
    pub purge_bypasses: bool,
}

/// Who asks for a version to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// GOVERNANCE holds.
    No,
    /// GOVERNANCE does not.
    Governance,
}

impl Registers {
    /// Whether the version must stay at this time.
    pub fn protect(&self, now_ms: u64, bypass: Bypass) -> bool {
        let retained = self.retention.is_some_and(|retention| {
            let bypassed = bypass == Bypass::Governance && retention.mode == RetentionMode::Governance;
            retention.until_ms > now_ms + MARGIN_MS && !bypassed
        });
        self.hold || retained
    }

    /// Whether a purge that the version has must wait at this time.
    pub fn delay_purge(&self, now_ms: u64) -> bool {
        self.protect(now_ms, if self.purge_bypasses { Bypass::Governance } else { Bypass::No })
    }

    /// Of two states of one data: each register of whoever wrote it later, and the stamps. Under one stamp they are the same,
    /// but where a version was purged that was not known: nothing is known then of what came with its data. A retention in
    /// COMPLIANCE mode that was in force when another was written is not undone by that, whose writer had not seen it, nor is
    /// the bypass of an earlier purge; the stamp is then the next after the later one, lest a site that has only that seem to
    /// have both.
    pub fn merge(&self, mine: &Vector, other: &Self, theirs: &Vector) -> (Self, Vector) {
        let later = |mine: Option<Stamp>, theirs: Option<Stamp>| if theirs > mine { other } else { self };
        let retention = merged_retention((self.retention, mine.retention), (other.retention, theirs.retention));
        let purge = merged_purge((self.purge_bypasses, mine.purge), (other.purge_bypasses, theirs.purge));
        let registers = Self {
            acl: match mine.acl == theirs.acl {
                true => self.acl.clone().or_else(|| other.acl.clone()),
                false => later(mine.acl, theirs.acl).acl.clone(),
            },
            hold: match mine.hold == theirs.hold {
                true => self.hold || other.hold,
                false => later(mine.hold, theirs.hold).hold,
            },
            retention: retention.0,
            purge_bypasses: purge.0,
        };
        (registers, Vector { retention: retention.1, purge: purge.1, ..mine.merge(*theirs) })
    }
}

/// What a register holds and when it was written; `None` is with the data.
type Written<T> = (T, Option<Stamp>);

fn in_order<T>(mine: Written<T>, theirs: Written<T>) -> (Written<T>, Written<T>) {
    if theirs.1 > mine.1 { (mine, theirs) } else { (theirs, mine) }
}

/// The later of two writes, with what the earlier one adds to it: a value that stands under neither of their stamps.
fn amended<T: PartialEq>(value: T, later: Written<T>) -> Written<T> {
    let stamp = if value == later.0 { later.1 } else { later.1.map(Stamp::next_rank) };
    (value, stamp)
}

/// Of two writes under one stamp. With the data it is one write, which one side may not have read; later than that, two that
/// were raised over different earlier ones.
fn alike<T: PartialEq>(value: T, mine: Written<T>, theirs: Written<T>) -> Written<T> {
    let stamp = if mine.0 == theirs.0 { mine.1 } else { mine.1.map(Stamp::next_rank) };
    (value, stamp)
}

fn merged_retention(mine: Written<Option<Retention>>, theirs: Written<Option<Retention>>) -> Written<Option<Retention>> {
    if mine.1 == theirs.1 {
        return alike(mine.0.max(theirs.0), mine, theirs);
    }
    let (earlier, later) = in_order(mine, theirs);
    planted!(ComplianceShortened => {
        return later;
    });
    let Some(before) = earlier.0.filter(|before| before.mode == RetentionMode::Compliance) else { return later };
    // As whoever wrote the later one decided.
    let was_in_force = later.1.is_none_or(|stamp| before.until_ms > stamp.ms() + MARGIN_MS);
    let stands = match later.0 {
        Some(after) if after.mode == RetentionMode::Compliance && was_in_force => {
            Some(Retention { until_ms: after.until_ms.max(before.until_ms), ..after })
        }
        _ if was_in_force => Some(before),
        after => after,
    };
    amended(stands, later)
}

fn merged_purge(mine: Written<bool>, theirs: Written<bool>) -> Written<bool> {
    if mine.1 == theirs.1 {
        return alike(mine.0 || theirs.0, mine, theirs);
    }
    let (earlier, later) = in_order(mine, theirs);
    amended(earlier.0 || later.0, later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn retained(mode: RetentionMode, until_ms: u64) -> Registers {
        Registers { retention: Some(Retention { mode, until_ms }), ..Registers::default() }
    }

    fn at(ms: u64) -> Vector {
        Vector { retention: Some(stamp(ms)), hold: Some(stamp(ms)), ..Vector::of(stamp(1)) }
    }

    #[test]
    fn a_hold_and_a_retention_each_protect() {
        let held = Registers { hold: true, ..Registers::default() };
        assert!(held.protect(u64::MAX / 2, Bypass::Governance));
        let governed = retained(RetentionMode::Governance, 100_000);
        assert!(governed.protect(10_000, Bypass::No) && !governed.protect(10_000, Bypass::Governance));
        assert!(!governed.protect(100_000 - MARGIN_MS, Bypass::No));
        assert!(retained(RetentionMode::Compliance, 100_000).protect(10_000, Bypass::Governance));
        assert!(!Registers::default().protect(0, Bypass::No));
    }

    #[test]
    fn a_bucket_s_lock_is_read_as_it_was_written() {
        let of = |mode, period| ObjectLock { default: Some(DefaultRetention { mode, period }) };
        let all = [
            ObjectLock::default(),
            of(RetentionMode::Governance, RetentionPeriod::Days(30)),
            of(RetentionMode::Compliance, RetentionPeriod::Years(1)),
        ];
        for lock in all {
            assert_eq!(ObjectLock::parse(lock.document().as_bytes()), Some(lock));
        }
        assert_eq!(ObjectLock::parse(b""), None);
        let year = of(RetentionMode::Compliance, RetentionPeriod::Years(1)).default.unwrap();
        assert_eq!(year.from(5).until_ms, 5 + 365 * DAY_MS);
    }

    #[test]
    fn compliance_is_not_undone_by_who_had_not_seen_it() {
        use RetentionMode::{Compliance, Governance};
        let (strict, loose) = (retained(Compliance, 10_100), retained(Governance, 10_200));
        let (both, stamps) = strict.merge(&at(5), &loose, &at(7));
        assert_eq!((both.clone(), stamps), loose.merge(&at(7), &strict, &at(5)));
        assert_eq!(both.retention, strict.retention);
        // Who has only the later one has not both.
        assert!(stamps > at(7) && stamps < at(8));
        assert_eq!(both.merge(&stamps, &loose, &at(7)), (both.clone(), stamps));
        assert_eq!(both.merge(&stamps, &strict, &at(5)), (both.clone(), stamps));
        // What was over by then may be followed by anything.
        assert_eq!(strict.merge(&at(5), &loose, &at(10_101)).0.retention, loose.retention);
        assert_eq!(strict.merge(&at(5), &loose, &at(10_101 - MARGIN_MS)).0.retention, loose.retention);
        let longer = retained(Compliance, 10_300);
        assert_eq!(longer.merge(&at(5), &strict, &at(7)).0.retention, longer.retention);
    }

    /// In whatever order sites hear of three writes, and then of each other, they come to the same.
    #[test]
    fn three_retentions_come_to_one_end_in_any_order() {
        use RetentionMode::{Compliance, Governance};
        let written = [(50, Compliance, 10_100), (60, Compliance, 10_150), (70, Governance, 10_900)];
        for untils in [[10_100, 10_150], [10_150, 10_100]] {
            let of = |(at, (ms, mode, until_ms)): (usize, &(u64, RetentionMode, u64))| {
                let until_ms = untils.get(at).copied().unwrap_or(*until_ms);
                (retained(*mode, until_ms), Vector { retention: Some(stamp(*ms)), ..Vector::of(stamp(1)) })
            };
            let writes: Vec<_> = written.iter().enumerate().map(of).collect();
            let merge = |(mine, own): &(Registers, Vector), (other, theirs): &(Registers, Vector)| mine.merge(own, other, theirs);
            let mut ends: Vec<_> = [[0, 1, 2], [0, 2, 1], [1, 2, 0]]
                .map(|[one, two, three]| merge(&merge(&writes[one], &writes[two]), &writes[three]))
                .to_vec();
            ends.push(merge(&writes[0], &writes[2]));
            ends.push(merge(&writes[1], &writes[2]));
            for _ in 0..3 {
                ends = (0..ends.len()).map(|at| ends.iter().fold(ends[at].clone(), |end, other| merge(&end, other))).collect();
            }
            assert!(ends.windows(2).all(|two| two[0] == two[1]), "{ends:?}");
            assert_eq!(ends[0].0.retention, Some(Retention { mode: Compliance, until_ms: 10_150 }));
        }
    }

    #[test]
    fn an_earlier_purge_bypasses_for_a_later_one() {
        let purged = |ms| Vector { purge: Some(stamp(ms)), ..Vector::of(stamp(1)) };
        let (bypassing, plain) = (Registers { purge_bypasses: true, ..Registers::default() }, Registers::default());
        let (both, stamps) = plain.merge(&purged(7), &bypassing, &purged(5));
        assert!(both.purge_bypasses && stamps > purged(7));
        assert_eq!(plain.merge(&purged(5), &bypassing, &purged(7)), (bypassing, purged(7)));
    }

    /// Who purges a version that was not known knows nothing of what came with its data.
    #[test]
    fn under_one_stamp_what_is_known_counts() {
        let held = Registers { hold: true, ..retained(RetentionMode::Governance, 10_000) };
        let (data, unread) = (Vector::of(stamp(1)), Registers::default());
        assert_eq!(held.merge(&data, &unread, &data), (held.clone(), data));
        assert_eq!(unread.merge(&data, &held, &data), (held, data));
    }

    #[test]
    fn otherwise_the_later_register_counts() {
        let held = Registers { hold: true, ..Registers::default() };
        assert!(!held.merge(&at(5), &Registers::default(), &at(6)).0.hold);
        assert!(held.merge(&at(7), &Registers::default(), &at(6)).0.hold);
    }
}
