//! Looks at every commit of every site, before anything can repair what it did, and keeps what each unit was there.
//!
//! What it holds against each commit: nothing older replaces a newer state (I1, I9), nothing is there that no client wrote
//! (I3), one stamp means one content (I5), bytes are there before their row (rule 5), no stamp comes from the future,
//! what was received is known (§8), and what is said to be elsewhere is there (I6).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;

use super::ledger::{Id, Kind, Ledger, tagged_by, written_by};
use crate::backend::memory::Memory;
use crate::backend::{Backend, GetOptions, Place};
use crate::model::{
    Bucket, BucketName, Identity, Incarnation, ObjectId, Record, Replica, Seq, SiteNumber, Slot, Stamp, State, Telling, Unit,
    Vector,
};
use crate::site::{GRAVE_KEPT_MS, Replication, Site};
use crate::status::redb::Touched;
use crate::status::tables::{Buckets, Graves, Objects, Pending, Received, Work};
use crate::status::{Page, Status, Stored, Table, TableKey};

/// A stamp that is further ahead of a site's clock than the site allows; its clock may jump back by so much meanwhile.
const AHEAD_MS_MAX: u64 = crate::model::AHEAD_MS_MAX + 5_000;

/// What a unit is at a site.
#[derive(Clone, Debug)]
pub enum Shown {
    Nothing,
    Grave(Stamp),
    Live(Arc<Stored<Record>>),
    Bucket(Bucket),
}

/// Every site under the eyes of one watcher.
#[derive(Debug, Default)]
pub struct Watch {
    /// While it looks itself, nothing pauses, fails or dies.
    looking: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ledger: Ledger,
    sites: BTreeMap<SiteNumber, Site>,
    stores: BTreeMap<SiteNumber, Arc<Memory>>,
    /// Every state that a unit had at a site, oldest first.
    states: BTreeMap<(SiteNumber, Unit), Vec<Shown>>,
    /// What each data stamp of an object stands for, wherever it is.
    contents: BTreeMap<(ObjectId, Stamp), Identity>,
    violations: Vec<String>,
    /// Hash of every commit, in order.
    commits: u64,
}

