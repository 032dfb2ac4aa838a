//! Keeps what each unit ever was at each site, and what of it is lost or spoiled; answers those who compare (`commits`,
//! `rules`, `spare`, the clients and whoever looks at quiet).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use tokio::time::Instant;

use super::ledger::{Attempt, Id, Kind, Ledger, tagged_by, written_by};
use super::rules::Values;
use super::shown::{KeyRows, Shown, shown};
use crate::backend::memory::Memory;
use crate::model::{Binding, ObjectId, SiteNumber, Slot, Stamp, Unit, Vector};
use crate::site::Site;
use crate::status::Status;

/// Every site under the eyes of one watcher.
#[derive(Debug, Default)]
pub struct Watch {
    /// While it looks itself, nothing pauses, fails or dies.
    looking: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub ledger: Ledger,
    pub sites: BTreeMap<SiteNumber, Site>,
    pub stores: BTreeMap<SiteNumber, Arc<Memory>>,
    /// Sites that lost what they knew: until others have heard of their new lives nobody can know it.
    pub lost: BTreeSet<SiteNumber>,
    /// The last grave that a unit ever had at a site, there still or not.
    pub buried: BTreeMap<(SiteNumber, Unit), Shown>,
    /// What rows of a copy of a status store named, when it took the place of that store.
    pub returned: BTreeMap<(SiteNumber, Unit), Binding>,
    /// Bytes that were spoiled, each by the binding it had.
    rotten: BTreeMap<(SiteNumber, ObjectId), Vec<Binding>>,
    /// Sites that lost something and knew it when they were asked.
    restored: BTreeSet<SiteNumber>,
    /// What was current of a key at a site when that lost it.
    had: BTreeMap<(SiteNumber, ObjectId), Shown>,
    /// Every state that a unit had at a site, oldest first.
    pub states: BTreeMap<(SiteNumber, Unit), Vec<Shown>>,
    /// Every state that was current of a key at a site.
    pub tops: BTreeMap<(SiteNumber, ObjectId), Vec<Shown>>,
    /// Since when a key is shown at a site without a break.
    live_since: BTreeMap<(SiteNumber, ObjectId), Instant>,
    /// What each stamp stands for, wherever it is.
    pub values: Values,
    pub violations: Vec<String>,
    /// Hash of every commit, in order.
    pub commits: u64,
}

impl Watch {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
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

    pub fn down(&self, site: SiteNumber) {
        self.seen().sites.remove(&site);
    }

    /// A site lost what it knew, or a part of it: what it has from now on follows from nothing that was before.
    pub fn lost(&self, site: SiteNumber, store: Arc<Memory>) {
        let mut seen = self.seen();
        seen.stores.insert(site, store);
        seen.lost.insert(site);
        seen.restored.remove(&site);
        let Seen { states, tops, had, .. } = &mut *seen;
        for ((_, object), tops) in tops.iter_mut().filter(|((at, _), _)| *at == site) {
            had.extend(tops.last().map(|last| ((site, object.clone()), last.clone())));
            tops.push(Shown::Nothing);
        }
        states.iter_mut().filter(|((at, _), _)| *at == site).for_each(|(_, states)| states.push(Shown::Nothing));
        seen.live_since.retain(|(at, _), _| *at != site);
        seen.returned.retain(|(at, _), _| *at != site);
        seen.buried.retain(|(at, _), _| *at != site);
    }

