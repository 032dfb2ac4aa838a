//! Where the rows of a key's units lie: the current one, if it is no delete marker, in `objects`, all others in `versions`.
//!
//! Whoever commits names units and need not know which of them is current: that follows from their stamps, and is found
//! out here, in the transaction that changes them. A row that only moves keeps its revision and its seq.

use ::redb::{ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, Fate};
use super::encode::{Header, decode};
use super::read::Range;
use crate::model::{ObjectId, Record, Seq, SiteNumber, Slot, Stamp};
use crate::status::cache::Change;
use crate::status::commit::Write;
use crate::status::tables::{Graves, Objects, Versions};
use crate::status::{Revision, Stored, Table, TableKey};

type Result<T> = std::result::Result<T, ::redb::Error>;

/// A unit as it lies in one of the two tables.
struct Lying {
    slot: Slot,
    stored: Stored<Record>,
    /// With its header.
    row: Vec<u8>,
}

impl Lying {
    fn read(row: &[u8]) -> Result<Self> {
        let stored = decode::<Objects>(row).map_err(|err| ::redb::Error::Corrupted(err.to_string()))?;
        Ok(Self { slot: stored.row.slot(), stored, row: row.to_vec() })
    }

    /// The greatest of these is the current one.
    fn rank(&self) -> (Stamp, Slot) {
        rank(&self.stored.row)
    }
}

fn rank(record: &Record) -> (Stamp, Slot) {
    (record.vector.data, record.slot())
}

