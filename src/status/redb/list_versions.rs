//! A listing of versions in one snapshot: the units of `objects` and of `versions` as one, by key and then newest first.

use std::ops::Bound;
use std::sync::Arc;

use super::encode::{decode, decode_key, successor};
use super::list::Scope;
use super::read::{PAGE_BYTES_MAX, Range, Rows, engine};
use crate::model::{Key, ObjectId, Record, Slot, Stamp};
use crate::status::tables::{Objects, Versions};
use crate::status::{ReadError, Stored, TableKey, VersionEntry, VersionsPage, VersionsQuery};

/// Most entries of a page.
const ENTRIES_MAX: usize = 1_000;

/// The two tables that hold units.
pub(super) struct Units {
    pub objects: Rows,
    pub versions: Rows,
}

/// One page of all units.
pub(super) fn list(units: &Units, query: &VersionsQuery) -> Result<VersionsPage, ReadError> {
    let mut listing = Listing {
        units,
        scope: Scope::of(&query.keys),
        query,
        page: VersionsPage::default(),
        entries_max: query.keys.entries_max.min(ENTRIES_MAX),
        bytes: 0,
    };
    if listing.entries_max > 0 {
        listing.run()?;
    }
    Ok(listing.page)
}

/// A unit of the key that is being listed.
struct Unit {
    stored: Stored<Record>,
    /// On disk, header included.
    bytes: usize,
}

impl Unit {
    /// Both tables hold the same rows.
    fn read(row: &[u8]) -> Result<Self, ReadError> {
        Ok(Self { stored: decode::<Versions>(row)?, bytes: row.len() })
    }

    fn stamp(&self) -> Stamp {
        self.stored.row.vector.data
    }

    fn versioned(&self) -> bool {
        self.stored.row.versioned
    }
}

struct Listing<'a> {
    units: &'a Units,
    scope: Scope<'a>,
    query: &'a VersionsQuery,
    page: VersionsPage,
    entries_max: usize,
    bytes: usize,
}

/// Where the next key is looked for.
enum From {
    /// At this text or behind it.
    Text(String),
    /// Behind everything of this key.
    Key(Key),
    /// Behind everything that begins with this.
    Prefix(String),
}

