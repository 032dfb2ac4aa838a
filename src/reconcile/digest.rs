//! What a site has in a range of keys, as rows and as a digest that two sites compare to prove that they are equal.
//!
//! A digest is the *sum* of its rows' hashes: the same in any order, and two equal rows do not cancel each other out, as
//! they would with XOR. The hash is a keyed SHA-256 over bytes that are written down here one by one, so that neither a
//! compiler nor a change of how rows are encoded makes two equal sites differ.

use sha2::{Digest as _, Sha256};

use crate::model::{
    AclGrant, BucketName, Grantee, Identity, Key, ObjectId, Parts, Record, Registers, Retention, Slot, Stamp, State, Vector,
};
use crate::peer::{Digest, DigestAsk, KeyRange, RangeAsk, RowDigest, RowsPage};
use crate::site::{GRAVE_KEPT_MS, Result, Site};
use crate::status::Page;
use crate::status::tables::{Graves, Objects, Versions};

/// Begins every hash. Another one would make all sites of one version differ from all of another.
const HASH_KEY: &[u8; 16] = b"anybucket.line.1";

/// Rows read at once, and the fewest where fewer are of interest.
const PAGE_ROWS: usize = 4_096;
const PAGE_ROWS_MIN: usize = 64;

/// Rows of one range that are counted, whatever the reader says that it has there.
const COUNTED_ROWS_MAX: u64 = 100_000;

/// Rows looked at for one request beyond those that its ranges may count: graves that do not count any more are rows too.
const SPARE_ROWS: u64 = 100_000;

/// What the clocks of two sites may differ and one question may take, milliseconds: a grave so much younger than those
/// that leave is certain to be at both, if it ever was.
const MARGIN_MS: u64 = 12 * 3_600_000;

/// From which stamp on graves count, milliseconds since 1970.
///
/// Sites drop a grave each for itself, once all have settled past it and it is old (protocol §12). A grave that one has
/// dropped and another has not is no difference: without this line two equal sites would differ for as long as it lies
/// there, and the one that had dropped it would fetch it back and drop it again. It still wins over what it deleted: only a
/// grave that meets nothing at the other side is forgiven.
///
/// An object that is missing where the grave of another, later delete has left the bucket (`Site::horizon`) is brought back
/// all the same: the grave left because every member had applied it, so what a member still has was not deleted by it.
/// Sites that come back from a snapshot are no such members; they are to restore first (protocol §11).
pub fn graves_from_ms(now_ms: u64) -> u64 {
    now_ms.saturating_sub(GRAVE_KEPT_MS - MARGIN_MS)
}

/// Digests of ranges, in order.
pub async fn digests(site: &Site, ask: &DigestAsk) -> Result<Vec<Digest>> {
    let (mut digests, mut spare) = (Vec::with_capacity(ask.ranges.len()), SPARE_ROWS);
    for range in &ask.ranges {
        digests.push(digest(site, ask, range, &mut spare).await?);
    }
    Ok(digests)
}

/// The digest of a range, or of so much of it that it differs from anything with `rows_max` rows.
async fn digest(site: &Site, ask: &DigestAsk, range: &RangeAsk, spare: &mut u64) -> Result<Digest> {
    let (mut digest, mut rest) = (Digest::default(), range.range.clone());
    let rows_max = range.rows_max.min(COUNTED_ROWS_MAX);
    loop {
        let wanted = usize::try_from(rows_max + 1 - digest.count).unwrap_or(PAGE_ROWS);
        let page = rows(site, &ask.bucket, &rest, wanted.clamp(PAGE_ROWS_MIN, PAGE_ROWS)).await?;
        let before = digest.count;
        page.rows.iter().for_each(|row| add(&mut digest, row, ask.graves_from_ms));
        rest.from = page.rows.last().and_then(|row| row.key.next());
        if !page.more || rest.from.is_none() || digest.count > rows_max {
            return Ok(digest);
        }
        *spare = spare.saturating_sub(page.rows.len() as u64 - (digest.count - before));
        if *spare == 0 {
            // Nobody has so many: the rows themselves are compared.
            return Ok(Digest { count: u64::MAX, ..digest });
        }
    }
}

/// The digest of rows that are at hand.
pub fn digest_of(rows: &[RowDigest], graves_from_ms: u64) -> Digest {
    let mut digest = Digest::default();
    rows.iter().for_each(|row| add(&mut digest, row, graves_from_ms));
    digest
}

fn add(digest: &mut Digest, row: &RowDigest, graves_from_ms: u64) {
    if counts(row, graves_from_ms) {
        digest.count += 1;
        digest.sum = digest.sum.wrapping_add(row.hash);
    }
}

/// Whether a row that the other side does not have makes a difference.
pub fn counts(row: &RowDigest, graves_from_ms: u64) -> bool {
    !row.is_grave || row.vector.greatest().ms() >= graves_from_ms
}

