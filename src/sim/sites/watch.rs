//! Looks at every commit of every site, before anything can repair what it did, and keeps what each unit was there.
//!
//! What it holds against each commit: nothing older replaces a newer state (I1, I9), nothing is there that no client wrote
//! (I3), one stamp means one content (I5), bytes are there before their row (rule 5), no stamp comes from the future,
//! what was received is known (§8), and what is said to be elsewhere is there (I6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use tokio::time::Instant;

use super::ledger::{Id, Kind, Ledger, tagged_by, written_by};
use crate::backend::memory::Memory;
use crate::backend::{Backend, GetOptions, Place};
use crate::model::{
    Binding, Bucket, BucketName, Identity, Incarnation, ObjectId, Record, Replica, Seq, SiteNumber, Slot, Stamp, State, Telling,
    Unit, Vector,
};
use crate::reconcile::graves_from_ms;
use crate::site::{GRAVE_KEPT_MS, Replication, Site};
use crate::status::redb::Touched;
use crate::status::tables::{Buckets, Dirty, Failed, Graves, Members, Pending, Received, Versions, Work};
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
    /// Sites that lost what they knew: until others have heard of their new lives nobody can know it.
    lost: BTreeSet<SiteNumber>,
    /// The greatest grave that an object ever had at a site, there still or not.
    buried: BTreeMap<(SiteNumber, ObjectId), Option<Stamp>>,
    /// What rows of a copy of a status store named, when it took the place of that store.
    returned: BTreeMap<(SiteNumber, ObjectId), Binding>,
    /// Bytes that were spoiled, each by the binding it had.
    rotten: BTreeMap<(SiteNumber, ObjectId), Vec<Binding>>,
    /// Those of them that knew it when they were asked.
    restored: BTreeSet<SiteNumber>,
    /// What a site had of objects when it lost them.
    had: BTreeMap<(SiteNumber, ObjectId), Shown>,
    /// Every state that a unit had at a site, oldest first.
    states: BTreeMap<(SiteNumber, Unit), Vec<Shown>>,
    /// Since when a unit is live at a site without a break.
    live_since: BTreeMap<(SiteNumber, Unit), Instant>,
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

    fn has_bytes(&self) -> bool {
        !matches!(self, Self::Live(stored) if stored.row.state == State::Wanted)
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
        let number = site.id().number;
        self.seen().sites.insert(number, site.clone());
        if self.seen().lost.contains(&number) {
            self.read_again(number, site.status());
        }
    }

    /// A site lost what it knew, or a part of it: what it has from now on follows from nothing that was before.
    pub fn lost(&self, site: SiteNumber, store: Arc<Memory>) {
        let mut seen = self.seen();
        seen.stores.insert(site, store);
        seen.lost.insert(site);
        seen.restored.remove(&site);
        let Seen { states, had, .. } = &mut *seen;
        for ((_, unit), states) in states.iter_mut().filter(|((at, _), _)| *at == site) {
            if let (Unit::Object { object, .. }, Some(last)) = (unit, states.last()) {
                had.insert((site, object.clone()), last.clone());
            }
            states.push(Shown::Nothing);
        }
        seen.live_since.retain(|(at, _), _| *at != site);
        seen.returned.retain(|(at, _), _| *at != site);
        seen.buried.retain(|(at, _), _| *at != site);
    }

    /// What a site has that lost something: older states than it had before are no fault of it.
    fn read_again(&self, site: SiteNumber, status: &Status) {
        let units: Vec<Unit> = self.seen().states.keys().filter(|(at, _)| *at == site).map(|(_, unit)| unit.clone()).collect();
        for unit in units {
            let shown = match &unit {
                Unit::Object { object, .. } => self.look(shown(status, object)),
                Unit::Bucket(bucket) => {
                    let row = self.look(status.get::<Buckets>(bucket)).expect("the store can be read");
                    row.map_or(Shown::Nothing, |row| Shown::Bucket(row.row))
                }
            };
            let mut seen = self.seen();
            if let (Unit::Object { object, .. }, Shown::Live(stored)) = (&unit, &shown) {
                seen.returned.insert((site, object.clone()), stored.row.binding.clone());
            }
            seen.states.entry((site, unit)).or_default().push(shown);
        }
    }

    /// A site says that it gets back what it lost.
    pub fn restores(&self, site: SiteNumber) {
        self.seen().restored.insert(site);
    }

    /// Whether it said so since it last lost something.
    pub fn is_restored(&self, site: SiteNumber) -> bool {
        self.seen().restored.contains(&site)
    }

    /// What a site had of an object when it last lost it.
    pub fn had(&self, site: SiteNumber, object: &ObjectId) -> Option<Shown> {
        self.seen().had.get(&(site, object.clone())).cloned()
    }

    /// Since when an object is at a site without a break, if it is.
    pub fn live_since(&self, site: SiteNumber, object: &ObjectId) -> Option<Instant> {
        self.seen().live_since.get(&(site, Unit::null(object))).copied()
    }

    /// The greatest grave that an object ever had anywhere.
    pub fn buried(&self, object: &ObjectId) -> Option<Stamp> {
        self.seen().buried.iter().filter(|((_, of), _)| of == object).filter_map(|(_, stamp)| *stamp).max()
    }

    /// Whether another site has what this one has of an object, bytes and all.
    pub fn is_held_elsewhere(&self, site: SiteNumber, object: &ObjectId) -> bool {
        let (seen, unit) = (self.seen(), Unit::null(object));
        let now = |at: SiteNumber| seen.states.get(&(at, unit.clone())).and_then(|states| states.last());
        let others = seen.stores.keys().filter(|other| **other != site);
        let mut sound = others.filter_map(|other| now(*other).filter(|there| seen.is_sound(*other, &unit, there)));
        now(site).is_some_and(|here| sound.any(|there| there.holds(here)))
    }

    /// Bytes were spoiled behind the back of a site.
    pub fn rotted(&self, site: SiteNumber, object: &ObjectId, binding: Binding) {
        self.seen().rotten.entry((site, object.clone())).or_default().push(binding);
    }

    /// Whether any bytes of a site were.
    pub fn has_rotted(&self, site: SiteNumber) -> bool {
        self.seen().rotten.keys().any(|(at, _)| *at == site)
    }

    /// Whether other sites hold everything that this one has, so that nothing is lost with it.
    pub fn is_spare(&self, site: SiteNumber) -> bool {
        let seen = self.seen();
        let others: Vec<SiteNumber> = seen.stores.keys().copied().filter(|other| *other != site).collect();
        let now = |at: SiteNumber, unit: &Unit| seen.states.get(&(at, unit.clone())).and_then(|states| states.last());
        let held = |unit: &Unit, here: &Shown| {
            let sound = |other: &SiteNumber| now(*other, unit).filter(|there| seen.is_sound(*other, unit, there));
            others.iter().filter_map(sound).any(|there| there.holds(here))
        };
        let mine = seen.states.iter().filter(|((at, _), _)| *at == site);
        let all_held = mine.filter_map(|((_, unit), states)| Some((unit, states.last()?))).all(|(unit, here)| held(unit, here));
        // Bytes that others want, and work that others have, must not depend on it either.
        let wanting = |shown: &Shown| matches!(shown, Shown::Live(stored) if stored.row.state == State::Wanted);
        let none_wanted = seen
            .states
            .iter()
            .filter(|((at, _), _)| *at != site)
            .all(|((_, unit), states)| states.last().is_none_or(|here| !wanting(here) || held(unit, here)));
        let running = seen.sites.values().filter(|other| other.id().number != site).cloned().collect::<Vec<_>>();
        let all_run = running.len() == others.len();
        let none_worked = all_run
            && running.iter().all(|other| {
                let page: Page<Work> = self.look(other.status().page(&(), None, 1_000)).expect("it can be read");
                page.rows.iter().all(|(unit, hint)| {
                    let reaches = |at: &SiteNumber| {
                        now(*at, unit).is_some_and(|there| there.has_bytes() && there.vector() >= Some(hint.row.want))
                    };
                    others.iter().any(reaches)
                })
            });
        all_held && none_wanted && none_worked
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

    /// What a unit came to at a site: a grave that left was there.
    fn stands(&self, site: SiteNumber, unit: &Unit) -> Shown {
        match (self.now(site, unit).1, unit) {
            (Shown::Nothing, Unit::Object { object, .. }) => {
                let left = self.seen().buried.get(&(site, object.clone())).copied().flatten();
                left.map_or(Shown::Nothing, Shown::Grave)
            }
            (now, _) => now,
        }
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
        let mut told = Told::Units(Vec::new());
        for (table, key) in &touched.0 {
            self.seen().note(site, *table, key);
            if *table == Versions::INDEX || *table == Graves::INDEX {
                let object = <(ObjectId, Slot)>::from_bytes(key).map(|(object, _)| object);
                told.add(object.as_ref().map(Unit::null));
                self.object(site, status, object, wall_ms);
            } else if *table == Buckets::INDEX {
                let bucket = BucketName::from_bytes(key);
                told.add(bucket.clone().map(Unit::Bucket));
                self.bucket(site, status, bucket);
            } else if *table == Received::INDEX {
                self.received(site, status, <(SiteNumber, Incarnation)>::from_bytes(key));
            } else if [Pending::INDEX, Members::INDEX, Dirty::INDEX, Failed::INDEX].contains(table) {
                told = Told::Everything;
            }
        }
        match told {
            Told::Units(units) => units.iter().for_each(|unit| self.honest_of(site, unit)),
            Told::Everything => self.honest(site),
        }
    }

    fn object(&self, site: SiteNumber, status: &Status, object: Option<ObjectId>, wall_ms: u64) {
        let Some(object) = object else { return };
        let shown = self.look(shown(status, &object));
        if let Shown::Live(stored) = &shown
            && stored.row.state == State::Present
        {
            self.bytes_are_there(site, &object, &stored.row);
        }
        self.seen().object(site, &object, shown, wall_ms);
    }

    fn bytes_are_there(&self, site: SiteNumber, object: &ObjectId, record: &Record) {
        if self.seen().has_spoiled(site, object, &record.binding) {
            return;
        }
        // Rows that came back from a copy may name bytes that were replaced since: whoever opens them finds out.
        if self.seen().returned.get(&(site, object.clone())) == Some(&record.binding) {
            return;
        }
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
            let had = self.stands(site, &unit).vector().is_some_and(|here| here >= vector);
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
        let units: Vec<Unit> = {
            let seen = self.seen();
            seen.states.keys().filter(|(site, _)| *site == number).map(|(_, unit)| unit.clone()).collect()
        };
        units.iter().for_each(|unit| self.honest_of(number, unit));
    }

    fn honest_of(&self, number: SiteNumber, unit: &Unit) {
        let Some(site) = self.seen().sites.get(&number).cloned() else { return };
        let here = self.now(number, unit).1;
        let Some(vector) = here.vector() else { return };
        // Who lost such a grave does not get it again: nobody has what it would bury.
        if matches!(here, Shown::Grave(stamp) if stamp.ms() < graves_from_ms(site.clock().wall_ms())) {
            return;
        }
        let all = self.look(async {
            let seq = site.told_under(unit).await.ok()?.unwrap_or_default();
            site.replication(unit, &vector, seq).await.ok()?
        });
        for (other, _) in all.unwrap_or_default().into_iter().filter(|(_, how)| *how == Replication::Completed) {
            let there = self.stands(other, unit);
            let came = self.seen().came_to(other, unit, &here);
            if !there.holds(&here) && !came && !self.is_unheard(&site, other) {
                let (here, there) = (brief(&here), brief(&there));
                self.violate(format!("I6: site {} says that {unit}, {here}, is at {}, which has {there}", number.0, other.0));
            }
        }
    }
}