impl Shown {
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Nothing => None,
            Self::Grave(stamp) => Some(Vector::of(*stamp)),
            Self::Live(stored) => Some(stored.row.vector),
            Self::Bucket(bucket) => Some(Vector::of(bucket.greatest())),
        }
    }

    /// Whether this is at least `other`, with bytes where there are any.
    fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Nothing) => true,
            (Self::Bucket(here), Self::Bucket(there)) => here.merge(there) == *here,
            (Self::Live(stored), _) if stored.row.state == State::Wanted => false,
            (here, there) => here.vector() >= there.vector(),
        }
    }
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub fn is_looking(&self) -> bool {
        self.looking.load(Ordering::SeqCst)
    }

    /// What a question to a site or a store answers, with nothing happening meanwhile.
    pub fn look<T>(&self, question: impl Future<Output = T>) -> T {
        let before = self.looking.swap(true, Ordering::SeqCst);
        let answer = question.now_or_never().expect("whoever looks is not kept waiting");
        self.looking.store(before, Ordering::SeqCst);
        answer
    }

    pub fn store(&self, site: SiteNumber, store: Arc<Memory>) {
        self.seen().stores.insert(site, store);
    }

    pub fn up(&self, site: Site) {
        self.seen().sites.insert(site.id().number, site);
    }

    pub fn down(&self, site: SiteNumber) {
        self.seen().sites.remove(&site);
    }

    pub fn violate(&self, what: String) {
        self.seen().violations.push(what);
    }

    /// What is wrong so far, and the hash of everything that was committed.
    pub fn verdict(&self) -> (Vec<String>, u64) {
        let seen = self.seen();
        (seen.violations.clone(), seen.commits)
    }

    /// What a unit is at a site, and the number of that state.
    pub fn now(&self, site: SiteNumber, unit: &Unit) -> (usize, Shown) {
        let seen = self.seen();
        let states = seen.states.get(&(site, unit.clone()));
        states.map_or((0, Shown::Nothing), |states| (states.len() - 1, states[states.len() - 1].clone()))
    }

    /// Every state of a unit at a site from a number on.
    pub fn since(&self, site: SiteNumber, unit: &Unit, number: usize) -> Vec<Shown> {
        let seen = self.seen();
        let states = seen.states.get(&(site, unit.clone()));
        states.map_or_else(|| vec![Shown::Nothing], |states| states[number.min(states.len() - 1)..].to_vec())
    }

    /// The stamps of what a tag was put on.
    pub fn tagged_data(&self, site: SiteNumber, object: &ObjectId, tags: Stamp) -> Option<Stamp> {
        let states = self.since(site, &Unit::null(object), 0);
        states.iter().find_map(|shown| shown.vector().filter(|vector| vector.tags == Some(tags)).map(|vector| vector.data))
    }

    pub fn begin(&self, site: SiteNumber, kind: Kind, object: &ObjectId) -> Id {
        let above = self.now(site, &Unit::null(object)).1.vector().map(|vector| vector.greatest());
        self.seen().ledger.begin(site, kind, object, above)
    }

    /// A site says that nothing was done: then nothing of it may ever have been there.
    pub fn refuse(&self, id: Id) {
        let mut seen = self.seen();
        seen.ledger.refuse(id);
        let shows = |shown: &&Shown| matches!(shown, Shown::Live(stored) if written_by(&stored.row.identity) == Some(id) || tagged_by(&stored.row.identity) == Some(id));
        if let Some(shown) = seen.states.values().flatten().find(shows) {
            let violation = format!("I3: attempt {id} was refused and is there: {shown:?}");
            seen.violations.push(violation);
        }
    }

    /// A site says that a change is durable: then it is there, or was replaced since.
    pub fn acknowledge(&self, id: Id, stamp: Stamp) {
        let mut seen = self.seen();
        if let Err(violation) = seen.ledger.acknowledge(id, stamp) {
            seen.violations.push(violation);
        }
        let Some(attempt) = seen.ledger.get(id).cloned() else { return };
        let states = seen.states.get(&(attempt.site, Unit::null(&attempt.object)));
        let had = states.is_some_and(|states| {
            states.iter().filter_map(Shown::vector).any(|vector| match attempt.kind {
                Kind::Tag => vector.tags == Some(stamp),
                Kind::Write | Kind::Delete => vector.data == stamp,
            })
        });
        if !had {
            seen.violations.push(format!("I1: attempt {id} was acknowledged with {stamp} and never was there: {attempt:?}"));
        }
    }

    pub fn with_ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.seen().ledger)
    }

    /// A site committed.
    pub fn committed(&self, site: SiteNumber, status: &Status, touched: &Touched, wall_ms: u64) {
        let mut told = false;
        for (table, key) in &touched.0 {
            self.seen().note(site, *table, key);
            if *table == Objects::INDEX {
                self.object(site, status, ObjectId::from_bytes(key), wall_ms);
                told = true;
            } else if *table == Graves::INDEX {
                let object = <(ObjectId, Slot)>::from_bytes(key).map(|(object, _)| object);
                self.object(site, status, object, wall_ms);
                told = true;
            } else if *table == Buckets::INDEX {
                self.bucket(site, status, BucketName::from_bytes(key));
                told = true;
            } else if *table == Received::INDEX {
                self.received(site, status, <(SiteNumber, Incarnation)>::from_bytes(key));
            } else if *table == Pending::INDEX {
                told = true;
            }
        }
        if told {
            self.honest(site);
        }
    }

    fn object(&self, site: SiteNumber, status: &Status, object: Option<ObjectId>, wall_ms: u64) {
        let Some(object) = object else { return };
        let shown = self.look(async {
            match status.object(&object).await.expect("the store can be read") {
                Some(stored) => Shown::Live(stored),
                None => {
                    let grave = status.get::<Graves>(&(object.clone(), Slot::Null)).await.expect("the store can be read");
                    grave.map_or(Shown::Nothing, |grave| Shown::Grave(grave.row.stamp))
                }
            }
        });
        if let Shown::Live(stored) = &shown
            && stored.row.state == State::Present
        {
            self.bytes_are_there(site, &object, &stored.row);
        }
        self.seen().object(site, &object, shown, wall_ms);
    }

    fn bytes_are_there(&self, site: SiteNumber, object: &ObjectId, record: &Record) {
        let Some(store) = self.seen().stores.get(&site).cloned() else { return };
        let place = Place { object: object.clone(), location: record.location.clone() };
        let get = GetOptions { range: None, expect: Some(record.binding.clone()) };
        let found = self.look(async { store.get(&place, get).await.ok()?.body.collect(64 << 20).await.ok() });
        let sound = found.is_some_and(|bytes| crc(&bytes) == record.identity.crc64);
        if !sound {
            self.violate(format!("rule 5: site {} has a row for {object} at {} without its bytes", site.0, record.vector.data));
        }
    }

    fn bucket(&self, site: SiteNumber, status: &Status, bucket: Option<BucketName>) {
        let Some(bucket) = bucket else { return };
        let row = self.look(status.get::<Buckets>(&bucket)).expect("the store can be read");
        let shown = row.map_or(Shown::Nothing, |row| Shown::Bucket(row.row));
        let mut seen = self.seen();
        let states = seen.states.entry((site, Unit::Bucket(bucket.clone()))).or_default();
        let older = states.last().is_some_and(|before| !shown.holds(before));
        states.push(shown.clone());
        if older {
            seen.violations.push(format!("I9: bucket {bucket} at site {} went back to {shown:?}", site.0));
        }
    }

    /// A site says that it knows what another told: then it has it, or has work that wants it.
    fn received(&self, site: SiteNumber, status: &Status, key: Option<(SiteNumber, Incarnation)>) {
        let Some((origin, life)) = key else { return };
        let Some(teller) = self.seen().sites.get(&origin).cloned() else { return };
        if teller.status().facts().incarnation != life {
            return;
        }
        let through = self.look(status.get::<Received>(&(origin, life))).expect("it can be read").map_or(Seq(0), |row| row.row);
        let owed: Page<Pending> = self.look(teller.status().page(&site, None, 1_000)).expect("it can be read");
        for ((_, seq), Stored { row: Telling { unit, vector, .. }, .. }) in owed.rows {
            if seq > through {
                continue;
            }
            let work = self.look(status.get::<Work>(&unit)).expect("it can be read");
            let wanted = work.is_some_and(|work| work.row.want >= vector);
            let had = self.now(site, &unit).1.vector().is_some_and(|here| here >= vector);
            if !wanted && !had {
                let (site, origin) = (site.0, origin.0);
                self.violate(format!(
                    "§8: site {site} knows all that {origin} told up to {through:?}, but not {unit} at {seq:?}"
                ));
            }
        }
    }

    /// Whatever a site says is elsewhere is there (I6).
    pub fn honest(&self, number: SiteNumber) {
        let Some(site) = self.seen().sites.get(&number).cloned() else { return };
        let units: Vec<Unit> = {
            let seen = self.seen();
            seen.states.keys().filter(|(site, _)| *site == number).map(|(_, unit)| unit.clone()).collect()
        };
        for unit in units {
            let here = self.now(number, &unit).1;
            let Some(vector) = here.vector() else { continue };
            let all = self.look(async {
                let seq = site.told_under(&unit).await.ok()?.unwrap_or_default();
                site.replication(&unit, &vector, seq).await.ok()?
            });
            for (other, _) in all.unwrap_or_default().into_iter().filter(|(_, how)| *how == Replication::Completed) {
                let there = self.now(other, &unit).1;
                if !there.holds(&here) {
                    let (here, there) = (brief(&here), brief(&there));
                    self.violate(format!("I6: site {} says that {unit}, {here}, is at {}, which has {there}", number.0, other.0));
                }
            }
        }
    }
}

