//! What a bucket's lifecycle says goes, goes (protocol §6). Every site that has the bucket does it for itself and comes to
//! the same: an automatic delete has the stamp of what it expires and the next rank, so that repeats are one, and a write
//! that the expirer had not seen wins.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::delete::Gone;
use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{Bucket, BucketName, Bypass, Day, Expiring, Key, Lifecycle, ObjectId, Record, Slot, Stamp, State, Versioning};
use crate::status::tables::{Buckets, Graves, Objects, UploadState, Uploads};
use crate::status::{Commit, ListQuery, Page, Stored, VersionEntry, VersionsQuery};
use crate::tasks::{Step, Worker};

/// Versions looked at by one step.
const STEP_VERSIONS: usize = 1_000;
/// Between two walks over all buckets: a hundredth of a day, within these bounds.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What a version's end would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The object goes, or a delete marker hides it.
    Expired,
    /// A version that is not current is destroyed.
    Noncurrent,
    /// A delete marker with nothing behind it goes.
    Marker,
    /// A purge that waited for a lock is done.
    Released,
    /// An upload that was not completed is given up.
    Upload,
}

/// Something that is due.
#[derive(Clone, Debug)]
pub struct Due {
    pub object: ObjectId,
    /// Of an upload none.
    pub slot: Option<Slot>,
    pub end: End,
    /// Bytes.
    pub size: u64,
}

/// Where a walk over a bucket stands: behind a key, or in the middle of one that has very many versions.
#[derive(Clone, Debug)]
pub struct Place {
    key: String,
    within: Option<(Slot, OfKey)>,
}

impl Place {
    /// Behind all versions of a key.
    pub fn behind(key: Key) -> Self {
        Self { key: key.to_string(), within: None }
    }

    /// The key it is at, or behind.
    pub fn into_key(self) -> String {
        self.key
    }
}

/// Of a key whose versions come one after the other.
#[derive(Clone, Debug, Default)]
struct OfKey {
    key: String,
    /// What came before in the order, and replaced this one.
    newer: Option<Stamp>,
    /// Versions that are not current and were seen.
    noncurrent: usize,
}

impl Site {
    /// What of a bucket is due from `place` on, and where to go on; nothing is changed.
    pub async fn due(&self, bucket: &BucketName, place: Option<Place>, day: Day) -> Result<(Vec<Due>, Option<Place>)> {
        let row = match self.bucket_row(bucket).await {
            Ok(row) => row,
            Err(Error::NoSuchBucket) => return Ok((Vec::new(), None)),
            Err(err) => return Err(err),
        };
        let rules = row.row.lifecycle();
        if rules.rules.is_empty() && row.row.object_lock().is_none() {
            return Ok((Vec::new(), None));
        }
        let mut due = Vec::new();
        if place.is_none() {
            due.extend(self.due_uploads(bucket, &rules, day).await?);
        }
        let (after, within) = place.map_or((None, None), |place| (Some(place.key), place.within));
        let keys =
            ListQuery { bucket: bucket.clone(), prefix: String::new(), delimiter: None, after, entries_max: STEP_VERSIONS };
        let (after_version, mut of_key) = within.map_or((None, OfKey::default()), |(slot, of_key)| (Some(slot), of_key));
        let page = self.inner.status.list_versions(VersionsQuery { keys, after_version }).await?;
        let last = page.entries.last().and_then(key_of).filter(|_| page.more);
        let many = page.entries.first().and_then(key_of) == last;
        for (at, entry) in page.entries.iter().enumerate() {
            let VersionEntry::Version { key, record, is_latest } = entry else { continue };
            // Its versions may go on in the next page, where they all are.
            if last == Some(key.as_str()) && !many {
                break;
            }
            if *is_latest || of_key.key != *key {
                of_key = OfKey { key: key.clone(), ..OfKey::default() };
            }
            let is_alone = page.entries.get(at + 1).and_then(key_of) != Some(key.as_str()) && *is_latest;
            let Ok(object) = ObjectId::parse(bucket.as_str(), key) else { continue };
            if let Some(end) = self.end_of(&rules, record, &mut of_key, (*is_latest, is_alone), day) {
                due.push(Due { object, slot: Some(record.row.slot()), end, size: record.row.identity.size });
            }
        }
        let next = match (last, many) {
            (None, _) => None,
            (Some(last), true) => {
                slot_of(page.entries.last()).map(|slot| Place { key: last.to_owned(), within: Some((slot, of_key)) })
            }
            (Some(last), false) => before(&page.entries, last).map(|key| Place { key, within: None }),
        };
        Ok((due, next))
    }

