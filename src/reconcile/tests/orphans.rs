//! Bytes that nothing names.

use super::*;
use crate::model::{Incarnation, Versioning, WriteId};

const HOUR_MS: u64 = 3_600_000;

/// Bytes under a name of their own that were written so long ago.
async fn own_bytes(site: &Site, write: WriteId, age_ms: u64) -> Place {
    let (object, backend) = (object("a"), site.backend());
    let put = PutOptions { modified_ms: site.clock().wall_ms() - age_ms, ..PutOptions::any() };
    let kept = backend.put(&object, Body::from(Bytes::from_static(b"whose?")), put).await.unwrap();
    let from = Place { object, location: Location::OwnStaged(kept.location.staged().unwrap(), write) };
    assert_eq!(backend.publish(&from, &kept.binding).await.unwrap(), Published::Done);
    from.settled()
}

fn older_than(age_ms: u64, dry_run: bool) -> Ask {
    Ask { orphans_older_ms: Some(age_ms), dry_run, ..Ask::default() }
}

async fn is_there(site: &Site, place: &Place) -> bool {
    site.backend().head(place).await.is_ok()
}

/// A write that no process of this site draws.
fn of_another_life(n: u64) -> WriteId {
    WriteId::new(Incarnation(1), 1, n)
}

#[test]
fn bytes_that_nothing_names_go_once_they_are_old_enough() {
    run(async {
        let street = Street::of(1).await;
        let one = with_bucket(street.site(1).clone()).await;
        one.set_versioning(&object("a").bucket, Versioning::Enabled).await.unwrap();
        put(&one, "a", "first").await;
        put(&one, "a", "second").await;
        let old = own_bytes(&one, of_another_life(1), 2 * HOUR_MS).await;
        let young = own_bytes(&one, of_another_life(2), HOUR_MS / 2).await;
        let found = |summary: Summary| counted(&summary);
        assert_eq!(found(street.reconcile(1, older_than(HOUR_MS, true)).await.summary), [(Class::Orphan, 1)]);
        assert!(is_there(&one, &old).await, "a dry run changes nothing");
        assert_eq!(found(street.reconcile(1, Ask::default()).await.summary), [], "none is a day old");
        assert_eq!(found(street.reconcile(1, older_than(HOUR_MS, false)).await.summary), [(Class::Orphan, 1)]);
        assert_eq!((is_there(&one, &old).await, is_there(&one, &young).await), (false, true));
        assert_eq!(found(street.reconcile(1, older_than(0, false)).await.summary), [(Class::Orphan, 1)]);
        assert_eq!(found(street.reconcile(1, older_than(0, false)).await.summary), [], "what is named stays");
        assert_eq!(get(&one, "a").await.unwrap(), "second");
    });
}

/// Their row may be about to come, however old what they hold is.
#[test]
fn bytes_of_this_process_are_let_alone() {
    run(async {
        let street = Street::of(1).await;
        let one = with_bucket(street.site(1).clone()).await;
        let mut write = {
            put(&one, "b", "1").await;
            record(&one, "b").await.write.to_bytes()
        };
        write[11] ^= 0x80;
        let old = own_bytes(&one, WriteId::from_bytes(write), 1_000 * HOUR_MS).await;
        street.reconcile(1, older_than(0, false)).await;
        assert!(is_there(&one, &old).await);
    });
}
