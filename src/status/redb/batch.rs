//! Commits inside one engine transaction: each sees what those before it wrote, and happens whole or not at all.

use ::redb::{ReadableTable, WriteTransaction};

use super::encode::Header;
use super::migrate::{meta_key, meta_row, name};
use super::read::{Range, definition};
use crate::model::{ObjectId, Seq};
use crate::status::cache::Change;
use crate::status::commit::{Expect, Write};
use crate::status::tables::{Buckets, Graves, Meta, NAMES, Objects, VERSIONS, Versions};
use crate::status::{Commit, CommitError, Committed, Revision, Stored, Table, TableKey};

type Open<'t> = ::redb::Table<'t, &'static [u8], &'static [u8]>;

/// What a commit will be answered when its batch is durable.
pub(super) type Outcome = Result<Committed, CommitError>;

/// What grows with commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub revision: Revision,
    pub seq: Seq,
    pub clock_ms: u64,
}

impl Counts {
    fn after(self, commit: &Commit) -> Self {
        Self {
            revision: Revision(self.revision.0 + 1),
            seq: Seq(self.seq.0 + commit.events.len() as u64),
            clock_ms: self.clock_ms.max(commit.clock_ms),
        }
    }
}

pub(super) struct Batch<'t> {
    txn: &'t WriteTransaction,
    /// Opened when first needed: opening is a look-up, and closing a changed one a write.
    tables: [Option<Open<'t>>; NAMES.len()],
    before: Counts,
    counts: Counts,
    changes: Vec<Change>,
    buffer: Vec<u8>,
}

impl<'t> Batch<'t> {
    pub fn new(txn: &'t WriteTransaction, counts: Counts) -> Self {
        let tables = std::array::from_fn(|_| None);
        Self { txn, tables, before: counts, counts, changes: Vec::new(), buffer: Vec::new() }
    }

    /// Makes a commit part of the batch, if everything it expects holds. An error is the engine's and ends the batch.
    pub fn apply(&mut self, commit: &mut Commit) -> Result<Outcome, ::redb::Error> {
        for expect in &commit.expect {
            if !self.holds(expect)? {
                return Ok(Err(CommitError::Conflict));
            }
        }
        self.counts = self.counts.after(commit);
        let told = (!commit.events.is_empty()).then_some(self.counts.seq);
        for write in &mut commit.writes {
            self.write(write, told)?;
        }
        Ok(Ok(Committed { revision: self.counts.revision, seq: self.counts.seq }))
    }

    /// Writes where the counters stand now. They ride in the batch that advanced them.
    pub fn finish(mut self) -> Result<(Counts, Vec<Change>), ::redb::Error> {
        let (now, before) = (self.counts, self.before);
        let rows = [
            (name::REVISION, before.revision.0, now.revision.0),
            (name::SEQ, before.seq.0, now.seq.0),
            (name::CLOCK_MS, before.clock_ms, now.clock_ms),
        ];
        for (name, _, value) in rows.into_iter().filter(|(_, before, now)| before != now) {
            self.table(Meta::INDEX)?.insert(&*meta_key(name), &*meta_row(value, now.revision))?;
        }
        Ok((now, self.changes))
    }

    fn holds(&mut self, expect: &Expect) -> Result<bool, ::redb::Error> {
        match expect {
            Expect::Row { table, key, revision } => Ok(self.header(*table, key)?.map(|header| header.revision) == *revision),
            Expect::Empty { table, prefix } => match Range::under(prefix, None) {
                Some(range) => Ok(self.table(*table)?.range::<&[u8]>(range.bounds())?.next().transpose()?.is_none()),
                None => Ok(true),
            },
        }
    }

    fn write(&mut self, write: &mut Write, told: Option<Seq>) -> Result<(), ::redb::Error> {
        let revision = self.counts.revision;
        let mut bytes = 0;
        let mut seq = Seq(0);
        match &write.row {
            Some(payload) => {
                seq = self.seq_of(write, told)?;
                let header = Header { version: VERSIONS[write.table], revision, seq };
                let mut buffer = std::mem::take(&mut self.buffer);
                let row = header.row(payload, &mut buffer);
                bytes = row.len();
                self.table(write.table)?.insert(&*write.key, row)?;
                self.buffer = buffer;
            }
            None => drop(self.table(write.table)?.remove(&*write.key)?),
        }
        if write.table == Objects::INDEX {
            let id = ObjectId::from_bytes(&write.key).expect("it was made from an object id");
            let row = write.record.take().map(std::sync::Arc::unwrap_or_clone);
            let now = row.map(|row| Stored { row, revision, seq }.into());
            self.changes.push(Change { id, revision, now, bytes });
        }
        Ok(())
    }

    /// Rows of units carry the seq of the last event told with them, through later commits that tell nothing.
    fn seq_of(&mut self, write: &Write, told: Option<Seq>) -> Result<Seq, ::redb::Error> {
        const OF_UNITS: [usize; 4] = [Objects::INDEX, Versions::INDEX, Graves::INDEX, Buckets::INDEX];
        if !OF_UNITS.contains(&write.table) {
            return Ok(Seq(0));
        }
        match told {
            Some(seq) => Ok(seq),
            None => Ok(self.header(write.table, &write.key)?.map_or(Seq(0), |header| header.seq)),
        }
    }

    fn header(&mut self, table: usize, key: &[u8]) -> Result<Option<Header>, ::redb::Error> {
        let Some(row) = self.table(table)?.get(key)? else { return Ok(None) };
        let corrupted = || ::redb::Error::Corrupted(format!("a row of {} holds no header", NAMES[table]));
        let (header, _) = Header::split(row.value()).ok_or_else(corrupted)?;
        Ok(Some(header))
    }

    fn table(&mut self, index: usize) -> Result<&mut Open<'t>, ::redb::Error> {
        let slot = &mut self.tables[index];
        match slot {
            Some(table) => Ok(table),
            None => Ok(slot.insert(self.txn.open_table(definition(index))?)),
        }
    }
}
