//! What must be true of each state that a commit brings: nothing older replaces a newer state (I1, I9), nothing is there that
//! no client wrote (I3), one stamp means one value (I5), no stamp comes from the future, and what §6 says of versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::ledger::{Id, Kind, tagged_by, written_by};
use super::shown::{Shown, brief};
use super::watch::Seen;
use crate::model::{
    Identity, Incarnation, ObjectId, Record, RetentionMode, SiteNumber, Slot, Stamp, StampParts, Unit, Vector, Versioning,
};
use crate::site::GRAVE_KEPT_MS;

/// A stamp that is further ahead of a site's clock than the site allows; its clock may jump back by so much meanwhile.
const AHEAD_MS_MAX: u64 = crate::model::AHEAD_MS_MAX + 5_000;
/// By so much a clock may have been ahead when a purge was decided.
pub(super) const SKEW_MS_MAX: u64 = 40_000;

/// What stamps stand for.
#[derive(Debug, Default)]
pub struct Values {
    /// Data, by its stamp.
    contents: BTreeMap<(ObjectId, Stamp), Identity>,
    /// Legal holds, by their stamps; `None` came with the data.
    holds: BTreeMap<(ObjectId, Slot, Option<Stamp>), bool>,
}

/// A state of a unit, as it came to a site.
pub struct Came<'a> {
    pub site: SiteNumber,
    pub object: &'a ObjectId,
    pub slot: Slot,
    pub before: Shown,
    pub shown: Shown,
    pub wall_ms: u64,
    /// Of the site's data.
    pub life: Incarnation,
    /// Whether no site had this data before: it was written here, and did not come back.
    pub is_first: bool,
    /// What the site knows of the bucket, before the batch of commits and after.
    pub versioning: [Versioning; 2],
}

type Verdict = Result<(), String>;

/// Whether the first is at least the second; two that nobody merged are neither.
fn reaches(one: &Vector, other: &Vector) -> bool {
    one.partial_cmp(other).is_some_and(Ordering::is_ge)
}

