//! A bucket's rows against what the store holds: one walk over both in byte order, a bounded stretch a step.
//!
//! Nothing is removed from the store. Bytes that no row names are reported (`foreign`), and taken over where the setting
//! `ownership` says so.

use futures::StreamExt;

use super::Result;
use super::diff::Class;
use super::outward::{FENCE_MS, Next, Stretch};
use super::report::{Line, Report, Side};
use super::run::{How, Place};
use super::units::{KeyUnits, units};
use crate::backend::{self, Found};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, Record, Slot, State};
use crate::peer::KeyRange;
use crate::replicate::Bell;
use crate::site::{self, Newcomer, Scrubbed, Site};
use crate::status::Stored;
use crate::status::tables::Graves;

/// Rows compared by one step.
const STEP_ROWS: usize = 1_000;
/// Bytes read by one step that hashes them, about.
const STEP_BYTES: u64 = 256 << 20;

/// One walk over a bucket, or over the keys under a prefix.
#[derive(Debug)]
pub(super) struct Inward {
    site: Site,
    bell: Bell,
    bucket: BucketName,
    prefix: String,
    from: Option<Key>,
    end: Option<Key>,
    dry_run: bool,
    deep: bool,
}

/// A key that rows or the store has, or both.
struct Both {
    key: Key,
    units: Vec<Stored<Record>>,
    /// What has the key's own name.
    found: Option<Found>,
}

impl Inward {
    pub fn begin(site: &Site, bell: &Bell, over: Stretch, how: How) -> Self {
        let Stretch { bucket, prefix, from } = over;
        let (range, How { dry_run, deep }) = (KeyRange::under(&prefix), how);
        let (from, end) = (from.or(range.from), range.to);
        Self { site: site.clone(), bell: bell.clone(), bucket, prefix, from, end, dry_run, deep }
    }

    /// From where another walk would have to go on, if this one ended now.
    pub fn reached(&self) -> Place {
        Place { bucket: self.bucket.clone(), key: self.from.clone() }
    }

    /// What it is at, for people.
    pub fn at(&self) -> String {
        match &self.from {
            Some(from) => format!("{}/{from}, in the store", self.bucket),
            None => format!("{}, in the store", self.bucket),
        }
    }

    pub async fn step(&mut self, report: &mut Report) -> Result<Next> {
        let range = KeyRange { from: self.from.clone(), to: self.end.clone() };
        let rows = units(&self.site, &self.bucket, &range, STEP_ROWS).await?;
        let last = rows.keys.last().filter(|_| rows.more).map(|of_key| of_key.key.clone());
        let listed = self.listed(last.as_ref()).await?;
        let cut = last.into_iter().chain(listed.cut).min();
        let mut hashed = 0;
        for both in merged(rows.keys, listed.found) {
            if cut.as_ref().is_some_and(|cut| both.key > *cut) {
                break;
            }
            let (next, size) = (both.key.next(), self.to_be_read(&both));
            let key = both.key.clone();
            match self.look(both, report).await {
                // One file that others keep closed, or that the disk does not give, says nothing of those behind it.
                Err(super::Error::Here(err @ (site::Error::StoreReadOnly(_) | site::Error::Internal(_)))) => {
                    tracing::warn!(bucket = %self.bucket, %key, error = %err, "an object cannot be compared with the store");
                    report.summary.unchecked += 1;
                }
                looked => looked?,
            }
            hashed += size;
            if hashed > STEP_BYTES {
                self.from = next;
                return Ok(if self.from.is_some() { Next::Step } else { Next::Done });
            }
        }
        self.from = cut.and_then(|cut| cut.next());
        Ok(if self.from.is_some() { Next::Step } else { Next::Done })
    }

    /// Bytes that looking at a key reads, about.
    fn to_be_read(&self, both: &Both) -> u64 {
        let read = both.units.iter().filter(|unit| self.deep || unit.row.state == State::Unread);
        let newcomer = both.found.as_ref().filter(|_| both.units.is_empty());
        read.map(|unit| unit.row.identity.size).chain(newcomer.map(|found| found.size)).sum()
    }

    fn object(&self, key: &Key) -> ObjectId {
        ObjectId { bucket: self.bucket.clone(), key: key.clone() }
    }

