//! Where the rows of a key's units lie, and what stays with a row that moves.

use super::{event_of, marker, object, record, slot, stamp, store, version};
use crate::model::{
    Binding, BucketName, ContentHeaders, Incarnation, ObjectId, Record, Seq, SiteNumber, Slot, State, Vector, WriteId,
};
use crate::status::redb::encode::{Header, decode};
use crate::status::redb::read::definition;
use crate::status::tables::{Grave, Graves, Objects, Pending, Upload, UploadState, Uploads, Versions};
use crate::status::{Audience, Commit, CommitError, Options, RawRow, Revision, Status, Table, TableKey};

const NEIGHBOUR: SiteNumber = SiteNumber(2);

fn owing(neighbours: &[SiteNumber]) -> Audience {
    Audience { owed: neighbours.to_vec(), known: vec![NEIGHBOUR], bus: false }
}

/// A unit written and told to the neighbour.
fn told(id: &ObjectId, record: &Record) -> Commit {
    let event = event_of(id, record.slot(), record.vector.data.ms());
    Commit::new().put_unit(id, record).tell(event).to(owing(&[NEIGHBOUR]))
}

fn put(id: &ObjectId, record: &Record) -> Commit {
    Commit::new().put_unit(id, record)
}

async fn done(status: &Status, commit: Commit) -> Revision {
    status.commit(commit).await.unwrap().revision
}

/// Numbers of the row in `objects` and of those in `versions`.
async fn numbers(status: &Status, id: &ObjectId) -> (Option<u64>, Vec<u64>) {
    let top = status.object(id).await.unwrap().map(|stored| stored.row.identity.size);
    assert_eq!(status.get::<Objects>(id).await.unwrap().map(|stored| stored.row.identity.size), top, "the cache agrees");
    let aside = status.page::<Versions>(&(id.clone(), ()), None, 100).await.unwrap().rows;
    (top, aside.into_iter().map(|(_, stored)| stored.row.identity.size).collect())
}

/// What the neighbour is still owed.
async fn owed(status: &Status) -> Vec<u64> {
    let rows = status.page::<Pending>(&NEIGHBOUR, None, 100).await.unwrap().rows;
    rows.into_iter().map(|((_, seq), _)| seq.0).collect()
}

#[tokio::test]
async fn the_newest_unit_is_current_in_whichever_order_they_come() {
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for (order, together) in orders.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let (status, id) = (store(), object("a"));
        let units = order.map(|n| if n == 2 { record(2) } else { version(n) });
        if together {
            done(&status, units.iter().fold(Commit::new(), |commit, unit| commit.put_unit(&id, unit))).await;
        } else {
            for unit in &units {
                done(&status, put(&id, unit)).await;
            }
        }
        // The null version's row comes first, whenever it was written.
        assert_eq!(numbers(&status, &id).await, (Some(3), vec![2, 1]), "{order:?}");
    }
}

#[tokio::test]
async fn a_current_marker_hides_the_key_until_it_goes_and_an_older_one_hides_nothing() {
    let (status, id) = (store(), object("a"));
    done(&status, put(&id, &version(2))).await;
    done(&status, put(&id, &marker(1))).await;
    assert_eq!(numbers(&status, &id).await, (Some(2), vec![1]));
    assert_eq!(status.hiding(&id).await.unwrap(), None, "it is older than the object");
    done(&status, put(&id, &marker(3))).await;
    assert_eq!(numbers(&status, &id).await, (None, vec![3, 2, 1]));
    assert_eq!(status.hiding(&id).await.unwrap().unwrap().row, marker(3));
    done(&status, Commit::new().delete_unit(&id, slot(3))).await;
    assert_eq!(numbers(&status, &id).await, (Some(2), vec![1]));
    done(&status, Commit::new().delete_unit(&id, slot(2))).await;
    assert_eq!(numbers(&status, &id).await, (None, vec![1]), "what is left is a marker");
    done(&status, Commit::new().delete_unit(&id, slot(1)).delete_unit(&id, Slot::Null)).await;
    assert_eq!(numbers(&status, &id).await, (None, vec![]));
    assert_eq!(status.hiding(&id).await.unwrap(), None);
}

