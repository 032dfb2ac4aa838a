//! Schedules written by hand, one for each rule that can be switched off: with the rule they keep every promise, without
//! it what watches over the sites says so.

use std::time::Duration;

use bytes::Bytes;

use super::super::run;
use super::client::{Client, object};
use super::life::Gait;
use super::network::Weather;
use super::plan::{Act, Op, Plan};
use super::play::play;
use super::quiet;
use super::world::{Settings, World};
use crate::backend::Body;
use crate::feed::Feed;
use crate::model::{News, Replica, Seq, SiteNumber, Telling, Unit};
use crate::planted::{Fault, with};
use crate::replicate::absorb_hints;
use crate::site::testing::drop_graves;
use crate::status::Commit;
use crate::status::tables::{Due, Hint, Work};

pub(super) const ONE: SiteNumber = SiteNumber(1);
pub(super) const TWO: SiteNumber = SiteNumber(2);
pub(super) const THREE: SiteNumber = SiteNumber(3);
pub(super) const KEY: u8 = 0;
const SOON: Duration = Duration::from_secs(5);

pub(super) fn plan(sites: u16, acts: Vec<(u64, Act)>) -> Plan {
    let settings = Settings { seed: 1, sites, conflicts: false, cached_rows_max: 1_000, bus: None, naming: 0 };
    Plan { settings, weather: Weather::default(), gaits: vec![Gait::default(); usize::from(sites)], acts }
}

pub(super) fn client(site: SiteNumber, op: Op) -> Act {
    Act::Client { site, op, patience_ms: None }
}

pub(super) fn put(site: SiteNumber) -> Act {
    client(site, Op::Put { key: KEY, size: 10 })
}

pub(super) fn cut(at_ms: u64, one: SiteNumber, other: SiteNumber) -> [(u64, Act); 2] {
    [(one, other), (other, one)].map(|(from, to)| (at_ms, Act::Cut { from, to, cut: true }))
}

/// Orders in which sites and workers may take their steps: which of two comes first decides what some faults do.
const ORDERS: u64 = 8;