impl Seen {
    /// What happened, in a number.
    fn note(&mut self, site: SiteNumber, table: usize, key: &[u8]) {
        let head = [u64::from(site.0), table as u64];
        let all = head.into_iter().chain(key.iter().map(|byte| u64::from(*byte)));
        self.commits = all.fold(self.commits, |hash, next| (hash ^ next).wrapping_mul(0x100_0000_01b3));
    }

    fn object(&mut self, site: SiteNumber, object: &ObjectId, shown: Shown, wall_ms: u64) {
        let states = self.states.entry((site, Unit::null(object))).or_default();
        let before = states.last().cloned().unwrap_or(Shown::Nothing);
        states.push(shown.clone());
        let (was, is) = (before.vector(), shown.vector());
        let has_left = matches!((&before, &shown), (Shown::Grave(stamp), Shown::Nothing) if wall_ms > stamp.ms() + GRAVE_KEPT_MS);
        let goes_on = is >= was || has_left;
        if was.is_some() && !goes_on {
            let (before, shown) = (brief(&before), brief(&shown));
            self.violations.push(format!("I9: {object} at site {} went back from {before} to {shown}", site.0));
        }
        if was == is {
            return;
        }
        if let Err(violation) = self.is_explained(object, &shown) {
            self.violations.push(format!("{violation}, at site {}", site.0));
        }
        let foreign = is.map(|vector| vector.greatest()).filter(|stamp| stamp.parts().site != site);
        if let Some(stamp) = foreign.filter(|stamp| stamp.ms() > wall_ms + AHEAD_MS_MAX) {
            self.violations.push(format!("§2: site {} took {stamp} of {object} from the future", site.0));
        }
    }

