//! Look-ups in one snapshot. Everything here blocks: it runs on the blocking pool, in read transactions that end with
//! their page, since an open one keeps the file from reusing pages.

use std::ops::Bound;

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use super::encode::{decode, decode_key, successor};
use crate::status::tables::NAMES;
use crate::status::{Page, ReadError, Stored, Table};

/// Most rows of one page.
pub(super) const PAGE_ROWS_MAX: usize = 10_000;

/// Encoded bytes after which a page ends early, `more` being said: 10,000 rows of 64 KiB would be all our memory.
pub(super) const PAGE_BYTES_MAX: usize = 4 << 20;

/// How redb sees every table: raw bytes, so that its own type names never change under us.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// An open table of a snapshot.
pub(super) type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The table at an index.
pub(super) fn definition(index: usize) -> Definition {
    TableDefinition::new(NAMES[index])
}

/// Any failure of the engine, while reading.
pub(super) fn engine(err: impl Into<::redb::Error>) -> ReadError {
    ReadError::Engine(err.into().to_string())
}

/// One state of the store.
pub(super) struct Snapshot(ReadTransaction);

impl Snapshot {
    pub fn of(db: &Database) -> Result<Self, ReadError> {
        db.begin_read().map(Self).map_err(engine)
    }

    pub fn rows<T: Table>(&self) -> Result<Rows, ReadError> {
        self.0.open_table(definition(T::INDEX)).map_err(engine)
    }

    /// The table at an index.
    pub fn raw(&self, table: usize) -> Result<Rows, ReadError> {
        self.0.open_table(definition(table)).map_err(engine)
    }

    /// The row of an encoded key and its bytes on disk.
    pub fn get<T: Table>(&self, key: &[u8]) -> Result<Option<Read<T::Row>>, ReadError> {
        let Some(row) = self.rows::<T>()?.get(key).map_err(engine)? else { return Ok(None) };
        let bytes = row.value();
        Ok(Some(Read { stored: decode::<T>(bytes)?, bytes: bytes.len() }))
    }

    /// The rows of encoded keys, in their order.
    pub fn get_many<T: Table>(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Stored<T::Row>>>, ReadError> {
        let rows = self.rows::<T>()?;
        let get = |key: &Vec<u8>| rows.get(&**key).map_err(engine)?.map(|row| decode::<T>(row.value())).transpose();
        keys.iter().map(get).collect()
    }

    /// Rows of a table: the engine keeps their number.
    pub fn len<T: Table>(&self) -> Result<u64, ReadError> {
        self.rows::<T>()?.len().map_err(engine)
    }

    /// Rows whose encoded key begins with `prefix`, `rows_max` at the most.
    pub fn count<T: Table>(&self, prefix: &[u8], rows_max: usize) -> Result<u64, ReadError> {
        let Some(range) = Range::under(prefix, None) else { return Ok(0) };
        let mut rows = self.rows::<T>()?.range::<&[u8]>(range.bounds()).map_err(engine)?;
        rows.by_ref().take(rows_max).try_fold(0, |count, row| row.map(|_| count + 1)).map_err(engine)
    }

    /// At most `rows_max` rows whose encoded key begins with `prefix`, after the encoded key `after`.
    pub fn page<T: Table>(&self, prefix: &[u8], after: Option<&[u8]>, rows_max: usize) -> Result<Page<T>, ReadError> {
        self.page_of(Range::under(prefix, after), rows_max)
    }

    /// At most `rows_max` rows of a range.
    pub fn page_of<T: Table>(&self, range: Option<Range>, rows_max: usize) -> Result<Page<T>, ReadError> {
        let mut page = Page { rows: Vec::new(), more: false };
        let Some(range) = range else { return Ok(page) };
        let mut bytes = 0;
        for row in self.rows::<T>()?.range::<&[u8]>(range.bounds()).map_err(engine)? {
            let (key, value) = row.map_err(engine)?;
            if page.rows.len() >= rows_max.min(PAGE_ROWS_MAX) || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += key.value().len() + value.value().len();
            page.rows.push((decode_key::<T>(key.value())?, decode::<T>(value.value())?));
        }
        Ok(page)
    }
}

/// A row and how large it is.
pub(super) struct Read<R> {
    pub stored: Stored<R>,
    /// On disk, header included.
    pub bytes: usize,
}

/// A range of encoded keys that is not empty by its bounds.
pub(super) struct Range {
    pub from: Bound<Vec<u8>>,
    pub to: Bound<Vec<u8>>,
}

impl Range {
    /// Keys that begin with `prefix` and are greater than `after`; `None` where no key can be.
    pub fn under(prefix: &[u8], after: Option<&[u8]>) -> Option<Self> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let to = successor(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { from, to }.unless_empty()
    }

    /// Keys that begin with `prefix`, from the key `from` on and before the key `to`, where they are given.
    pub fn between(prefix: &[u8], from: Option<Vec<u8>>, to: Option<Vec<u8>>) -> Option<Self> {
        let Self { from: first, to: end } = Self::under(prefix, None)?;
        Self { from: from.map_or(first, Bound::Included), to: to.map_or(end, Bound::Excluded) }.unless_empty()
    }

    /// What is left of it from the key `from` on.
    pub fn from(self, from: Vec<u8>) -> Option<Self> {
        Self { from: Bound::Included(from), to: self.to }.unless_empty()
    }

    /// The engine panics when asked for a range that ends before it begins.
    fn unless_empty(self) -> Option<Self> {
        let empty = match (&self.from, &self.to) {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        (!empty).then_some(self)
    }

    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice))
    }
}
