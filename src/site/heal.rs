//! Bytes that are not where, or not what, their record says: found out under the key lock, never guessed (protocol §5).
//!
//! A lone site takes over what was changed behind its back, since nobody else can be spoiled by it and whoever edits a
//! file expects to see it. Where there are other sites nobody takes such bytes for a write: they are suspect, and the
//! object's own come back from whoever has them. Bytes that are gone make the record Wanted: absence is never a delete.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;

use super::claim::identity_found;
use super::digest::{self, Digests};
use super::error::{Error, Result};
use super::get::without_bucket;
use super::land::without_part_map;
use super::types::{Claims, Upload};
use super::{Newcomer, Site, plain};
use crate::backend::{self, Found, GetOptions, Place};
use crate::model::{Event, Identity, Location, ObjectId, Parts, Record, State, Unit, Vector};
use crate::status::{Commit, Stored};

/// How long a read waits for a write of the same key that is in flight.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(2);

/// What is so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Healed {
    /// Something is different: start over.
    Differs,
    /// The bytes of this record are not here.
    Gone,
}

impl Site {
    /// A read found other bytes than those of `seen`, or none.
    pub(super) async fn heal(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<Healed> {
        let (site, object, seen) = (self.clone(), object.clone(), seen.clone());
        self.unstoppable(async move {
            let key = tokio::time::timeout(IN_FLIGHT_WAIT, site.inner.keys.lock(&object)).await;
            let _key = key.map_err(|_| Error::Unavailable {
                reason: "a write of this key is in flight".into(),
                retry_after: Duration::from_secs(1),
            })?;
            site.heal_locked(&object, &seen).await
        })
        .await
    }

    /// The same, with the key locked.
    pub(super) async fn heal_locked(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<Healed> {
        let Some(now) = self.inner.status.unit(object, seen.row.slot()).await? else { return Ok(Healed::Differs) };
        if now.revision != seen.revision {
            return Ok(Healed::Differs);
        }
        match self.open_bytes(object, &now.row, 0..0).await {
            Ok(_) => return Ok(Healed::Differs),
            Err(backend::Error::NotFound | backend::Error::Changed) => {}
            // A store that cannot be asked says nothing about the bytes.
            Err(err) => return Err(err.into()),
        }
        if matches!(now.row.location, Location::Native(_))
            && self.adopts(&object.bucket)
            && self.look_at_versions_locked(object).await? == Newcomer::Taken
        {
            return Ok(Healed::Differs);
        }
        match self.inner.backend.head(&settled_place(object, &now.row)).await.map_err(without_bucket) {
            Ok(found) if found.binding == now.row.binding => self.found_again(object, &now).await,
            // Nobody was told what they are, and nobody can be spoiled.
            Ok(found) if now.row.state == State::Unread && now.row.location == Location::Plain => {
                self.found_anew(object, &now, &found).await
            }
            // What has the key's own name is what whoever edits a file sees; a version never changes.
            Ok(found) if self.adopts(&object.bucket) && where_lost(&now.row) == Location::Plain => {
                self.adopt(object, &now, found).await
            }
            Ok(found) => {
                self.suspect(object, &now, &found);
                self.mark_wanted(object, &now).await
            }
            Err(backend::Error::NotFound) => self.mark_wanted(object, &now).await,
            Err(err) => Err(err.into()),
        }
    }

    /// Others changed bytes that were not read yet.
    pub(super) async fn found_anew(&self, object: &ObjectId, now: &Stored<Record>, found: &Found) -> Result<Healed> {
        let (stamp, known) = (self.stamp_of(found), now.row.vector.greatest());
        let stamp = if stamp > known { stamp } else { self.inner.clock.tick(Some(known)) };
        let unread = self.unread(found, stamp);
        let identity = match found.described {
            Some(_) => unread.identity,
            // A file says nothing: what was said of it before stays.
            None => {
                let Identity { headers, metadata, tags, .. } = now.row.identity.clone();
                Identity { headers, metadata, tags, ..unread.identity }
            }
        };
        let (base, registers) = (Some(now.row.vector.data), now.row.registers.clone());
        self.replace_record(object, now, Record { identity, base, registers, ..unread }, Commit::new()).await?;
        Ok(Healed::Differs)
    }

    /// The very bytes of the record are back at their name.
    pub(super) async fn found_again(&self, object: &ObjectId, now: &Stored<Record>) -> Result<Healed> {
        tracing::warn!(stamp = %now.row.vector.data, %object, "lost bytes are back");
        let state = if now.row.state == State::Unread { State::Unread } else { State::Present };
        let record = Record { state, location: now.row.location.settled(), ..now.row.clone() };
        self.replace_record(object, now, record, Commit::new()).await?;
        Ok(Healed::Differs)
    }

    /// Other bytes are there: they become the object, as a new write that keeps headers and metadata.
    async fn adopt(&self, object: &ObjectId, now: &Stored<Record>, found: Found) -> Result<Healed> {
        let digests = self.hash_found(object, &found).await?;
        let stamp = self.inner.clock.tick(Some(now.row.vector.greatest()));
        tracing::warn!(%stamp, %object, size = found.size, "took over bytes that were changed behind the site's back");
        self.inner.counters.adopted.fetch_add(1, Ordering::Relaxed);
        let record = Record {
            vector: Vector::of(stamp),
            state: State::Present,
            identity: identity_found(&found, Some(&now.row.identity), &digests),
            location: Location::Plain,
            binding: found.binding,
            write: self.inner.writes.next(),
            base: Some(now.row.vector.data),
            versioned: false,
            registers: now.row.registers.clone(),
        };
        let told = Commit::new().tell(Event { unit: Unit::null(object), vector: record.vector }).to(self.audience());
        self.replace_record(object, now, record, told).await?;
        Ok(Healed::Differs)
    }

    /// Other bytes are there, where others hold the object's own: whoever put them there did not write to it.
    fn suspect(&self, object: &ObjectId, now: &Stored<Record>, found: &Found) {
        if now.row.state == State::Present {
            let (stamp, size) = (now.row.vector.data, found.size);
            tracing::error!(%stamp, %object, size, "bytes were changed behind the site's back: the object's own are fetched again");
            self.inner.counters.suspects.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) async fn hash_found(&self, object: &ObjectId, found: &Found) -> Result<Digests> {
        self.hash_at(&plain(object), found).await
    }

    /// The digests of what was found at a place.
    pub(super) async fn hash_at(&self, place: &Place, found: &Found) -> Result<Digests> {
        let options = GetOptions { range: None, expect: Some(found.binding.clone()) };
        let fetched = self.inner.backend.get(place, options).await?;
        let (mut body, receipt) = digest::verified(Upload { body: fetched.body, claims: Claims::default() });
        while let Some(chunk) = body.stream.next().await {
            chunk.map_err(backend::Error::Body)?;
        }
        receipt.take()
    }

    async fn mark_wanted(&self, object: &ObjectId, now: &Stored<Record>) -> Result<Healed> {
        if now.row.state == State::Present {
            tracing::error!(stamp = %now.row.vector.data, %object, "the bytes of an object are gone from the store");
            self.inner.counters.lost.fetch_add(1, Ordering::Relaxed);
            let record = Record { state: State::Wanted, location: where_lost(&now.row), ..now.row.clone() };
            let commit = match self.inner.neighbours.numbers() {
                nobody if nobody.is_empty() => Commit::new(),
                others => {
                    let unit = Unit::of(object, now.row.slot());
                    self.with_work(&unit, now.row.vector, &others, super::read_through::HEAD_START_MS, Commit::new()).await?
                }
            };
            self.replace_record(object, now, record, commit).await?;
        }
        Ok(Healed::Gone)
    }

    async fn replace_record(&self, object: &ObjectId, now: &Stored<Record>, record: Record, commit: Commit) -> Result<()> {
        let mut commit = commit.expect_unit(object, now.row.slot(), Some(now.revision)).put_unit(object, &record);
        if record.identity.parts == Parts::Single {
            commit = without_part_map(commit, object, &now.row, 0);
        }
        self.inner.status.commit(commit).await?;
        Ok(())
    }
}

/// Where the bytes of a record are once they have come to their name.
pub(super) fn settled_place(object: &ObjectId, record: &Record) -> Place {
    Place { object: object.clone(), location: record.location.settled() }
}

/// Where bytes would be that are not where they were. Those that had a name of their own until the store copies them are looked
/// for there: what has the key's name is older.
fn where_lost(record: &Record) -> Location {
    match record.location {
        Location::Moving(own) => Location::Own(own),
        ref location => location.settled(),
    }
}

pub(super) fn adopted_identity(before: &Identity, digests: &Digests) -> Identity {
    let Identity { headers, metadata, tags, .. } = before.clone();
    Identity { headers, metadata, tags, ..digests.identity() }
}
