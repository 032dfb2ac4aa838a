//! One promise a test.

use super::{event, object, record, slot, store, version};
use crate::model::{BucketName, Seq, Slot};
use crate::status::tables::{Grave, Graves, Meta, Objects, Pending, Settle, Settling, Versions};
use crate::status::{Commit, CommitError, ListEntry, ListQuery, OpenError, Options, Status};

use super::stamp;
use crate::model::{Binding, Location, SiteNumber, Unit, Vector, WriteId};
use crate::status::redb::migrate::SCHEMA;

#[tokio::test]
async fn what_was_committed_is_read_back() {
    let (status, id) = (store(), object("a"));
    assert_eq!(status.object(&id).await.unwrap(), None);
    let done = status.commit(Commit::new().put_unit(&id, &record(7)).tell(event(&id, 7))).await.unwrap();
    let cached = status.cached(&id).expect("the writer left it in the cache");
    let stored = status.get::<Objects>(&id).await.unwrap().expect("it is there");
    assert_eq!((stored.row.clone(), stored.revision, stored.seq), (record(7), done.revision, done.seq));
    assert_eq!(*cached, stored);
    assert_eq!(done.seq, Seq(1));
}

#[tokio::test]
async fn a_commit_whose_expectation_fails_writes_nothing() {
    let (status, a, b) = (store(), object("a"), object("b"));
    let first = status.commit(Commit::new().expect::<Objects>(&a, None).put_unit(&a, &record(1))).await.unwrap();
    for wrong in [None, Some(crate::status::Revision(first.revision.0 + 1))] {
        let commit = Commit::new().put_unit(&b, &record(2)).expect::<Objects>(&a, wrong).tell(event(&a, 9));
        assert!(matches!(status.commit(commit).await, Err(CommitError::Conflict)));
    }
    assert_eq!(status.object(&b).await.unwrap(), None);
    let right = Commit::new().expect::<Objects>(&a, Some(first.revision)).delete_unit(&a, Slot::Null).tell(event(&a, 9));
    let second = status.commit(right).await.unwrap();
    assert!(second.revision > first.revision);
    assert_eq!(second.seq, Seq(1), "the refused commits told nothing");
    assert_eq!(status.object(&a).await.unwrap(), None);
}

#[tokio::test]
async fn of_two_commits_that_expect_the_same_one_wins() {
    let (status, id) = (store(), object("a"));
    let guarded = |n| status.commit(Commit::new().expect::<Objects>(&id, None).put_unit(&id, &record(n)));
    let outcomes = futures::future::join_all((0..50).map(guarded)).await;
    let winner = outcomes.iter().position(Result::is_ok).expect("one wins");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(status.object(&id).await.unwrap().unwrap().row, record(winner as u64));
}

#[tokio::test]
async fn a_bucket_is_empty_only_without_any_of_its_rows() {
    let status = store();
    let bucket = BucketName::new("bucket").unwrap();
    let neighbour = crate::model::ObjectId::parse("bucket-2", "a").unwrap();
    status.commit(Commit::new().put_unit(&neighbour, &record(1))).await.unwrap();
    let guarded = || Commit::new().expect_empty::<Objects>(&bucket).put::<Meta>(&"x".into(), &1);
    status.commit(guarded()).await.unwrap();
    status.commit(Commit::new().put_unit(&object("a"), &record(1))).await.unwrap();
    assert!(matches!(status.commit(guarded()).await, Err(CommitError::Conflict)));
}