    /// What the store holds from where the walk stands, up to the key `last`, or so many.
    async fn listed(&self, last: Option<&Key>) -> Result<Listed> {
        let mut listed = Listed { found: Vec::new(), cut: None };
        // A listing begins behind a key: that at which this one begins is asked for by itself.
        if let Some(from) = &self.from {
            let place = backend::Place { object: self.object(from), location: Location::Plain };
            match self.site.backend().head(&place).await {
                Ok(found) => listed.found.push(found),
                Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => {}
                Err(err) => return Err(site::Error::from(err).into()),
            }
        }
        let mut listing = self.site.backend().list(&self.bucket, self.from.as_ref());
        while let Some(found) = listing.next().await {
            let found = match found {
                Ok(found) => found,
                // Its row says that it exists: its objects are lost, all of them.
                Err(backend::Error::NoSuchBucket) => break,
                Err(err) => return Err(site::Error::from(err).into()),
            };
            if listed.found.last().is_some_and(|before| before.key >= found.key) {
                let reason = format!("the store's listing of {} is out of order at {}", self.bucket, found.key);
                return Err(site::Error::Internal(reason).into());
            }
            if last.is_some_and(|last| found.key > *last) || self.end.as_ref().is_some_and(|end| found.key >= *end) {
                break;
            }
            listed.found.push(found);
            if listed.found.len() >= STEP_ROWS {
                listed.cut = listed.found.last().map(|found| found.key.clone());
                break;
            }
        }
        listed.found.retain(|found| found.key.as_str().starts_with(&self.prefix));
        Ok(listed)
    }

    async fn look(&self, both: Both, report: &mut Report) -> Result<()> {
        let object = self.object(&both.key);
        if self.site.has_versions_there(&self.bucket) {
            return self.look_at_versions(&object, both, report).await;
        }
        // Only the null version has the key's own name.
        let null = both.units.iter().find(|unit| !unit.row.versioned);
        if let Some(found) = both.found.as_ref().filter(|_| null.is_none_or(|null| null.row.state == State::Marker)) {
            report.summary.compared += 1;
            self.foreign(&object, found.size, report).await?;
        }
        for unit in both.units.iter().filter(|unit| unit.row.is_shown()) {
            report.summary.compared += 1;
            self.look_at(&object, unit, both.found.as_ref().filter(|_| !unit.row.versioned), report).await?;
        }
        Ok(())
    }

    /// Of a key whose own name is others', with the versions that the store makes of it.
    async fn look_at_versions(&self, object: &ObjectId, both: Both, report: &mut Report) -> Result<()> {
        let mut units = both.units;
        let differs = !site::is_as_listed(&units, both.found.as_ref());
        if differs && !self.dry_run && self.site.look_at_versions(object).await? == Newcomer::Taken {
            let size = both.found.map_or(0, |found| found.size);
            self.line((object, Slot::Null), Class::Foreign, None, size, "taken over", report);
            let of_key = KeyRange { from: Some(object.key.clone()), to: object.key.next() };
            let taken = super::units::units(&self.site, &self.bucket, &of_key, STEP_ROWS).await?;
            units = taken.keys.into_iter().flat_map(|of_key| of_key.units).collect();
        }
        for unit in units.iter().filter(|unit| unit.row.is_shown()) {
            report.summary.compared += 1;
            // Other sites hear of it then.
            if unit.row.state == State::Unread && !self.dry_run && self.site.read_now(object, unit).await? {
                continue;
            }
            self.look_at(object, unit, None, report).await?;
        }
        Ok(())
    }