/// With the rule every promise is kept; without it, one is seen to be broken in some order of steps, and which.
pub(super) fn only_without(fault: Fault, plan: &Plan, promise: &str) {
    let played = |fault, seed| {
        let settings = Settings { seed, ..plan.settings };
        with(fault, || play(&Plan { settings, ..plan.clone() })).violations
    };
    assert_eq!(played(None, plan.settings.seed), Vec::<String>::new(), "with the rule");
    let shows = |seed| played(Some(fault), seed).iter().any(|violation| violation.contains(promise));
    assert!((1..=ORDERS).any(shows), "without it nothing breaks {promise}");
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

/// It drew them above those of a site whose clock is ahead, and lost them with everything else.
#[test]
fn stamps_grow_over_the_loss_of_everything() {
    let acts = vec![
        (3_000, Act::Skew { site: TWO, ms: 4_000 }),
        (3_100, put(TWO)),
        (4_000, put(ONE)),
        (5_000, Act::Wipe { site: ONE }),
        (5_500, client(ONE, Op::Put { key: KEY + 1, size: 10 })),
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

#[test]
fn nothing_that_is_owed_is_taken_for_settled() {
    let other = KEY + 1;
    let mut acts = vec![(0, client(ONE, Op::Put { key: other, size: 10 })), (100, put(ONE))];
    acts.extend(cut(3_000, ONE, THREE));
    acts.extend(cut(3_000, TWO, THREE));
    acts.extend([
        (4_000, client(ONE, Op::Delete { key: KEY })),
        (5_000, Act::TellAgain { site: ONE, to: THREE, key: other }),
        (8_000, Act::Advance { hours: 8 * 24 }),
        (9_000, Act::Expire { site: ONE }),
        (14_000, Act::Expire { site: TWO }),
    ]);
    only_without(Fault::SettledByStamp, &plan(3, acts), "I7");
}

#[test]
fn tags_have_a_stamp_of_their_own() {
    let acts = vec![(0, put(ONE)), (3_000, client(ONE, Op::Tag { key: KEY }))];
    only_without(Fault::OneStampForAll, &plan(2, acts), "I3");
}

#[test]
fn a_store_from_a_snapshot_gives_no_seq_out_again() {
    let acts = vec![
        (0, put(ONE)),
        (3_000, Act::KeepCopy { site: TWO }),
        (3_100, put(TWO)),
        (3_200, put(TWO)),
        (8_000, Act::RollBack { site: TWO }),
        (9_000, client(TWO, Op::Put { key: KEY + 1, size: 10 })),
    ];
    only_without(Fault::SeqsReissued, &plan(2, acts), "I2");
}

#[test]
fn what_the_bus_lost_is_asked_for() {
    let mut acts = cut(3_000, ONE, TWO).to_vec();
    acts.extend([
        (3_000, Act::Kill { site: TWO, steps: 0 }),
        (3_100, put(ONE)),
        (3_500, Act::Stream { site: ONE, again: false }),
        (3_600, client(ONE, Op::Put { key: KEY + 1, size: 10 })),
        (4_000, Act::Start { site: TWO }),
        (9_000, client(TWO, Op::Get { key: KEY })),
    ]);
    let plan = plan(2, acts);
    let settings = Settings { bus: Some(0), ..plan.settings };
    only_without(Fault::HoleNotAsked, &Plan { settings, ..plan }, "§8");
}

/// The same question again and again.
fn asking(from_ms: u64, to_ms: u64, site: SiteNumber, op: Op) -> impl Iterator<Item = (u64, Act)> {
    (from_ms..to_ms).step_by(20).map(move |at_ms| (at_ms, client(site, op)))
}

fn joined(at_ms: u64, one: SiteNumber, other: SiteNumber) -> [(u64, Act); 2] {
    [(one, other), (other, one)].map(|(from, to)| (at_ms, Act::Cut { from, to, cut: false }))
}

#[test]
fn a_site_that_is_ahead_is_asked_for_what_is_not_here() {
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(8_000, ONE, TWO));
    // It comes back empty, and nobody is there to say that it lost anything.
    acts.push((8_100, Act::Wipe { site: TWO }));
    acts.extend(joined(14_000, ONE, TWO));
    acts.extend(asking(14_000, 18_000, TWO, Op::Get { key: KEY }));
    only_without(Fault::BehindNotAsked, &plan(2, acts), "§8");
}

#[test]
fn a_site_that_cannot_be_asked_is_named() {
    let mut acts = cut(3_000, ONE, TWO).to_vec();
    acts.extend([(4_000, put(ONE)), (12_000, client(TWO, Op::Get { key: KEY }))]);
    only_without(Fault::UnreachableUnnamed, &plan(2, acts), "§8");
}

#[test]
fn a_site_that_lost_everything_denies_nothing() {
    let other = KEY + 1;
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(6_000, ONE, THREE));
    acts.extend(cut(6_000, TWO, THREE));
    acts.extend([(6_100, client(THREE, Op::Put { key: other, size: 10 })), (14_000, Act::Wipe { site: TWO })]);
    acts.extend(asking(14_000, 17_000, TWO, Op::Get { key: other }));
    only_without(Fault::RestoringDenies, &plan(3, acts), "restoring");
}

#[test]
fn a_site_that_lost_everything_lists_nothing() {
    let mut acts: Vec<_> = (0..6).map(|key| (0, client(ONE, Op::Put { key, size: 10 }))).collect();
    acts.push((8_000, Act::Wipe { site: TWO }));
    acts.extend(asking(8_000, 11_000, TWO, Op::List));
    only_without(Fault::RestoringLists, &plan(2, acts), "a list");
}

#[test]
fn a_condition_is_not_decided_by_what_is_only_not_known() {
    let mut acts = cut(3_000, ONE, TWO).to_vec();
    acts.extend([(4_000, put(ONE)), (12_000, client(TWO, Op::PutMatch { key: KEY }))]);
    only_without(Fault::ConditionUnasked, &plan(2, acts), "§8");
}

#[test]
fn a_read_waits_for_the_stamp_that_it_names() {
    let mut acts = vec![(0, put(ONE))];
    acts.extend(cut(3_000, ONE, TWO));
    acts.extend([(4_000, put(ONE)), (6_000, client(TWO, Op::GetAtLeast { key: KEY }))]);
    only_without(Fault::MinStampIgnored, &plan(2, acts), "§8");
}

/// A world of two in which a delete at the first is known to both and all is settled. What happens at the second then
/// comes with the state that the object had before, and its bytes.
async fn after_a_delete(then: impl AsyncFn(&mut World, &Telling, Replica, Vec<u8>)) -> Vec<String> {
    let mut world = World::new(2).await;
    let clients = Client::new(&world);
    clients.call(&world, ONE, Op::CreateBucket).await;
    clients.call(&world, ONE, Op::Put { key: KEY, size: 10 }).await;
    world.pass(SOON).await;
    let unit = Unit::null(&object(KEY));
    let before = world.site(1).replica(&unit).await.unwrap();
    let bytes = Feed::new(world.site(1).clone()).fetch(TWO, std::slice::from_ref(&unit)).await.unwrap().remove(0).bytes;
    clients.call(&world, ONE, Op::Delete { key: KEY }).await;
    world.pass(SOON).await;
    let telling = Telling { unit, vector: before.vector().unwrap(), news: News::Mutated };
    then(&mut world, &telling, before, bytes.unwrap()).await;
    quiet::heal(&mut world).await;
    quiet::check(&mut world, &clients).await;
    world.watch.verdict().0
}

/// Time enough for graves to leave, on every wall clock.
async fn graves_may_leave(world: &mut World) {
    world.jump(Duration::from_secs(8 * 24 * 3_600));
    for number in [1, 2] {
        drop_graves(world.site(number)).await.unwrap();
    }
}

fn only_without_in<F: Future<Output = Vec<String>>>(fault: Fault, history: impl Fn() -> F, promise: &str) {
    let sound = with(None, || run(history()));
    assert_eq!(sound, Vec::<String>::new(), "with the rule");
    let broken = with(Some(fault), || run(history()));
    assert!(broken.iter().any(|violation| violation.contains(promise)), "without it: {broken:?}");
}

#[test]
fn a_grave_stays_while_something_is_on_its_way_to_it() {
    let history = || {
        after_a_delete(async |world, telling, before, bytes| {
            let two = world.site(2).clone();
            let hint = Hint { want: telling.vector, sources: vec![ONE], due_ms: two.clock().wall_ms(), tries: 0, error: None };
            let due = (hint.due_ms, telling.unit.clone());
            let commit = Commit::new().put::<Work>(&telling.unit, &hint).put::<Due>(&due, &());
            two.status().commit(commit).await.unwrap();
            graves_may_leave(world).await;
            two.apply(&telling.unit, before, Some(Body::from(Bytes::from(bytes)))).await.unwrap();
        })
    };
    only_without_in(Fault::GraveInFlight, history, "I3");
}

#[test]
fn a_grave_stays_until_everything_told_before_is_known() {
    let history = || {
        after_a_delete(async |world, telling, _, _| {
            let two = world.site(2).clone();
            // What it heard by the log is forgotten: it knows of the delete by another way.
            let one = two.neighbours().get(ONE).unwrap();
            one.received(world.site(1).status().facts().incarnation, Seq(0));
            graves_may_leave(world).await;
            absorb_hints(&two, ONE, std::slice::from_ref(telling)).await.unwrap();
        })
    };
    only_without_in(Fault::ServedBeforeThrough, history, "I7");
}

/// A stream may bring what was told before a site lost everything. By now it may be gone from everywhere, its grave too: work
/// that wants it would never end, and until it is given up nothing is listed there.
#[test]
fn what_a_stream_brings_to_a_site_that_lost_everything_is_no_news_until_the_log_was_read() {
    let mut acts = vec![(3_000, put(TWO)), (6_000, client(TWO, Op::Delete { key: KEY })), (9_000, Act::Advance { hours: 170 })];
    acts.extend([ONE, TWO].map(|site| (30_000, Act::Expire { site })));
    acts.push((35_000, Act::Wipe { site: ONE }));
    // Some of it comes between the first heartbeat and the log.
    acts.extend((0..200).map(|n| (35_000 + 10 * n, Act::Stream { site: TWO, again: true })));
    let windy = Weather { delay_ms_max: 300, ..Weather::default() };
    let mut plan = Plan { weather: windy, ..plan(2, acts) };
    plan.settings.bus = Some(0);
    assert_eq!(play(&plan).violations, Vec::<String>::new());
}