#[tokio::test]
async fn the_null_version_has_one_row_whatever_it_becomes() {
    let (status, id) = (store(), object("a"));
    let null_marker = |n| Record { versioned: false, ..marker(n) };
    done(&status, put(&id, &record(1))).await;
    done(&status, put(&id, &version(5))).await;
    assert_eq!(numbers(&status, &id).await, (Some(5), vec![1]));
    done(&status, put(&id, &null_marker(7))).await;
    assert_eq!(numbers(&status, &id).await, (None, vec![7, 5]), "it was aside and hides the key now");
    done(&status, put(&id, &record(9))).await;
    assert_eq!(numbers(&status, &id).await, (Some(9), vec![5]));
    done(&status, put(&id, &null_marker(10))).await;
    assert_eq!(numbers(&status, &id).await, (None, vec![10, 5]), "it was current");
    done(&status, put(&id, &record(2))).await;
    assert_eq!(numbers(&status, &id).await, (Some(5), vec![2]), "an older state lets another one up");
    assert_eq!(status.unit(&id, Slot::Null).await.unwrap().unwrap().row, record(2));
}

#[tokio::test]
async fn a_row_that_moves_keeps_its_revision_and_its_seq() {
    let (status, id) = (store(), object("a"));
    let first = status.commit(told(&id, &version(1))).await.unwrap();
    let kept = |found: Option<crate::status::Stored<Record>>| found.map(|stored| (stored.row, stored.revision, stored.seq));
    let row = Some((version(1), first.revision, Seq(1)));
    status.commit(told(&id, &version(2))).await.unwrap();
    assert_eq!(kept(status.get::<Versions>(&(id.clone(), slot(1))).await.unwrap()), row);
    status.commit(told(&id, &marker(3))).await.unwrap();
    let gone = Commit::new().delete_unit(&id, slot(3)).delete_unit(&id, slot(2));
    done(&status, gone.tell(event_of(&id, slot(3), 4)).to(owing(&[NEIGHBOUR]))).await;
    assert_eq!(kept(status.get::<Objects>(&id).await.unwrap()), row);
    assert_eq!(kept(status.object(&id).await.unwrap().map(|stored| (*stored).clone())), row);
    assert_eq!(owed(&status).await, [1, 4], "what was told of the others is void, and of it nothing");
}

#[tokio::test]
async fn telling_a_unit_voids_what_is_owed_of_it_and_of_no_other() {
    let (status, id) = (store(), object("a"));
    done(&status, told(&id, &version(1))).await;
    done(&status, told(&id, &version(2))).await;
    done(&status, told(&id, &record(3))).await;
    assert_eq!(owed(&status).await, [1, 2, 3]);
    done(&status, told(&id, &version(1))).await;
    assert_eq!(owed(&status).await, [2, 3, 4], "its row lay aside");
    done(&status, told(&id, &record(5))).await;
    assert_eq!(owed(&status).await, [2, 4, 5], "its row lay on top");
    let gone = Commit::new().delete_unit(&id, Slot::Null).tell(event_of(&id, Slot::Null, 6)).to(owing(&[]));
    done(&status, gone).await;
    assert_eq!(owed(&status).await, [2, 4]);
    done(&status, told(&id, &version(2))).await;
    assert_eq!(owed(&status).await, [4, 7], "its row had moved");
}

#[tokio::test]
async fn who_is_owed_a_unit_hears_of_what_takes_its_place_wherever_its_row_lies() {
    let superseding = || Commit::new().supersedes(vec![NEIGHBOUR]);
    let grave = Grave { stamp: stamp(9), base: None, told: None, purged: None };
    for aside in [false, true] {
        let (status, id) = (store(), object("a"));
        let unit = (id.clone(), slot(1));
        let seq = async || status.unit(&id, slot(1)).await.unwrap().map(|stored| stored.seq);
        done(&status, told(&id, &version(1))).await;
        if aside {
            // Told to nobody.
            done(&status, put(&id, &version(2)).tell(event_of(&id, slot(2), 2)).to(owing(&[]))).await;
        }
        done(&status, superseding().put_unit(&id, &version(1))).await;
        assert_eq!(seq().await, Some(Seq(1)), "aside: {aside}");
        done(&status, superseding().put::<Graves>(&unit, &grave).delete_unit(&id, slot(1))).await;
        assert_eq!(status.get::<Graves>(&unit).await.unwrap().unwrap().seq, Seq(1), "its grave has its seq");
        done(&status, superseding().put_unit(&id, &version(1)).delete::<Graves>(&unit)).await;
        assert_eq!(seq().await, Some(Seq(1)), "and gives it back");
        assert_eq!(owed(&status).await, [1]);
        if aside {
            done(&status, superseding().put_unit(&id, &version(2))).await;
            assert_eq!(status.object(&id).await.unwrap().unwrap().seq, Seq(0), "nobody was owed the other one");
        }
        done(&status, Commit::new().delete::<Pending>(&(NEIGHBOUR, Seq(1)))).await;
        done(&status, superseding().put_unit(&id, &version(1))).await;
        assert_eq!(seq().await, Some(Seq(0)), "nobody is owed it any more");
    }
}