    /// What a site has that lost something: older states than it had before are no fault of it.
    fn read_again(&self, site: SiteNumber, status: &Status) {
        let units: Vec<Unit> = self.seen().states.keys().filter(|(at, _)| *at == site).map(|(_, unit)| unit.clone()).collect();
        for unit in units {
            let shown = self.look(shown(status, &unit));
            let mut seen = self.seen();
            if let Some(record) = shown.live() {
                seen.returned.insert((site, unit.clone()), record.binding.clone());
            }
            seen.states.entry((site, unit)).or_default().push(shown);
        }
        let keys: Vec<ObjectId> = self.seen().tops.keys().filter(|(at, _)| *at == site).map(|(_, key)| key.clone()).collect();
        for object in keys {
            let top = self.look(KeyRows::of(status, &object)).top();
            self.seen().tops.entry((site, object)).or_default().push(top);
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

    /// What was current of an object at a site when that last lost it.
    pub fn had(&self, site: SiteNumber, object: &ObjectId) -> Option<Shown> {
        self.seen().had.get(&(site, object.clone())).cloned()
    }

    /// Since when an object is shown at a site without a break, if it is.
    pub fn live_since(&self, site: SiteNumber, object: &ObjectId) -> Option<Instant> {
        self.seen().live_since.get(&(site, object.clone())).copied()
    }

    /// The stamps of every grave that a unit ever had anywhere.
    pub fn buried(&self, unit: &Unit) -> Vec<Vector> {
        self.seen().buried.iter().filter(|((_, of), _)| of == unit).filter_map(|(_, grave)| grave.vector()).collect()
    }

    /// Bytes were spoiled behind the back of a site.
    pub fn rotted(&self, site: SiteNumber, object: &ObjectId, binding: Binding) {
        self.seen().rotten.entry((site, object.clone())).or_default().push(binding);
    }

    /// Whether any bytes of a site were.
    pub fn has_rotted(&self, site: SiteNumber) -> bool {
        self.seen().rotten.keys().any(|(at, _)| *at == site)
    }

    pub fn violate(&self, what: String) {
        self.seen().violations.push(what);
    }

    /// What is wrong so far, and the hash of everything that was committed.
    pub fn verdict(&self) -> (Vec<String>, u64) {
        let seen = self.seen();
        (seen.violations.clone(), seen.commits)
    }

    /// Every unit that any site ever had.
    pub fn units(&self) -> BTreeSet<Unit> {
        self.seen().states.keys().map(|(_, unit)| unit.clone()).collect()
    }

    /// The number of the present state of each unit of an object at a site.
    pub fn numbers(&self, site: SiteNumber, object: &ObjectId) -> BTreeMap<Slot, usize> {
        let of_object = |unit: &Unit| unit.version().filter(|(of, _)| of == object).map(|(_, slot)| slot);
        let seen = self.seen();
        let here = seen.states.iter().filter(|((at, _), _)| *at == site);
        here.filter_map(|((_, unit), states)| Some((of_object(unit)?, states.len() - 1))).collect()
    }

    /// What a unit is at a site, and the number of that state.
    pub fn now(&self, site: SiteNumber, unit: &Unit) -> (usize, Shown) {
        last(self.seen().states.get(&(site, unit.clone())))
    }

    /// Every state of a unit at a site from a number on.
    pub fn since(&self, site: SiteNumber, unit: &Unit, number: usize) -> Vec<Shown> {
        from(self.seen().states.get(&(site, unit.clone())), number)
    }

    /// What is current of an object at a site, and the number of that state.
    pub fn current(&self, site: SiteNumber, object: &ObjectId) -> (usize, Shown) {
        last(self.seen().tops.get(&(site, object.clone())))
    }

    /// Everything that was current of an object at a site from a number on.
    pub fn current_since(&self, site: SiteNumber, object: &ObjectId, number: usize) -> Vec<Shown> {
        from(self.seen().tops.get(&(site, object.clone())), number)
    }

    /// What a unit came to at a site: a grave that left was there.
    pub fn stands(&self, site: SiteNumber, unit: &Unit) -> Shown {
        match self.now(site, unit).1 {
            Shown::Nothing => self.seen().buried.get(&(site, unit.clone())).cloned().unwrap_or(Shown::Nothing),
            now => now,
        }
    }

    /// The data that a tag was put on.
    pub fn tagged_data(&self, site: SiteNumber, unit: &Unit, tags: Stamp) -> Option<Stamp> {
        let states = self.since(site, unit, 0);
        states.iter().find_map(|shown| shown.vector().filter(|vector| vector.tags == Some(tags)).map(|vector| vector.data))
    }

    /// The greatest stamp of an object that a site knows or knew: a grave may have left.
    pub fn greatest(&self, site: SiteNumber, object: &ObjectId) -> Option<Stamp> {
        let seen = self.seen();
        let here = seen.states.iter().filter(|((at, unit), _)| *at == site && unit.object() == Some(object));
        let stands = here.filter_map(|(key, states)| match states.last()? {
            Shown::Nothing => seen.buried.get(key)?.vector(),
            now => now.vector(),
        });
        stands.map(|vector| vector.greatest()).max()
    }

    pub fn begin(&self, site: SiteNumber, kind: Kind, version: (&ObjectId, Option<Slot>)) -> Id {
        let mut seen = self.seen();
        let of_object = |unit: &Unit| unit.object() == Some(version.0);
        let here = seen.states.iter().filter(|((at, unit), _)| *at == site && of_object(unit));
        let above = here.filter_map(|(_, states)| Some(states.last()?.vector()?.greatest())).max();
        seen.ledger.begin(site, kind, version, above)
    }

    /// A site that lost what it knew started, and `heard` up to which millisecond and tick stamps have come.
    pub fn forgot_stamps(&self, site: SiteNumber, heard: (u64, u16)) {
        self.seen().ledger.forgot_stamps(site, heard);
    }

    /// A site says that nothing was done: then nothing of it may ever have been there.
    pub fn refuse(&self, id: Id) {
        let mut seen = self.seen();
        seen.ledger.refuse(id);
        let by = |one: Option<Id>| one == Some(id);
        let shows = |shown: &&Shown| {
            shown.live().is_some_and(|record| by(written_by(&record.identity)) || by(tagged_by(&record.identity)))
        };
        if let Some(shown) = seen.states.values().flatten().find(shows) {
            let violation = format!("I3: attempt {id} was refused and is there: {shown:?}");
            seen.violations.push(violation);
        }
    }

    /// A site says that it has been done: then it was there (I1), later than what was there before (I4).
    pub fn acknowledge(&self, id: Id, (stamp, slot): (Stamp, Slot)) {
        let mut seen = self.seen();
        if let Err(violation) = seen.ledger.acknowledge(id, (stamp, slot)) {
            seen.violations.push(violation);
        }
        let Some(attempt) = seen.ledger.get(id).cloned() else { return };
        let states = seen.states.get(&(attempt.site, Unit::of(&attempt.object, slot)));
        let had = states.is_some_and(|states| {
            states.iter().filter_map(Shown::vector).any(|vector| stamp_of(&attempt, slot, &vector) == Some(stamp))
        });
        if !had {
            seen.violations.push(format!("I1: attempt {id} was acknowledged with {stamp} and never was there: {attempt:?}"));
        }
    }

    pub fn with_ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.seen().ledger)
    }
}