    fn end_of(
        &self,
        rules: &Lifecycle,
        stored: &Arc<Stored<Record>>,
        of_key: &mut OfKey,
        (is_latest, is_alone): (bool, bool),
        day: Day,
    ) -> Option<End> {
        let (record, now_ms) = (&stored.row, self.inner.clock.wall_ms());
        let written_ms = record.vector.data.ms();
        let newer = of_key.newer.replace(record.vector.data);
        let is_marker = record.state == State::Marker;
        let what = Expiring { key: &of_key.key, tags: &record.identity.tags, size: (!is_marker).then_some(record.identity.size) };
        if record.vector.purge.is_some() && !record.registers.delay_purge(now_ms) {
            return Some(End::Released);
        }
        if is_latest {
            return match is_marker {
                true => (is_alone && rules.is_marker_over(&of_key.key, written_ms, now_ms, day)).then_some(End::Marker),
                false => rules.expiry(what, written_ms, day).filter(|(due, _)| *due <= now_ms).map(|_| End::Expired),
            };
        }
        let kept_before_it = of_key.noncurrent;
        of_key.noncurrent += 1;
        let is_protected = record.registers.protect(now_ms, Bypass::No);
        // An automatic marker has the time of what it hides: that was replaced when it was due.
        let replaced_ms = match newer {
            Some(newer) if newer.parts().rank > 0 => rules.expiry(what, written_ms, day).map(|(due, _)| due),
            newer => newer.map(Stamp::ms),
        };
        let is_over = replaced_ms.is_some_and(|replaced| rules.is_noncurrent_over(what, replaced, kept_before_it, now_ms, day));
        (is_over && !is_protected).then_some(End::Noncurrent)
    }

    async fn due_uploads(&self, bucket: &BucketName, rules: &Lifecycle, day: Day) -> Result<Vec<Due>> {
        let (mut due, mut after, now_ms) = (Vec::new(), None, self.inner.clock.wall_ms());
        loop {
            let page: Page<Uploads> = self.inner.status.page(bucket, after.as_ref(), STEP_VERSIONS).await?;
            for ((object, _), upload) in &page.rows {
                let is_open = matches!(upload.row.state, UploadState::Open);
                if is_open && rules.is_upload_over(object.key.as_str(), upload.row.initiated_ms, now_ms, day) {
                    due.push(Due { object: object.clone(), slot: None, end: End::Upload, size: 0 });
                }
            }
            after = page.rows.last().map(|(key, _)| key.clone());
            // The rest by the next walk.
            if !page.more || due.len() >= STEP_VERSIONS {
                return Ok(due);
            }
        }
    }

    /// Does what is due, if it still is. Answers whether anything changed.
    pub async fn expire(&self, due: &Due, day: Day) -> Result<bool> {
        let Some(slot) = due.slot else { return self.abort_overdue(&due.object, day).await };
        let (site, object, end) = (self.clone(), due.object.clone(), due.end);
        self.unstoppable(async move { site.expire_locked(&object, slot, end, day).await }).await
    }

