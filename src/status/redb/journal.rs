//! What the last commits wrote of units, in memory until somebody archives it, and what was written since a revision, for
//! whoever has lost his place (protocol §3, "Journal").
//!
//! Only rows that are there: what took an object away is its grave, and of a part map the record says how long it is.

use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use super::encode::{Header, decode, decode_key};
use super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, Snapshot, engine};
use crate::status::tables::{Buckets, Graves, NAMES, Objects, PartMaps, Versions};
use crate::status::{ReadError, Revision, Stored, Table};

/// Tables of which a lost store is rebuilt, in the order in which their rows need each other.
pub(super) const ARCHIVED: [usize; 5] = [Buckets::INDEX, Graves::INDEX, Objects::INDEX, Versions::INDEX, PartMaps::INDEX];

/// Bytes that may wait to be archived; past them they are dropped, and found again by their revisions.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes that are worth archiving before their time: about half of them are replaced by what follows.
const FILLED_BYTES: usize = 8 << 20;

/// A key and its row.
pub type Keyed<T> = (<T as Table>::Key, Stored<<T as Table>::Row>);

/// A row as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow {
    pub table: usize,
    pub key: Vec<u8>,
    /// With its header.
    pub row: Vec<u8>,
}

impl RawRow {
    /// Key and row, if it is of table `T`.
    pub fn decode<T: Table>(&self) -> Option<Result<Keyed<T>, ReadError>> {
        let decoded = || Ok((decode_key::<T>(&self.key)?, decode::<T>(&self.row)?));
        (self.table == T::INDEX).then(decoded)
    }

    /// Takes a row off the front of what [`RawRow::write`] wrote; `None` if it is something else.
    pub fn read(from: &mut &[u8]) -> Option<Self> {
        let ([table], rest) = from.split_first_chunk::<1>()?;
        let (key, rest) = rest.split_first_chunk::<4>()?;
        let (row, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*row) as usize)?;
        let is_known = usize::from(*table) < NAMES.len();
        *from = rest;
        is_known.then(|| Self { table: usize::from(*table), key: key.to_vec(), row: row.to_vec() })
    }

    /// Appends it as one that [`RawRow::read`] reads. Tables are numbered by their index, in archives for ever.
    pub fn write(table: usize, key: &[u8], row: &[u8], to: &mut Vec<u8>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and rows are small").to_le_bytes();
        to.push(u8::try_from(table).expect("there are few tables"));
        to.extend_from_slice(&length(key));
        to.extend_from_slice(&length(row));
        to.extend_from_slice(key);
        to.extend_from_slice(row);
    }
}

/// What waited.
#[derive(Debug, Default)]
pub struct Taken {
    /// Everything that was committed after this...
    pub after: Revision,
    /// ...up to this is in `batches`.
    pub upto: Revision,
    /// Rows as [`RawRow::write`] wrote them, oldest first.
    pub batches: Vec<Vec<u8>>,
}

/// Rows that were found, and from where to go on.
#[derive(Debug)]
pub struct Scanned {
    pub rows: Vec<RawRow>,
    /// None at the end.
    pub next: Option<Place>,
}

/// A row up to which tables were looked through.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Position in [`ARCHIVED`].
    table: usize,
    after: Option<Vec<u8>>,
}

/// What waits to be archived.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// None while nobody keeps one.
    waiting: Mutex<Option<Waiting>>,
    filled: Notify,
}

#[derive(Debug)]
struct Waiting {
    after: Revision,
    upto: Revision,
    batches: Vec<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Journal {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().expect("nothing panics while it holds the journal")
    }

    /// What is committed after `visible` waits here from now on.
    pub fn keep(&self, visible: Revision) {
        let begun = Waiting { after: visible, upto: visible, batches: Vec::new(), bytes: 0, dropped: 0 };
        self.waiting().get_or_insert(begun);
    }

