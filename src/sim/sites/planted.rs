//! Schedules written by hand, one for each rule that can be switched off: with the rule they keep every promise, without
//! it what watches over the sites says so.

use super::life::Gait;
use super::network::Weather;
use super::plan::{Act, Op, Plan};
use super::play::play;
use super::world::Settings;
use crate::model::SiteNumber;
use crate::planted::{Fault, with};

const ONE: SiteNumber = SiteNumber(1);
const TWO: SiteNumber = SiteNumber(2);
const THREE: SiteNumber = SiteNumber(3);
const KEY: u8 = 0;

fn plan(sites: u16, acts: Vec<(u64, Act)>) -> Plan {
    let settings = Settings { seed: 1, sites, conflicts: false, cached_rows_max: 1_000 };
    Plan { settings, weather: Weather::default(), gaits: vec![Gait::default(); usize::from(sites)], acts }
}

fn client(site: SiteNumber, op: Op) -> Act {
    Act::Client { site, op, patience_ms: None }
}

fn put(site: SiteNumber) -> Act {
    client(site, Op::Put { key: KEY, size: 10 })
}

fn cut(at_ms: u64, one: SiteNumber, other: SiteNumber) -> [(u64, Act); 2] {
    [(one, other), (other, one)].map(|(from, to)| (at_ms, Act::Cut { from, to, cut: true }))
}

/// With the rule every promise is kept; without it, one is seen to be broken, and which.
fn only_without(fault: Fault, plan: &Plan, promise: &str) {
    let sound = with(None, || play(plan)).violations;
    assert_eq!(sound, Vec::<String>::new(), "with the rule");
    let broken = with(Some(fault), || play(plan)).violations;
    assert!(broken.iter().any(|violation| violation.contains(promise)), "without it: {broken:?}");
}

#[test]
fn what_is_taken_is_the_current_state_and_its_own_vector() {
    let puts = (0..30).map(|n| (n * 20, put(ONE))).collect();
    let windy = Weather { delay_ms_max: 100, ..Weather::default() };
    only_without(Fault::EventsOwnVector, &Plan { weather: windy, ..plan(2, puts) }, "I5");
}

#[test]
fn the_greater_stamp_wins_whatever_arrives_last() {
    let mut acts = cut(1_000, ONE, TWO).to_vec();
    // From the future, so that the other site cannot take it before this one has seen the older.
    acts.extend([(2_000, put(TWO)), (3_000, Act::Skew { site: ONE, ms: 20_000 }), (3_000, put(ONE))]);
    only_without(Fault::LastToArriveWins, &plan(2, acts), "I9");
}

#[test]
fn a_delete_leaves_a_grave() {
    let acts = vec![(0, put(ONE)), (3_000, client(ONE, Op::Delete { key: KEY }))];
    only_without(Fault::DeleteWithoutGrave, &plan(2, acts), "I9");
}

#[test]
fn an_older_object_does_not_come_back_over_a_grave() {
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(3_000, ONE, TWO));
    // Its stamp is from the future, so that the other site cannot take it before the first has seen what is there.
    acts.extend([(4_000, put(TWO)), (5_000, Act::Skew { site: ONE, ms: 20_000 }), (5_000, client(ONE, Op::Delete { key: KEY }))]);
    only_without(Fault::GraveLoses, &plan(2, acts), "I9");
}

#[test]
fn what_is_told_is_receipted_when_its_bytes_are_there() {
    let mut plan = plan(2, vec![(3_000, put(ONE)), (9_000, put(ONE))]);
    plan.gaits[1] = Gait { store_fails: 999, ..Gait::default() };
    only_without(Fault::ReceiptOnDelivery, &plan, "I6");
}

#[test]
fn bytes_that_are_not_those_of_their_record_are_not_taken() {
    let broken = Weather { broken: 1_000, ..Weather::default() };
    let acts = vec![(3_000, put(ONE)), (9_000, client(TWO, Op::Get { key: KEY }))];
    only_without(Fault::BytesUnchecked, &Plan { weather: broken, ..plan(2, acts) }, "rule 5");
}

#[test]
fn a_receipt_of_an_older_state_ends_nothing() {
    let windy = Weather { delay_ms_max: 100, ..Weather::default() };
    let puts = (0..30).map(|n| (n * 40, put(ONE))).collect();
    only_without(Fault::ReceiptNotCompared, &Plan { weather: windy, ..plan(2, puts) }, "I6");
}

#[test]
fn what_is_known_to_be_told_is_written_down_with_the_mark() {
    only_without(Fault::MarkBeforeWork, &plan(2, vec![(3_000, put(ONE))]), "§8");
}

#[test]
fn tags_are_owed_to_every_site() {
    let acts = vec![(0, put(ONE)), (3_000, client(ONE, Op::Tag { key: KEY }))];
    only_without(Fault::PendingVoid, &plan(2, acts), "I6");
}

#[test]
fn tags_of_older_data_are_not_taken_over_newer() {
    let skew = |site, ms| Act::Skew { site, ms };
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(3_000, ONE, TWO));
    // The newer data is from the future, so that its site sees the tags first.
    acts.extend([(3_500, skew(TWO, 12_000)), (4_000, put(TWO)), (5_000, skew(ONE, 14_000))]);
    acts.extend([(5_000, client(ONE, Op::Tag { key: KEY })), (5_500, skew(ONE, 0))]);
    acts.extend([(ONE, TWO), (TWO, ONE)].map(|(from, to)| (6_000, Act::Cut { from, to, cut: false })));
    acts.push((10_000, client(TWO, Op::Get { key: KEY })));
    only_without(Fault::RegistersOverNewerData, &plan(2, acts), "§2");
}

#[test]
fn a_stamp_from_the_future_waits() {
    let acts = vec![(3_000, Act::Skew { site: ONE, ms: 20_000 }), (3_000, put(ONE)), (6_000, put(TWO))];
    only_without(Fault::FutureStamps, &plan(2, acts), "§2");
}

#[test]
fn stamps_grow_over_a_restart_with_the_clock_set_back() {
    let acts = vec![
        (3_000, Act::Skew { site: ONE, ms: 4_000 }),
        (3_100, put(ONE)),
        (3_200, Act::Kill { site: ONE, steps: 1 }),
        (3_500, Act::Skew { site: ONE, ms: -4_000 }),
        (3_600, Act::Start { site: ONE }),
        (3_700, client(ONE, Op::Put { key: KEY + 1, size: 10 })),
    ];
    only_without(Fault::ClockForgotten, &plan(2, acts), "I4");
}

#[test]
fn a_grave_does_not_leave_before_everybody_knows_of_it() {
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(3_000, ONE, THREE));
    acts.extend(cut(3_000, TWO, THREE));
    acts.extend([
        (4_000, client(ONE, Op::Delete { key: KEY })),
        (8_000, Act::Advance { hours: 8 * 24 }),
        (700_000, client(TWO, Op::Get { key: KEY })),
    ]);
    only_without(Fault::GraveByAge, &plan(3, acts), "I7");
}