    async fn expire_locked(&self, object: &ObjectId, slot: Slot, end: End, day: Day) -> Result<bool> {
        let _key = self.lock_key(object).await?;
        for _ in 0..CONFLICTS_MAX {
            let bucket = match self.bucket_row(&object.bucket).await {
                Err(Error::NoSuchBucket) => return Ok(false),
                bucket => bucket?,
            };
            if !self.is_still_due(object, slot, end, (&bucket.row.lifecycle(), day)).await? {
                return Ok(false);
            }
            let Some(unit) = self.inner.status.unit(object, slot).await? else { return Ok(false) };
            let current = self.current(object).await?;
            let guarded = Commit::new()
                .frees()
                .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                .expect_unit(object, slot, Some(unit.revision))
                .expect::<Objects>(object, current.as_ref().map(|current| current.revision));
            let stamp = unit.row.vector.data.next_rank();
            let done = match end {
                End::Expired if unit.row.versioned || bucket.row.versioning() != Versioning::Off => {
                    let (stamp, slot, guarded) = self.free_marker(object, &bucket.row, stamp, guarded).await?;
                    self.hide(object, &bucket.row, current, (stamp, slot), guarded).await?
                }
                End::Released => {
                    let stamp = unit.row.vector.purge;
                    self.bury(object, Gone { slot, unit: Some(unit), bypass: Bypass::No, stamp }, guarded).await?
                }
                End::Expired | End::Noncurrent | End::Marker => {
                    self.bury(object, Gone { slot, unit: Some(unit), bypass: Bypass::No, stamp: Some(stamp) }, guarded).await?
                }
                End::Upload => return Ok(false),
            };
            match done {
                Some(_) => {
                    self.inner.counters.expired.fetch_add(1, Ordering::Relaxed);
                    return Ok(true);
                }
                None => self.count_conflict(&object.bucket),
            }
        }
        Err(crate::status::CommitError::Conflict.into())
    }

    /// Whether a version's time is over by what is known now, with its key locked: rules, holds and the versions around it may
    /// have changed since it was found.
    async fn is_still_due(&self, object: &ObjectId, slot: Slot, end: End, (rules, day): (&Lifecycle, Day)) -> Result<bool> {
        // What was told of a key and is not here yet may be behind a marker that seems to be alone, or before a version.
        if !self.inner.neighbours.is_empty() && end == End::Marker && !self.knows_all_of(object).await? {
            return Ok(false);
        }
        let key = object.key.to_string();
        let (mut after_version, mut of_key) = (None, OfKey { key: key.clone(), ..OfKey::default() });
        loop {
            let (bucket, prefix, after) = (object.bucket.clone(), key.clone(), after_version.map(|_| key.clone()));
            let keys = ListQuery { bucket, prefix, delimiter: None, after, entries_max: STEP_VERSIONS };
            let page = self.inner.status.list_versions(VersionsQuery { keys, after_version }).await?;
            for (at, entry) in page.entries.iter().enumerate() {
                let VersionEntry::Version { key: of, record, is_latest } = entry else { continue };
                if *of != key {
                    return Ok(false);
                }
                let is_alone = page.entries.get(at + 1).and_then(key_of) != Some(of.as_str()) && *is_latest;
                let found = self.end_of(rules, record, &mut of_key, (*is_latest, is_alone), day);
                if record.row.slot() == slot {
                    return Ok(found == Some(end));
                }
            }
            if !page.more {
                return Ok(false);
            }
            after_version = slot_of(page.entries.last());
        }
    }

    /// Whether nothing of a key is on its way here, from anybody.
    async fn knows_all_of(&self, object: &ObjectId) -> Result<bool> {
        let caught_up = |one: &Arc<super::Neighbour>| one.standing() == super::Standing::CaughtUp;
        Ok(self.inner.neighbours.iter().all(caught_up) && self.hints_of(object).await?.is_empty())
    }

    /// A stamp for an automatic marker that nothing was buried under, the same at every site that knows the same graves.
    async fn free_marker(
        &self,
        object: &ObjectId,
        bucket: &Bucket,
        mut stamp: Stamp,
        guarded: Commit,
    ) -> Result<(Stamp, Slot, Commit)> {
        loop {
            let slot = if bucket.versioning() == Versioning::Enabled { Slot::Version(stamp) } else { Slot::Null };
            let grave = self.inner.status.get::<Graves>(&(object.clone(), slot)).await?;
            let buried = grave.as_ref().map(|grave| grave.row.vector().greatest()).filter(|buried| *buried >= stamp);
            match buried {
                Some(buried) => stamp = buried.next_rank(),
                None => {
                    let revision = grave.map(|grave| grave.revision);
                    return Ok((stamp, slot, guarded.expect::<Graves>(&(object.clone(), slot), revision)));
                }
            }
        }
    }