impl Came<'_> {
    fn unit(&self) -> Unit {
        Unit::of(self.object, self.slot)
    }

    fn version(&self) -> (&ObjectId, Slot) {
        (self.object, self.slot)
    }

    /// What is there goes on from what was, or is a grave that had its time (I1, I9).
    fn goes_on(&self) -> Verdict {
        let (was, is) = (self.before.vector(), self.shown.vector());
        let has_left = matches!((&self.before, &self.shown),
            (Shown::Grave(grave), Shown::Nothing) if self.wall_ms > grave.stamp.ms() + GRAVE_KEPT_MS);
        if was.is_none() || is >= was || has_left {
            return Ok(());
        }
        Err(format!("I9: {} went back from {} to {}", self.unit(), brief(&self.before), brief(&self.shown)))
    }

    /// A site draws no stamps of others, and takes none that is ahead (§2).
    fn is_of_the_present(&self) -> Verdict {
        let foreign = self.shown.vector().map(|vector| vector.greatest()).filter(|stamp| stamp.parts().site != self.site);
        match foreign.filter(|stamp| stamp.ms() > self.wall_ms + AHEAD_MS_MAX) {
            Some(stamp) => Err(format!("§2: it took {stamp} of {} from the future", self.unit())),
            None => Ok(()),
        }
    }

    /// What is destroyed was not protected by what the site knew of it and what it heard (§6).
    fn destroys_nothing_protected(&self) -> Verdict {
        let (Slot::Version(_), Some(before), Shown::Grave(grave)) = (self.slot, self.before.live(), &self.shown) else {
            return Ok(());
        };
        let after = grave.registers();
        let now_ms = self.wall_ms + SKEW_MS_MAX;
        // A hold that was there is off only if somebody took it off later.
        let same_hold = grave.vector().hold == before.vector.hold;
        let held = after.hold || (same_hold && before.registers.hold);
        let retained = match before.registers.retention {
            // Nobody ends it before its time, so no merge can have.
            Some(retention) if retention.mode == RetentionMode::Compliance => retention.until_ms > now_ms,
            _ => false,
        };
        if held || retained || after.delay_purge(now_ms) {
            let (before, shown) = (brief(&self.before), brief(&self.shown));
            return Err(format!("§6: {} was protected and is destroyed: {before}, then {shown}", self.unit()));
        }
        Ok(())
    }

    /// What is purged stays only while something protects it; a retention that is over may not have been looked at (§6).
    fn is_purged_for_good(&self) -> Verdict {
        let waits = |record: &&Record| record.vector.purge.is_some();
        match self.shown.live().filter(waits) {
            Some(record) if !record.registers.hold && record.registers.retention.is_none() => {
                Err(format!("I3: {} is purged, and nothing protects it: {}", self.unit(), brief(&self.shown)))
            }
            _ => Ok(()),
        }
    }

    /// A COMPLIANCE retention that is in force never ends sooner (§6).
    fn keeps_compliance(&self) -> Verdict {
        let compliant = |shown: &Shown| {
            let retention = shown.registers().and_then(|registers| registers.retention);
            retention.filter(|retention| retention.mode == RetentionMode::Compliance).map(|retention| retention.until_ms)
        };
        let (Slot::Version(_), Some(until_ms)) = (self.slot, compliant(&self.before)) else { return Ok(()) };
        if until_ms <= self.wall_ms + SKEW_MS_MAX || compliant(&self.shown) >= Some(until_ms) {
            return Ok(());
        }
        let (before, shown) = (brief(&self.before), brief(&self.shown));
        Err(format!("§6: the COMPLIANCE retention of {} became shorter: {before}, then {shown}", self.unit()))
    }

    /// A write is a version of its own where its site knows the bucket as Enabled, and else the null version (§6).
    fn has_its_slot(&self) -> Verdict {
        let Some(data) = self.shown.live().map(|record| record.vector.data) else { return Ok(()) };
        let is_own = data.parts().site == self.site && data.parts().incarnation == self.life;
        let is_version = self.slot != Slot::Null;
        let fits = |versioning: &Versioning| is_version == (*versioning == Versioning::Enabled);
        if is_own && self.is_first && !self.versioning.iter().any(fits) {
            let (unit, versioning) = (self.unit(), self.versioning[1]);
            return Err(format!("§6: {unit} was written while versioning is {versioning:?}: {}", brief(&self.shown)));
        }
        Ok(())
    }
}

impl Seen {
    /// Everything that must be true of a state that came.
    pub fn judge(&mut self, came: &Came<'_>) {
        let mut verdicts = vec![
            self.is_not_from_under_a_grave(came),
            came.goes_on(),
            came.destroys_nothing_protected(),
            came.is_purged_for_good(),
            came.keeps_compliance(),
            came.has_its_slot(),
        ];
        if came.before.vector() != came.shown.vector() {
            verdicts.extend([self.is_explained(came), came.is_of_the_present()]);
        }
        for violation in verdicts.into_iter().filter_map(Result::err) {
            self.violations.push(format!("{violation}, at site {}", came.site.0));
        }
    }