/// Of what a commit may have changed what is said to be elsewhere.
enum Told {
    Units(Vec<Unit>),
    Everything,
}

impl Told {
    fn add(&mut self, unit: Option<Unit>) {
        if let Self::Units(units) = self {
            units.extend(unit);
        }
    }
}

impl Watch {
    /// Whether `other` lost what it had and `site` has not heard of it yet.
    fn is_unheard(&self, site: &Site, other: SiteNumber) -> bool {
        if !self.seen().lost.contains(&other) {
            return false;
        }
        let Some(life) = self.seen().sites.get(&other).map(|other| other.status().facts().incarnation) else { return true };
        let known = self.look(site.status().get::<Members>(&other)).expect("it can be read");
        known.is_none_or(|member| member.row.incarnation != life)
    }
}

impl Seen {
    /// Whether the bytes of what a site shows were not spoiled.
    fn is_sound(&self, site: SiteNumber, unit: &Unit, shown: &Shown) -> bool {
        match (unit, shown) {
            (Unit::Object { object, .. }, Shown::Live(stored)) => !self.has_spoiled(site, object, &stored.row.binding),
            _ => true,
        }
    }

    /// Whether a site had what `here` shows since it last lost everything, and has no longer: its bytes were spoiled, or what
    /// took its place has none yet.
    fn came_to(&self, site: SiteNumber, unit: &Unit, here: &Shown) -> bool {
        let Some(states) = self.states.get(&(site, unit.clone())) else { return false };
        let had: Vec<&Shown> = states.iter().rev().take_while(|shown| !matches!(shown, Shown::Nothing)).collect();
        let is_newer = had.first().is_some_and(|now| now.vector() > here.vector());
        had.into_iter().any(|shown| shown.holds(here) && (is_newer || !self.is_sound(site, unit, shown)))
    }

