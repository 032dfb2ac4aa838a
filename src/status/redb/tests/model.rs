//! The store against a `BTreeMap`: random commits, listings, pages and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{event, record};
use crate::model::{BucketName, ObjectId, Seq, Slot};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::tables::{Objects, Versions};
use crate::status::{Commit, CommitError, ListEntry, ListQuery, Options, Revision, Status, TableKey};

/// Names of which one is the beginning of another, as text or as bytes.
const BUCKETS: [&str; 3] = ["bucket", "bucket-2", "bucket.a"];

/// What keys, prefixes and delimiters are made of.
const PIECES: [&str; 16] = ["a", "a", "a", "b", "b", "/", "/", "/", "-", "//", "\0", "é", "𝄞", "\u{FFFF}", "\u{10FFFF}", "ab"];

#[derive(Clone, Debug)]
enum Op {
    Commit(Change),
    List { bucket: &'static str, prefix: Text, delimiter: Option<String>, after: Option<Text>, entries_max: usize },
    Page { bucket: &'static str, after: Option<Index>, rows_max: usize },
    VersionsOf { key: Index },
    Crash { seed: u64 },
}

/// The beginning of some key that is there (of none: empty), up to a place, then something else.
#[derive(Clone, Debug)]
struct Text {
    key: Index,
    end: Index,
    then: String,
}

#[derive(Clone, Debug)]
struct Change {
    expects: Vec<(ObjectId, Expected)>,
    puts: Vec<ObjectId>,
    deletes: Vec<ObjectId>,
    versions: Vec<(ObjectId, u64, bool)>,
    /// Only if this bucket has no objects.
    empty: Option<&'static str>,
    events: usize,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Right,
    Stale,
    Absent,
}

fn text(pieces: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = String> {
    prop::collection::vec(select(&PIECES[..]), pieces).prop_map(|pieces| pieces.concat())
}

fn near(then: impl Strategy<Value = String>) -> impl Strategy<Value = Text> {
    (any::<Index>(), any::<Index>(), then).prop_map(|(key, end, then)| Text { key, end, then })
}

fn id() -> impl Strategy<Value = ObjectId> {
    (select(&BUCKETS[..]), text(1..4)).prop_map(|(bucket, key)| ObjectId::parse(bucket, &key).expect("good names"))
}

fn change() -> impl Strategy<Value = Change> {
    let expected = prop_oneof![8 => Just(Expected::Right), 1 => Just(Expected::Stale), 1 => Just(Expected::Absent)];
    let expects = prop::collection::vec((id(), expected), 0..3);
    let versions = prop::collection::vec((id(), 0..4_u64, any::<bool>()), 0..3);
    let ids = |most| prop::collection::vec(id(), 0..most);
    let empty = prop::option::weighted(0.05, select(&BUCKETS[..]));
    (expects, ids(8), ids(3), versions, empty, 0..3_usize).prop_map(|(expects, puts, deletes, versions, empty, events)| Change {
        expects,
        puts,
        deletes,
        versions,
        empty,
        events,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let limit = || prop_oneof![Just(0_usize), 1..4_usize, Just(1_000)];
    let delimiter = prop::option::of(prop_oneof![2 => Just("/".to_owned()), 1 => text(0..3)]);
    let then = || prop_oneof![4 => Just(String::new()), 1 => text(1..3)];
    let list = (select(&BUCKETS[..]), near(then()), delimiter, prop::option::of(near(then())), limit());
    prop_oneof![
        6 => change().prop_map(Op::Commit),
        8 => list.prop_map(|(bucket, prefix, delimiter, after, entries_max)| Op::List { bucket, prefix, delimiter, after, entries_max }),
        2 => (select(&BUCKETS[..]), any::<Option<Index>>(), limit()).prop_map(|(bucket, after, rows_max)| Op::Page { bucket, after, rows_max }),
        2 => any::<Index>().prop_map(|key| Op::VersionsOf { key }),
        1 => any::<u64>().prop_map(|seed| Op::Crash { seed }),
    ]
}

/// What a row must be: the number its record tells, and its header.
type Row = (u64, Revision, Seq);

#[derive(Default)]
struct Model {
    objects: BTreeMap<Vec<u8>, Row>,
    versions: BTreeMap<Vec<u8>, Row>,
    /// The greatest revision answered so far.
    revision: u64,
    seq: u64,
    commits: u64,
}

impl Model {
    fn holds(&self, change: &Change) -> bool {
        let emptied = change.empty.is_none_or(|bucket| self.keys(bucket).is_empty());
        emptied
            && change.expects.iter().all(|(id, expected)| match expected {
                Expected::Right => true,
                Expected::Absent => !self.objects.contains_key(&id.to_bytes()),
                Expected::Stale => false,
            })
    }

    fn commit(&self, change: &Change, number: u64) -> Commit {
        let mut commit = Commit::new();
        for (id, expected) in &change.expects {
            let now = self.objects.get(&id.to_bytes()).map(|row| row.1);
            let revision = match expected {
                Expected::Right => now,
                Expected::Absent => None,
                Expected::Stale => Some(Revision(now.map_or(1, |now| now.0 + 1))),
            };
            commit = commit.expect::<Objects>(id, revision);
        }
        if let Some(bucket) = change.empty {
            commit = commit.expect_empty::<Objects>(&BucketName::new(bucket).expect("a good name"));
        }
        for (id, ms, put) in &change.versions {
            let key = (id.clone(), Slot::Version(super::stamp(*ms)));
            commit = if *put { commit.put::<Versions>(&key, &record(number)) } else { commit.delete::<Versions>(&key) };
        }
        commit = change.deletes.iter().fold(commit, |commit, id| commit.delete::<Objects>(id));
        commit = change.puts.iter().fold(commit, |commit, id| commit.put::<Objects>(id, &record(number)));
        let told = ObjectId::parse("bucket", "told").expect("a good name");
        (0..change.events).fold(commit, |commit, _| commit.tell(event(&told, number)))
    }

    fn apply(&mut self, change: &Change, number: u64, revision: Revision) {
        self.revision = revision.0;
        self.seq += change.events as u64;
        let told = (change.events > 0).then_some(Seq(self.seq));
        let row = |before: Option<&Row>| (number, revision, told.or(before.map(|row| row.2)).unwrap_or(Seq(0)));
        for (id, ms, put) in &change.versions {
            let key = (id.clone(), Slot::Version(super::stamp(*ms))).to_bytes();
            let new = row(self.versions.get(&key));
            if *put {
                self.versions.insert(key, new)
            } else {
                self.versions.remove(&key)
            };
        }
        for id in &change.deletes {
            self.objects.remove(&id.to_bytes());
        }
        for id in &change.puts {
            let new = row(self.objects.get(&id.to_bytes()));
            self.objects.insert(id.to_bytes(), new);
        }
    }

    fn keys(&self, bucket: &str) -> Vec<(String, Row)> {
        let ids = self.objects.iter().map(|(key, row)| (ObjectId::from_bytes(key).expect("it was one"), *row));
        ids.filter(|(id, _)| id.bucket.as_str() == bucket).map(|(id, row)| (id.key.as_str().to_owned(), row)).collect()
    }

    fn text(&self, bucket: &str, text: &Text) -> String {
        let keys = self.keys(bucket);
        let key = if keys.is_empty() { "" } else { &text.key.get(&keys).0 };
        let ends: Vec<_> = key.char_indices().map(|(at, _)| at).chain([key.len()]).collect();
        format!("{}{}", &key[..*text.end.get(&ends)], text.then)
    }

    /// A listing by its definition.
    fn list(&self, query: &ListQuery) -> (Vec<(String, Option<Row>)>, bool) {
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let mut entries = Vec::new();
        for (key, row) in self.keys(query.bucket.as_str()) {
            let Some(rest) = key.strip_prefix(&query.prefix) else { continue };
            let entry = match delimiter.and_then(|delimiter| rest.split_once(delimiter).map(|(head, _)| (head, delimiter))) {
                Some((head, delimiter)) => (format!("{}{head}{delimiter}", query.prefix), None),
                None => (key, Some(row)),
            };
            let after = query.after.as_ref().is_none_or(|after| entry.0.as_bytes() > after.as_bytes());
            if after && entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        let more = query.entries_max > 0 && entries.len() > query.entries_max;
        entries.truncate(query.entries_max);
        (entries, more)
    }
}

struct World {
    disk: Forgetful,
    status: Status,
    model: Model,
    opened: u32,
}

impl World {
    fn new() -> Self {
        let disk = Forgetful::new(Power::on());
        let status = open(&disk);
        Self { disk, status, model: Model::default(), opened: 1 }
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Commit(change) => self.commit(change).await,
            Op::List { bucket, prefix, delimiter, after, entries_max } => {
                let query = ListQuery {
                    bucket: BucketName::new(bucket).expect("a good name"),
                    prefix: self.model.text(bucket, prefix),
                    delimiter: delimiter.clone(),
                    after: after.as_ref().map(|after| self.model.text(bucket, after)),
                    entries_max: *entries_max,
                };
                self.list(query).await;
            }
            Op::Page { bucket, after, rows_max } => self.page(bucket, *after, *rows_max).await,
            Op::VersionsOf { key } => self.versions_of(*key).await,
            Op::Crash { seed } => self.crash(*seed),
        }
    }

    async fn commit(&mut self, change: &Change) {
        self.model.commits += 1;
        let number = self.model.commits;
        let outcome = self.status.commit(self.model.commit(change, number)).await;
        if !self.model.holds(change) {
            assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
            return;
        }
        let done = outcome.expect("everything expected holds");
        assert!(done.revision.0 > self.model.revision);
        self.model.apply(change, number, done.revision);
        assert_eq!(done.seq.0, self.model.seq);
        for id in change.puts.iter().chain(&change.deletes) {
            let expected = self.model.objects.get(&id.to_bytes()).copied();
            let cached = self.status.object(id).await.unwrap().map(|stored| row(&stored));
            let read = self.status.get::<Objects>(id).await.unwrap().map(|stored| row(&stored));
            assert_eq!((cached, read), (expected, expected), "{id:?}");
        }
    }

    async fn list(&self, query: ListQuery) {
        let expected = self.model.list(&query);
        let page = self.status.list(query).await.unwrap();
        let entry = |entry: &ListEntry| match entry {
            ListEntry::Object { key, record } => (key.clone(), Some(row(record))),
            ListEntry::CommonPrefix(prefix) => (prefix.clone(), None),
        };
        assert_eq!((page.entries.iter().map(entry).collect::<Vec<_>>(), page.more), expected);
    }

    async fn page(&self, bucket: &str, after: Option<Index>, rows_max: usize) {
        let all = &self.model.objects;
        let after =
            after.filter(|_| !all.is_empty()).map(|index| all.keys().nth(index.index(all.len())).expect("within").clone());
        let after = after.map(|key| ObjectId::from_bytes(&key).expect("it was one"));
        let bucket = BucketName::new(bucket).expect("a good name");
        let page = self.status.page::<Objects>(&bucket, after.as_ref(), rows_max).await.unwrap();
        let start = after.map(|id| id.to_bytes());
        let wanted =
            all.iter().filter(|(key, _)| key.starts_with(&bucket.to_bytes()) && start.as_ref().is_none_or(|start| *key > start));
        let wanted: Vec<_> = wanted.map(|(key, row)| (key.clone(), *row)).collect();
        let rows: Vec<_> = page.rows.iter().map(|(key, stored)| (key.to_bytes(), row(stored))).collect();
        assert_eq!(page.more, wanted.len() > rows_max);
        assert_eq!(rows, wanted[..wanted.len().min(rows_max)]);
    }

    async fn versions_of(&self, key: Index) {
        let ids: Vec<_> =
            self.model.versions.keys().map(|key| <(ObjectId, Slot)>::from_bytes(key).expect("it was one").0).collect();
        if ids.is_empty() {
            return;
        }
        let id = key.get(&ids);
        let page = self.status.page::<Versions>(&(id.clone(), ()), None, 1_000).await.unwrap();
        assert!(page.rows.iter().all(|((of, _), _)| of == id));
        assert_eq!(page.rows.len(), ids.iter().filter(|of| *of == id).count());
    }

    /// Everything was acknowledged, so nothing may be lost, whatever the disk forgets.
    fn crash(&mut self, seed: u64) {
        self.disk = self.disk.crash(seed);
        self.status = open(&self.disk);
        self.opened += 1;
        let facts = self.status.facts();
        assert_eq!((facts.revision.0, facts.seq.0, facts.start), (self.model.revision, self.model.seq, self.opened));
    }
}

/// With a row cache so small that it forgets most of what it is told.
fn open(disk: &Forgetful) -> Status {
    Status::open_on(disk.clone(), &Options { cached_rows_max: 32, ..Options::default() }).expect("it opens")
}

fn row(stored: &crate::status::Stored<crate::model::Record>) -> Row {
    (stored.row.identity.size, stored.revision, stored.seq)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_sorted_map(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for op in &ops {
                world.step(op).await;
            }
        });
    }
}