    async fn abort_overdue(&self, object: &ObjectId, day: Day) -> Result<bool> {
        let rules = self.bucket_row(&object.bucket).await?.row.lifecycle();
        let (now_ms, mut aborted) = (self.inner.clock.wall_ms(), false);
        let page: Page<Uploads> = self.inner.status.page(&(object.clone(), ()), None, STEP_VERSIONS).await?;
        for ((object, upload), row) in page.rows {
            let is_open = matches!(row.row.state, UploadState::Open);
            if is_open && rules.is_upload_over(object.key.as_str(), row.row.initiated_ms, now_ms, day) {
                match self.abort_upload(&object, &upload.to_string()).await {
                    Ok(()) => aborted = true,
                    Err(Error::NoSuchUpload) => {}
                    Err(err) => return Err(err),
                }
            }
        }
        Ok(aborted)
    }
}

fn key_of(entry: &VersionEntry) -> Option<&str> {
    match entry {
        VersionEntry::Version { key, .. } => Some(key),
        VersionEntry::CommonPrefix(_) => None,
    }
}

fn slot_of(entry: Option<&VersionEntry>) -> Option<Slot> {
    match entry? {
        VersionEntry::Version { record, .. } => Some(record.row.slot()),
        VersionEntry::CommonPrefix(_) => None,
    }
}

/// The key before `last`.
fn before(entries: &[VersionEntry], last: &str) -> Option<String> {
    entries.iter().rev().filter_map(key_of).find(|key| *key != last).map(str::to_owned)
}

/// Walks over every bucket that has rules, again and again.
#[derive(Debug)]
pub struct LifecycleWorker {
    site: Site,
    day: Day,
    /// Still to be walked over; the last is under way, at this place.
    buckets: Vec<BucketName>,
    place: Option<Place>,
    walked: Instant,
}

impl LifecycleWorker {
    /// `day` is what a day of the rules is.
    pub fn new(site: Site, day: Duration) -> Self {
        Self { site, day: Day::lasting(day), buckets: Vec::new(), place: None, walked: Instant::now() }
    }

    async fn work(&mut self) -> Result<Step> {
        // What is not known yet may be newer than what is here.
        if self.site.is_rebuilding() || self.site.require_established().is_err() {
            return Ok(Step::Idle);
        }
        if self.buckets.is_empty() {
            if self.walked.elapsed() < self.pause() {
                return Ok(Step::Idle);
            }
            self.walked = Instant::now();
            self.buckets = self.site.buckets().await?.into_iter().map(|bucket| bucket.name).collect();
        }
        let Some(bucket) = self.buckets.last().cloned() else { return Ok(Step::Idle) };
        let (due, next) = self.site.due(&bucket, self.place.clone(), self.day).await?;
        for one in &due {
            match self.site.expire(one, self.day).await {
                Ok(true) => tracing::info!(object = %one.object, end = ?one.end, "its time was over"),
                Ok(false) => {}
                // The next walk tries again; others do not wait for it.
                Err(err) => tracing::warn!(object = %one.object, end = ?one.end, error = %err, "its time is over, and it stays"),
            }
        }
        self.place = next;
        if self.place.is_none() {
            self.buckets.pop();
            self.walked = Instant::now();
        }
        Ok(if self.buckets.is_empty() { Step::Idle } else { Step::Worked })
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.day.0 / 100).clamp(PAUSE_MIN, PAUSE_MAX)
    }
}

#[async_trait]
impl Worker for LifecycleWorker {
    fn name(&self) -> &str {
        "lifecycle"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.work().await.map_err(|err| err.to_string())
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expiration, LifecycleFilter, LifecycleRule, NoncurrentExpiration, Retention, RetentionMode};
    use crate::site::testing::{get, object, put, site, with_bucket};
    use crate::site::{Purge, Register, WriteConditions};

    /// Whatever is due is due at once.
    const NOW: Day = Day(0);

    fn rule() -> LifecycleRule {
        LifecycleRule {
            id: "rule".into(),
            enabled: true,
            bare_prefix: false,
            filter: LifecycleFilter::default(),
            expiration: None,
            noncurrent: None,
            abort_days: None,
        }
    }