    fn has_spoiled(&self, site: SiteNumber, object: &ObjectId, binding: &Binding) -> bool {
        self.rotten.get(&(site, object.clone())).is_some_and(|spoiled| spoiled.contains(binding))
    }

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
        match shown {
            Shown::Live(_) => drop(self.live_since.entry((site, Unit::null(object))).or_insert_with(Instant::now)),
            _ => drop(self.live_since.remove(&(site, Unit::null(object)))),
        }
        let (was, is) = (before.vector(), shown.vector());
        let buried = self.buried.entry((site, object.clone())).or_default();
        match &shown {
            Shown::Grave(stamp) => *buried = (*buried).max(Some(*stamp)),
            Shown::Live(stored) if Some(stored.row.vector.data) < *buried => {
                let violation =
                    format!("I3: {object} came back at site {site:?}, from under a grave that had left: {}", brief(&shown));
                self.violations.push(violation);
            }
            _ => {}
        }
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

/// What a status store says of an object.
async fn shown(status: &Status, object: &ObjectId) -> Shown {
    match status.unit(object, Slot::Null).await.expect("the store can be read") {
        Some(stored) => Shown::Live(stored),
        None => {
            let grave = status.get::<Graves>(&(object.clone(), Slot::Null)).await.expect("the store can be read");
            grave.map_or(Shown::Nothing, |grave| Shown::Grave(grave.row.stamp))
        }
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