impl Listing<'_> {
    fn run(&mut self) -> Result<(), ReadError> {
        let mut from = self.begin()?;
        while let Some(key) = self.next_key(&from)? {
            if self.is_full() {
                self.page.more = true;
                return Ok(());
            }
            if let Some(common) = self.scope.common_prefix(key.as_str()).map(str::to_owned) {
                self.page.entries.push(VersionEntry::CommonPrefix(common.clone()));
                from = From::Prefix(common);
                continue;
            }
            if !self.units_of(&key, None)? {
                return Ok(());
            }
            from = From::Key(key);
        }
        Ok(())
    }

    /// What is left of the key that a page before ended in, and where to go on.
    fn begin(&mut self) -> Result<From, ReadError> {
        let prefix = self.query.keys.prefix.clone();
        let Some(after) = self.query.keys.after.clone().filter(|after| *after >= prefix) else { return Ok(From::Text(prefix)) };
        if let Some(common) = self.scope.common_prefix(&after) {
            return Ok(From::Prefix(common.to_owned()));
        }
        let Ok(key) = Key::new(&after) else { return Ok(From::Text(after)) };
        if let Some(version) = self.query.after_version
            && after.starts_with(&prefix)
            && !self.units_of(&key, Some(version))?
        {
            return Ok(From::Key(Key::behind_all("").unwrap_or(key)));
        }
        Ok(From::Key(key))
    }

    fn is_full(&self) -> bool {
        self.page.entries.len() >= self.entries_max || self.bytes >= PAGE_BYTES_MAX
    }

    /// The first key with a unit in the scope, from somewhere on.
    fn next_key(&self, from: &From) -> Result<Option<Key>, ReadError> {
        if self.page.more {
            return Ok(None);
        }
        let of_objects = self.first(&self.units.objects, self.scope.row_key(""), from, |text| self.scope.row_key(text))?;
        let of_objects = of_objects.map(|key| decode_key::<Objects>(&key)).transpose()?.map(|object| object.key);
        let of_versions = self.first(&self.units.versions, self.scope.row_key(""), from, |text| self.scope.escaped(text))?;
        let of_versions = of_versions.map(|key| decode_key::<Versions>(&key)).transpose()?.map(|(object, _)| object.key);
        let first = [of_objects, of_versions].into_iter().flatten().min();
        Ok(first.filter(|key| key.as_str().starts_with(&self.query.keys.prefix)))
    }

    /// The first row key of a table from somewhere on, where `encoded` says how it begins for a text.
    fn first(
        &self,
        rows: &Rows,
        bucket: Vec<u8>,
        from: &From,
        encoded: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let is_escaped = encoded("\0").len() > bucket.len() + 1;
        let low = match from {
            From::Text(text) => Some(Bound::Included(encoded(text))),
            From::Key(key) if is_escaped => successor(&[encoded(key.as_str()), vec![0, 0]].concat()).map(Bound::Included),
            From::Key(key) => Some(Bound::Excluded(encoded(key.as_str()))),
            From::Prefix(prefix) => successor(&encoded(prefix)).map(Bound::Included),
        };
        let (Some(low), Some(high)) = (low, successor(&bucket)) else { return Ok(None) };
        let range: (Bound<&[u8]>, Bound<&[u8]>) = (low.as_ref().map(Vec::as_slice), Bound::Excluded(&high));
        if matches!(&low, Bound::Included(low) | Bound::Excluded(low) if *low >= high) {
            return Ok(None);
        }
        let found = rows.range::<&[u8]>(range).map_err(engine)?.next().transpose().map_err(engine)?;
        Ok(found.map(|(key, _)| key.value().to_vec()))
    }

    /// Adds the units of a key, newest first, those behind `after`. `false`: the page is full before their end.
    fn units_of(&mut self, key: &Key, after: Option<Slot>) -> Result<bool, ReadError> {
        let object = ObjectId { bucket: self.query.keys.bucket.clone(), key: key.clone() };
        let top = self.units.objects.get(&*object.to_bytes()).map_err(engine)?;
        let top = top.map(|row| Unit::read(row.value())).transpose()?;
        let null = self.units.versions.get(&*(object.clone(), Slot::Null).to_bytes()).map_err(engine)?;
        let mut null = null.map(|row| Unit::read(row.value())).transpose()?;
        let mut behind = after.and_then(|after| match after {
            Slot::Version(stamp) => Some(stamp),
            // One that is gone meanwhile tells nothing: what was listed is listed again, rather than something left out.
            Slot::Null => null.as_ref().or(top.as_ref().filter(|top| !top.versioned())).map(Unit::stamp),
        });
        let mut is_latest = true;
        let mut units: Vec<Unit> = top.into_iter().collect();
        let Some(range) = Range::under(&[(object, ()).to_bytes(), vec![1]].concat(), None) else { return Ok(true) };
        let mut rows = self.units.versions.range::<&[u8]>(range.bounds()).map_err(engine)?;
        loop {
            let next = rows.next().transpose().map_err(engine)?;
            let next = next.map(|(_, row)| Unit::read(row.value())).transpose()?;
            let is_older = |null: &mut Unit| next.as_ref().is_none_or(|next| next.stamp() < null.stamp());
            units.extend(null.take_if(is_older));
            let is_end = next.is_none();
            units.extend(next);
            for unit in units.drain(..) {
                let latest = std::mem::take(&mut is_latest);
                if behind.is_some_and(|behind| unit.stamp() >= behind) {
                    continue;
                }
                behind = None;
                if self.is_full() {
                    self.page.more = true;
                    return Ok(false);
                }
                self.bytes += key.as_str().len() + unit.bytes;
                let (key, record) = (key.as_str().to_owned(), Arc::new(unit.stored));
                self.page.entries.push(VersionEntry::Version { key, record, is_latest: latest });
            }
            if is_end {
                return Ok(true);
            }
        }
    }
}
