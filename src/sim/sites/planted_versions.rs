//! Schedules written by hand for the rules of versions and of what protects them (§6): with the rule every promise is kept,
//! without it what watches over the sites says so.

use super::plan::{Act, Op, VersionsOp};
use super::planted::{KEY, ONE, THREE, TWO, client, cut, only_without, plan, put};
use super::play::play;
use crate::model::SiteNumber;
use crate::planted::Fault;

/// Longer than any history.
const DAYS_S: u64 = 300 * 3_600;

fn versions(site: SiteNumber, op: VersionsOp) -> Act {
    client(site, Op::Versions(op))
}

fn switch(site: SiteNumber, enabled: bool) -> Act {
    versions(site, VersionsOp::Switch { enabled })
}

/// The newest version is destroyed.
fn purge(site: SiteNumber) -> Act {
    versions(site, VersionsOp::Purge { key: KEY, nth: 0, bypass: false })
}

fn hold(site: SiteNumber, on: bool) -> Act {
    versions(site, VersionsOp::Hold { key: KEY, nth: 0, on })
}

fn retain(site: SiteNumber, compliance: bool, for_s: u64) -> Act {
    versions(site, VersionsOp::Retain { key: KEY, nth: 0, compliance, for_s, bypass: false })
}

fn delete(site: SiteNumber) -> Act {
    client(site, Op::Delete { key: KEY })
}

/// A bucket with versions, and these acts; the first comes when both sites have heard of them.
fn with_versions(acts: impl IntoIterator<Item = (u64, Act)>) -> Vec<(u64, Act)> {
    std::iter::once((0, switch(ONE, true))).chain(acts).collect()
}

/// One site holds a version while the other, which cannot hear of it, destroys it.
fn hold_meets_purge() -> Vec<(u64, Act)> {
    let mut acts = with_versions([(3_000, put(ONE))]);
    acts.extend(cut(8_000, ONE, TWO));
    acts.extend([(9_000, hold(ONE, true)), (10_000, purge(TWO))]);
    acts
}

#[test]
fn a_hold_that_a_purge_had_not_seen_keeps_the_version() {
    only_without(Fault::PurgeBeatsHold, &plan(2, hold_meets_purge()), "§6");
}

#[test]
fn a_purge_that_waits_for_a_hold_is_not_forgotten() {
    only_without(Fault::PurgeForgotten, &plan(2, hold_meets_purge()), "I7");
}

#[test]
fn a_grave_keeps_what_was_known_of_holds() {
    let acts = [(3_000, put(ONE)), (4_000, hold(ONE, true)), (5_000, hold(ONE, false)), (6_000, purge(ONE))];
    only_without(Fault::GraveWithoutRegisters, &plan(2, with_versions(acts)), "I9");
}

#[test]
fn the_newest_of_the_others_becomes_the_current_one() {
    let acts = [(3_000, put(ONE)), (3_100, put(ONE)), (3_200, put(ONE)), (4_000, purge(ONE))];
    only_without(Fault::OldestPromoted, &plan(2, with_versions(acts)), "rows");
}

#[test]
fn a_delete_marker_is_told() {
    let acts = [(3_000, put(ONE)), (4_000, delete(ONE))];
    only_without(Fault::MarkerUntold, &plan(2, with_versions(acts)), "I6");
}

#[test]
fn a_delete_marker_hides_what_is_older() {
    let acts = [(3_000, put(ONE)), (4_000, delete(ONE)), (5_000, client(ONE, Op::Get { key: KEY }))];
    only_without(Fault::MarkerShowsThrough, &plan(2, with_versions(acts)), "rows");
}

#[test]
fn a_write_while_versioning_is_suspended_is_the_null_version() {
    let acts = [(3_000, switch(ONE, false)), (4_000, put(ONE))];
    only_without(Fault::SuspendedMakesVersion, &plan(2, with_versions(acts)), "§6");
}

#[test]
fn a_write_while_versioning_is_enabled_is_a_version() {
    let acts = [(3_000, put(ONE)), (4_000, put(ONE))];
    only_without(Fault::EnabledWritesNull, &plan(2, with_versions(acts)), "§6");
}

#[test]
fn a_later_retention_does_not_end_one_in_compliance_mode_that_it_had_not_seen() {
    let mut acts = with_versions([(3_000, put(ONE))]);
    acts.extend(cut(8_000, ONE, TWO));
    acts.extend([(9_000, retain(ONE, true, DAYS_S)), (10_000, retain(TWO, false, 3_600))]);
    only_without(Fault::ComplianceShortened, &plan(2, acts), "§6");
}

#[test]
fn a_write_of_the_null_version_destroys_no_other() {
    let acts = [(3_000, put(ONE)), (4_000, switch(TWO, false)), (5_000, put(TWO))];
    only_without(Fault::NullOverVersion, &plan(2, with_versions(acts)), "I9");
}

#[test]
fn a_version_that_is_purged_again_when_its_grave_has_left_lost_no_registers() {
    let expire = [ONE, TWO].map(|site| (9_100, Act::Expire { site }));
    // Of all that anybody was told of, there being one.
    let again = versions(ONE, VersionsOp::Purge { key: KEY, nth: 64, bypass: false });
    let tag = client(ONE, Op::Tag { key: KEY });
    let mut acts = with_versions([(3_000, put(ONE)), (3_500, tag), (4_000, hold(ONE, false)), (4_500, retain(ONE, false, 1))]);
    acts.extend([(8_000, purge(ONE)), (9_000, Act::Advance { hours: 400 })]);
    acts.extend(expire);
    acts.push((12_000, again));
    assert_eq!(play(&plan(2, acts)).violations, Vec::<String>::new());
}

/// What the first site wrote on a bucket is where its own making of it is; that another site made one later is that site's to
/// tell, whoever has heard of it in between.
#[test]
fn of_a_bucket_that_two_sites_made_each_tells_its_own_part() {
    let mut acts = vec![(1_000, client(ONE, Op::DeleteBucket))];
    [(ONE, TWO), (ONE, THREE), (TWO, THREE)].into_iter().for_each(|(one, other)| acts.extend(cut(5_000, one, other)));
    acts.extend([ONE, TWO].map(|site| (6_000, client(site, Op::CreateBucket))));
    acts.push((7_000, switch(ONE, true)));
    for (at_ms, other) in [(8_000, THREE), (15_000, TWO)] {
        acts.extend([(ONE, other), (other, ONE)].map(|(from, to)| (at_ms, Act::Cut { from, to, cut: false })));
    }
    acts.push((25_000, put(ONE)));
    assert_eq!(play(&plan(3, acts)).violations, Vec::<String>::new());
}
