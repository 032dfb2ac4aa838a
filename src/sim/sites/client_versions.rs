//! What clients do with versions: switch them on and off, destroy, hold, retain, read and list single ones (§6).

use super::client::{Call, bucket, bytes, description, object};
use super::ledger::Kind;
use super::plan::VersionsOp;
use super::shown::{Shown, brief};
use crate::model::{Bypass, ObjectId, Registers, Retention, RetentionMode, Slot, Unit, Versioning};
use crate::site::testing::upload;
use crate::site::*;
use crate::status::{ListQuery, VersionEntry, VersionsPage, VersionsQuery};

/// From here on a number picks a version that anybody was told of, known at the client's site or not.
const PICKS_KNOWN: u8 = 64;

impl Call {
    pub(super) async fn make_of_versions(&self, op: VersionsOp) {
        match op {
            VersionsOp::Switch { enabled } => {
                let versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
                self.ignore(self.site.set_versioning(&bucket(), versioning).await.map(drop));
            }
            VersionsOp::Purge { key, nth, bypass } => {
                let Some(slot) = self.pick(key, nth).await else { return };
                self.purge(&object(key), slot, bypass).await;
            }
            VersionsOp::PurgeNull { key } => self.purge(&object(key), Slot::Null, false).await,
            VersionsOp::Hold { key, nth, on } => {
                let Some(slot) = self.pick(key, nth).await else { return };
                self.register(&object(key), slot, Kind::Hold(on), Register::Hold(on)).await;
            }
            VersionsOp::Retain { key, nth, compliance, for_s, bypass } => {
                let Some(slot) = self.pick(key, nth).await else { return };
                let retention = (for_s > 0).then(|| self.retention(compliance, for_s));
                let register = Register::Retention(retention, with(bypass));
                self.register(&object(key), slot, Kind::Retain(retention), register).await;
            }
            VersionsOp::PutLocked { key, hold, compliance, for_s } => self.put_locked(key, hold, compliance, for_s).await,
            VersionsOp::Get { key, nth } => self.get_version(key, nth).await,
            VersionsOp::List => self.list_versions().await,
        }
    }

    fn retention(&self, compliance: bool, for_s: u64) -> Retention {
        let mode = if compliance { RetentionMode::Compliance } else { RetentionMode::Governance };
        Retention { mode, until_ms: self.site.clock().wall_ms() + for_s * 1_000 }
    }

    /// One of the versions that the site lists, or that anybody was told of.
    async fn pick(&self, key: u8, nth: u8) -> Option<Slot> {
        let object = object(key);
        let all: Vec<Slot> = match nth < PICKS_KNOWN {
            true => {
                let page = self.versions().await.ok()?;
                let of_key = page.entries.iter().filter_map(|entry| match entry {
                    VersionEntry::Version { key, record, .. } if *key == object.key.as_str() => Some(record.row.slot()),
                    _ => None,
                });
                of_key.collect()
            }
            false => self.watch.with_ledger(|ledger| ledger.acknowledged(&object).map(|(_, _, slot)| slot).collect()),
        };
        (!all.is_empty()).then(|| all[usize::from(nth) % all.len()])
    }

