//! What is said of other sites while it is not known what they have.

use super::super::testing::{Street, pass};
use super::{plant, record, two_equal_sites};
use crate::model::{Seq, SiteNumber, Unit};
use crate::sim::run;
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Replication, Scope, Site, Standing};
use crate::status::Commit;
use crate::status::tables::{Dirty, Pending};

/// How another site stands with an object that was written at this one.
async fn stands(site: &Site, key: &str, with: u16) -> Option<Replication> {
    let unit = Unit::null(&object(key));
    let (vector, seq) = (record(site, key).await.vector, site.told_under(&unit).await.unwrap().unwrap_or_default());
    let all = site.replication(&unit, &vector, seq).await.unwrap().expect("it was written here");
    all.into_iter().find(|(number, _)| number.0 == with).map(|(_, stands)| stands)
}

#[test]
fn nothing_is_completed_at_a_site_that_was_never_met() {
    run(async {
        let mut street = Street::of(1).await;
        let one = with_bucket(street.site(1).clone()).await;
        put(&one, "old", "1").await;
        street.close(1);
        street.count = 2;
        for _ in 0..2 {
            street.open(1).await;
            pass(30).await;
            assert_eq!(stands(street.site(1), "old", 2).await, Some(Replication::Pending));
            street.close(1);
        }
        street.open(1).await;
        street.open(2).await;
        pass(200).await;
        assert_eq!(stands(street.site(1), "old", 2).await, Some(Replication::Completed));
        assert_eq!(get(street.site(2), "old").await.unwrap(), "1");
    });
}

#[test]
fn nothing_older_is_completed_at_a_site_that_comes_into_scope() {
    run(async {
        let mut street = Street::empty(2);
        street.scopes.insert(1, Scope::Nobody);
        street.open(1).await;
        street.open(2).await;
        pass(5).await;
        let one = with_bucket(street.site(1).clone()).await;
        put(&one, "old", "1").await;
        pass(100).await;
        for round in 0..2 {
            street.close(1);
            street.scopes.insert(1, Scope::Everybody);
            street.cut(2, true);
            street.open(1).await;
            put(street.site(1), "new", format!("{round}")).await;
            assert_eq!(stands(street.site(1), "old", 2).await, Some(Replication::Pending));
            street.cut(2, false);
            pass(200).await;
            assert_eq!(stands(street.site(1), "old", 2).await, Some(Replication::Completed));
            assert_eq!(get(street.site(2), "old").await.unwrap(), "1");
            // Out of scope for a while: what is written meanwhile is told to nobody.
            street.close(1);
            street.scopes.insert(1, Scope::Nobody);
            street.open(1).await;
            put(street.site(1), "old", "1").await;
            pass(5).await;
        }
    });
}

#[test]
fn nothing_is_completed_any_more_at_a_site_that_lost_everything_until_it_has_it_again() {
    run(async {
        let mut street = two_equal_sites(5).await;
        assert_eq!(stands(street.site(1), "kept/0001", 2).await, Some(Replication::Completed));
        street.burn(2);
        pass(10).await;
        street.starve(true);
        street.open(2).await;
        pass(120).await;
        assert_eq!(stands(street.site(1), "kept/0001", 2).await, Some(Replication::Pending));
        street.starve(false);
        pass(1_000).await;
        assert_eq!(stands(street.site(1), "kept/0001", 2).await, Some(Replication::Completed));
    });
}

#[test]
fn a_site_that_was_not_told_everything_asks_although_it_knows_all_that_was_told() {
    run(async {
        let street = two_equal_sites(2).await;
        let (one, two) = (street.site(1), street.site(2));
        street.cut(2, true);
        put(one, "late", "1").await;
        let seq = one.told_under(&Unit::null(&object("late"))).await.unwrap().unwrap();
        let untold = Commit::new().delete::<Pending>(&(SiteNumber(2), seq));
        plant(one, untold.put::<Dirty>(&(SiteNumber(2), object("late").bucket), &seq)).await;
        street.cut(2, false);
        pass(4).await;
        let there = two.neighbours().get(SiteNumber(1)).unwrap();
        assert_eq!(there.seen().received.unwrap().1, seq);
        assert_eq!(there.standing(), Standing::Behind);
        assert_eq!(get(two, "late").await.unwrap(), "1");
        pass(200).await;
        assert_eq!(there.standing(), Standing::CaughtUp);
    });
}

#[test]
fn a_bucket_stays_dirty_while_something_in_it_is_too_young_to_judge() {
    run(async {
        let street = two_equal_sites(2).await;
        let (one, key) = (street.site(1), (SiteNumber(2), object("x").bucket));
        // Written while the clock was ten minutes ahead, and told to nobody.
        let mut ahead = record(one, "kept/0001").await;
        ahead.vector = crate::model::Vector::of(super::moved(ahead.vector.data, 900_000));
        let rows = Commit::new().put_unit(&object("ahead"), &ahead);
        plant(one, rows.put::<Dirty>(&key, &Seq(5))).await;
        pass(200).await;
        assert!(one.status().get::<Dirty>(&key).await.unwrap().is_some());
        pass(900).await;
        assert!(one.status().get::<Dirty>(&key).await.unwrap().is_none());
        assert_eq!(one.status().owed(SiteNumber(2)), 1, "it is told at last");
    });
}