#[tokio::test]
async fn rows_of_units_carry_the_seq_of_the_last_event_and_keep_it() {
    let (status, id) = (store(), object("a"));
    let older = (id.clone(), slot(2));
    let grave = Grave { stamp: stamp(3), base: None, told: None, purged: None };
    let settle = WriteId::new(crate::model::Incarnation(1), 1, 1);
    let told = Commit::new()
        .put_unit(&id, &record(3))
        .put_unit(&id, &version(2))
        .put::<Graves>(&(id.clone(), slot(1)), &grave)
        .put::<Settle>(&settle, &Settling::Remove { object: id.clone(), location: Location::Plain, binding: Binding::None })
        .tell(event(&id, 1))
        .tell(event(&id, 2));
    assert_eq!(status.commit(told).await.unwrap().seq, Seq(2));
    let untold = Commit::new().put_unit(&id, &record(5)).put_unit(&id, &version(2)).put_unit(&object("new"), &record(6));
    assert_eq!(status.commit(untold).await.unwrap().seq, Seq(2));
    assert_eq!(status.get::<Objects>(&id).await.unwrap().unwrap().seq, Seq(2));
    assert_eq!(status.cached(&id).unwrap().seq, Seq(2));
    assert_eq!(status.get::<Objects>(&object("new")).await.unwrap().unwrap().seq, Seq(0));
    assert_eq!(status.get::<Versions>(&older).await.unwrap().unwrap().seq, Seq(2));
    assert_eq!(status.get::<Graves>(&(id.clone(), slot(1))).await.unwrap().unwrap().seq, Seq(2));
    assert_eq!(status.get::<Settle>(&settle).await.unwrap().unwrap().seq, Seq(0));
}

