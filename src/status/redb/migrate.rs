//! What a store says of itself when it is opened: its schema, and the facts that outlive a process.

use ::redb::{Database, ReadableDatabase, TableError, TableHandle, WriteTransaction};

use super::encode::{Header, decode};
use super::read::definition;
use crate::model::{AHEAD_MS_MAX, Incarnation, Seq};
use crate::status::tables::{Meta, NAMES};
use crate::status::{Revision, Table, TableKey};

/// The schema this program writes. It knows how to come here from every one before, and refuses what is newer.
pub(super) const SCHEMA: u64 = 3;

/// Greatest start: it has 24 bits in a write id.
const START_MAX: u64 = (1 << 24) - 1;

/// Rows of `meta`. On disk for ever.
pub(super) mod name {
    pub const SCHEMA: &str = "schema";
    pub const REVISION: &str = "revision";
    pub const SEQ: &str = "seq";
    pub const CLOCK_MS: &str = "clock_ms";
    pub const INCARNATION: &str = "incarnation";
    pub const START: &str = "start";
    pub const ESTABLISHED: &str = "established";
    pub const OUTLIVED_LIFE: &str = "outlived.life";
    pub const OUTLIVED_SEQ: &str = "outlived.seq";
}

/// What was true when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// This life of the site's data: with `start` it makes write ids unique.
    pub incarnation: Incarnation,
    /// How often this store was opened, this time included.
    pub start: u32,
    /// Greatest millisecond of a stamp that was committed: the clock starts above it.
    pub clock_ms: u64,
    /// The last event told.
    pub seq: Seq,
    pub revision: Revision,
    /// The last life in which it came to have all that there is: in a later one an absence proves nothing yet.
    pub established: Incarnation,
    /// A life and seq of this site that another one knew, and this store did not.
    pub outlived: Option<(Incarnation, Seq)>,
}

/// A life to begin, and what the ones before it are known to have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLife {
    pub incarnation: Incarnation,
    /// A millisecond of their stamps, where one is known.
    pub clock_ms: u64,
    /// The last event of one of them, where one is known: a site that told nothing would be taken for one that has nothing.
    pub seq: Seq,
}

/// The store is not one that this program can open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it has schema {found}, this program knows up to {SCHEMA}; start the version that wrote it, or a newer one")]
    Newer { found: u64 },
    #[error("it is not a status store: it holds a table `{table}`")]
    Foreign { table: String },
    #[error("row `{name}` of `meta` is missing or cannot be read")]
    Damaged { name: &'static str },
    #[error("it was opened {START_MAX} times, and write ids have no room for more")]
    WornOut,
    #[error(transparent)]
    Engine(#[from] ::redb::Error),
}

/// Makes the tables of a new store that nobody has opened yet. Durable when it returns.
pub(super) fn make(db: &Database, now_s: u32) -> Result<(), Refused> {
    write_facts(db, &unopened(now_s))
}

/// Makes what is missing, brings an old store up to date, and counts this start. Durable when it returns.
pub(super) fn prepare(db: &Database, now_s: u32, new_life: Option<NewLife>) -> Result<Facts, Refused> {
    let before = read_facts(db)?.unwrap_or_else(|| unopened(now_s));
    let mut facts = Facts { start: before.start + 1, ..before };
    if let Some(life) = new_life.filter(|life| life.incarnation > facts.incarnation) {
        // Stamps of the life before may be ahead of this clock by as much as others let a clock be.
        let clock_ms = facts.clock_ms.max(life.clock_ms) + AHEAD_MS_MAX;
        (facts.incarnation, facts.clock_ms) = (life.incarnation, clock_ms);
        facts.seq = facts.seq.max(life.seq);
    }
    if u64::from(facts.start) > START_MAX {
        return Err(Refused::WornOut);
    }
    write_facts(db, &facts)?;
    Ok(facts)
}

/// A new store. Its incarnation is the second it was made in, so that one made later has a greater one.
fn unopened(now_s: u32) -> Facts {
    let incarnation = Incarnation(now_s.max(1));
    let (seq, revision, established) = (Seq(0), Revision(0), Incarnation(0));
    Facts { incarnation, start: 0, clock_ms: 0, seq, revision, established, outlived: None }
}

/// `None`: the store is new.
fn read_facts(db: &Database) -> Result<Option<Facts>, Refused> {
    let txn = db.begin_read().map_err(::redb::Error::from)?;
    let meta = match txn.open_table(definition(Meta::INDEX)) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return none_unless_foreign(&txn),
        Err(err) => return Err(::redb::Error::from(err).into()),
    };
    let found = number(&meta, name::SCHEMA)?;
    if found > SCHEMA {
        return Err(Refused::Newer { found });
    }
    let narrow = |name| u32::try_from(number(&meta, name)?).map_err(|_| Refused::Damaged { name });
    let incarnation = Incarnation(narrow(name::INCARNATION)?);
    // A store from before there was this row belonged to a lone site, which has all that there is.
    let established = optional(&meta, name::ESTABLISHED)?.map(|life| Incarnation(u32::try_from(life).unwrap_or_default()));
    let outlived_life = optional(&meta, name::OUTLIVED_LIFE)?.and_then(|life| u32::try_from(life).ok());
    let outlived_seq = optional(&meta, name::OUTLIVED_SEQ)?;
    Ok(Some(Facts {
        incarnation,
        established: established.unwrap_or(incarnation),
        start: narrow(name::START)?,
        clock_ms: number(&meta, name::CLOCK_MS)?,
        seq: Seq(number(&meta, name::SEQ)?),
        revision: Revision(number(&meta, name::REVISION)?),
        outlived: outlived_life.zip(outlived_seq).map(|(life, seq)| (Incarnation(life), Seq(seq))),
    }))
}

