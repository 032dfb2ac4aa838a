//! What becomes of what was told, where sites are silent, slow or mistaken: schedules written by hand.

use std::time::Duration;

use bytes::Bytes;

use super::absence::{Manners, Pair};
use super::world::World;
use crate::backend::{Backend, Place};
use crate::model::{
    Bypass, Location, News, Replica, Retention, RetentionMode, SiteNumber, Stamp, StampParts, Telling, Unit, Vector,
};
use crate::replicate::{self, Bell, absorb_hints};
use crate::s3::Settings;
use crate::s3::testing::{Call, server_over};
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Error, Register, Replication, Site, WriteConditions};
use crate::status::tables::{Due, Graves, Hint, Pending, Received, Work};
use crate::status::{Commit, Page};
use crate::tasks::Runner;

const SOON: Duration = Duration::from_secs(5);
const ONE: SiteNumber = SiteNumber(1);
const TWO: SiteNumber = SiteNumber(2);
const THREE: SiteNumber = SiteNumber(3);

fn unit(key: &str) -> Unit {
    Unit::null(&object(key))
}

async fn delete(site: &Site, key: &str) {
    site.delete(&object(key), WriteConditions::default()).await.unwrap();
}

async fn vector(site: &Site, key: &str) -> Vector {
    site.replica(&unit(key)).await.unwrap().vector().unwrap()
}

async fn hint(site: &Site, key: &str) -> Option<Hint> {
    site.status().get::<Work>(&unit(key)).await.unwrap().map(|stored| stored.row)
}

async fn stands(site: &Site, key: &str) -> Option<Vec<(SiteNumber, Replication)>> {
    let seq = site.told_under(&unit(key)).await.unwrap().unwrap_or_default();
    site.replication(&unit(key), &vector(site, key).await, seq).await.unwrap()
}

fn told(unit: Unit, vector: Vector) -> Telling {
    Telling { unit, vector, news: News::Mutated }
}

/// A vector that a site may have drawn.
fn drawn(site: SiteNumber, ms: u64) -> Vector {
    let incarnation = crate::model::Incarnation(1);
    Vector::of(Stamp::new(StampParts { ms, tick: 0, site, incarnation, rank: 0 }))
}

/// Whether a unit is here, without asking anybody.
async fn has(site: &Site, key: &str) -> bool {
    matches!(site.replica(&unit(key)).await.unwrap(), Replica::Live(live) if live.has_bytes)
}

fn cut_off(world: &World, site: SiteNumber) {
    for other in world.numbers().into_iter().filter(|other| *other != site) {
        world.network.cut(site, other, true);
    }
}

fn join(world: &World, one: SiteNumber, other: SiteNumber) {
    world.network.cut(one, other, false);
    world.network.cut(other, one, false);
}

