//! When a site takes its own absences for facts again: after its first start, after it lost everything, after a restart on the
//! way.

use super::super::testing::{Street, everything, pass};
use super::{one_way, two_equal_sites};
use crate::peer::SiteState::{Active, Restoring};
use crate::sim::run;
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Error, Site};
use crate::status::ListQuery;

async fn list(site: &Site) -> Result<usize, Error> {
    let bucket = object("-").bucket;
    let query = ListQuery { bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    Ok(site.list(query).await?.entries.len())
}

fn refusal(listed: Result<usize, Error>) -> String {
    match listed {
        Err(Error::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wiped_site_that_starts_while_the_others_are_away_lists_nothing_until_it_has_what_they_have() {
    run(async {
        let mut street = two_equal_sites(5).await;
        let before = list(street.site(1)).await.unwrap();
        street.burn(2);
        street.cut(1, true);
        street.open(2).await;
        let two = with_bucket(street.site(2).clone()).await;
        put(&two, "new", "here").await;
        pass(30).await;
        assert_eq!(get(&two, "new").await.unwrap(), "here");
        assert!(refusal(list(&two).await).contains("has not heard of site-1 yet"));
        assert!(matches!(get(&two, "kept/0001").await, Err(Error::Unavailable { .. })));
        street.cut(1, false);
        let mut refused = 0;
        while refused < 1_000 {
            match list(&two).await {
                Ok(count) if count == before + 1 => break,
                Err(Error::Unavailable { .. }) => refused += 1,
                other => panic!("an incomplete list: {other:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(refused > 0 && refused < 1_000, "{refused}");
        pass(60).await;
        assert!(street.equal(1, 2).await);
    });
}

#[test]
fn a_first_start_that_failed_half_way_does_not_make_a_new_store_an_old_one() {
    run(async {
        let mut street = two_equal_sites(5).await;
        street.burn(2);
        drop(street.status(2));
        street.open(2).await;
        assert_eq!(street.site(2).state(), Restoring);
        pass(60).await;
        assert_eq!(street.site(2).state(), Active);
        assert!(street.equal(1, 2).await);
        street.close(2);
        street.cut(1, true);
        street.open(2).await;
        assert_eq!(street.site(2).state(), Active, "once in a life is enough");
    });
}

#[test]
fn a_restore_goes_on_after_a_restart_and_ends() {
    run(async {
        let mut street = two_equal_sites(5).await;
        let all = list(street.site(1)).await.unwrap();
        street.burn(2);
        street.starve(true);
        street.open(2).await;
        pass(10).await;
        street.close(2);
        street.open(2).await;
        pass(10).await;
        assert_eq!(street.site(2).state(), Restoring);
        street.starve(false);
        pass(200).await;
        assert_eq!(list(street.site(2)).await.unwrap(), all);
    });
}

#[test]
fn what_cannot_be_fetched_for_a_while_is_waited_for() {
    run(async {
        let mut street = two_equal_sites(5).await;
        let all = list(street.site(1)).await.unwrap();
        street.burn(2);
        street.starve(true);
        street.open(2).await;
        pass(300).await;
        assert_eq!(street.site(2).state(), Restoring, "what failed often is still to come");
        street.cut(1, true);
        pass(60).await;
        assert_eq!(street.site(2).state(), Restoring, "and so is what nobody can be asked for");
        street.cut(1, false);
        street.starve(false);
        pass(1_000).await;
        assert_eq!(list(street.site(2)).await.unwrap(), all);
    });
}

#[test]
fn a_site_that_only_tells_takes_back_what_it_wrote_and_nothing_else() {
    run(async {
        let mut street = one_way().await;
        street.burn(1);
        pass(10).await;
        street.open(1).await;
        assert_eq!(street.site(1).state(), Restoring);
        pass(100).await;
        assert_eq!(get(street.site(1), "ours").await.unwrap(), "1");
        assert_eq!(list(street.site(1)).await.unwrap(), 1);
    });
}

#[test]
fn two_wiped_sites_wait_for_the_one_that_has_the_data() {
    run(async {
        let mut street = Street::of(3).await;
        let three = with_bucket(street.site(3).clone()).await;
        put(&three, "a", "1").await;
        pass(100).await;
        let before = everything(&three).await;
        street.cut(3, true);
        street.burn(1);
        street.burn(2);
        pass(10).await;
        street.open(1).await;
        street.open(2).await;
        pass(100).await;
        let states = [street.site(1).state(), street.site(2).state()];
        assert_eq!(states, [Restoring, Restoring]);
        street.cut(3, false);
        pass(200).await;
        for number in [1, 2, 3] {
            assert_eq!((list(street.site(number)).await.unwrap(), everything(street.site(number)).await), (1, before.clone()));
        }
    });
}

#[test]
fn sites_that_are_all_new_serve_as_soon_as_they_met_whatever_was_written_before() {
    run(async {
        let mut street = Street::empty(3);
        for number in 1..=3 {
            street.cut(number, true);
            street.open(number).await;
        }
        let one = with_bucket(street.site(1).clone()).await;
        put(&one, "a", "1").await;
        let two = with_bucket(street.site(2).clone()).await;
        put(&two, "b", "2").await;
        pass(10).await;
        assert_eq!(refusal(list(&one).await), refusal(list(&one).await));
        (1..=3).for_each(|number| street.cut(number, false));
        pass(10).await;
        for number in 1..=3 {
            assert_eq!(list(street.site(number)).await.unwrap(), 2, "{number}");
        }
    });
}

#[test]
fn a_site_that_was_alone_goes_on_listing_when_it_gets_a_neighbour() {
    run(async {
        let mut street = Street::of(1).await;
        let one = with_bucket(street.site(1).clone()).await;
        put(&one, "a", "1").await;
        street.close(1);
        street.count = 2;
        street.open(1).await;
        assert_eq!(list(street.site(1)).await.unwrap(), 1);
        street.open(2).await;
        pass(20).await;
        assert_eq!((list(street.site(1)).await.unwrap(), list(street.site(2)).await.unwrap()), (1, 1));
    });
}