    /// What a grave buried does not come back when the grave has left; what a hold brought back knows of the purge (I3).
    fn is_not_from_under_a_grave(&mut self, came: &Came<'_>) -> Verdict {
        let key = (came.site, came.unit());
        let buried = self.buried.get(&key).and_then(Shown::vector);
        match &came.shown {
            Shown::Grave(_) if came.shown.vector() >= buried => drop(self.buried.insert(key, came.shown.clone())),
            Shown::Live(stored) if buried.is_some_and(|buried| !reaches(&stored.row.vector, &buried)) => {
                let (unit, shown) = (came.unit(), brief(&came.shown));
                return Err(format!("I3: {unit} came back from under a grave that had left: {shown}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Somebody wrote it, under no other content.
    fn is_explained(&mut self, came: &Came<'_>) -> Verdict {
        let explained = match &came.shown {
            Shown::Nothing | Shown::Bucket(_) => true,
            Shown::Grave(grave) => match came.slot {
                Slot::Null => self.any([Kind::Delete, Kind::Purge], came, grave.stamp),
                Slot::Version(_) => self.are_registers_explained(came, &grave.vector()),
            },
            Shown::Live(stored) if came.shown.is_marker() => {
                self.any([Kind::Delete], came, stored.row.vector.data) && self.are_registers_explained(came, &stored.row.vector)
            }
            Shown::Live(stored) => {
                let (vector, identity) = (&stored.row.vector, &stored.row.identity);
                self.one_content(came.object, vector.data, identity)?;
                self.one_hold(came)?;
                self.on_its_data(came, vector)?;
                let by = |id: Option<Id>, kind, stamp| id.is_some_and(|id| self.ledger.explains(id, kind, came.version(), stamp));
                by(written_by(identity), Kind::Write, vector.data)
                    && match vector.tags {
                        Some(tags) => by(tagged_by(identity), Kind::Tag, tags),
                        None => by(tagged_by(identity), Kind::Write, vector.data),
                    }
                    && self.are_registers_explained(came, vector)
            }
        };
        if explained { Ok(()) } else { Err(format!("I3: nobody wrote {} to {}", brief(&came.shown), came.unit())) }
    }

    fn any<const N: usize>(&self, kinds: [Kind; N], came: &Came<'_>, stamp: Stamp) -> bool {
        self.ledger.any_explains(|kind| kinds.contains(&kind), came.version(), stamp)
    }

    /// Somebody purged, held and retained it, as its stamps say.
    fn are_registers_explained(&self, came: &Came<'_>, vector: &Vector) -> bool {
        let held = came.shown.registers().is_some_and(|registers| registers.hold);
        let explains = |kind: fn(Kind) -> bool, stamp: Option<Stamp>| {
            stamp.is_none_or(|stamp| self.ledger.any_explains(kind, came.version(), stamp))
        };
        // Where an earlier retention or purge stands against a later one, that one's stamp was raised.
        let as_written = |stamp: Option<Stamp>| stamp.map(|stamp| Stamp::new(StampParts { rank: 0, ..stamp.parts() }));
        let of_hold = |stamp| self.ledger.any_explains(|kind| kind == Kind::Hold(held), came.version(), stamp);
        (explains(|kind| kind == Kind::Purge, vector.purge) || explains(|kind| kind == Kind::Purge, as_written(vector.purge)))
            && explains(|kind| matches!(kind, Kind::Retain(_)), as_written(vector.retention))
            && vector.hold.is_none_or(of_hold)
    }

    /// Tags stay with the data that they were put on.
    fn on_its_data(&self, came: &Came<'_>, vector: &Vector) -> Verdict {
        let Some(tags) = vector.tags else { return Ok(()) };
        let states = self.states.get(&(tags.parts().site, came.unit()));
        let put_on = states.into_iter().flatten().filter_map(Shown::vector).find(|there| there.tags == Some(tags));
        match put_on.filter(|there| there.data != vector.data) {
            None => Ok(()),
            Some(there) => Err(format!("§2: tags {tags} of {}, put on {}, are on {}", came.unit(), there.data, vector.data)),
        }
    }

    fn one_content(&mut self, object: &ObjectId, stamp: Stamp, identity: &Identity) -> Verdict {
        let bare = Identity { tags: Vec::new(), ..identity.clone() };
        let known = self.values.contents.entry((object.clone(), stamp)).or_insert_with(|| bare.clone());
        if *known == bare { Ok(()) } else { Err(format!("I5: {stamp} of {object} stands for {known:?} and for {bare:?}")) }
    }

    fn one_hold(&mut self, came: &Came<'_>) -> Verdict {
        let (Slot::Version(_), Some(record)) = (came.slot, came.shown.live()) else { return Ok(()) };
        let key = (came.object.clone(), came.slot, record.vector.hold);
        let known = *self.values.holds.entry(key).or_insert(record.registers.hold);
        if known == record.registers.hold { Ok(()) } else { Err(format!("I5: one hold of {} is on and off", came.unit())) }
    }
}