#[tokio::test(start_paused = true)]
async fn a_delete_over_an_old_grave_wins_against_what_was_written_elsewhere_meanwhile() {
    let world = World::new(2).await;
    let one = with_bucket(world.site(1).clone()).await;
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    delete(&one, "a").await;
    world.pass(SOON).await;
    world.network.cut(ONE, TWO, true);
    put(world.site(2), "a", "2").await;
    world.pass(SOON).await;
    delete(&one, "a").await;
    world.network.join_all();
    world.pass(SOON).await;
    for number in [1, 2] {
        assert!(matches!(get(world.site(number), "a").await, Err(Error::NoSuchKey)), "site {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grave_stays_while_a_site_that_was_told_of_it_again_is_away() {
    let mut world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    delete(&one, "a").await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    world.site(2).retell(&unit("a"), THREE).await.unwrap();
    world.jump(Duration::from_secs(8 * 24 * 3_600));
    world.pass(Duration::from_secs(1_500)).await;
    let graves = async |site: u16| world.site(site).status().rows::<Graves>().await.unwrap();
    assert_eq!((graves(1).await, graves(2).await), (0, 1));
    world.network.join_all();
    world.pass(Duration::from_secs(1_500)).await;
    assert_eq!(graves(2).await, 0);
    let owed: Page<Pending> = world.site(2).status().page(&(), None, 10).await.unwrap();
    assert_eq!(owed.rows.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_owed_a_unit_hears_of_what_took_its_place_though_nobody_else_tells() {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    put(world.site(2), "a", "2").await;
    // As if its settings did not name the third site.
    let seq = world.site(2).told_under(&unit("a")).await.unwrap().unwrap();
    world.site(2).status().commit(Commit::new().delete::<Pending>(&(THREE, seq))).await.unwrap();
    world.pass(SOON).await;
    assert_eq!(get(&one, "a").await.unwrap(), "2");
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(get(world.site(3), "a").await.unwrap(), "2");
    assert_eq!(one.status().owed(THREE), 0);
}

#[tokio::test(start_paused = true)]
async fn a_vector_from_the_future_that_the_bus_told_keeps_nothing_waiting() {
    let world = World::new(2).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    let forged = drawn(ONE, one.clock().wall_ms() + 3_600_000);
    absorb_hints(world.site(2), ONE, &[told(unit("a"), forged)]).await.unwrap();
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    assert_eq!(hint(world.site(2), "a").await, None);
    assert_eq!(stands(&one, "a").await, Some(vec![(TWO, Replication::Completed)]));
}

#[tokio::test(start_paused = true)]
async fn what_came_from_one_site_is_receipted_though_another_knows_of_more() {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    world.network.cut(ONE, TWO, true);
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    put(world.site(3), "a", "3").await;
    let newer = vector(world.site(3), "a").await;
    absorb_hints(world.site(2), THREE, &[told(unit("a"), newer)]).await.unwrap();
    world.network.cut(ONE, TWO, false);
    world.pass(SOON).await;
    assert_eq!(get(world.site(2), "a").await.unwrap(), "1");
    assert_eq!(stands(&one, "a").await, Some(vec![(TWO, Replication::Completed), (THREE, Replication::Pending)]));
    // It was tried long enough to be refused, which does not concern the first site any more.
    world.pass(Duration::from_secs(4 * 3_600)).await;
    assert_eq!(stands(&one, "a").await, Some(vec![(TWO, Replication::Completed), (THREE, Replication::Pending)]));
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(get(world.site(2), "a").await.unwrap(), "3");
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_site_told_holds_up_nobody_else() {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    put(world.site(3), "late", "3").await;
    let now_ms = one.clock().wall_ms();
    let many = (0..4_000).map(|n| told(unit(&format!("k{n}")), drawn(THREE, now_ms)));
    let all: Vec<Telling> = many.chain([told(unit("late"), vector(world.site(3), "late").await)]).collect();
    for some in all.chunks(500) {
        absorb_hints(world.site(2), THREE, some).await.unwrap();
    }
    // Until it is known to be silent.
    world.pass(Duration::from_secs(10)).await;
    put(&one, "a", "1").await;
    world.pass(Duration::from_secs(2)).await;
    assert!(has(world.site(2), "a").await);
    world.pass(Duration::from_secs(60)).await;
    world.network.join_all();
    world.pass(SOON).await;
    assert!(has(world.site(2), "late").await);
}

#[tokio::test(start_paused = true)]
async fn the_first_heartbeat_after_silence_makes_what_that_site_told_due() {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    put(world.site(3), "a", "3").await;
    let two = world.site(2);
    let due_ms = one.clock().wall_ms() + 6 * 3_600_000;
    let failed = Hint { want: vector(world.site(3), "a").await, sources: vec![THREE], due_ms, tries: 20, error: None };
    let commit = Commit::new().put::<Work>(&unit("a"), &failed).put::<Due>(&(due_ms, unit("a")), &());
    two.status().commit(commit).await.unwrap();
    world.pass(Duration::from_secs(30)).await;
    // Only what the fetch of the hint brings: nothing is told.
    let seq = world.site(3).told_under(&unit("a")).await.unwrap().unwrap();
    world.site(3).status().commit(Commit::new().delete::<Pending>(&(TWO, seq))).await.unwrap();
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(hint(two, "a").await, None);
    assert!(has(two, "a").await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_holds_up_no_other_unit() {
    let pair = Pair::new().await;
    put(&pair.there, "large", vec![7; 300_000]).await;
    pair.is_caught_up().await;
    pair.is(Manners::Stalls);
    let (bell, mut runner) = (Bell::default(), Runner::new(1));
    replicate::workers(&pair.here, &bell, 1).into_iter().for_each(|worker| runner.spawn(worker));
    pair.hints("large").await;
    bell.ring();
    tokio::time::sleep(Duration::from_secs(3)).await;
    put(&pair.there, "small", "hello").await;
    pair.hints("small").await;
    bell.ring();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(has(&pair.here, "small").await);
    assert!(hint(&pair.here, "large").await.is_some());
    runner.abort();
}

#[tokio::test(start_paused = true)]
async fn a_site_that_gets_its_data_back_lists_no_buckets() {
    let mut world = World::new(2).await;
    let face = server_over(world.site(1).clone(), Settings::default()).await;
    face.put("a", "1").await;
    world.pass(SOON).await;
    world.wipe(TWO);
    world.start(TWO).await;
    let face = server_over(world.site(2).clone(), Settings::default()).await;
    assert_eq!(face.send(Call::new("GET", "/")).await.status, 503);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(face.send(Call::new("GET", "/")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_others_have_is_asked_for_before_it_is_made_or_said_to_be_missing() {
    let bucket = object("-").bucket;
    let pair = Pair::without_bucket().await;
    pair.is_behind().await;
    let made = pair.here.create_bucket(&bucket, "somebody", "eu-west-1").await;
    assert!(matches!(made, Err(Error::BucketAlreadyExists)), "{made:?}");
    assert_eq!(pair.here.bucket(&bucket).await.unwrap().owner, "owner");
    let pair = Pair::without_bucket().await;
    pair.is_behind().await;
    put(&pair.here, "a", "1").await;
    let pair = Pair::without_bucket().await;
    pair.is_behind().await;
    delete(&pair.here, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_record_without_bytes_is_served_by_what_replaced_it_elsewhere() {
    let pair = Pair::new().await;
    put(&pair.there, "a", vec![1; 300_000]).await;
    pair.is_behind().await;
    assert!(!pair.is_present("a").await);
    put(&pair.there, "a", vec![2; 400_000]).await;
    pair.is_caught_up().await;
    assert_eq!(get(&pair.here, "a").await.unwrap(), vec![2; 400_000]);
    tokio::time::sleep(SOON).await;
    assert!(pair.is_present("a").await);
    assert!(hint(&pair.here, "a").await.is_none());
}

/// Three sites: the first has what the second wrote to `a`, the third is still cut off. Answers the first one too.
async fn second_wrote_while_third_was_away() -> (World, Site) {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    put(world.site(2), "a", "1").await;
    world.pass(SOON).await;
    (world, one)
}

#[tokio::test(start_paused = true)]
async fn what_a_site_wrote_and_lost_is_completed_where_it_is_known_to_be() {
    let (mut world, one) = second_wrote_while_third_was_away().await;
    world.wipe(TWO);
    world.start(TWO).await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(get(&one, "a").await.unwrap(), "1");
    assert_eq!(stands(world.site(2), "a").await, None);
    // As reconciliation does where it is lacking.
    world.site(2).retell(&unit("a"), ONE).await.unwrap();
    world.pass(SOON).await;
    assert_eq!(stands(world.site(2), "a").await, Some(vec![(ONE, Replication::Completed), (THREE, Replication::Pending)]));
}

#[tokio::test(start_paused = true)]
async fn what_a_site_wrote_and_lost_is_told_when_it_takes_the_place_of_what_is_owed() {
    let mut world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    put(&one, "a", "older").await;
    world.pass(SOON).await;
    cut_off(&world, THREE);
    put(world.site(2), "a", "1").await;
    world.pass(SOON).await;
    world.wipe(TWO);
    world.network.cut(ONE, TWO, true);
    world.network.cut(TWO, THREE, false);
    world.network.cut(THREE, TWO, false);
    world.start(TWO).await;
    world.pass(Duration::from_secs(30)).await;
    world.site(2).retell(&unit("a"), ONE).await.unwrap();
    cut_off(&world, THREE);
    // It comes before the receipt for what is owed.
    let own = one.replica(&unit("a")).await.unwrap();
    world.site(2).apply(&unit("a"), own, Some(Bytes::from("1").into())).await.unwrap();
    assert_eq!(get(world.site(2), "a").await.unwrap(), "1");
    let to_three = stands(world.site(2), "a").await.unwrap_or_default().into_iter().find(|(site, _)| *site == THREE);
    assert_ne!(to_three.map(|(_, stands)| stands), Some(Replication::Completed));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_spoiled_before_they_were_fetched_are_mended_where_they_lie() {
    for is_gone in [false, true] {
        let (mut world, one) = second_wrote_while_third_was_away().await;
        let store = world.machine(TWO).store.clone();
        let place = Place { object: object("a"), location: Location::Plain };
        let binding = store.head(&place).await.unwrap().binding;
        match is_gone {
            true => store.delete(&place, &binding).await.unwrap(),
            false => drop(store.spoil(&Place { object: object("a"), location: Location::Plain })),
        }
        world.network.cut(TWO, THREE, false);
        world.network.cut(THREE, TWO, false);
        world.pass(Duration::from_secs(120)).await;
        assert_eq!(get(world.site(3), "a").await.unwrap(), "1", "gone: {is_gone}");
        assert_eq!(get(world.site(2), "a").await.unwrap(), "1", "gone: {is_gone}");
        assert_eq!(get(&one, "a").await.unwrap(), "1");
    }
}

/// The second site told of its retention while what the first had told, a later one, was on its way: of both there is one row
/// of work, and by stamps all of it is here once the first was asked.
#[tokio::test(start_paused = true)]
async fn who_told_of_an_earlier_retention_is_asked_for_it_too() {
    let world = World::new(3).await;
    let one = with_bucket(world.site(1).clone()).await;
    put(&one, "a", "1").await;
    world.pass(SOON).await;
    [ONE, TWO, THREE].into_iter().for_each(|site| cut_off(&world, site));
    let until_ms = one.clock().wall_ms() + 3_600_000;
    for (site, mode) in [(2, RetentionMode::Compliance), (1, RetentionMode::Governance)] {
        let retention = Register::Retention(Some(Retention { mode, until_ms }), Bypass::No);
        world.site(site).set_register(&object("a"), None, retention).await.unwrap();
        world.pass(SOON).await;
    }
    join(&world, ONE, THREE);
    world.pass(SOON).await;
    let (third, later) = (world.site(3), vector(world.site(3), "a").await);
    assert_eq!(later, vector(&one, "a").await);

    // What the log of the second brought is known to be told, and is work.
    let (unit, seq) = (unit("a"), world.site(2).told_under(&unit("a")).await.unwrap().unwrap());
    let work = Hint { want: later, sources: vec![TWO], due_ms: 0, tries: 0, error: None };
    let received = (TWO, world.site(2).status().facts().incarnation);
    let commit = Commit::new().put::<Received>(&received, &seq).put::<Work>(&unit, &work).put::<Due>(&(0, unit.clone()), &());
    third.status().commit(commit).await.unwrap();
    join(&world, TWO, THREE);
    world.pass(Duration::from_secs(30)).await;
    let Replica::Live(live) = third.replica(&unit).await.unwrap() else { panic!("it is here") };
    assert_eq!(live.registers.retention.map(|retention| retention.mode), Some(RetentionMode::Compliance));
    assert!(live.vector > later);
}
