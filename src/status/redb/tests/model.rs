//! The store against its reference: random commits, listings, pages and crashes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::event_of;
use super::reference::{Kind, Listed, Model, Row, SITES, Telling, Write, listed};
use crate::model::{BucketName, Incarnation, ObjectId, SiteNumber, Slot, Stamp, StampParts, State};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::tables::{Grave, Graves, Objects, Pending, Versions};
use crate::status::{
    Audience, Commit, CommitError, ListEntry, ListQuery, Options, Revision, Status, Table, TableKey, VersionEntry, VersionsQuery,
};

/// Names of which one is the beginning of another, as text or as bytes.
const BUCKETS: [&str; 3] = ["bucket", "bucket-2", "bucket.a"];

/// What keys, prefixes and delimiters are made of.
const PIECES: [&str; 16] = ["a", "a", "a", "b", "b", "/", "/", "/", "-", "//", "\0", "é", "𝄞", "\u{FFFF}", "\u{10FFFF}", "ab"];

#[derive(Clone, Debug)]
enum Op {
    Commit(Change),
    List {
        from: Listing,
        after: Option<Text>,
        entries_max: usize,
    },
    /// One page from anywhere; the version after which it begins is one that is there, the null one, or none.
    ListVersions {
        from: Listing,
        after: Option<(Text, Option<Target>)>,
        entries_max: usize,
    },
    /// All pages, of so many entries.
    Walk {
        from: Listing,
        entries_max: usize,
    },
    Page {
        bucket: &'static str,
        after: Option<Index>,
        rows_max: usize,
    },
    UnitsOf {
        key: Index,
    },
    Crash {
        seed: u64,
    },
}

#[derive(Clone, Debug)]
struct Listing {
    bucket: &'static str,
    prefix: Text,
    delimiter: Option<String>,
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
    expects: Vec<(Target, Expected)>,
    writes: Vec<(Target, Wanted)>,
    /// Only if this bucket has no objects.
    empty: Option<&'static str>,
    telling: Telling,
}

/// A unit that is there, a slot of a key that is there, or one of any key.
#[derive(Clone, Debug)]
struct Target {
    near: Near,
    any: ObjectId,
    /// Of a version, which is its name; of a null version, when that was written.
    ms: u64,
    versioned: bool,
}

#[derive(Clone, Copy, Debug)]
enum Near {
    Unit(Index),
    Key(Index),
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Put(State),
    Delete,
    Bury,
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

fn target() -> impl Strategy<Value = Target> {
    let near = prop_oneof![
        2 => any::<Index>().prop_map(Near::Unit),
        3 => any::<Index>().prop_map(Near::Key),
        3 => Just(Near::Nothing),
    ];
    let target = (near, id(), 1..12_u64, prop::bool::weighted(0.7));
    target.prop_map(|(near, any, ms, versioned)| Target { near, any, ms, versioned })
}

fn change() -> impl Strategy<Value = Change> {
    let expected = prop_oneof![8 => Just(Expected::Right), 1 => Just(Expected::Stale), 1 => Just(Expected::Absent)];
    let expects = prop::collection::vec((target(), expected), 0..3);
    let wanted = prop_oneof![
        6 => Just(Wanted::Put(State::Present)),
        1 => Just(Wanted::Put(State::Wanted)),
        3 => Just(Wanted::Put(State::Marker)),
        3 => Just(Wanted::Delete),
        1 => Just(Wanted::Bury),
    ];
    let writes = prop::collection::vec((target(), wanted), 0..8);
    let empty = prop::option::weighted(0.05, select(&BUCKETS[..]));
    let owed = prop::sample::subsequence(&SITES[..], 0..=SITES.len());
    let events = (1..3_u64, owed).prop_map(|(count, owed)| Telling::Events { count, owed: owed.into_iter().collect() });
    let telling = prop_oneof![3 => events, 1 => Just(Telling::Superseding), 1 => Just(Telling::Nothing)];
    (expects, writes, empty, telling).prop_map(|(expects, writes, empty, telling)| Change { expects, writes, empty, telling })
}

fn listing() -> impl Strategy<Value = Listing> {
    let delimiter = prop::option::of(prop_oneof![2 => Just("/".to_owned()), 1 => text(0..3)]);
    let then = prop_oneof![4 => Just(String::new()), 1 => text(1..3)];
    let listing = (select(&BUCKETS[..]), near(then), delimiter);
    listing.prop_map(|(bucket, prefix, delimiter)| Listing { bucket, prefix, delimiter })
}

fn op() -> impl Strategy<Value = Op> {
    let limit = || prop_oneof![Just(0_usize), 1..4_usize, Just(1_000)];
    let after = || near(prop_oneof![4 => Just(String::new()), 1 => text(1..3)]);
    let lists = (listing(), prop::option::of(after()), limit());
    let behind = (after(), prop::option::of(target()));
    let lists_versions = (listing(), prop::option::of(behind), limit());
    prop_oneof![
        8 => change().prop_map(Op::Commit),
        4 => lists.prop_map(|(from, after, entries_max)| Op::List { from, after, entries_max }),
        4 => lists_versions.prop_map(|(from, after, entries_max)| Op::ListVersions { from, after, entries_max }),
        3 => (listing(), 1..6_usize).prop_map(|(from, entries_max)| Op::Walk { from, entries_max }),
        2 => (select(&BUCKETS[..]), any::<Option<Index>>(), limit()).prop_map(|(bucket, after, rows_max)| Op::Page { bucket, after, rows_max }),
        3 => any::<Index>().prop_map(|key| Op::UnitsOf { key }),
        1 => any::<u64>().prop_map(|seed| Op::Crash { seed }),
    ]
}

/// No two units of a key have the same stamp: a write draws its own, so that of a null version is never that of another.
fn stamp_of(versioned: bool, ms: u64) -> Stamp {
    let (site, incarnation) = (SiteNumber(1), Incarnation(1));
    Stamp::new(StampParts { ms, tick: u16::from(!versioned), site, incarnation, rank: 0 })
}

impl Target {
    fn unit(&self, model: &Model) -> (ObjectId, Slot) {
        let slot = if self.versioned { Slot::Version(stamp_of(true, self.ms)) } else { Slot::Null };
        match self.near {
            Near::Unit(index) if !model.units.is_empty() => {
                let at = index.index(model.units.len());
                model.units.keys().nth(at).expect("within").clone()
            }
            Near::Key(index) if !model.units.is_empty() => (index.get(&model.ids()).clone(), slot),
            _ => (self.any.clone(), slot),
        }
    }