#[tokio::test]
async fn what_is_expected_of_a_unit_holds_across_its_moves_and_no_longer() {
    let (status, id) = (store(), object("a"));
    let expecting = async |slot, revision| {
        let outcome = status.commit(Commit::new().expect_unit(&id, slot, revision)).await;
        assert!(matches!(outcome, Ok(_) | Err(CommitError::Conflict)), "{outcome:?}");
        outcome.is_ok()
    };
    let first = done(&status, put(&id, &version(1))).await;
    let second = done(&status, put(&id, &version(2))).await;
    assert!(expecting(slot(1), Some(first)).await, "aside");
    assert!(expecting(slot(2), Some(second)).await);
    for wrong in [None, Some(second)] {
        assert!(!expecting(slot(1), wrong).await);
    }
    assert!(!expecting(Slot::Null, Some(second)).await, "the row in `objects` is another's");
    assert!(expecting(Slot::Null, None).await);
    done(&status, Commit::new().delete_unit(&id, slot(2))).await;
    assert!(expecting(slot(1), Some(first)).await, "current again");
    assert!(expecting(slot(2), None).await);
    let anew = done(&status, put(&id, &version(1))).await;
    assert!(!expecting(slot(1), Some(first)).await);
    assert!(expecting(slot(1), Some(anew)).await);
}

/// The units that waited to be archived: table, key's number, revision.
fn heard(status: &Status) -> Vec<(usize, u64, Revision)> {
    let mut heard = Vec::new();
    for batch in status.take_journal().batches {
        let mut rest = &batch[..];
        while let Some(row) = RawRow::read(&mut rest) {
            let stored = decode::<Objects>(&row.row).unwrap();
            if let Some(unit) = row.decode::<Versions>() {
                assert_eq!(unit.unwrap().0.1, stored.row.slot());
            }
            heard.push((row.table, stored.row.identity.size, stored.revision));
        }
        assert!(rest.is_empty());
    }
    heard
}

#[tokio::test]
async fn the_archive_hears_of_rows_that_move() {
    let (status, id) = (store(), object("a"));
    status.keep_journal();
    let first = done(&status, put(&id, &version(1))).await;
    assert_eq!(heard(&status), [(Objects::INDEX, 1, first)]);
    let second = done(&status, put(&id, &version(2))).await;
    assert_eq!(heard(&status), [(Versions::INDEX, 1, first), (Objects::INDEX, 2, second)]);
    let third = done(&status, put(&id, &marker(3))).await;
    assert_eq!(heard(&status), [(Versions::INDEX, 2, second), (Versions::INDEX, 3, third)]);
    done(&status, Commit::new().delete_unit(&id, slot(3))).await;
    assert_eq!(heard(&status), [(Objects::INDEX, 2, second)]);
    done(&status, Commit::new().delete_unit(&id, slot(1))).await;
    assert_eq!(heard(&status), [], "nothing moved");
}

/// A row as an earlier version of its table wrote it: without what was added since, which is all zeros by default.
fn of_version<T: Table>(version: u8, row: &T::Row) -> Vec<u8> {
    assert_eq!(T::ADDED_BYTES.len(), usize::from(T::VERSION) - 1, "{}", T::NAME);
    let mut payload = T::encode(row);
    let added = payload.split_off(payload.len() - T::ADDED_BYTES[usize::from(version) - 1]);
    assert!(!added.is_empty() && added.iter().all(|byte| *byte == 0), "{}: {added:?}", T::NAME);
    Header { version, revision: Revision(1), seq: Seq(0) }.row(&payload, &mut Vec::new()).to_vec()
}

