//! What reconciliation promises, in streets of two or three sites.

use std::sync::atomic::Ordering;

use bytes::Bytes;

mod orphans;
mod restoring;
mod runs;
mod standing;

use super::testing::{Street, everything, pass};
use super::{Ask, Class, Summary};
use crate::backend::{Body, Place, Published, PutOptions};
use crate::model::{Location, Record, SiteNumber, Slot, Stamp, StampParts, Vector};
use crate::sim::run;
use crate::site::testing::{get, object, put, with_bucket};
use crate::site::{Error, Scope, Site, WriteConditions};
use crate::status::Commit;
use crate::status::tables::{Dirty, Graves};

/// Two sites of which only the first tells the other what is written there; both have something of their own.
async fn one_way() -> Street {
    let mut street = Street::empty(2);
    street.scopes.insert(2, Scope::Nobody);
    street.open(1).await;
    street.open(2).await;
    pass(5).await;
    let one = with_bucket(street.site(1).clone()).await;
    put(&one, "ours", "1").await;
    pass(100).await;
    put(street.site(2), "theirs", "2").await;
    street
}

/// Everything, with one other site.
fn with(site: u16) -> Ask {
    Ask { with: Some(format!("site-{site}")), ..Ask::default() }
}

fn dry(site: u16) -> Ask {
    Ask { dry_run: true, ..with(site) }
}

async fn record(site: &Site, key: &str) -> Record {
    site.status().object(&object(key)).await.unwrap().unwrap().row.clone()
}

async fn plant(site: &Site, commit: Commit) {
    site.status().commit(commit).await.unwrap();
}

/// The same moment less a second, and a later one, both of site `site`.
fn moved(stamp: Stamp, by_ms: i64) -> Stamp {
    let parts = stamp.parts();
    Stamp::new(StampParts { ms: parts.ms.checked_add_signed(by_ms).unwrap(), ..parts })
}

fn counted(summary: &Summary) -> Vec<(Class, u64)> {
    summary.classes.iter().filter(|(_, count)| **count > 0).map(|(class, count)| (*class, *count)).collect()
}

/// Two sites with objects of several kinds, all of them the same and older than the fence.
async fn two_equal_sites(each: usize) -> Street {
    let street = Street::of(2).await;
    let one = with_bucket(street.site(1).clone()).await;
    for kind in ["gone", "kept", "new", "old", "tags", "text", "unseen"] {
        for n in 0..each {
            put(&one, &format!("{kind}/{n:04}"), format!("{kind} {n}")).await;
        }
    }
    for n in 0..each {
        one.delete(&object(&format!("gone/{n:04}")), WriteConditions::default()).await.unwrap();
    }
    pass(200).await;
    assert!(street.equal(1, 2).await);
    street
}

/// Damages site 2, and site 1 in what it is to lack, `each` times in every way.
async fn damage(street: &Street, each: usize) {
    let (one, two) = (street.site(1), street.site(2));
    for n in 0..each {
        let key = |kind: &str| object(&format!("{kind}/{n:04}"));
        let of = |kind: &'static str| async move { record(two, &format!("{kind}/{n:04}")).await };
        plant(two, Commit::new().delete_unit(&key("new"), Slot::Null)).await;
        plant(two, Commit::new().delete::<Graves>(&(key("gone"), Slot::Null))).await;
        plant(one, Commit::new().delete_unit(&key("unseen"), Slot::Null)).await;
        let old = of("old").await;
        let older = Record { vector: Vector::of(moved(old.vector.data, -1_000)), ..old };
        plant(if n % 2 == 0 { one } else { two }, Commit::new().put_unit(&key("old"), &older)).await;
        let mut tagged = of("tags").await;
        tagged.vector.tags = Some(moved(tagged.vector.data, 1_000));
        tagged.identity.tags = vec![("a".into(), "b".into())];
        plant(if n % 2 == 0 { one } else { two }, Commit::new().put_unit(&key("tags"), &tagged)).await;
        let mut other = of("text").await;
        other.identity.metadata = vec![("not".into(), "so".into())];
        plant(two, Commit::new().put_unit(&key("text"), &other)).await;
    }
}

