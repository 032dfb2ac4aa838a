//! The live units of a range of keys, whichever of them is current: each key with all it has.

use crate::model::{BucketName, Key, ObjectId, Record, Slot};
use crate::peer::KeyRange;
use crate::site::{Result, Site};
use crate::status::tables::{Objects, Versions};
use crate::status::{Page, Stored};

/// Rows read at once of a key that has more than a page of them.
const PAGE_ROWS: usize = 4_096;

/// A key and its live units.
pub(super) struct KeyUnits {
    pub key: Key,
    pub units: Vec<Stored<Record>>,
}

/// Keys in byte order.
pub(super) struct UnitsPage {
    pub keys: Vec<KeyUnits>,
    /// Whether more follow: go on behind the last key.
    pub more: bool,
}

/// The units of a range, about `rows_max` of them, and at least those of one key where there is any.
pub(super) async fn units(site: &Site, bucket: &BucketName, range: &KeyRange, rows_max: usize) -> Result<UnitsPage> {
    let object = |key: &Key| ObjectId { bucket: bucket.clone(), key: key.clone() };
    let (from, to) = (range.from.as_ref().map(object), range.to.as_ref().map(object));
    let slot = |object: &ObjectId| (object.clone(), Slot::Null);
    let (first, end) = (from.as_ref().map(slot), to.as_ref().map(slot));
    let objects: Page<Objects> = site.status().between(bucket, from.as_ref(), to.as_ref(), rows_max).await?;
    let versions: Page<Versions> = site.status().between(bucket, first.as_ref(), end.as_ref(), rows_max).await?;
    let ends = [
        objects.rows.last().filter(|_| objects.more).map(|(object, _)| object.key.clone()),
        versions.rows.last().filter(|_| versions.more).map(|((object, _), _)| object.key.clone()),
    ];
    // The last key of a page that goes on may have more.
    let cut = ends.into_iter().flatten().min();
    let of_objects = objects.rows.into_iter().map(|(object, stored)| (object.key, stored));
    let of_versions = versions.rows.into_iter().map(|((object, _), stored)| (object.key, stored));
    let mut all: Vec<(Key, Stored<Record>)> = of_objects.chain(of_versions).collect();
    if let Some(cut) = &cut {
        all.retain(|(key, _)| key < cut);
        if all.is_empty() {
            all = all_of(site, &object(cut)).await?;
        }
    }
    Ok(UnitsPage { keys: by_key(all), more: cut.is_some() })
}

async fn all_of(site: &Site, object: &ObjectId) -> Result<Vec<(Key, Stored<Record>)>> {
    let current = site.status().object(object).await?;
    let mut all: Vec<_> = current.into_iter().map(|stored| (object.key.clone(), (*stored).clone())).collect();
    let (of_key, mut after) = ((object.clone(), ()), None);
    loop {
        let page: Page<Versions> = site.status().page(&of_key, after.as_ref(), PAGE_ROWS).await?;
        after = page.rows.last().map(|(key, _)| key.clone());
        all.extend(page.rows.into_iter().map(|(_, stored)| (object.key.clone(), stored)));
        if !page.more {
            return Ok(all);
        }
    }
}

/// Read one after the other, a unit that moves meanwhile may be in both tables.
fn by_key(mut all: Vec<(Key, Stored<Record>)>) -> Vec<KeyUnits> {
    let order = |(key, unit): &(Key, Stored<Record>)| (key.clone(), unit.row.slot(), unit.revision);
    all.sort_by_cached_key(order);
    let mut keys: Vec<KeyUnits> = Vec::new();
    for (key, unit) in all {
        match keys.last_mut().filter(|last| last.key == key) {
            Some(last) => match last.units.last_mut().filter(|before| before.row.slot() == unit.row.slot()) {
                Some(before) => *before = unit,
                None => last.units.push(unit),
            },
            None => keys.push(KeyUnits { key, units: vec![unit] }),
        }
    }
    keys
}