impl Batch<'_> {
    /// Whether a unit is at this revision, or absent.
    pub(super) fn unit_is_at(&mut self, object: &ObjectId, slot: Slot, revision: Option<Revision>) -> Result<bool> {
        let found = match self.top(object)?.filter(|top| top.slot == slot) {
            Some(top) => Some(top.stored.revision),
            None => self.header(Versions::INDEX, &(object.clone(), slot).to_bytes())?.map(|header| header.revision),
        };
        Ok(found == revision)
    }

    /// Writes or removes a unit, and brings the row of whichever is current by then to `objects`.
    pub(super) fn write_unit(&mut self, write: &mut Write, fate: &Fate<'_>) -> Result<()> {
        let (object, slot) = <(ObjectId, Slot)>::from_bytes(&write.key).expect("it was made from a unit");
        let record = write.record.take().map(std::sync::Arc::unwrap_or_clone);
        let top = self.top(&object)?;
        let was_top = top.as_ref().is_some_and(|top| top.slot == slot);
        let aside = self.header(Versions::INDEX, &write.key)?;
        let before = top.as_ref().filter(|_| was_top).map(|top| top.stored.seq).or(aside.map(|header| header.seq));
        let seq = self.seq_of_unit((&object, slot), before.unwrap_or(Seq(0)), record.is_some(), fate)?;
        // Nothing of the key overtakes a unit that gets newer where it is current already.
        let stays = top.as_ref().zip(record.as_ref()).is_some_and(|(top, record)| was_top && rank(record) >= top.rank());
        let rival_on_top = top.is_some() && !was_top;
        let rival = match top {
            _ if stays => None,
            Some(top) if !was_top => Some(top),
            _ => self.newest_aside(&object, slot)?,
        };
        let new = record.zip(write.row.take()).map(|(record, payload)| {
            let header = Header { version: Versions::VERSION, revision: self.counts().revision, seq };
            let row = header.row(&payload, &mut Vec::new()).to_vec();
            Lying { slot, stored: Stored { row: record, revision: header.revision, seq }, row }
        });
        let lay = Lay { object: &object, had_top: was_top || rival_on_top, rival_on_top, was_aside: aside.is_some() };
        self.arrange(lay, slot, new, rival)
    }

    /// Puts a unit, and the newest of the others of its key, where they belong.
    fn arrange(&mut self, lay: Lay<'_>, slot: Slot, new: Option<Lying>, rival: Option<Lying>) -> Result<()> {
        let new_wins = new.as_ref().map(Lying::rank) > rival.as_ref().map(Lying::rank);
        let top = if new_wins { &new } else { &rival };
        let has_top = top.as_ref().is_some_and(|top| top.stored.row.is_shown());
        planted!(MarkerShowsThrough => {
            if lay.rival_on_top && new.as_ref().is_some_and(|new| !new.stored.row.is_shown()) {
                return new.iter().try_for_each(|new| self.lay_aside(lay.object, new));
            }
        });
        if let Some(rival) = &rival {
            match (lay.rival_on_top, has_top && !new_wins) {
                (true, false) => self.lay_aside(lay.object, rival)?,
                (false, true) => self.lay_on_top(lay.object, rival, true)?,
                _ => {}
            }
        }
        match &new {
            Some(new) if has_top && new_wins => self.lay_on_top(lay.object, new, lay.was_aside)?,
            Some(new) => self.lay_aside(lay.object, new)?,
            None if lay.was_aside => self.remove(Versions::INDEX, &(lay.object.clone(), slot).to_bytes())?,
            None => {}
        }
        if !has_top && lay.had_top {
            self.remove(Objects::INDEX, &lay.object.to_bytes())?;
            self.change(Change { id: lay.object.clone(), revision: self.counts().revision, now: None, bytes: 0 });
        }
        Ok(())
    }

    fn lay_aside(&mut self, object: &ObjectId, unit: &Lying) -> Result<()> {
        let key = (object.clone(), unit.slot).to_bytes();
        self.insert(Versions::INDEX, &key, &unit.row)?;
        self.archive(Versions::INDEX, &key, &unit.row);
        Ok(())
    }

    fn lay_on_top(&mut self, object: &ObjectId, unit: &Lying, was_aside: bool) -> Result<()> {
        if was_aside {
            self.remove(Versions::INDEX, &(object.clone(), unit.slot).to_bytes())?;
        }
        let key = object.to_bytes();
        self.insert(Objects::INDEX, &key, &unit.row)?;
        self.archive(Objects::INDEX, &key, &unit.row);
        let (revision, now) = (self.counts().revision, Some(unit.stored.clone().into()));
        self.change(Change { id: object.clone(), revision, now, bytes: unit.row.len() });
        Ok(())
    }

    /// The unit in `objects`.
    fn top(&mut self, object: &ObjectId) -> Result<Option<Lying>> {
        let row = self.table(Objects::INDEX)?.get(&*object.to_bytes())?.map(|row| row.value().to_vec());
        row.map(|row| Lying::read(&row)).transpose()
    }

    /// The newest unit in `versions` but this one: the first of the versions, which lie newest first, or the null version.
    fn newest_aside(&mut self, object: &ObjectId, but: Slot) -> Result<Option<Lying>> {
        let table = self.table(Versions::INDEX)?;
        if ReadableTableMetadata::is_empty(table)? {
            return Ok(None);
        }
        let mut newest: Option<Lying> = None;
        let Some(range) = Range::under(&(object.clone(), ()).to_bytes(), None) else { return Ok(None) };
        for found in table.range::<&[u8]>(range.bounds())?.take(UNITS_ABOVE_OTHERS) {
            let unit = Lying::read(found?.1.value())?;
            let is_newer = |newest: &Lying| {
                planted!(OldestPromoted => {
                    return unit.rank() < newest.rank();
                });
                unit.rank() > newest.rank()
            };
            if unit.slot != but && newest.as_ref().is_none_or(is_newer) {
                newest = Some(unit);
            }
        }
        Ok(newest)
    }

    /// The seq that a unit's row is to carry, `before` being that of the row it replaces. What was told with that row is void.
    fn seq_of_unit(&mut self, unit: (&ObjectId, Slot), before: Seq, is_live: bool, fate: &Fate<'_>) -> Result<Seq> {
        match fate {
            Fate::Told { seq, void } => {
                self.void(before, void)?;
                Ok(*seq)
            }
            // What goes has none.
            Fate::Superseded { .. } if !is_live => Ok(Seq(0)),
            Fate::Superseded { known } => {
                let (object, slot) = unit;
                let buried = self.header(Graves::INDEX, &(object.clone(), slot).to_bytes())?;
                self.still_owed(before.max(buried.map_or(Seq(0), |header| header.seq)), known)
            }
            Fate::Kept => Ok(before),
        }
    }

    /// The seq of a unit's row, wherever that lies.
    pub(super) fn seq_of_live(&mut self, object: &ObjectId, slot: Slot) -> Result<Seq> {
        if let Some(top) = self.top(object)?.filter(|top| top.slot == slot) {
            return Ok(top.stored.seq);
        }
        Ok(self.header(Versions::INDEX, &(object.clone(), slot).to_bytes())?.map_or(Seq(0), |header| header.seq))
    }

    pub(super) fn void(&mut self, before: Seq, sites: &[SiteNumber]) -> Result<()> {
        for site in sites.iter().filter(|_| before > Seq(0)) {
            self.remove(crate::status::tables::Pending::INDEX, &(*site, before).to_bytes())?;
        }
        Ok(())
    }
}

/// Rows among which the newest unit but one is, in the order of their keys: the null version, and the two newest others.
pub(super) const UNITS_ABOVE_OTHERS: usize = 3;

/// How the units of a key lie before one of them changes.
struct Lay<'a> {
    object: &'a ObjectId,
    /// Whether there is a row in `objects`.
    had_top: bool,
    /// Whether it is that of the newest of the others.
    rival_on_top: bool,
    /// Whether the unit that changes has a row in `versions`.
    was_aside: bool,
}