#[test]
fn every_planted_difference_is_found_and_mended_and_none_the_second_time() {
    run(async {
        let each = 84;
        let street = two_equal_sites(each).await;
        let all = street.reconcile(2, dry(1)).await.summary;
        assert_eq!((counted(&all), all.unchecked), (Vec::new(), 0));
        damage(&street, each).await;
        let before = [everything(street.site(1)).await, everything(street.site(2)).await];
        let half = each as u64 / 2;
        let expected = vec![
            (Class::MissingHere, 4 * half),
            (Class::MissingThere, 2 * half),
            (Class::OlderHere, half),
            (Class::OlderThere, half),
            (Class::Registers, 2 * half),
            (Class::Content, 2 * half),
        ];
        assert_eq!(counted(&street.reconcile(2, dry(1)).await.summary), expected);
        pass(300).await;
        assert_eq!(before, [everything(street.site(1)).await, everything(street.site(2)).await], "a dry run changes nothing");
        let found = street.reconcile(2, with(1)).await.summary;
        assert_eq!(counted(&found), expected);
        assert_eq!((found.corrected, found.told, found.queued), (2 * half, 4 * half, 6 * half));
        pass(200).await;
        assert!(street.equal(1, 2).await);
        assert_eq!(get(street.site(1), "unseen/0001").await.unwrap(), "unseen 1");
        assert_eq!(get(street.site(2), "new/0001").await.unwrap(), "new 1");
        assert!(matches!(get(street.site(2), "gone/0001").await, Err(Error::NoSuchKey)));
        for number in [1, 2] {
            assert_eq!(counted(&street.reconcile(number, dry(3 - number)).await.summary), []);
        }
    });
}

#[test]
fn a_site_that_lost_everything_ends_equal_and_deletes_nothing_elsewhere() {
    run(async {
        let mut street = two_equal_sites(40).await;
        let before = everything(street.site(1)).await;
        street.burn(2);
        pass(30).await;
        street.open(2).await;
        pass(400).await;
        assert_eq!(everything(street.site(1)).await, before);
        assert!(street.equal(1, 2).await);
        assert_eq!(get(street.site(2), "kept/0007").await.unwrap(), "kept 7");
    });
}

#[test]
fn a_bucket_of_which_something_was_lost_is_compared_by_itself_and_then_no_longer_dirty() {
    run(async {
        let street = two_equal_sites(10).await;
        let (one, key) = (street.site(1), (SiteNumber(2), object("x").bucket));
        plant(street.site(2), Commit::new().delete_unit(&object("kept/0003"), Slot::Null)).await;
        plant(one, Commit::new().put::<Dirty>(&key, &crate::model::Seq(5))).await;
        pass(90).await;
        assert_eq!(one.status().get::<Dirty>(&key).await.unwrap(), None);
        assert_eq!(get(street.site(2), "kept/0003").await.unwrap(), "kept 3");
    });
}

async fn bytes_behind_the_back(site: &Site, key: &str) {
    let (object, backend) = (object(key), site.backend());
    let kept = backend.put(&object, Body::from(Bytes::from_static(b"whose?")), PutOptions::any()).await.unwrap();
    let place = Place { object, location: kept.location };
    assert_eq!(backend.publish(&place, &kept.binding).await.unwrap(), Published::Done);
}