/// The units of a range, in key order, those of a key newest first: at most `rows_max` of them, or all of one key.
pub async fn rows(site: &Site, bucket: &BucketName, range: &KeyRange, rows_max: usize) -> Result<RowsPage> {
    let rows_max = rows_max.clamp(1, PAGE_ROWS);
    let object = |key: &Key| ObjectId { bucket: bucket.clone(), key: key.clone() };
    let (from, to) = (range.from.as_ref().map(object), range.to.as_ref().map(object));
    let slot = |object: &ObjectId| (object.clone(), Slot::Null);
    let (first, end) = (from.as_ref().map(slot), to.as_ref().map(slot));
    let objects: Page<Objects> = site.status().between(bucket, from.as_ref(), to.as_ref(), rows_max).await?;
    let versions: Page<Versions> = site.status().between(bucket, first.as_ref(), end.as_ref(), rows_max).await?;
    let graves: Page<Graves> = site.status().between(bucket, first.as_ref(), end.as_ref(), rows_max).await?;
    let ends = [
        objects.rows.last().filter(|_| objects.more).map(|(object, _)| object.key.clone()),
        versions.rows.last().filter(|_| versions.more).map(|((object, _), _)| object.key.clone()),
        graves.rows.last().filter(|_| graves.more).map(|((object, _), _)| object.key.clone()),
    ];
    // The last key of a page that goes on may have more: nothing is said of it before all of it is read.
    let cut = ends.into_iter().flatten().min();
    let mut rows: Vec<RowDigest> = objects.rows.iter().filter_map(|(object, stored)| told_row(object, &stored.row)).collect();
    rows.extend(versions.rows.iter().filter_map(|((object, _), stored)| told_row(object, &stored.row)));
    rows.extend(graves.rows.iter().map(|((object, slot), stored)| grave_row(object, *slot, &stored.row.vector())));
    if let Some(cut) = &cut {
        rows.retain(|row| row.key < *cut);
        if rows.is_empty() {
            rows = rows_of_key(site, &object(cut)).await?;
        }
    }
    let more_of = |rows: &[RowDigest]| cut.is_some() || rows.len() > rows_max;
    sort(&mut rows);
    let more = more_of(&rows);
    truncate(&mut rows, rows_max);
    Ok(RowsPage { rows, more })
}

/// All units of one key, however many.
async fn rows_of_key(site: &Site, object: &ObjectId) -> Result<Vec<RowDigest>> {
    let current = site.status().object(object).await?;
    let mut rows: Vec<RowDigest> = current.iter().filter_map(|stored| told_row(object, &stored.row)).collect();
    let of_key = (object.clone(), ());
    let mut after = None;
    loop {
        let page: Page<Versions> = site.status().page(&of_key, after.as_ref(), PAGE_ROWS).await?;
        rows.extend(page.rows.iter().filter_map(|(_, stored)| told_row(object, &stored.row)));
        after = page.rows.last().map(|(key, _)| key.clone());
        if !page.more {
            break;
        }
    }
    let mut after = None;
    loop {
        let page: Page<Graves> = site.status().page(&of_key, after.as_ref(), PAGE_ROWS).await?;
        rows.extend(page.rows.iter().map(|((_, slot), stored)| grave_row(object, *slot, &stored.row.vector())));
        after = page.rows.last().map(|(key, _)| key.clone());
        if !page.more {
            return Ok(rows);
        }
    }
}

/// By key and version. Read one after the other, a unit that dies, is born or moves meanwhile may be in two tables: the later
/// state counts.
fn sort(rows: &mut Vec<RowDigest>) {
    let state = |row: &RowDigest| (row.vector.greatest(), row.is_grave);
    rows.sort_by(|a, b| (&a.key, a.slot, state(b)).cmp(&(&b.key, b.slot, state(a))));
    rows.dedup_by(|later, first| later.key == first.key && later.slot == first.slot);
}

/// Cuts behind `rows_max`, but never in the middle of a key: who reads on does so behind it.
fn truncate(rows: &mut Vec<RowDigest>, rows_max: usize) {
    let Some(last) = rows.get(rows_max) else { return };
    let begins = rows.partition_point(|row| row.key < last.key);
    let ends = rows.partition_point(|row| row.key <= last.key);
    rows.truncate(if begins > 0 { begins } else { ends });
}

/// Nothing of bytes that were not read yet: nobody can say whether others have the same.
fn told_row(object: &ObjectId, record: &Record) -> Option<RowDigest> {
    (record.state != State::Unread).then(|| live_row(object, record))
}

fn live_row(object: &ObjectId, record: &Record) -> RowDigest {
    RowDigest {
        key: object.key.clone(),
        slot: record.slot(),
        vector: record.vector,
        is_grave: false,
        has_bytes: record.state != State::Wanted,
        size: record.identity.size,
        hash: hash_live(object, record),
    }
}

fn grave_row(object: &ObjectId, slot: Slot, vector: &Vector) -> RowDigest {
    let mut line = Line::of(object, slot, 0);
    line.vector(vector);
    RowDigest { key: object.key.clone(), slot, vector: *vector, is_grave: true, has_bytes: false, size: 0, hash: line.end() }
}

