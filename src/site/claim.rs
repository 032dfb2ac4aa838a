//! Bytes in the store of which a status store that lost rows may have had one: taken for a write of the null version, or not
//! (protocol §11).
//!
//! What another site or the archive knows always wins against what can be told from a file: its stamp is the millisecond
//! it was written in, with nothing behind it, and so never greater than the one that was lost.
//!
//! A store of names may have bytes of several writes of a key: at its plain name, and at names of their own on their way there.
//! What cannot be told is whether a write was committed at all: bytes of one that the crash came before, or whose condition did
//! not hold and that could not be removed at once, look like those of one that was acknowledged a moment ago.

use std::sync::atomic::Ordering;

use super::apply::Known;
use super::digest::Digests;
use super::error::{Error, Result};
use super::heal::adopted_identity;
use super::label::{Label, described};
use super::land::{Replacing, is_left_behind, replacing};
use super::rebuild::Rebuild;
use super::{CONFLICTS_MAX, Newcomer, Site};
use crate::backend::{self, Found, GetOptions, Place};
use crate::model::{
    Binding, Bucket, BucketName, ContentHeaders, Described, Event, Here, Identity, Incarnation, Location, ObjectId, Parts,
    Record, SiteNumber, Slot, Stamp, StampParts, State, Unit, Vector, WriteId,
};
use crate::status::tables::{Buckets, Settle, Settling};
use crate::status::{Commit, CommitError};

/// What S3 says of bytes of which it was told nothing.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";
/// Objects looked at to see whether a folder is a bucket that was lost.
const BUCKET_OBJECTS: usize = 1_000;

/// What became of bytes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// They are the object now, as a write whose row was lost.
    Adopted,
    /// They are those of the row, under another name of the store's own: it was copied.
    Rebound,
    /// They were deleted here since.
    Removed,
    /// They belong to nothing that is or was known here.
    Foreign,
    /// The row has others, or these; there is nothing to be taken.
    Left,
}

/// What may be done about bytes that no row is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Take them, if they are not the row's own.
    Take,
    Remove,
    Foreign,
    Leave,
}

/// What is to be decided on.
struct Seen<'a> {
    here: Here<'a>,
    /// Whether the bytes of what is here can be read, and these are none that came after them.
    is_kept: bool,
    /// Whether they may have come after the archive's last rows.
    may_lack_row: bool,
    /// The stamp they would have.
    stamp: Stamp,
    /// Whether nobody else can be spoiled by what is taken.
    is_lone: bool,
    /// The life that this site is in now.
    life: (SiteNumber, Incarnation),
}

fn decide(seen: &Seen<'_>) -> Course {
    match seen.here {
        Here::Live(_) if seen.is_kept => Course::Leave,
        Here::Live(record) if seen.may_lack_row && (seen.is_lone || seen.stamp > record.vector.data) => Course::Take,
        Here::Live(_) => Course::Leave,
        // Whoever deleted it while its row was not known yet wanted its bytes gone.
        Here::Grave(grave) if grave.stamp > seen.stamp && life(grave.stamp) == seen.life => Course::Remove,
        Here::Grave(grave) if grave.stamp < seen.stamp && seen.may_lack_row => Course::Take,
        Here::Nothing if seen.may_lack_row => Course::Take,
        Here::Grave(_) | Here::Nothing => Course::Foreign,
    }
}

fn life(stamp: Stamp) -> (SiteNumber, Incarnation) {
    let StampParts { site, incarnation, .. } = stamp.parts();
    (site, incarnation)
}