#[test]
fn bytes_that_are_gone_replaced_or_rotten_are_found_and_fetched_again() {
    run(async {
        let street = two_equal_sites(6).await;
        let two = street.site(2);
        let gone = record(two, "kept/0000").await;
        let place = Place { object: object("kept/0000"), location: Location::Plain };
        two.backend().delete(&place, &gone.binding).await.unwrap();
        bytes_behind_the_back(two, "kept/0001").await;
        bytes_behind_the_back(two, "kept/nobody").await;
        let mut rotten = record(two, "kept/0002").await;
        rotten.identity.crc64 ^= 1;
        plant(two, Commit::new().put_unit(&object("kept/0002"), &rotten)).await;
        let store =
            |deep, dry_run| Ask { deep, dry_run, prefix: "kept/".into(), bucket: Some(object("x").bucket), ..Ask::default() };
        let of_store = |summary: &Summary| [Class::Lost, Class::Rotten, Class::Foreign].map(|class| summary.classes[&class]);
        assert_eq!(of_store(&street.reconcile(2, store(false, true)).await.summary), [1, 1, 1]);
        assert_eq!(of_store(&street.reconcile(2, store(true, true)).await.summary), [1, 2, 1]);
        assert_eq!(record(two, "kept/0000").await, gone, "a dry run changes nothing");
        assert_eq!(of_store(&street.reconcile(2, store(true, false)).await.summary), [1, 2, 1]);
        pass(100).await;
        assert!(street.equal(1, 2).await);
        for n in 0..3 {
            assert_eq!(get(two, &format!("kept/{n:04}")).await.unwrap(), format!("kept {n}"));
        }
        assert_eq!(of_store(&street.reconcile(2, store(true, true)).await.summary), [0, 0, 1]);
    });
}

#[test]
fn a_store_is_walked_in_steps_without_leaving_anything_out() {
    run(async {
        let street = Street::of(1).await;
        let one = with_bucket(street.site(1).clone()).await;
        for n in (0..2_500).step_by(2) {
            bytes_behind_the_back(&one, &format!("{n:05}")).await;
        }
        for n in 0..1_100 {
            put(&one, &format!("{:05}", 2 * n + 1), "row").await;
        }
        pass(100).await;
        let summary = street.reconcile(1, Ask { dry_run: true, ..Ask::default() }).await.summary;
        assert_eq!((summary.compared, counted(&summary)), (2_350, vec![(Class::Foreign, 1_250)]));
    });
}

#[test]
fn only_what_is_asked_for_is_looked_at() {
    run(async {
        let street = two_equal_sites(4).await;
        damage(&street, 4).await;
        let ask = Ask { bucket: Some(object("x").bucket), prefix: "old/".into(), ..with(1) };
        let found = street.reconcile(2, ask).await.summary;
        assert_eq!(counted(&found), [(Class::OlderHere, 2), (Class::OlderThere, 2)]);
        let nowhere = Ask { with: Some("nowhere".into()), ..Ask::default() };
        assert!(matches!(street.house(2).hub.start(nowhere), Err(Error::InvalidArgument { argument: "with", .. })));
    });
}

/// Rows of objects whose bytes nobody reads, the same at both sites.
async fn rows_without_bytes(street: &Street, count: usize) {
    let one = with_bucket(street.site(1).clone()).await;
    put(&one, "first", "1").await;
    pass(200).await;
    let record = record(&one, "first").await;
    let keys: Vec<_> = (0..count).map(|n| object(&format!("folder-{:03}/file-{n:06}.bin", n % 1_000))).collect();
    for some in keys.chunks(1_000) {
        for number in [1, 2] {
            let rows = some.iter().fold(Commit::new(), |commit, object| commit.put_unit(object, &record));
            plant(street.site(number), rows).await;
        }
    }
}

#[test]
fn equal_sites_are_proven_equal_with_few_bytes_and_soon() {
    run(async {
        let count = if std::env::var_os("ANYBUCKET_MEASURE").is_some() { 100_000 } else { 5_000 };
        let street = Street::of(2).await;
        rows_without_bytes(&street, count).await;
        let (before, began) = (street.wires.bytes.load(Ordering::Relaxed), std::time::Instant::now());
        let summary = street.reconcile(1, dry(2)).await.summary;
        assert_eq!((summary.compared, summary.differences()), (count as u64 + 1, 0));
        let bytes = street.wires.bytes.load(Ordering::Relaxed) - before;
        println!("{count} objects proven equal in {:?} with {bytes} bytes", began.elapsed());
        assert!(bytes < 100 * count as u64 / 1_000, "{bytes}");
        plant(street.site(2), Commit::new().delete_unit(&object("folder-007/file-000007.bin"), Slot::Null)).await;
        assert_eq!(counted(&street.reconcile(1, dry(2)).await.summary), [(Class::MissingThere, 1)]);
        let bytes = street.wires.bytes.load(Ordering::Relaxed) - before - bytes;
        println!("one difference found with {bytes} bytes");
    });
}
