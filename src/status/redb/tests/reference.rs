//! The store as it is promised: a map of units, from which follows everything that tables, cache and listings answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Binding, ObjectId, Record, Seq, SiteNumber, Slot, Stamp, State, Vector};
use crate::status::{ListQuery, Revision, Stored, TableKey, VersionEntry, VersionsQuery};

/// Who is told, at most.
pub(super) const SITES: [SiteNumber; 2] = [SiteNumber(2), SiteNumber(3)];

/// A row: what its record says of itself, and its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Of its write.
    pub number: u64,
    pub stamp: Stamp,
    pub state: State,
    pub revision: Revision,
    pub seq: Seq,
}

impl Row {
    pub fn of(stored: &Stored<Record>) -> Self {
        let (record, revision, seq) = (&stored.row, stored.revision, stored.seq);
        Self { number: record.identity.size, stamp: record.vector.data, state: record.state, revision, seq }
    }
}

/// What a commit does to one unit.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub unit: (ObjectId, Slot),
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Put {
        number: u64,
        stamp: Stamp,
        state: State,
    },
    Delete,
    /// Delete, and a grave in its place.
    Bury,
}

impl Kind {
    pub fn record(self, slot: Slot) -> Option<Record> {
        let Self::Put { number, stamp, state } = self else { return None };
        let versioned = slot != Slot::Null;
        let binding = if state == State::Present { super::record(number).binding } else { Binding::None };
        Some(Record { vector: Vector::of(stamp), state, versioned, binding, ..super::record(number) })
    }
}

/// What becomes of what was told.
#[derive(Clone, Debug)]
pub(super) enum Telling {
    /// So many events, which these sites are owed.
    Events {
        count: u64,
        owed: BTreeSet<SiteNumber>,
    },
    Superseding,
    Nothing,
}

/// An entry of a listing of versions: a unit and whether it is the latest, or a common prefix.
pub(super) type Listed = (String, Option<(Row, bool)>);

#[derive(Default)]
pub(super) struct Model {
    pub units: BTreeMap<(ObjectId, Slot), Row>,
    pub graves: BTreeMap<(ObjectId, Slot), Seq>,
    pub pending: BTreeSet<(SiteNumber, Seq)>,
    /// The greatest revision answered so far.
    pub revision: u64,
    pub seq: u64,
    pub commits: u64,
}

impl Model {
    /// Everything that was expected holds, and it was answered with this revision.
    pub fn apply(&mut self, writes: &[Write], telling: &Telling, revision: Revision) {
        self.revision = revision.0;
        let first = self.seq + 1;
        if let Telling::Events { count, .. } = telling {
            self.seq += count;
        }
        for Write { unit, kind } in writes {
            let (live, grave) = (self.units.get(unit).map(|row| row.seq), self.graves.get(unit).copied());
            let (own, other) = if matches!(kind, Kind::Bury) { (grave, live) } else { (live, grave) };
            let seq = self.seq_of(own, other, telling);
            let no_row = matches!(kind, Kind::Delete);
            self.void([live, grave.filter(|_| !no_row)], telling);
            match *kind {
                Kind::Put { number, stamp, state } => {
                    self.units.insert(unit.clone(), Row { number, stamp, state, revision, seq });
                    self.graves.remove(unit);
                }
                Kind::Delete => drop(self.units.remove(unit)),
                Kind::Bury => {
                    self.units.remove(unit);
                    self.graves.insert(unit.clone(), seq);
                }
            }
        }
        if let Telling::Events { owed, .. } = telling {
            self.pending.extend((first..=self.seq).flat_map(|seq| owed.iter().map(move |site| (*site, Seq(seq)))));
        }
    }

    /// What a unit's new row carries, `own` being the seq of the row whose place it takes.
    fn seq_of(&self, own: Option<Seq>, other: Option<Seq>, telling: &Telling) -> Seq {
        let own = own.unwrap_or(Seq(0));
        match telling {
            Telling::Events { .. } => Seq(self.seq),
            Telling::Nothing => own,
            Telling::Superseding => {
                let before = own.max(other.unwrap_or(Seq(0)));
                let is_owed = SITES.iter().any(|site| self.pending.contains(&(*site, before)));
                if is_owed { before } else { Seq(0) }
            }
        }
    }

    /// Whoever tells a unit anew takes back what was told of its rows, and nothing else.
    fn void(&mut self, rows: [Option<Seq>; 2], telling: &Telling) {
        if matches!(telling, Telling::Events { .. }) {
            self.pending.retain(|(_, seq)| !rows.contains(&Some(*seq)));
        }
    }

    /// Keys that have units.
    pub fn ids(&self) -> Vec<ObjectId> {
        let ids: BTreeSet<_> = self.units.keys().map(|(id, _)| id.clone()).collect();
        ids.into_iter().collect()
    }