    fn stamp(&self, slot: Slot) -> Stamp {
        match slot {
            Slot::Version(stamp) => stamp,
            Slot::Null => stamp_of(false, self.ms),
        }
    }
}

impl Change {
    fn holds(&self, model: &Model) -> bool {
        let emptied = self.empty.is_none_or(|bucket| model.keys(bucket).iter().all(|id| model.shown(id).is_none()));
        emptied
            && self.expects.iter().all(|(target, expected)| match expected {
                Expected::Right => true,
                Expected::Absent => !model.units.contains_key(&target.unit(model)),
                Expected::Stale => false,
            })
    }

    fn writes(&self, model: &Model) -> Vec<Write> {
        let writes = self.writes.iter().enumerate().map(|(place, (target, wanted))| {
            let unit = target.unit(model);
            let (number, stamp) = (model.commits * 100 + place as u64, target.stamp(unit.1));
            let kind = match *wanted {
                Wanted::Put(state) => Kind::Put { number, stamp, state },
                Wanted::Delete => Kind::Delete,
                Wanted::Bury => Kind::Bury,
            };
            Write { unit, kind }
        });
        writes.collect()
    }

    fn commit(&self, model: &Model, writes: &[Write]) -> Commit {
        let mut commit = Commit::new();
        for (target, expected) in &self.expects {
            let (id, slot) = target.unit(model);
            let now = model.units.get(&(id.clone(), slot)).map(|row| row.revision);
            let revision = match expected {
                Expected::Right => now,
                Expected::Absent => None,
                Expected::Stale => Some(Revision(now.map_or(1, |now| now.0 + 1))),
            };
            let shown = model.shown(&id).map(|row| row.revision);
            commit = commit.expect_unit(&id, slot, revision).expect::<Objects>(&id, shown);
        }
        if let Some(bucket) = self.empty {
            commit = commit.expect_empty::<Objects>(&BucketName::new(bucket).expect("a good name"));
        }
        for Write { unit, kind } in writes {
            let (id, slot) = unit;
            commit = match kind.record(*slot) {
                Some(record) => commit.put_unit(id, &record).delete::<Graves>(unit),
                None if matches!(kind, Kind::Bury) => commit.put::<Graves>(unit, &grave()).delete_unit(id, *slot),
                None => commit.delete_unit(id, *slot),
            };
        }
        let told = ObjectId::parse("bucket", "told").expect("a good name");
        match &self.telling {
            Telling::Nothing => commit,
            Telling::Superseding => commit.supersedes(SITES.to_vec()),
            Telling::Events { count, owed } => {
                let audience = Audience { owed: owed.iter().copied().collect(), known: SITES.to_vec(), bus: false };
                (0..*count).fold(commit.to(audience), |commit, _| commit.tell(event_of(&told, Slot::Null, 1)))
            }
        }
    }
}

fn grave() -> Grave {
    Grave { stamp: stamp_of(true, 99), base: None, told: None, purged: None }
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
            Op::List { from, after, entries_max } => self.list(self.query(from, after.as_ref(), *entries_max)).await,
            Op::ListVersions { from, after, entries_max } => {
                let keys = self.query(from, after.as_ref().map(|(text, _)| text), *entries_max);
                let after_version = after.as_ref().and_then(|(_, target)| Some(target.as_ref()?.unit(&self.model).1));
                self.list_versions(VersionsQuery { keys, after_version }).await;
            }
            Op::Walk { from, entries_max } => self.walk(self.query(from, None, *entries_max)).await,
            Op::Page { bucket, after, rows_max } => {
                self.page::<Objects>(bucket, *after, *rows_max, &self.model.objects()).await;
                self.page::<Versions>(bucket, *after, *rows_max, &self.model.versions()).await;
            }
            Op::UnitsOf { key } => self.units_of(*key).await,
            Op::Crash { seed } => self.crash(*seed),
        }
    }

    async fn commit(&mut self, change: &Change) {
        self.model.commits += 1;
        let writes = change.writes(&self.model);
        let outcome = self.status.commit(change.commit(&self.model, &writes)).await;
        if !change.holds(&self.model) {
            assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
            return;
        }
        let done = outcome.expect("everything expected holds");
        assert!(done.revision.0 > self.model.revision);
        self.model.apply(&writes, &change.telling, done.revision);
        assert_eq!(done.seq.0, self.model.seq);
        for Write { unit: (id, _), .. } in &writes {
            let expected = self.model.shown(id);
            assert!(self.status.cached(id).is_none_or(|cached| Some(Row::of(&cached)) == expected), "{id:?}");
            let found = self.status.object(id).await.unwrap().map(|stored| Row::of(&stored));
            assert_eq!(found, expected, "{id:?}");
        }
        self.tables().await;
    }

    /// Every row is where it belongs, and there is no other.
    async fn tables(&self) {
        assert_eq!(self.rows::<Objects>().await, self.model.objects());
        assert_eq!(self.rows::<Versions>().await, self.model.versions());
        let graves = self.status.page::<Graves>(&(), None, 10_000).await.unwrap().rows;
        assert_eq!(graves.into_iter().map(|(key, stored)| (key, stored.seq)).collect::<BTreeMap<_, _>>(), self.model.graves);
        let pending = self.status.page::<Pending>(&(), None, 10_000).await.unwrap().rows;
        assert_eq!(pending.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>(), self.model.pending);
        for site in SITES {
            let owed = self.model.pending.iter().filter(|(to, _)| *to == site).count();
            assert_eq!(self.status.owed(site), owed as u64);
        }
    }

    async fn rows<T: Table<Row = crate::model::Record>>(&self) -> BTreeMap<Vec<u8>, Row> {
        let rows = self.status.page::<T>(&(), None, 10_000).await.unwrap().rows;
        rows.iter().map(|(key, stored)| (key.to_bytes(), Row::of(stored))).collect()
    }

    fn query(&self, from: &Listing, after: Option<&Text>, entries_max: usize) -> ListQuery {
        ListQuery {
            bucket: BucketName::new(from.bucket).expect("a good name"),
            prefix: self.text(from.bucket, &from.prefix),
            delimiter: from.delimiter.clone(),
            after: after.map(|after| self.text(from.bucket, after)),
            entries_max,
        }
    }

    fn text(&self, bucket: &str, text: &Text) -> String {
        let keys = self.model.keys(bucket);
        let key = if keys.is_empty() { "" } else { text.key.get(&keys).key.as_str() };
        // Half of them are whole keys.
        let ends: Vec<_> = key.char_indices().map(|(at, _)| at).chain(std::iter::repeat_n(key.len(), key.len() + 1)).collect();
        format!("{}{}", &key[..*text.end.get(&ends)], text.then)
    }

    async fn list(&self, query: ListQuery) {
        let expected = self.model.list(&query);
        let page = self.status.list(query).await.unwrap();
        let entry = |entry: &ListEntry| match entry {
            ListEntry::Object { key, record } => (key.clone(), Some(Row::of(record))),
            ListEntry::CommonPrefix(prefix) => (prefix.clone(), None),
        };
        assert_eq!((page.entries.iter().map(entry).collect::<Vec<_>>(), page.more), expected);
    }

    async fn list_versions(&self, query: VersionsQuery) {
        let expected = self.model.list_versions(&query);
        let page = self.status.list_versions(query.clone()).await.unwrap();
        assert_eq!((page.entries.iter().map(listed).collect::<Vec<_>>(), page.more), expected, "{query:?}");
    }

    /// Page by page, as a client goes on after the last entry, what one page would hold.
    async fn walk(&self, keys: ListQuery) {
        let whole = VersionsQuery { keys: ListQuery { entries_max: 1_000, ..keys.clone() }, after_version: None };
        let (expected, _) = self.model.list_versions(&whole);
        let mut query = VersionsQuery { keys, after_version: None };
        let mut found: Vec<Listed> = Vec::new();
        loop {
            let page = self.status.list_versions(query.clone()).await.unwrap();
            found.extend(page.entries.iter().map(listed));
            assert_eq!(page.more, found.len() < expected.len(), "{query:?}");
            let Some(last) = page.entries.last().filter(|_| page.more) else { break };
            (query.keys.after, query.after_version) = match last {
                VersionEntry::Version { key, record, .. } => (Some(key.clone()), Some(record.row.slot())),
                VersionEntry::CommonPrefix(prefix) => (Some(prefix.clone()), None),
            };
        }
        assert_eq!(found, expected);
    }

    async fn page<T: Table<Row = crate::model::Record>>(
        &self,
        bucket: &str,
        after: Option<Index>,
        rows_max: usize,
        all: &BTreeMap<Vec<u8>, Row>,
    ) {
        let after =
            after.filter(|_| !all.is_empty()).map(|index| all.keys().nth(index.index(all.len())).expect("within").clone());
        let from = after.as_ref().map(|key| T::Key::from_bytes(key).expect("it was one"));
        let bucket = BucketName::new(bucket).expect("a good name");
        let page = self.status.page::<T>(&bucket, from.as_ref(), rows_max).await.unwrap();
        let is_wanted = |key: &Vec<u8>| key.starts_with(&bucket.to_bytes()) && after.as_ref().is_none_or(|after| key > after);
        let wanted: Vec<_> = all.iter().filter(|(key, _)| is_wanted(key)).map(|(key, row)| (key.clone(), *row)).collect();
        let rows: Vec<_> = page.rows.iter().map(|(key, stored)| (key.to_bytes(), Row::of(stored))).collect();
        assert_eq!(page.more, wanted.len() > rows_max);
        assert_eq!(rows, wanted[..wanted.len().min(rows_max)]);
    }

    /// Each by its name, and one that is not there.
    async fn units_of(&self, key: Index) {
        let ids = self.model.ids();
        if ids.is_empty() {
            return;
        }
        let id = key.get(&ids);
        let mut expected: Vec<_> = self.model.of(id).into_iter().map(|(slot, row)| (slot, Some(row))).collect();
        expected.push((Slot::Version(stamp_of(true, 99)), None));
        let asked: Vec<_> = expected.iter().map(|(slot, _)| (id.clone(), *slot)).collect();
        let found = self.status.units(&asked).await.unwrap();
        let rows: Vec<_> = found.iter().map(|found| found.as_ref().map(|stored| Row::of(stored))).collect();
        assert_eq!(rows, expected.iter().map(|(_, row)| *row).collect::<Vec<_>>());
        for (slot, row) in expected {
            assert_eq!(self.status.unit(id, slot).await.unwrap().map(|stored| Row::of(&stored)), row);
        }
        let hiding = self.status.hiding(id).await.unwrap().map(|stored| Row::of(&stored));
        let aside = self.model.aside(id).first().map(|(_, row)| *row);
        assert_eq!(hiding, aside.filter(|_| self.model.shown(id).is_none()));
        let page = self.status.page::<Versions>(&(id.clone(), ()), None, 1_000).await.unwrap();
        assert!(page.rows.iter().all(|((of, _), _)| of == id));
        assert_eq!(page.rows.len(), self.model.aside(id).len());
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_of_units(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for op in &ops {
                world.step(op).await;
            }
            world.tables().await;
        });
    }
}