#[test]
fn rows_of_earlier_encodings_are_read_with_what_was_added_at_its_default() {
    let id = object("a");
    let of_present = record(7);
    let of_wanted = Record { state: State::Wanted, binding: Binding::None, base: Some(stamp(3)), ..record(8) };
    for record in [of_present, of_wanted] {
        assert_eq!(decode::<Objects>(&of_version::<Objects>(1, &record)).unwrap().row, record);
        assert_eq!(decode::<Versions>(&of_version::<Versions>(1, &record)).unwrap().row, record);
    }
    let grave = Grave { stamp: stamp(3), base: Some(stamp(2)), told: None, purged: None };
    assert_eq!(decode::<Graves>(&of_version::<Graves>(1, &grave)).unwrap().row, grave);
    let upload = Upload {
        state: UploadState::Completing { list: [7; 32], write: WriteId::new(Incarnation(1), 1, 1) },
        initiated_ms: 5,
        owner: id.key.as_str().into(),
        headers: ContentHeaders::default(),
        metadata: vec![("Name".into(), "value".into())],
        tags: vec![],
        checksum: None,
        registers: Default::default(),
        versioned: false,
        token: String::new(),
        assembled: None,
    };
    for version in [1, 2] {
        assert_eq!(decode::<Uploads>(&of_version::<Uploads>(version, &upload)).unwrap().row, upload);
    }
}

#[tokio::test]
async fn a_unit_of_an_old_store_moves_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: Some(folder.path().join("status.redb")), ..Options::default() };
    drop(Status::open(options.clone()).unwrap());
    let (id, gone) = (object("a"), object("gone"));
    let grave = Grave { stamp: stamp(3), base: None, told: None, purged: None };
    let db = ::redb::Database::create(options.path.as_ref().unwrap()).unwrap();
    let txn = db.begin_write().unwrap();
    let rows = [
        (Objects::INDEX, id.to_bytes(), of_version::<Objects>(1, &record(1))),
        (Graves::INDEX, (gone.clone(), Slot::Null).to_bytes(), of_version::<Graves>(1, &grave)),
    ];
    for (table, key, row) in &rows {
        txn.open_table(definition(*table)).unwrap().insert(&**key, &**row).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let status = Status::open(options).unwrap();
    assert_eq!(status.object(&id).await.unwrap().unwrap().row, record(1));
    assert_eq!(status.get::<Graves>(&(gone, Slot::Null)).await.unwrap().unwrap().row, grave);
    done(&status, put(&id, &version(2)).expect_unit(&id, Slot::Null, Some(Revision(1)))).await;
    assert_eq!(numbers(&status, &id).await, (Some(2), vec![1]));
    assert_eq!(status.unit(&id, Slot::Null).await.unwrap().unwrap().row, record(1));
    done(&status, Commit::new().delete_unit(&id, slot(2))).await;
    let back = status.object(&id).await.unwrap().unwrap();
    assert_eq!((&back.row, back.revision), (&record(1), Revision(1)));
}

#[tokio::test]
async fn a_bucket_with_nothing_but_markers_is_not_without_units() {
    let (status, id) = (store(), object("a"));
    let bucket = BucketName::new("bucket").unwrap();
    done(&status, put(&id, &marker(1))).await;
    status.commit(Commit::new().expect_empty::<Objects>(&bucket)).await.expect("nothing is shown");
    let refused = status.commit(Commit::new().expect_empty::<Versions>(&bucket)).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
}

#[tokio::test]
async fn units_are_found_by_name_through_the_cache_and_past_it() {
    let (status, id) = (store(), object("a"));
    let with_vector = |n, ms| Record { vector: Vector::of(stamp(ms)), ..record(n) };
    done(&status, put(&id, &version(1)).put_unit(&id, &with_vector(2, 2)).put_unit(&id, &marker(3))).await;
    done(&status, put(&object("b"), &version(4))).await;
    let slots =
        [(&id, slot(3)), (&id, slot(9)), (&id, Slot::Null), (&id, slot(1)), (&object("b"), slot(4)), (&object("b"), slot(1))];
    let asked = slots.map(|(id, slot)| (id.clone(), slot));
    let found = status.units(&asked).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.map(|stored| stored.row.identity.size)).collect();
    assert_eq!(found, [Some(3), None, Some(2), Some(1), Some(4), None]);
}