#[tokio::test]
async fn pages_go_on_after_their_last_key_and_stay_under_their_prefix() {
    let status = store();
    let (unit, vector) = (Unit::Bucket(BucketName::new("bucket").unwrap()), Vector::of(stamp(1)));
    let telling = crate::model::Telling { unit, vector, news: crate::model::News::Mutated };
    let mut commit = Commit::new();
    for site in 1..=3 {
        for seq in 0..5 {
            commit = commit.put::<Pending>(&(SiteNumber(site), Seq(seq)), &telling);
        }
    }
    status.commit(commit).await.unwrap();
    let first = status.page::<Pending>(&SiteNumber(2), None, 3).await.unwrap();
    assert_eq!((first.rows.len(), first.more), (3, true));
    let last = first.rows.last().map(|(key, _)| *key);
    let second = status.page::<Pending>(&SiteNumber(2), last.as_ref(), 3).await.unwrap();
    assert_eq!((second.rows.len(), second.more), (2, false));
    assert_eq!(second.rows[1].0, (SiteNumber(2), Seq(4)));
    let beyond = status.page::<Pending>(&SiteNumber(2), Some(&(SiteNumber(3), Seq(1))), 3).await.unwrap();
    assert_eq!((beyond.rows.len(), beyond.more), (0, false));
    assert_eq!(status.page::<Pending>(&(), None, 100).await.unwrap().rows.len(), 15);
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_says_so() {
    let status = store();
    let mut large = record(1);
    large.identity.metadata = vec![("n".into(), "v".repeat(60_000))];
    for n in 0..100 {
        status.commit(Commit::new().put_unit(&object(&format!("{n:03}")), &large)).await.unwrap();
    }
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let query = ListQuery {
            bucket: BucketName::new("bucket").unwrap(),
            prefix: String::new(),
            delimiter: None,
            after: after.take(),
            entries_max: 1_000,
        };
        let page = status.list(query).await.unwrap();
        assert!(page.entries.len() < 100);
        keys.extend(page.entries.iter().map(ListEntry::text).map(str::to_owned));
        if !page.more {
            break;
        }
        after = keys.last().cloned();
    }
    assert_eq!(keys, (0..100).map(|n| format!("{n:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_past_64_kib_is_refused_before_it_is_queued() {
    let (status, id) = (store(), object("a"));
    let mut large = record(1);
    large.identity.metadata = vec![("n".into(), "v".repeat(64 * 1024))];
    let refused = status.commit(Commit::new().put_unit(&id, &large)).await;
    assert!(matches!(refused, Err(CommitError::TooLarge { table: "versions", .. })), "{refused:?}");
    assert!(status.healthy());
}

#[tokio::test]
async fn what_was_counted_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: Some(folder.path().join("status.redb")), now_s: 1_790_000_000, ..Options::default() };
    let id = object("a");
    let status = Status::open(options.clone()).unwrap();
    let first = status.facts();
    assert_eq!((first.incarnation.0, first.start, first.established.0), (1_790_000_000, 1, 0));
    status.establish().await.unwrap();
    let done = status.commit(Commit::new().put_unit(&id, &record(1)).tell(event(&id, 4_711))).await.unwrap();
    drop(status);
    let status = Status::open(Options { now_s: 1_790_000_999, ..options }).unwrap();
    let second = status.facts();
    assert_eq!((second.incarnation, second.start, second.established), (first.incarnation, 2, first.incarnation));
    assert_eq!((second.seq, second.revision, second.clock_ms), (done.seq, done.revision, 4_711));
    let next = status.commit(Commit::new().put_unit(&id, &record(2)).tell(event(&id, 5))).await.unwrap();
    assert!(next.revision > done.revision && next.seq == Seq(2));
    drop(status);
}

#[tokio::test]
async fn a_second_process_is_told_who_owns_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: Some(folder.path().join("status.redb")), ..Options::default() };
    let _first = Status::open(options.clone()).unwrap();
    assert!(matches!(Status::open(options), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let newer = Options { path: Some(folder.path().join("newer.redb")), ..Options::default() };
    let status = Status::open(newer.clone()).unwrap();
    status.commit(Commit::new().put::<Meta>(&"schema".into(), &(SCHEMA + 1))).await.unwrap();
    drop(status);
    let refused = Status::open(newer).unwrap_err().to_string();
    assert!(refused.contains(&format!("schema {}", SCHEMA + 1)), "{refused}");

    let foreign = Options { path: Some(folder.path().join("foreign.redb")), ..Options::default() };
    let db = ::redb::Database::create(foreign.path.as_ref().unwrap()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(::redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    txn.commit().unwrap();
    drop(db);
    let refused = Status::open(foreign.clone()).unwrap_err().to_string();
    assert!(refused.contains("theirs"), "{refused}");

    std::fs::write(foreign.path.as_ref().unwrap(), b"not a database at all").unwrap();
    assert!(Status::open(foreign).is_err());
}

#[tokio::test]
async fn conflicts_by_seed_strike_guarded_commits_only_and_the_same_ones() {
    let strikes = async |seed| {
        let status = Status::open(Options { conflict_seed: Some(seed), ..Options::default() }).unwrap();
        let mut struck = Vec::new();
        for n in 0..200 {
            let id = object(&n.to_string());
            status.commit(Commit::new().put::<Meta>(&"x".into(), &n)).await.expect("nothing is expected");
            let guarded = Commit::new().expect::<Objects>(&id, None).put_unit(&id, &record(n));
            struck.push(status.commit(guarded).await.is_err());
        }
        struck
    };
    let first = strikes(1).await;
    let count = first.iter().filter(|struck| **struck).count();
    assert!((10..50).contains(&count), "{count} of 200");
    assert_eq!(strikes(1).await, first);
    assert_ne!(strikes(2).await, first);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_commit() {
    let (status, id) = (store(), object("a"));
    let mut commit = Box::pin(status.commit(Commit::new().put_unit(&id, &record(1))));
    // Queued, and on a fast day answered.
    let _ = futures::poll!(&mut commit);
    drop(commit);
    status.commit(Commit::new().put::<Meta>(&"behind it".into(), &1)).await.unwrap();
    assert_eq!(status.object(&id).await.unwrap().unwrap().row, record(1));
}

#[tokio::test(start_paused = true)]
async fn on_paused_time_the_clock_stands_still_while_a_commit_is_written() {
    let status = store();
    let before = tokio::time::Instant::now();
    for n in 0..50 {
        let commit = status.commit(Commit::new().put::<Meta>(&"x".into(), &n));
        tokio::time::timeout(std::time::Duration::from_secs(60), commit).await.expect("no time passes").unwrap();
    }
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}
