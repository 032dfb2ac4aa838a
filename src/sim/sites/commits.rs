//! Looks at every commit of every site, before anything can repair what it did.
//!
//! What it holds against each: the rows of a key lie where they belong, bytes are there before their row (rule 5), what was
//! received is known (§8), what is said to be elsewhere is there (I6), and everything of `rules`.

use super::client::bucket;
use super::rules::Came;
use super::shown::{KeyRows, Shown, brief, crc, shown};
use super::watch::{Seen, Watch};
use crate::backend::{Backend, GetOptions, Place};
use crate::model::{
    Bucket, BucketName, Incarnation, ObjectId, Record, Seq, SiteNumber, Slot, Stamp, State, Telling, Unit, Versioning,
};
use crate::reconcile::graves_from_ms;
use crate::site::{Replication, Site};
use crate::status::redb::Touched;
use crate::status::tables::{Buckets, Dirty, Failed, Graves, Members, Pending, Received, Versions, Work};
use crate::status::{Page, Status, Stored, Table, TableKey};

impl Watch {
    /// A site committed.
    pub fn committed(&self, site: SiteNumber, status: &Status, touched: &Touched, wall_ms: u64) {
        let mut told = Told::Units(Vec::new());
        let versioning = versioning(&last(&self.seen(), site, &Unit::Bucket(bucket())));
        for (table, key) in &touched.0 {
            self.seen().note(site, *table, key);
            if *table == Versions::INDEX || *table == Graves::INDEX {
                let version = <(ObjectId, Slot)>::from_bytes(key);
                told.add(version.as_ref().map(|(object, slot)| Unit::of(object, *slot)));
                version.into_iter().for_each(|version| self.object(site, status, version, (versioning, wall_ms)));
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

    fn object(
        &self,
        site: SiteNumber,
        status: &Status,
        (object, slot): (ObjectId, Slot),
        (before_batch, wall_ms): (Versioning, u64),
    ) {
        let rows = self.look(KeyRows::of(status, &object));
        if let Some(what) = rows.disorder() {
            self.violate(format!("rows: of {object} at site {}: {what}", site.0));
        }
        let bucket = self.look(shown(status, &Unit::Bucket(object.bucket.clone())));
        let versioning = [before_batch, versioning(&bucket)];
        let unit = Unit::of(&object, slot);
        let shown = rows.unit(slot);
        if let Some(record) = shown.live().filter(|record| record.state == State::Present) {
            self.bytes_are_there(site, &unit, record);
        }
        let mut seen = self.seen();
        let (before, life) = (last(&seen, site, &unit), status.facts().incarnation);
        let is_first = seen.is_first(&unit, &shown);
        seen.states.entry((site, unit)).or_default().push(shown.clone());
        seen.top(site, &object, rows.top());
        seen.judge(&Came { site, object: &object, slot, before, shown, wall_ms, life, is_first, versioning });
    }

    fn bytes_are_there(&self, site: SiteNumber, unit: &Unit, record: &Record) {
        let Some(object) = unit.object() else { return };
        if self.seen().has_spoiled(site, object, &record.binding) {
            return;
        }
        // Rows that came back from a copy may name bytes that were replaced since: whoever opens them finds out.
        if self.seen().returned.get(&(site, unit.clone())) == Some(&record.binding) {
            return;
        }
        let Some(store) = self.seen().stores.get(&site).cloned() else { return };
        let place = Place { object: object.clone(), location: record.location.clone() };
        let get = GetOptions { range: None, expect: Some(record.binding.clone()) };
        let found = self.look(async { store.get(&place, get).await.ok()?.body.collect(64 << 20).await.ok() });
        let sound = found.is_some_and(|bytes| crc(&bytes) == record.identity.crc64);
        if !sound {
            self.violate(format!("rule 5: site {} has a row for {unit} at {} without its bytes", site.0, record.vector.data));
        }
    }

    fn bucket(&self, site: SiteNumber, status: &Status, bucket: Option<BucketName>) {
        let Some(bucket) = bucket else { return };
        let unit = Unit::Bucket(bucket.clone());
        let shown = self.look(shown(status, &unit));
        let mut seen = self.seen();
        let states = seen.states.entry((site, unit)).or_default();
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
        if matches!(&here, Shown::Grave(grave) if grave.stamp.ms() < graves_from_ms(site.clock().wall_ms())) {
            return;
        }
        let all = self.look(async {
            let seq = site.told_under(unit).await.ok()?.unwrap_or_default();
            site.replication(unit, &vector, seq).await.ok()?
        });
        for (other, _) in all.unwrap_or_default().into_iter().filter(|(_, how)| *how == Replication::Completed) {
            let there = self.stands(other, unit);
            let here = own_part(&here, number);
            let came = self.seen().came_to(other, unit, &here);
            if !there.holds(&here) && !came && !self.is_unheard(&site, other) {
                let (here, there) = (brief(&here), brief(&there));
                self.violate(format!("I6: site {} says that {unit}, {here}, is at {}, which has {there}", number.0, other.0));
            }
        }
    }

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

fn last(seen: &Seen, site: SiteNumber, unit: &Unit) -> Shown {
    seen.states.get(&(site, unit.clone())).and_then(|states| states.last()).cloned().unwrap_or(Shown::Nothing)
}

/// Of a bucket a site speaks for what it wrote itself: what it wrote on one that another site made says nothing of who has
/// heard of the making.
fn own_part(shown: &Shown, site: SiteNumber) -> Shown {
    let Shown::Bucket(row) = shown else { return shown.clone() };
    let is_own = |stamp: &Stamp| stamp.parts().site == site;
    let created = if is_own(&row.created) { row.created } else { Stamp::from_bytes([0; 16]) };
    let registers = row.registers.iter().filter(|(_, stamp, _)| is_own(stamp)).cloned().collect();
    Shown::Bucket(Bucket { created, deleted: row.deleted.filter(is_own), registers, ..row.clone() })
}

fn versioning(bucket: &Shown) -> Versioning {
    match bucket {
        Shown::Bucket(row) => row.versioning(),
        _ => Versioning::default(),
    }
}

impl Seen {
    /// Whether no site ever had the data of what is shown.
    fn is_first(&self, unit: &Unit, shown: &Shown) -> bool {
        let data = |shown: &Shown| shown.live().map(|record| record.vector.data);
        let mut had = self.states.iter().filter(|((_, one), _)| one == unit).flat_map(|(_, states)| states);
        !had.any(|had| data(had) == data(shown))
    }

    /// Whether a site had what `here` shows since it last lost everything, and has no longer: its bytes were spoiled, or what
    /// took its place has none yet.
    fn came_to(&self, site: SiteNumber, unit: &Unit, here: &Shown) -> bool {
        let Some(states) = self.states.get(&(site, unit.clone())) else { return false };
        let had: Vec<&Shown> = states.iter().rev().take_while(|shown| !matches!(shown, Shown::Nothing)).collect();
        let is_newer = had.first().is_some_and(|now| now.vector() > here.vector());
        had.into_iter().any(|shown| shown.holds(here) && (is_newer || !self.is_sound(site, unit, shown)))
    }

    /// What happened, in a number.
    fn note(&mut self, site: SiteNumber, table: usize, key: &[u8]) {
        let head = [u64::from(site.0), table as u64];
        let all = head.into_iter().chain(key.iter().map(|byte| u64::from(*byte)));
        self.commits = all.fold(self.commits, |hash, next| (hash ^ next).wrapping_mul(0x100_0000_01b3));
    }
}
