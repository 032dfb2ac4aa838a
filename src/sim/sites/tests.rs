//! Schedules written by hand.

use std::time::Duration;

use super::super::run;
use super::world::{Settings, World};
use crate::model::{News, SiteNumber, Telling, Unit};
use crate::reconcile::Ask;
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Error, Replication, Site, WriteConditions};

const SOON: Duration = Duration::from_secs(5);

async fn delete(site: &Site, key: &str) {
    site.delete(&object(key), WriteConditions::default()).await.unwrap();
}

async fn stands(site: &Site, key: &str) -> Option<Vec<(SiteNumber, Replication)>> {
    let replica = site.replica(&Unit::null(&object(key))).await.unwrap();
    let unit = Unit::null(&object(key));
    let seq = site.told_under(&unit).await.unwrap().unwrap_or_default();
    site.replication(&unit, &replica.vector().unwrap(), seq).await.unwrap()
}

#[test]
fn what_is_put_at_one_site_arrives_at_the_other_and_is_receipted() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), SiteNumber(2), true);
        put(&one, "small", "hello").await;
        put(&one, "large", vec![7; 300_000]).await;
        world.pass(SOON).await;
        assert_eq!(stands(&one, "small").await, Some(vec![(SiteNumber(2), Replication::Pending)]));
        world.network.join_all();
        world.pass(SOON).await;
        assert_eq!(get(world.site(2), "small").await.unwrap(), "hello");
        assert_eq!(get(world.site(2), "large").await.unwrap(), vec![7; 300_000]);
        assert_eq!(stands(&one, "small").await, Some(vec![(SiteNumber(2), Replication::Completed)]));
        assert_eq!(stands(world.site(2), "small").await, None);
    });
}

#[test]
fn a_deleted_object_does_not_come_back() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), SiteNumber(2), true);
        put(world.site(2), "a", "older").await;
        world.pass(SOON).await;
        delete(&one, "a").await;
        world.pass(SOON).await;
        world.network.join_all();
        world.pass(SOON).await;
        for number in [1, 2] {
            assert!(matches!(get(world.site(number), "a").await, Err(Error::NoSuchKey)), "site {number}");
        }
        assert_eq!(world.site(2).counters().lost_conflicts.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}

#[test]
fn in_quiet_nothing_is_told_or_fetched() {
    run(async {
        let world = World::new(3).await;
        let one = with_bucket(world.site(1).clone()).await;
        for key in ["a", "b", "c"] {
            put(&one, key, key).await;
        }
        world.pass(Duration::from_secs(30)).await;
        let seqs = || [1, 2, 3].map(|number| *world.site(number).status().told().borrow());
        let before = (seqs(), world.network.requests());
        world.pass(Duration::from_secs(600)).await;
        assert_eq!(seqs(), before.0);
        // Heartbeats: each of three asks two others every two seconds, and looks twice whether the link still stands; the
        // sweep reads a log now and then.
        assert!(world.network.requests() - before.1 <= 2 * 6 * 300 + 100, "{}", world.network.requests() - before.1);
    });
}

#[test]
fn a_site_that_was_killed_goes_on_where_it_was() {
    run(async {
        let mut world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "before", "1").await;
        world.pass(SOON).await;
        world.kill(SiteNumber(2));
        put(&one, "meanwhile", "2").await;
        delete(&one, "before").await;
        world.pass(SOON).await;
        world.start(SiteNumber(2)).await;
        world.pass(SOON).await;
        assert_eq!(get(world.site(2), "meanwhile").await.unwrap(), "2");
        assert!(matches!(get(world.site(2), "before").await, Err(Error::NoSuchKey)));
        assert_eq!(stands(&one, "meanwhile").await, Some(vec![(SiteNumber(2), Replication::Completed)]));
    });
}

/// Past the age of graves on every wall clock, and time enough for those who look for old ones.
async fn eight_days(world: &mut World) {
    world.jump(Duration::from_secs(8 * 24 * 3_600));
    world.pass(Duration::from_secs(1_500)).await;
}

async fn graves(site: &Site) -> usize {
    let page: crate::status::Page<crate::status::tables::Graves> = site.status().page(&(), None, 100).await.unwrap();
    page.rows.len()
}

#[test]
fn a_grave_leaves_everywhere_once_everybody_has_settled_past_it() {
    run(async {
        let mut world = World::new(3).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        delete(world.site(2), "a").await;
        world.pass(SOON).await;
        for number in [1, 2, 3] {
            assert_eq!(graves(world.site(number)).await, 1, "site {number}");
        }
        eight_days(&mut world).await;
        for number in [1, 2, 3] {
            assert_eq!(graves(world.site(number)).await, 0, "site {number}");
            assert!(world.site(number).horizon(&object("a").bucket).await.unwrap().is_some());
        }
    });
}

#[test]
fn a_grave_stays_while_a_site_that_holds_the_object_is_away() {
    run(async {
        let mut world = World::new(3).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        for number in [1, 2] {
            world.network.cut(SiteNumber(number), SiteNumber(3), true);
        }
        delete(&one, "a").await;
        eight_days(&mut world).await;
        assert_eq!((graves(&one).await, graves(world.site(2)).await), (1, 1));
        world.network.join_all();
        world.pass(Duration::from_secs(1_500)).await;
        for number in [1, 2, 3] {
            assert!(matches!(get(world.site(number), "a").await, Err(Error::NoSuchKey)), "site {number}");
            assert_eq!(graves(world.site(number)).await, 0, "site {number}");
        }
    });
}

#[test]
fn what_was_wanted_while_nobody_answered_is_fetched_as_soon_as_somebody_does() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), SiteNumber(2), true);
        put(&one, "a", "1").await;
        world.pass(Duration::from_secs(20)).await;
        let unit = Unit::null(&object("a"));
        let vector = one.replica(&unit).await.unwrap().vector().unwrap();
        let telling = Telling { unit, vector, news: News::Mutated };
        crate::replicate::absorb_hints(world.site(2), SiteNumber(1), &[telling]).await.unwrap();
        // Long enough for it to be tried, and put off, in vain.
        world.pass(Duration::from_millis(12_500)).await;
        world.network.join_all();
        world.pass(Duration::from_millis(2_100)).await;
        assert_eq!(get(world.site(2), "a").await.unwrap(), "1");
    });
}

/// Seed 109 of the histories: a commit that met a conflict was taken for a newer write.
#[test]
fn bytes_that_rotted_are_fetched_again_whatever_the_commit_meets() {
    run(async {
        let settings = Settings { seed: 7, sites: 2, conflicts: true, cached_rows_max: 1_000, bus: None, naming: 0 };
        let mut world = World::of(settings).await;
        let one = with_bucket(world.site(1).clone()).await;
        let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
        for key in &keys {
            put(&one, key, "sound").await;
        }
        world.pass(SOON).await;
        world.machine(SiteNumber(2)).store.rot();
        world.reconcile(SiteNumber(2), Ask { deep: true, ..Ask::default() });
        world.pass(Duration::from_secs(60)).await;
        for key in &keys {
            assert_eq!(get(world.site(2), key).await.unwrap(), "sound", "{key}");
        }
    });
}