/// Whether bytes are those of a later write than the record's, where both say whose they are.
///
/// Writes are named in the order in which they began, so of two that overlapped the later begun is taken for the later: clients
/// saw them overlap too. An upload is named when it begins, which may be days before it is an object: of one it counts when the
/// store had it whole, as far as the store tells. Where that is not certainly after the record's stamp the record stays, since it
/// is known to have been committed. `kept`: the record's own bytes, where they can be read.
pub(super) fn is_later(found: &Found, record: &Record, kept: Option<&Found>) -> bool {
    let is_of_upload = |found: &Found| Label::of(found).meant.is_none();
    let is_upload = record.identity.parts != Parts::Single || is_of_upload(found) || kept.is_some_and(is_of_upload);
    match (write_of(&found.binding), write_of(&record.binding)) {
        (Some(write), Some(own)) if write == own => false,
        (Some(write), Some(own)) if !is_upload => write > own,
        (Some(_), _) => found.modified_ms > record.vector.data.ms(),
        (None, _) => false,
    }
}

/// The write whose bytes these are, where the store marks them with it.
fn write_of(binding: &Binding) -> Option<WriteId> {
    match binding {
        Binding::Tag(mark) => mark.parse().ok(),
        Binding::None | Binding::File { .. } => None,
    }
}

/// Bytes that are to become an object.
struct Taking<'a> {
    object: &'a ObjectId,
    location: Location,
    found: &'a Found,
    stamp: Stamp,
    /// Whether the bytes of what is here can be read.
    is_readable: bool,
}

impl Site {
    /// Decides what becomes of the bytes at an object's name, under its lock.
    pub(super) async fn claim(&self, object: &ObjectId) -> Result<Claimed> {
        self.claim_at(object, Location::Plain).await
    }

