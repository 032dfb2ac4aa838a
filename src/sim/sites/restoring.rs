//! A site that lost everything, or whose store came back from a snapshot: what it answers meanwhile, and what it ends as.

use std::time::Duration;

use super::super::run;
use super::world::World;
use crate::model::SiteNumber;
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Error, Site};
use crate::status::ListQuery;

const SOON: Duration = Duration::from_secs(5);

async fn list(site: &Site) -> Result<usize, Error> {
    let bucket = object("-").bucket;
    let query = ListQuery { bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    Ok(site.list(query).await?.entries.len())
}

#[test]
fn a_wiped_site_lists_nothing_until_it_has_what_the_others_had() {
    run(async {
        let mut world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        for n in 0..20 {
            put(&one, &format!("k{n}"), n.to_string()).await;
        }
        world.pass(SOON).await;
        assert_eq!(list(world.site(2)).await.unwrap(), 20);
        world.wipe(SiteNumber(2));
        world.start(SiteNumber(2)).await;
        let mut refused = 0;
        while !matches!(list(world.site(2)).await, Ok(20)) {
            match list(world.site(2)).await {
                Err(Error::Unavailable { .. }) => refused += 1,
                Err(Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => {}
                Ok(20) => break,
                other => panic!("an incomplete list: {other:?}"),
            }
            world.pass(Duration::from_millis(20)).await;
        }
        assert!(refused > 0);
        assert_eq!(get(world.site(2), "k7").await.unwrap(), "7");
        assert_eq!(list(&one).await.unwrap(), 20);
    });
}

#[test]
fn two_new_sites_serve_as_soon_as_they_met() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        assert_eq!(list(&one).await.unwrap(), 0);
        put(&one, "a", "1").await;
        assert_eq!(list(&one).await.unwrap(), 1);
        world.pass(SOON).await;
        assert_eq!(list(world.site(2)).await.unwrap(), 1);
    });
}

#[test]
fn a_site_with_data_goes_on_listing_when_a_new_one_joins() {
    run(async {
        let mut world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        world.wipe(SiteNumber(2));
        world.start(SiteNumber(2)).await;
        for _ in 0..100 {
            assert_eq!(list(&one).await.unwrap(), 1);
            world.pass(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn what_a_lost_site_had_told_only_some_of_gets_to_the_others() {
    run(async {
        let mut world = World::new(3).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "before", "1").await;
        world.pass(SOON).await;
        for number in [1, 2] {
            world.network.cut(SiteNumber(number), SiteNumber(3), true);
        }
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        world.wipe(SiteNumber(1));
        world.start(SiteNumber(1)).await;
        world.network.cut(SiteNumber(1), SiteNumber(3), false);
        world.pass(Duration::from_secs(300)).await;
        world.network.join_all();
        world.pass(Duration::from_secs(300)).await;
        for number in [1, 2, 3] {
            assert_eq!(get(world.site(number), "a").await.unwrap(), "1", "site {number}");
            assert_eq!(list(world.site(number)).await.unwrap(), 2, "site {number}");
        }
    });
}
