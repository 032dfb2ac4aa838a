//! A LIST in one snapshot. What a delimiter rolls up is stepped over by a seek, never by a scan, so that a page costs as
//! many look-ups as it has entries.

use std::sync::Arc;

use super::encode::{decode, successor};
use super::read::{PAGE_BYTES_MAX, Range, Rows, engine};
use crate::status::tables::Objects;
use crate::status::{ListEntry, ListPage, ListQuery, ReadError, Table};

/// Most entries of a page.
const ENTRIES_MAX: usize = 1_000;

/// One page of the objects table.
pub(super) fn list(objects: &Rows, query: &ListQuery) -> Result<ListPage, ReadError> {
    let scope = Scope::of(query);
    let mut page = ListPage::default();
    let mut left = scope.first(query.after.as_deref());
    let entries_max = query.entries_max.min(ENTRIES_MAX);
    if entries_max == 0 {
        return Ok(page);
    }
    let mut bytes = 0;
    'seek: while let Some(range) = left.take() {
        for row in objects.range::<&[u8]>(range.bounds()).map_err(engine)? {
            let (key, value) = row.map_err(engine)?;
            if page.entries.len() == entries_max || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                return Ok(page);
            }
            let key = scope.text(key.value())?;
            bytes += key.len() + value.value().len();
            if let Some(common) = scope.common_prefix(key) {
                page.entries.push(ListEntry::CommonPrefix(common.to_owned()));
                left = scope.behind(common, range);
                continue 'seek;
            }
            let record = Arc::new(decode::<Objects>(value.value())?);
            page.entries.push(ListEntry::Object { key: key.to_owned(), record });
        }
    }
    Ok(page)
}

/// The part of a bucket that a query speaks of.
pub(super) struct Scope<'a> {
    /// With which every row key of the bucket begins.
    bucket: Vec<u8>,
    prefix: &'a str,
    delimiter: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub fn of(query: &'a ListQuery) -> Self {
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        Self { bucket: query.bucket.to_bytes_with_end(), prefix: &query.prefix, delimiter }
    }

    /// With which keys of `objects` begin that begin with this text.
    pub fn row_key(&self, text: &str) -> Vec<u8> {
        [&self.bucket, text.as_bytes()].concat()
    }

    /// The same of `versions`, where something stands behind a key.
    pub fn escaped(&self, text: &str) -> Vec<u8> {
        let mut row_key = self.bucket.clone();
        crate::status::key::write_open_text(text, &mut row_key);
        row_key
    }

    /// Rows after `after`; where that lies in a common prefix, those behind the whole of it.
    fn first(&self, after: Option<&str>) -> Option<Range> {
        let range = Range::under(&self.row_key(self.prefix), after.map(|after| self.row_key(after)).as_deref())?;
        match after.and_then(|after| self.common_prefix(after)) {
            Some(common) => self.behind(common, range),
            None => Some(range),
        }
    }

    /// What is left of `range` behind everything that begins with `common`.
    fn behind(&self, common: &str, range: Range) -> Option<Range> {
        successor(&self.row_key(common)).and_then(|next| range.from(next))
    }

    /// Up to which a text that begins with the prefix is rolled up, if it is.
    pub fn common_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (rest, delimiter) = (text.strip_prefix(self.prefix)?, self.delimiter?);
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        Some(&text[..end])
    }

    /// The object's key in a row key of this bucket.
    fn text<'k>(&self, row_key: &'k [u8]) -> Result<&'k str, ReadError> {
        let text = row_key.strip_prefix(&*self.bucket).and_then(|text| std::str::from_utf8(text).ok());
        text.ok_or_else(|| ReadError::Row { table: Objects::NAME, reason: format!("its key {row_key:02x?} is not one") })
    }
}