    async fn site_with(rule: LifecycleRule, versioning: Versioning) -> Site {
        let site = with_bucket(site().await).await;
        let bucket = object("k").bucket;
        if versioning != Versioning::Off {
            site.set_versioning(&bucket, versioning).await.unwrap();
        }
        let rules = Lifecycle { rules: vec![rule] };
        site.change_bucket(&bucket, move |row, stamp| Ok(row.with_lifecycle(&rules, stamp))).await.unwrap();
        site
    }

    async fn all_due(site: &Site) -> Vec<Due> {
        let (due, next) = site.due(&object("k").bucket, None, NOW).await.unwrap();
        assert!(next.is_none());
        due
    }

    async fn expire_all(site: &Site) -> usize {
        let due = all_due(site).await;
        for one in &due {
            assert!(site.expire(one, NOW).await.unwrap());
        }
        due.len()
    }

    #[tokio::test]
    async fn what_expires_goes_by_the_stamp_it_had_and_the_next_rank() {
        let expiring = LifecycleRule { expiration: Some(Expiration::Date(0)), ..rule() };
        let site = site_with(expiring, Versioning::Off).await;
        let written = put(&site, "k", "x").await;
        assert_eq!(expire_all(&site).await, 1);
        assert!(matches!(get(&site, "k").await, Err(Error::NoSuchKey)));
        let grave = site.status().get::<crate::status::tables::Graves>(&(object("k"), Slot::Null)).await.unwrap().unwrap();
        assert_eq!(grave.row.stamp, written.stamp.next_rank());
        assert_eq!(expire_all(&site).await, 0);
    }

    #[tokio::test]
    async fn a_write_that_the_expirer_had_not_seen_stays() {
        let expiring = LifecycleRule { expiration: Some(Expiration::Date(0)), ..rule() };
        for versioning in [Versioning::Off, Versioning::Enabled] {
            let site = site_with(expiring.clone(), versioning).await;
            put(&site, "k", "old").await;
            let due = all_due(&site).await;
            put(&site, "k", "new").await;
            let done = site.expire(&due[0], NOW).await.unwrap();
            // Without versions the new write is what has the name; its own time is over too.
            assert_eq!(done, versioning == Versioning::Off);
            if versioning == Versioning::Enabled {
                assert_eq!(get(&site, "k").await.unwrap(), "new");
            }
        }
    }

    #[tokio::test]
    async fn an_expired_version_is_hidden_and_its_marker_goes_when_nothing_is_behind_it() {
        let expiring = LifecycleRule { expiration: Some(Expiration::Date(0)), ..rule() };
        let site = site_with(expiring, Versioning::Enabled).await;
        let written = put(&site, "k", "x").await;
        assert_eq!(expire_all(&site).await, 1);
        assert!(matches!(get(&site, "k").await, Err(Error::Hidden { .. })));
        assert_eq!(all_due(&site).await.len(), 0, "something is behind the marker");
        let purge = Purge { slot: written.slot, bypass: Bypass::No };
        site.purge(&object("k"), purge, WriteConditions::default()).await.unwrap();
        assert_eq!(all_due(&site).await[0].end, End::Marker);
        assert_eq!(expire_all(&site).await, 1);
        assert!(!site.holds_anything(&object("k").bucket).await.unwrap());
    }

    #[tokio::test]
    async fn noncurrent_versions_go_but_for_the_newest_and_the_protected() {
        let noncurrent = Some(NoncurrentExpiration { days: 1, keep: Some(1) });
        let site = site_with(LifecycleRule { noncurrent, ..rule() }, Versioning::Enabled).await;
        let mut written = Vec::new();
        for text in ["1", "2", "3", "4"] {
            written.push(put(&site, "k", text).await);
        }
        let until_ms = site.clock().wall_ms() + 3_600_000;
        let retention = Retention { mode: RetentionMode::Governance, until_ms };
        let protect = Register::Retention(Some(retention), Bypass::No);
        site.set_register(&object("k"), Some(written[0].slot), protect).await.unwrap();
        let due = all_due(&site).await;
        assert_eq!(due.iter().map(|due| due.slot).collect::<Vec<_>>(), [Some(written[1].slot)]);
        assert_eq!((expire_all(&site).await, all_due(&site).await.len()), (1, 0));
        assert_eq!(get(&site, "k").await.unwrap(), "4");
    }
}