    /// The units of a key, newest first.
    pub fn of(&self, id: &ObjectId) -> Vec<(Slot, Row)> {
        let all = (id.clone(), Slot::Null)..;
        let units = self.units.range(all).take_while(|((of, _), _)| of == id);
        let mut units: Vec<_> = units.map(|((_, slot), row)| (*slot, *row)).collect();
        units.sort_by_key(|(_, row)| std::cmp::Reverse(row.stamp));
        units
    }

    /// What LIST, HEAD and GET see of a key.
    pub fn shown(&self, id: &ObjectId) -> Option<Row> {
        self.of(id).first().map(|(_, row)| *row).filter(|row| row.state != State::Marker)
    }

    /// The units of a key that are not in `objects`, newest first.
    pub fn aside(&self, id: &ObjectId) -> Vec<(Slot, Row)> {
        self.of(id).split_off(usize::from(self.shown(id).is_some()))
    }

    /// The table `objects`.
    pub fn objects(&self) -> BTreeMap<Vec<u8>, Row> {
        self.ids().iter().filter_map(|id| Some((id.to_bytes(), self.shown(id)?))).collect()
    }

    /// The table `versions`.
    pub fn versions(&self) -> BTreeMap<Vec<u8>, Row> {
        let rows = |id: ObjectId| self.aside(&id).into_iter().map(move |(slot, row)| ((id.clone(), slot).to_bytes(), row));
        self.ids().into_iter().flat_map(rows).collect()
    }

    /// The keys of a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<ObjectId> {
        self.ids().into_iter().filter(|id| id.bucket.as_str() == bucket).collect()
    }

    /// A listing by its definition.
    pub fn list(&self, query: &ListQuery) -> (Vec<(String, Option<Row>)>, bool) {
        let mut entries = Vec::new();
        for id in self.keys(query.bucket.as_str()) {
            let (Some(row), Some(rolled)) = (self.shown(&id), roll_up(query, id.key.as_str())) else { continue };
            let entry = (rolled.clone().unwrap_or(id.key.as_str().to_owned()), rolled.is_none().then_some(row));
            let after = query.after.as_ref().is_none_or(|after| entry.0.as_bytes() > after.as_bytes());
            if after && entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        cut(entries, query.entries_max)
    }

    /// A listing of versions by its definition.
    pub fn list_versions(&self, query: &VersionsQuery) -> (Vec<Listed>, bool) {
        let mut entries: Vec<Listed> = Vec::new();
        let after = query.keys.after.as_deref();
        for id in self.keys(query.keys.bucket.as_str()) {
            let key = id.key.as_str().to_owned();
            let Some(rolled) = roll_up(&query.keys, &key) else { continue };
            let behind = |text: &str| after.is_none_or(|after| text.as_bytes() > after.as_bytes());
            if let Some(common) = rolled {
                let entry = (common, None);
                if behind(&entry.0) && entries.last() != Some(&entry) {
                    entries.push(entry);
                }
                continue;
            }
            let older_than = query.after_version.filter(|_| after == Some(&key));
            if older_than.is_none() && !behind(&key) {
                continue;
            }
            let units = self.of(&id);
            // A null version that is gone hides nothing.
            let end = older_than.and_then(|slot| match slot {
                Slot::Version(stamp) => Some(stamp),
                Slot::Null => self.units.get(&(id.clone(), Slot::Null)).map(|row| row.stamp),
            });
            let units = units.into_iter().enumerate().filter(|(_, (_, row))| end.is_none_or(|end| row.stamp < end));
            entries.extend(units.map(|(place, (_, row))| (key.clone(), Some((row, place == 0)))));
        }
        cut(entries, query.keys.entries_max)
    }
}

/// `None`: the query does not speak of this key. Else what it is rolled up to, if it is.
fn roll_up(query: &ListQuery, key: &str) -> Option<Option<String>> {
    let rest = key.strip_prefix(&query.prefix)?;
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let rolled = delimiter.and_then(|delimiter| Some((rest.split_once(delimiter)?.0, delimiter)));
    Some(rolled.map(|(head, delimiter)| format!("{}{head}{delimiter}", query.prefix)))
}

fn cut<T>(mut entries: Vec<T>, entries_max: usize) -> (Vec<T>, bool) {
    let more = entries_max > 0 && entries.len() > entries_max;
    entries.truncate(entries_max);
    (entries, more)
}

/// An entry as the model names it.
pub(super) fn listed(entry: &VersionEntry) -> Listed {
    match entry {
        VersionEntry::Version { key, record, is_latest } => (key.clone(), Some((Row::of(record), *is_latest))),
        VersionEntry::CommonPrefix(prefix) => (prefix.clone(), None),
    }
}