    async fn look_at(&self, object: &ObjectId, row: &Stored<Record>, found: Option<&Found>, report: &mut Report) -> Result<()> {
        let is_bound = match found {
            // A listing that tells no bindings: what nobody has read yet is asked for by itself.
            Some(Found { binding: Binding::None, .. }) if row.row.state == State::Unread => {
                let place = backend::Place { object: object.clone(), location: Location::Plain };
                self.site.backend().head(&place).await.is_ok_and(|found| found.binding == row.row.binding)
            }
            found => found.is_some_and(|found| found.binding == row.row.binding),
        };
        // Of a file that is not wholly imported: what it is, is found out before it is judged.
        if is_bound && row.row.state == State::Unread && !self.dry_run {
            self.site.read_now(object, row).await?;
            return Ok(());
        }
        let scrubbed = match (is_bound && row.row.has_bytes(), self.deep) {
            (true, false) => return Ok(()),
            (_, deep) => self.site.scrub(object, row, deep).await?,
        };
        report.summary.hashed += u64::from(self.deep);
        let class = match scrubbed {
            Scrubbed::Sound => return Ok(()),
            Scrubbed::Busy => {
                report.summary.busy += 1;
                return Ok(());
            }
            Scrubbed::Lost => Class::Lost,
            Scrubbed::Other | Scrubbed::Rotten => Class::Rotten,
        };
        let mends = !self.dry_run && self.site.mend(object, row, scrubbed).await?;
        if mends {
            report.summary.queued += 1;
            self.bell.ring();
        }
        let action = match (self.dry_run, mends) {
            (true, _) => "none",
            (false, true) => "mended",
            (false, false) => "nobody to fetch it from",
        };
        let state = if row.row.has_bytes() { "present" } else { "wanted" };
        let here = Some(Side::at(row.row.vector.data, state));
        self.line((object, row.row.slot()), class, here, row.row.identity.size, action, report);
        Ok(())
    }

    /// Bytes without a row, unless one came meanwhile, or they are on their way out.
    async fn foreign(&self, object: &ObjectId, size: u64, report: &mut Report) -> Result<()> {
        let row = self.site.status().unit(object, Slot::Null).await.map_err(site::Error::from)?;
        let is_named = row.as_ref().is_some_and(|row| row.row.is_shown());
        let young_ms = self.site.clock().wall_ms().saturating_sub(FENCE_MS);
        let is_hidden_now = row.is_some_and(|row| row.row.vector.data.ms() >= young_ms);
        if is_named || is_hidden_now || self.is_leaving(object).await? {
            report.summary.busy += 1;
            return Ok(());
        }
        let action = match self.dry_run {
            true => "none",
            false => match self.site.take_newcomer(object).await? {
                Newcomer::Taken => "taken over",
                Newcomer::Left => "none",
                Newcomer::Busy => {
                    report.summary.busy += 1;
                    return Ok(());
                }
            },
        };
        self.line((object, Slot::Null), Class::Foreign, None, size, action, report);
        Ok(())
    }

    /// Whether it was deleted just now, so that its bytes are still on their way out.
    async fn is_leaving(&self, object: &ObjectId) -> Result<bool> {
        let grave = self.site.status().get::<Graves>(&(object.clone(), Slot::Null)).await.map_err(site::Error::from)?;
        let young_ms = self.site.clock().wall_ms().saturating_sub(FENCE_MS);
        Ok(grave.is_some_and(|grave| grave.row.stamp.ms() >= young_ms))
    }

    fn line(
        &self,
        (object, slot): (&ObjectId, Slot),
        class: Class,
        here: Option<Side>,
        bytes: u64,
        action: &str,
        report: &mut Report,
    ) {
        let (bucket, key) = (object.bucket.to_string(), object.key.to_string());
        let (slot, action) = (slot.to_string(), action.to_owned());
        report.add(Line { bucket, key, slot, class, here, there: None, bytes, action, with: None });
    }
}

struct Listed {
    found: Vec<Found>,
    /// The last key that was listed, where more may follow.
    cut: Option<Key>,
}

/// Rows and listing as one, in key order.
fn merged(rows: Vec<KeyUnits>, found: Vec<Found>) -> impl Iterator<Item = Both> {
    let (mut rows, mut found) = (rows.into_iter().peekable(), found.into_iter().peekable());
    std::iter::from_fn(move || {
        let key = match (rows.peek(), found.peek()) {
            (None, None) => return None,
            (Some(of_key), None) => of_key.key.clone(),
            (None, Some(found)) => found.key.clone(),
            (Some(of_key), Some(found)) => of_key.key.clone().min(found.key.clone()),
        };
        let units = rows.next_if(|of_key| of_key.key == key).map(|of_key| of_key.units).unwrap_or_default();
        let found = found.next_if(|found| found.key == key);
        Some(Both { key, units, found })
    })
}