    /// Somebody wrote it, under no other content.
    fn is_explained(&mut self, object: &ObjectId, shown: &Shown) -> Result<(), String> {
        let explained = match shown {
            Shown::Nothing | Shown::Bucket(_) => true,
            Shown::Grave(stamp) => self.ledger.any_explains(Kind::Delete, object, *stamp),
            Shown::Live(stored) => {
                let (vector, identity) = (&stored.row.vector, &stored.row.identity);
                self.one_content(object, vector.data, identity)?;
                self.on_its_data(object, vector)?;
                let by = |id: Option<Id>, kind, stamp| id.is_some_and(|id| self.ledger.explains(id, kind, object, stamp));
                by(written_by(identity), Kind::Write, vector.data)
                    && match vector.tags {
                        Some(tags) => by(tagged_by(identity), Kind::Tag, tags),
                        None => by(tagged_by(identity), Kind::Write, vector.data),
                    }
            }
        };
        if explained { Ok(()) } else { Err(format!("I3: nobody wrote {} to {object}", brief(shown))) }
    }

    /// Tags stay with the data that they were put on.
    fn on_its_data(&self, object: &ObjectId, vector: &Vector) -> Result<(), String> {
        let Some(tags) = vector.tags else { return Ok(()) };
        let states = self.states.get(&(tags.parts().site, Unit::null(object)));
        let put_on = states.into_iter().flatten().filter_map(Shown::vector).find(|there| there.tags == Some(tags));
        match put_on.filter(|there| there.data != vector.data) {
            None => Ok(()),
            Some(there) => Err(format!("§2: tags {tags} of {object}, put on {}, are on {}", there.data, vector.data)),
        }
    }

    fn one_content(&mut self, object: &ObjectId, stamp: Stamp, identity: &Identity) -> Result<(), String> {
        let bare = Identity { tags: Vec::new(), ..identity.clone() };
        let known = self.contents.entry((object.clone(), stamp)).or_insert_with(|| bare.clone());
        if *known == bare { Ok(()) } else { Err(format!("I5: {stamp} of {object} stands for {known:?} and for {bare:?}")) }
    }
}

/// CRC-64/NVME, as records have it.
pub fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// In a line.
pub fn brief(shown: &Shown) -> String {
    match shown {
        Shown::Nothing => "nothing".into(),
        Shown::Grave(stamp) => format!("a grave {stamp}"),
        Shown::Live(stored) => {
            let Record { vector, state, identity, .. } = &stored.row;
            let tags = vector.tags.map(|tags| format!(" tags {tags}")).unwrap_or_default();
            format!("{state:?} {}{tags} by {:?}, tagged by {:?}", vector.data, written_by(identity), tagged_by(identity))
        }
        Shown::Bucket(bucket) => format!("a bucket made {} deleted {:?}", bucket.created, bucket.deleted),
    }
}

/// What a site would tell another of a unit.
pub fn replica(watch: &Watch, site: &Site, unit: &Unit) -> Replica {
    watch.look(site.replica(unit)).expect("the site can be read")
}