    async fn versions(&self) -> Result<VersionsPage> {
        let keys = ListQuery { bucket: bucket(), prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
        self.site.list_versions(VersionsQuery { keys, after_version: None }).await
    }

    async fn purge(&self, object: &ObjectId, slot: Slot, bypass: bool) {
        let id = self.watch.begin(self.number(), Kind::Purge, (object, Some(slot)));
        let purge = Purge { slot, bypass: with(bypass) };
        let purged = self.site.purge(object, purge, WriteConditions::default()).await;
        self.ended(id, purged.map(|purged| Some((purged.stamp?, purged.slot))));
    }

    /// Locks are for versions: the null version is one register, of which the greater stamp wins whole.
    async fn register(&self, object: &ObjectId, slot: Slot, kind: Kind, register: Register) {
        if slot == Slot::Null {
            return;
        }
        let id = self.watch.begin(self.number(), kind, (object, Some(slot)));
        let written = self.site.set_register(object, Some(slot), register).await;
        self.ended(id, written.map(|written| Some((written.stamp, written.slot))));
    }

    async fn put_locked(&self, key: u8, hold: bool, compliance: bool, for_s: u64) {
        let object = object(key);
        let id = self.watch.begin(self.number(), Kind::Write, (&object, None));
        let retention = (for_s > 0).then(|| self.retention(compliance, for_s));
        let locked = Description { registers: Registers { hold, retention, ..Registers::default() }, ..description(id) };
        let put = self.site.put(&object, upload(bytes(id, 20)), locked, WriteConditions::default()).await;
        self.ended(id, put.map(|written| Some((written.stamp, written.slot))));
    }

    /// A version that is named is there or it is not, at some moment of the call; what is newer does not matter.
    async fn get_version(&self, key: u8, nth: u8) {
        let Some(slot) = self.pick(key, nth).await else { return };
        let (object, unit) = (object(key), Unit::of(&object(key), slot));
        let number = self.watch.now(self.number(), &unit).0;
        let got = self.site.get(&object, Some(slot), Selection::All, &ReadConditions::default()).await;
        let meanwhile = self.watch.since(self.number(), &unit, number);
        let may_be = |is: &dyn Fn(&Shown) -> bool| meanwhile.iter().any(is);
        let wrong = match &got {
            Ok(opened) => {
                let shown = Shown::Live(opened.seen.record.clone());
                (!may_be(&|one| one.is(&shown))).then(|| brief(&shown))
            }
            Err(Error::NoSuchVersion | Error::NoSuchVersionHere { .. }) => {
                (!may_be(&|one| one.live().is_none())).then(|| "nothing".into())
            }
            Err(Error::IsMarker { .. }) => (!may_be(&Shown::is_marker)).then(|| "a delete marker".into()),
            Err(Error::Unavailable { .. } | Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => None,
            Err(err) => Some(err.to_string()),
        };
        if let Some(wrong) = wrong {
            let (site, was) = (self.number().0, brief(&meanwhile[0]));
            self.watch.violate(format!("I9: a read of {unit} at site {site} showed {wrong}, it was {was}"));
        }
        if let Ok(opened) = got {
            self.whole(&object, opened).await;
        }
    }

    /// A list of versions has every live unit, each as it was at some moment, and says which of them is current.
    async fn list_versions(&self) {
        let site = self.number();
        let numbers = |key| (self.watch.numbers(site, &object(key)), self.watch.current(site, &object(key)).0);
        let before: Vec<_> = (0..8).map(numbers).collect();
        let Ok(page) = self.versions().await else { return };
        for (key, (before, top)) in (0..8).zip(before) {
            let object = object(key);
            let listed = |slot: Slot| {
                page.entries.iter().find_map(|entry| match entry {
                    VersionEntry::Version { key, record, is_latest }
                        if *key == object.key.as_str() && record.row.slot() == slot =>
                    {
                        Some((Shown::Live(record.clone()), *is_latest))
                    }
                    _ => None,
                })
            };
            let tops = self.watch.current_since(site, &object, top);
            for (slot, _) in self.watch.numbers(site, &object) {
                let number = before.get(&slot).copied().unwrap_or_default();
                let meanwhile = self.watch.since(site, &Unit::of(&object, slot), number);
                let right = match listed(slot) {
                    Some((shown, is_latest)) => {
                        let is_top = |top: &Shown| top.live().is_some_and(|record| record.slot() == slot);
                        meanwhile.iter().any(|one| one.is(&shown)) && tops.iter().any(|top| is_top(top) == is_latest)
                    }
                    None => meanwhile.iter().any(|one| one.live().is_none()) || !before.contains_key(&slot),
                };
                if !right {
                    let (shown, was) = (listed(slot).map(|(shown, latest)| (brief(&shown), latest)), brief(&meanwhile[0]));
                    self.watch
                        .violate(format!("I9: a list of site {} shows {slot} of {object} as {shown:?}, it was {was}", site.0));
                }
            }
        }
    }
}

fn with(bypass: bool) -> Bypass {
    if bypass { Bypass::Governance } else { Bypass::No }
}