/// Our first transaction makes every table, so a file with some but without `meta` is somebody else's.
fn none_unless_foreign(txn: &::redb::ReadTransaction) -> Result<Option<Facts>, Refused> {
    match txn.list_tables().map_err(::redb::Error::from)?.next() {
        Some(table) => Err(Refused::Foreign { table: table.name().to_owned() }),
        None => Ok(None),
    }
}

fn number(meta: &super::read::Rows, name: &'static str) -> Result<u64, Refused> {
    optional(meta, name)?.ok_or(Refused::Damaged { name })
}

fn optional(meta: &super::read::Rows, name: &'static str) -> Result<Option<u64>, Refused> {
    let Some(row) = meta.get(&*meta_key(name)).map_err(::redb::Error::from)? else { return Ok(None) };
    let stored = decode::<Meta>(row.value()).map_err(|_| Refused::Damaged { name })?;
    Ok(Some(stored.row))
}

/// The encoded key of a fact.
pub(super) fn meta_key(name: &str) -> Vec<u8> {
    name.to_owned().to_bytes()
}

/// A fact as a row.
pub(super) fn meta_row(value: u64, revision: Revision) -> Vec<u8> {
    let header = Header { version: Meta::VERSION, revision, seq: Seq(0) };
    header.row(&Meta::encode(&value), &mut Vec::new()).to_vec()
}

fn write_facts(db: &Database, facts: &Facts) -> Result<(), Refused> {
    let mut txn = db.begin_write().map_err(::redb::Error::from)?;
    txn.set_quick_repair(true);
    fill(&txn, facts)?;
    txn.commit().map_err(::redb::Error::from)?;
    Ok(())
}

fn fill(txn: &WriteTransaction, facts: &Facts) -> Result<(), ::redb::Error> {
    for index in 0..NAMES.len() {
        txn.open_table(definition(index))?;
    }
    let mut meta = txn.open_table(definition(Meta::INDEX))?;
    let rows = [
        (name::SCHEMA, SCHEMA),
        (name::REVISION, facts.revision.0),
        (name::SEQ, facts.seq.0),
        (name::CLOCK_MS, facts.clock_ms),
        (name::INCARNATION, facts.incarnation.0.into()),
        (name::START, facts.start.into()),
        (name::ESTABLISHED, facts.established.0.into()),
    ];
    for (name, value) in rows {
        meta.insert(&*meta_key(name), &*meta_row(value, facts.revision))?;
    }
    Ok(())
}