/// Where an attempt leaves its stamp.
fn stamp_of(attempt: &Attempt, slot: Slot, vector: &Vector) -> Option<Stamp> {
    match attempt.kind {
        kind if kind.is_data(slot) => Some(vector.data),
        Kind::Write | Kind::Delete => None,
        Kind::Tag => vector.tags,
        Kind::Purge => vector.purge,
        Kind::Hold(_) => vector.hold,
        Kind::Retain(_) => vector.retention,
    }
}

fn last(states: Option<&Vec<Shown>>) -> (usize, Shown) {
    states.map_or((0, Shown::Nothing), |states| (states.len() - 1, states[states.len() - 1].clone()))
}

fn from(states: Option<&Vec<Shown>>, number: usize) -> Vec<Shown> {
    states.map_or_else(|| vec![Shown::Nothing], |states| states[number.min(states.len() - 1)..].to_vec())
}

impl Seen {
    /// Another state is current of an object.
    pub fn top(&mut self, site: SiteNumber, object: &ObjectId, top: Shown) {
        let key = (site, object.clone());
        match top.is_object() {
            true => drop(self.live_since.entry(key.clone()).or_insert_with(Instant::now)),
            false => drop(self.live_since.remove(&key)),
        }
        self.tops.entry(key).or_default().push(top);
    }

    /// Whether the bytes of what a site shows were not spoiled.
    pub fn is_sound(&self, site: SiteNumber, unit: &Unit, shown: &Shown) -> bool {
        match (unit.object(), shown.live()) {
            (Some(object), Some(record)) => !self.has_spoiled(site, object, &record.binding),
            _ => true,
        }
    }

    pub fn has_spoiled(&self, site: SiteNumber, object: &ObjectId, binding: &Binding) -> bool {
        self.rotten.get(&(site, object.clone())).is_some_and(|spoiled| spoiled.contains(binding))
    }
}