/// Whether the bytes are there is part of it: two sites are not equal while one lacks them.
fn hash_live(object: &ObjectId, record: &Record) -> u128 {
    let kind = match record.state {
        State::Present => 1,
        State::Wanted => 2,
        State::Marker => 3,
        // Told to nobody: see `told_row`.
        State::Unread => 4,
    };
    let mut line = Line::of(object, record.slot(), kind);
    line.vector(&record.vector);
    line.identity(&record.identity);
    line.registers(&record.registers);
    line.end()
}

/// What is hashed of a unit: numbers big-endian, texts behind their length.
struct Line(Sha256);

impl Line {
    fn of(object: &ObjectId, slot: Slot, kind: u8) -> Self {
        let mut line = Self(Sha256::new().chain_update(HASH_KEY));
        line.text(object.bucket.as_str());
        line.text(object.key.as_str());
        line.stamp(match slot {
            Slot::Null => None,
            Slot::Version(stamp) => Some(stamp),
        });
        line.0.update([kind]);
        line
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn stamp(&mut self, stamp: Option<Stamp>) {
        self.bytes(stamp.map(Stamp::to_bytes).as_ref().map_or(&[], |bytes| bytes.as_slice()));
    }

    fn vector(&mut self, vector: &Vector) {
        let Vector { data, purge, tags, acl, hold, retention } = *vector;
        [Some(data), purge, tags, acl, hold, retention].into_iter().for_each(|stamp| self.stamp(stamp));
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        self.0.update((pairs.len() as u64).to_be_bytes());
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    fn identity(&mut self, identity: &Identity) {
        let Identity { size, etag, parts, crc64, checksum, headers, metadata, tags } = identity;
        self.0.update(size.to_be_bytes());
        self.text(etag.as_str());
        self.0.update(match parts {
            Parts::Single => [0, 0],
            Parts::Mapped { count } => count.to_be_bytes(),
        });
        self.0.update(crc64.to_be_bytes());
        self.text(checksum.as_ref().map_or("", |checksum| checksum.algorithm.name()));
        self.bytes(checksum.as_ref().map_or(&[], |checksum| &checksum.value));
        let headers = [
            &headers.content_type,
            &headers.content_encoding,
            &headers.content_disposition,
            &headers.content_language,
            &headers.cache_control,
            &headers.expires,
            &headers.website_redirect_location,
            &headers.storage_class,
        ];
        for header in headers {
            self.0.update([u8::from(header.is_some())]);
            self.text(header.as_deref().unwrap_or_default());
        }
        self.pairs(metadata);
        self.pairs(tags);
    }

    /// Nothing where they are as they were before anybody wrote one: rows of before there were any hash as they did.
    fn registers(&mut self, registers: &Registers) {
        if *registers == Registers::default() {
            return;
        }
        let Registers { acl, hold, retention, purge_bypasses } = registers;
        self.0.update([u8::from(*hold), u8::from(*purge_bypasses), u8::from(retention.is_some()), u8::from(acl.is_some())]);
        if let Some(Retention { mode, until_ms }) = retention {
            self.0.update([*mode as u8]);
            self.0.update(until_ms.to_be_bytes());
        }
        if let Some(acl) = acl {
            self.text(&acl.owner);
            self.0.update((acl.grants.len() as u64).to_be_bytes());
            for AclGrant { grantee, permission } in &acl.grants {
                self.text(match grantee {
                    Grantee::User(id) => id,
                    Grantee::AllUsers => "*",
                    Grantee::AuthenticatedUsers => "+",
                    Grantee::LogDelivery => "log",
                });
                self.0.update([matches!(grantee, Grantee::User(_)).into(), *permission as u8]);
            }
        }
    }

    /// The first 128 bits.
    fn end(self) -> u128 {
        let hash: [u8; 32] = self.0.finalize().into();
        let (first, _) = hash.split_first_chunk().expect("SHA-256 has more than 16 bytes");
        u128::from_be_bytes(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn object(key: &str) -> ObjectId {
        ObjectId::parse("bucket", key).unwrap()
    }

    #[test]
    fn the_hash_of_a_row_never_changes() {
        // Computed by another program from what `Line` says it hashes.
        assert_eq!(
            grave_row(&object("a"), Slot::Null, &Vector::of(stamp(7))).hash,
            26_357_621_904_171_501_101_603_569_605_041_350_967
        );
    }

    #[test]
    fn a_digest_is_a_sum_in_which_equal_rows_do_not_cancel_out() {
        let row = |key: &str, ms| grave_row(&object(key), Slot::Null, &Vector::of(stamp(ms)));
        let [a, b] = [row("a", 100), row("b", 100)];
        assert_eq!(digest_of(&[a.clone(), b.clone()], 0), digest_of(&[b, a.clone()], 0));
        assert_ne!(digest_of(&[a.clone(), a.clone()], 0).sum, 0);
        assert_eq!(digest_of(&[a], 101), Digest::default());
    }
}