    /// The same of bytes at the plain name, or on their way there.
    pub(super) async fn claim_at(&self, object: &ObjectId, location: Location) -> Result<Claimed> {
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            site.claim_locked(&object, location).await
        })
        .await
    }

    async fn claim_locked(&self, object: &ObjectId, location: Location) -> Result<Claimed> {
        if location == Location::Plain && self.has_versions_there(&object.bucket) {
            return match self.adopts(&object.bucket) && self.look_at_versions_locked(object).await? == Newcomer::Taken {
                true => Ok(Claimed::Adopted),
                false => Ok(Claimed::Left),
            };
        }
        let place = Place { object: object.clone(), location: location.own_name().map_or(Location::Plain, Location::Own) };
        for _ in 0..CONFLICTS_MAX {
            let Some(rebuild) = self.rebuilding() else { return Ok(Claimed::Left) };
            let found = match self.inner.backend.head(&place).await {
                Ok(found) => found,
                Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => return Ok(Claimed::Left),
                Err(err) => return Err(err.into()),
            };
            let known = self.known(object, Slot::Null).await?;
            let kept = match known.live() {
                Some(record) => self.bytes_of(object, record).await?,
                None => None,
            };
            let seen = self.seen(&rebuild, &known, (&found, &location), kept.as_ref());
            match decide(&seen) {
                Course::Foreign => return Ok(Claimed::Foreign),
                Course::Leave => return Ok(Claimed::Left),
                Course::Remove => {
                    self.inner.backend.delete(&place, &found.binding).await?;
                    return Ok(Claimed::Removed);
                }
                Course::Take => {}
            }
            let (location, is_readable) = (location.clone(), kept.is_some());
            let taking = Taking { object, location, found: &found, stamp: seen.stamp, is_readable };
            let (taken, record, commit) = self.taking(&taking, &known).await?;
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.taken(object, &known, &record).await;
                    return Ok(taken);
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// What the store says of the bytes of a record; `None` where it does not have them.
    pub(super) async fn bytes_of(&self, object: &ObjectId, record: &Record) -> Result<Option<Found>> {
        let place = Place { object: object.clone(), location: record.location.clone() };
        let get = GetOptions { range: Some(0..0), expect: Some(record.binding.clone()) };
        match self.inner.backend.get(&place, get).await {
            Ok(opened) => Ok(Some(opened.found).filter(|_| record.has_bytes())),
            Err(backend::Error::NotFound | backend::Error::Changed | backend::Error::NoSuchBucket) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    fn seen<'a>(&self, rebuild: &Rebuild, known: &'a Known, (found, at): (&Found, &Location), kept: Option<&Found>) -> Seen<'a> {
        let is_plain = *at == Location::Plain;
        let is_kept = |record: &Record| (kept.is_some() || !is_plain) && !is_later(found, record, kept);
        Seen {
            here: known.here(),
            is_kept: known.live().is_some_and(is_kept),
            // At a name of their own the listing told, which may date them better.
            may_lack_row: !is_plain || rebuild.may_lack_row(found),
            stamp: self.stamp_of(found),
            is_lone: self.inner.neighbours.is_empty(),
            life: (self.inner.id.number, self.inner.status.facts().incarnation),
        }
    }

    /// The commit that binds an object to the bytes that were found.
    async fn taking(&self, taking: &Taking<'_>, known: &Known) -> Result<(Claimed, Record, Commit)> {
        let Taking { object, found, is_readable, .. } = *taking;
        let place = Place { object: object.clone(), location: taking.location.clone() };
        let digests = self.hash_at(&place, found).await?;
        let bucket = self.bucket_row(&object.bucket).await?;
        let commit = known.guarded(object, Commit::new().expect::<Buckets>(&object.bucket, Some(bucket.revision)));
        let before = known.live();
        let mut record = self.record_of(taking, known, &digests);
        self.keep_apart(object, &mut record);
        if let Some(old) = before.filter(|old| !is_readable && has_digests(&old.identity, &digests)) {
            let Record { state, location, binding, write, .. } = record;
            let record = Record { state, location, binding, write, ..old.clone() };
            let commit = commit.put_unit(object, &record);
            let commit = match Settling::publishing(object, &record, None) {
                Some(settling) => commit.put::<Settle>(&record.write, &settling),
                None => commit,
            };
            return Ok((Claimed::Rebound, record, commit));
        }
        let commit = replacing(commit, object, Replacing { record: &record, part_map: &[], current: before });
        let told = commit.tell(Event { unit: Unit::null(object), vector: record.vector }).to(self.audience());
        Ok((Claimed::Adopted, record, told))
    }

    fn record_of(&self, taking: &Taking<'_>, known: &Known, digests: &Digests) -> Record {
        let Taking { location, found, stamp, .. } = taking;
        let (before, greatest) = (known.live(), known.greatest());
        let stamp = if greatest.is_none_or(|known| *stamp > known) { *stamp } else { self.inner.clock.tick(greatest) };
        Record {
            vector: Vector::of(stamp),
            state: State::Present,
            identity: identity_found(found, before.map(|record| &record.identity), digests),
            location: location.clone(),
            binding: found.binding.clone(),
            write: self.inner.writes.next(),
            base: known.here().stamp(),
            versioned: false,
            registers: before.map(|before| before.registers.clone()).unwrap_or_default(),
        }
    }

    /// After the commit, still under the key lock.
    async fn taken(&self, object: &ObjectId, known: &Known, record: &Record) {
        let (stamp, size) = (record.vector.data, record.identity.size);
        if known.live().is_none_or(|before| before.vector != record.vector) {
            tracing::warn!(%stamp, %object, size, "took over bytes whose row was lost");
            self.inner.counters.adopted.fetch_add(1, Ordering::Relaxed);
        }
        self.bring_to_its_name(object, record).await;
        if let Some(left) = known.live().filter(|before| is_left_behind(before, record)) {
            self.remove_bytes(object, left, left.write).await;
        }
    }

    /// Never greater than that of the write which stored these bytes, whoever made it.
    pub(super) fn stamp_of(&self, found: &Found) -> Stamp {
        let ms = found.modified_ms.min(self.inner.clock.wall_ms());
        Stamp::new(StampParts { ms, tick: 0, site: self.inner.id.number, incarnation: Incarnation(0), rank: 0 })
    }

    /// Makes rows for buckets of the store that have none and may have been made, or written to, after the last archived row.
    pub(super) async fn claim_buckets(&self, rebuild: &Rebuild) -> Result<()> {
        for bucket in self.inner.backend.list_buckets().await? {
            // One that a client is making has its row in a moment.
            let _change = self.inner.bucket_changes.lock(&bucket).await;
            if self.inner.status.get::<Buckets>(&bucket).await?.is_some() {
                continue;
            }
            if !self.may_lack_rows(&bucket, rebuild).await? {
                tracing::warn!(%bucket, "a folder in the store that is no bucket: it is left alone");
                continue;
            }
            let like = self.latest_bucket().await?;
            let row = Bucket { created: self.inner.clock.tick(None), deleted: None, registers: Vec::new(), ..like };
            let row = self.versioned_as_there(&bucket, row).await?;
            tracing::warn!(%bucket, owner = row.owner, "took over a bucket whose row was lost");
            self.note_bucket(&bucket, &row).await?;
        }
        Ok(())
    }

    /// Whether a bucket is empty or holds something that came late.
    async fn may_lack_rows(&self, bucket: &BucketName, rebuild: &Rebuild) -> Result<bool> {
        use futures::StreamExt;
        let mut listing = self.inner.backend.list(bucket, None);
        let mut is_empty = true;
        for _ in 0..BUCKET_OBJECTS {
            let Some(found) = listing.next().await else { break };
            is_empty = false;
            if rebuild.may_lack_row(&found.map_err(Error::from)?) {
                return Ok(true);
            }
        }
        Ok(is_empty)
    }

    /// The bucket made last: one whose row was lost probably belongs to the same owner.
    async fn latest_bucket(&self) -> Result<Bucket> {
        let mut latest: Option<Bucket> = None;
        self.each_row::<Buckets>(|_, row| {
            if latest.as_ref().is_none_or(|latest| latest.created < row.created) {
                latest = Some(row.clone());
            }
        })
        .await?;
        let nobodys = || Bucket {
            created: self.inner.clock.tick(None),
            deleted: None,
            owner: FIRST_OWNER.into(),
            region: FIRST_REGION.into(),
            registers: Vec::new(),
        };
        Ok(latest.unwrap_or_else(nobodys))
    }
}

/// Owns what the first key makes, and a bucket of which no other owner is known.
pub const FIRST_OWNER: &str = "admin";
/// The region of a first start.
pub(super) const FIRST_REGION: &str = "us-east-1";

/// What is known of bytes: what they say themselves, else what was said of those before them.
pub(super) fn identity_found(found: &Found, before: Option<&Identity>, digests: &Digests) -> Identity {
    match (described(found), before) {
        (Some(Described { headers, metadata, tags }), _) => {
            let read = digests.identity();
            Identity { headers, metadata, tags, etag: found.etag.clone().unwrap_or(read.etag), ..read }
        }
        (None, Some(before)) => adopted_identity(before, digests),
        (None, None) => identity_of(digests),
    }
}

fn identity_of(digests: &Digests) -> Identity {
    let headers = ContentHeaders { content_type: Some(CONTENT_TYPE.into()), ..ContentHeaders::default() };
    Identity { headers, ..digests.identity() }
}

fn has_digests(identity: &Identity, digests: &Digests) -> bool {
    (identity.size, identity.crc64) == (digests.size, digests.crc64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;
    use crate::site::label::{Meant, Said};

    const LIFE: (SiteNumber, Incarnation) = (SiteNumber(1), Incarnation(9));

    fn stamp(ms: u64, incarnation: u32) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(incarnation), rank: 0 })
    }

    fn record(ms: u64) -> Record {
        let digests = Digests { size: 0, md5: [0; 16], crc64: 0, checksums: Vec::new() };
        Record {
            vector: Vector::of(stamp(ms, 5)),
            state: State::Present,
            identity: identity_of(&digests),
            location: Location::Plain,
            binding: Binding::None,
            write: WriteId::new(Incarnation(5), 1, 1),
            base: None,
            versioned: false,
            registers: Default::default(),
        }
    }

    /// Of a delete.
    fn grave(stamp: Stamp) -> crate::model::Grave {
        crate::model::Grave { stamp, base: None, told: None, purged: None }
    }

    /// Bytes written at 100, late or not, at a site that is alone or not.
    fn course(here: Here<'_>, may_lack_row: bool, is_lone: bool) -> Course {
        decide(&Seen { here, is_kept: false, may_lack_row, stamp: stamp(100, 0), is_lone, life: LIFE })
    }

    #[test]
    fn late_bytes_without_a_row_are_taken_and_old_ones_are_left_alone() {
        assert_eq!(course(Here::Nothing, true, true), Course::Take);
        assert_eq!(course(Here::Nothing, true, false), Course::Take);
        assert_eq!(course(Here::Nothing, false, true), Course::Foreign);
    }

    #[test]
    fn what_was_deleted_is_not_taken_unless_it_was_written_after() {
        assert_eq!(course(Here::Grave(&grave(stamp(99, 5))), true, true), Course::Take);
        assert_eq!(course(Here::Grave(&grave(stamp(99, 5))), false, true), Course::Foreign);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 5))), true, true), Course::Foreign);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 9))), true, true), Course::Remove);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 9))), false, true), Course::Remove);
    }

    #[test]
    fn bytes_that_are_not_the_rows_are_taken_where_they_may_be_newer() {
        let (older, newer) = (record(99), record(101));
        assert_eq!(course(Here::Live(&older), true, false), Course::Take);
        assert_eq!(course(Here::Live(&newer), true, false), Course::Leave);
        assert_eq!(course(Here::Live(&newer), true, true), Course::Take);
        assert_eq!(course(Here::Live(&older), false, true), Course::Leave);
    }

    fn write(n: u64) -> WriteId {
        WriteId::new(Incarnation(5), 1, n)
    }

    /// Of the write `n`, at 100.
    fn found(n: u64, meant: Option<Meant>) -> Found {
        let described = identity_of(&Digests { size: 0, md5: [0; 16], crc64: 0, checksums: Vec::new() });
        let label = Some(Label::text(meant, Said::from(&described)));
        let (key, binding) = (Key::new("a").unwrap(), Binding::Tag(write(n).to_string()));
        Found { key, binding, size: 0, modified_ms: 100, changed_ms: None, label, described: None, etag: None }
    }

    #[test]
    fn writes_come_after_each_other_as_they_began_and_uploads_when_they_were_whole() {
        let of = |n: u64, ms| Record { binding: Binding::Tag(write(n).to_string()), ..record(ms) };
        let put = |n| found(n, Some(Meant::Null));
        for (n, is_after) in [(1, false), (2, false), (3, true)] {
            assert_eq!(is_later(&put(n), &of(2, 150), None), is_after, "{n}, whatever clocks said");
            assert_eq!(is_later(&put(n), &of(2, 50), Some(&put(2))), is_after, "{n}");
        }
        for (ms, is_after) in [(99, true), (100, false), (101, false)] {
            assert_eq!(is_later(&found(1, None), &of(2, ms), None), is_after, "an upload that began first");
            assert_eq!(is_later(&put(3), &of(2, ms), Some(&found(2, None))), is_after, "after an upload that was taken over");
            let mut upload = of(2, ms);
            upload.identity.parts = Parts::Mapped { count: 1 };
            assert_eq!(is_later(&put(3), &upload, None), is_after, "a write that began after an upload did");
            assert_eq!(
                is_later(&put(3), &Record { binding: Binding::None, ..of(2, ms) }, None),
                is_after,
                "what came from elsewhere"
            );
        }
        let foreign = Found { binding: Binding::Tag("etag:x:1".into()), ..put(3) };
        assert!(!is_later(&foreign, &of(2, 50), None));
    }

    #[test]
    fn bytes_that_can_be_read_and_are_not_older_stay() {
        let older = record(99);
        let seen =
            Seen { here: Here::Live(&older), is_kept: true, may_lack_row: true, stamp: stamp(100, 0), is_lone: true, life: LIFE };
        assert_eq!(decide(&seen), Course::Leave);
    }
}