    /// A batch is durable and visible. One memcpy was all that it cost.
    pub fn push(&self, revision: Revision, rows: Vec<u8>) {
        let mut waiting = self.waiting();
        // Who began to keep it after the batch became visible does not wait for it.
        let Some(waiting) = waiting.as_mut().filter(|waiting| revision > waiting.upto) else { return };
        waiting.upto = revision;
        if waiting.bytes + rows.len() > WAITING_BYTES_MAX {
            let batches = std::mem::take(&mut waiting.batches).len() as u64;
            (waiting.after, waiting.bytes, waiting.dropped) = (revision, 0, waiting.dropped + batches + 1);
            return self.filled.notify_one();
        }
        if !rows.is_empty() {
            waiting.bytes += rows.len();
            waiting.batches.push(rows);
        }
        if waiting.bytes >= FILLED_BYTES {
            self.filled.notify_one();
        }
    }

    pub fn take(&self) -> Taken {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return Taken::default() };
        let taken = Taken { after: waiting.after, upto: waiting.upto, batches: std::mem::take(&mut waiting.batches) };
        (waiting.after, waiting.bytes) = (waiting.upto, 0);
        taken
    }

    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Bytes that wait, and batches that were dropped since there was no room.
    pub fn count(&self) -> (usize, u64) {
        self.waiting().as_ref().map_or((0, 0), |waiting| (waiting.bytes, waiting.dropped))
    }
}

/// Rows written after `since`, a bounded look from `place` on.
pub(super) fn scan(snapshot: &Snapshot, since: Revision, place: Place) -> Result<Scanned, ReadError> {
    let Some(table) = ARCHIVED.get(place.table).copied() else { return Ok(Scanned { rows: Vec::new(), next: None }) };
    let from = place.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let (mut rows, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    for found in snapshot.raw(table)?.range::<&[u8]>((from, Bound::Unbounded)).map_err(engine)? {
        let (key, row) = found.map_err(engine)?;
        let (key, row) = (key.value(), row.value());
        let header = Header::split(row).map(|(header, _)| header);
        let header = header.ok_or_else(|| ReadError::Row { table: NAMES[table], reason: "it holds no header".into() })?;
        if header.revision > since {
            rows.push(RawRow { table, key: key.to_vec(), row: row.to_vec() });
        }
        (bytes, looked_at) = (bytes + row.len(), looked_at + 1);
        if looked_at >= PAGE_ROWS_MAX || bytes >= PAGE_BYTES_MAX {
            return Ok(Scanned { rows, next: Some(Place { table: place.table, after: Some(key.to_vec()) }) });
        }
    }
    Ok(Scanned { rows, next: Some(Place { table: place.table + 1, after: None }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_written_and_half_of_one_does_not() {
        let rows = [(Objects::INDEX, &b"key"[..], &b"row"[..]), (Graves::INDEX, b"", b""), (Buckets::INDEX, b"k", &[7; 70_000])];
        let mut bytes = Vec::new();
        rows.iter().for_each(|(table, key, row)| RawRow::write(*table, key, row, &mut bytes));
        let mut rest = &bytes[..];
        for (table, key, row) in rows {
            assert_eq!(RawRow::read(&mut rest), Some(RawRow { table, key: key.into(), row: row.into() }));
        }
        assert!(rest.is_empty());
        assert_eq!(RawRow::read(&mut &bytes[..14]), None);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_its_place_is_known() {
        let journal = Journal::default();
        journal.push(Revision(1), vec![1]);
        assert_eq!(journal.take().batches.len(), 0, "nobody keeps it");
        journal.keep(Revision(2));
        journal.push(Revision(2), vec![2]);
        journal.push(Revision(4), vec![4]);
        journal.push(Revision(5), Vec::new());
        let taken = journal.take();
        assert_eq!((taken.after, taken.upto, taken.batches), (Revision(2), Revision(5), vec![vec![4]]));
        journal.push(Revision(6), vec![6]);
        journal.push(Revision(7), vec![0; WAITING_BYTES_MAX]);
        journal.push(Revision(8), vec![8]);
        let taken = journal.take();
        assert_eq!((taken.after, taken.upto, taken.batches), (Revision(7), Revision(8), vec![vec![8]]));
        assert_eq!(journal.count(), (0, 2));
    }
}
