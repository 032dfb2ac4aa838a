//! Graves leave when everybody who could still bring the object back is known to have heard of the delete, never by age
//! alone (protocol §12).

use std::collections::HashSet;

use super::Site;
use super::error::Result;
use crate::model::{ObjectId, Seq, SiteNumber, Slot, Stamp, Told, Unit};
use crate::status::tables::{Checkpoints, Dirty, Grave, Graves, Pending, Settle, Work};
use crate::status::{Commit, CommitError, Page, Stored};

/// A grave is never younger than this when it leaves, milliseconds.
pub const GRAVE_KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// Graves read at once.
const PAGE_ROWS: usize = 1_000;
/// Dirty buckets looked at: any one of them holds the mark back.
const DIRTY_ROWS_MAX: usize = 10_000;

impl Site {
    /// Everything this site told up to here has reached everybody it was told to; `seq` is the last it told.
    pub async fn settled_mark(&self, seq: Seq) -> Result<Seq> {
        let mut settled = seq;
        for target in self.inner.neighbours.numbers() {
            let pending: Page<Pending> = self.inner.status.page(&target, None, 1).await?;
            let dirty: Page<Dirty> = self.inner.status.page(&target, None, DIRTY_ROWS_MAX).await?;
            let owed = pending.rows.first().map(|((_, seq), _)| *seq);
            let lost = dirty.rows.iter().map(|(_, stored)| stored.row).min();
            #[cfg(test)]
            let owed = self.owed_as_planted(target, owed).await?;
            for unsettled in [owed, lost].into_iter().flatten() {
                settled = settled.min(Seq(unsettled.0.saturating_sub(1)));
            }
        }
        Ok(settled)
    }

    /// The seq of the least stamp, where a test wants that.
    #[cfg(test)]
    async fn owed_as_planted(&self, target: crate::model::SiteNumber, owed: Option<Seq>) -> Result<Option<Seq>> {
        planted!(SettledByStamp => {
            let pending: Page<Pending> = self.inner.status.page(&target, None, PAGE_ROWS).await?;
            let oldest = pending.rows.iter().min_by_key(|(_, stored)| stored.row.vector.greatest());
            return Ok(oldest.map(|((_, seq), _)| *seq));
        });
        Ok(owed)
    }

    /// The greatest stamp of a grave that left a bucket: what is older and that nobody else knows proves nothing.
    pub async fn horizon(&self, bucket: &crate::model::BucketName) -> Result<Option<Stamp>> {
        let row = self.inner.status.get::<Checkpoints>(&horizon_name(bucket)).await?;
        Ok(row.as_ref().and_then(stamp_of))
    }

    /// Drops every grave that has served. Answers how many.
    pub(super) async fn drop_served_graves(&self) -> Result<u64> {
        let (mut dropped, mut after) = (0, None);
        let leaving = self.leaving().await?;
        let told = *self.inner.status.told().borrow();
        let mark = self.settled_mark(told).await?;
        loop {
            let page: Page<Graves> = self.inner.status.page(&(), after.as_ref(), PAGE_ROWS).await?;
            let served = |grave: &Stored<Grave>| self.is_old(grave) && (self.has_served(grave, mark) || planted!(GraveByAge));
            let is_free = |object: &ObjectId| !leaving.contains(object);
            let served: Vec<_> = page.rows.iter().filter(|((object, _), grave)| served(grave) && is_free(object)).collect();
            for of_bucket in served.chunk_by(|((one, _), _), ((other, _), _)| one.bucket == other.bucket) {
                dropped += self.drop_graves(of_bucket).await?;
            }
            after = page.rows.last().map(|(key, _)| key.clone());
            if !page.more {
                return Ok(dropped);
            }
        }
    }

    /// Objects of which the store still has something that is to go: without their graves it would be taken for others'.
    async fn leaving(&self) -> Result<HashSet<ObjectId>> {
        let mut leaving = HashSet::new();
        if self.unsettled() > 0 {
            self.each_row::<Settle>(|_, row| leaving.extend(row.removes_plain().then(|| row.object().clone()))).await?;
        }
        Ok(leaving)
    }

    fn is_old(&self, grave: &Stored<Grave>) -> bool {
        self.inner.clock.wall_ms().saturating_sub(grave.row.vector().greatest().ms()) > GRAVE_KEPT_MS
    }

    /// Whether everybody has settled past it: past its telling here, if it was told here, too; and whoever told of it first
    /// says so in words that miss nothing it told.
    fn has_served(&self, grave: &Stored<Grave>, own_mark: Seq) -> bool {
        let teller = grave.row.told.map_or(self.inner.id.number, |told| told.site);
        if grave.seq > own_mark || self.may_bring_back(teller) {
            return false;
        }
        let own_life = self.inner.status.facts().incarnation;
        match grave.row.told {
            None => true,
            Some(Told { site, incarnation, seq }) if site == self.inner.id.number => incarnation == own_life && seq <= own_mark,
            Some(Told { site, incarnation, seq }) => self.inner.neighbours.get(site).is_some_and(|teller| {
                let seen = teller.seen();
                let heads = seen.heads.filter(|heads| heads.incarnation == incarnation && seq <= heads.settled);
                heads.is_some_and(|heads| {
                    planted!(ServedBeforeThrough) || seen.received.is_some_and(|received| received >= (incarnation, heads.seq))
                })
            }),
        }
    }

    /// Whether somebody whose objects come here hears nothing of deletes from here: without its grave an object would come
    /// back from there by the next comparison.
    fn may_bring_back(&self, teller: SiteNumber) -> bool {
        let told = self.inner.neighbours.in_scope();
        self.inner.neighbours.iter().any(|one| {
            let number = one.id.number;
            number != teller && !told.contains(&number) && one.seen().heads.is_none_or(|heads| heads.tells)
        })
    }

    /// Drops graves of one bucket in one commit: a bucket may see more deletes in a second than commits that wait for each
    /// other. Where something comes meanwhile that concerns one of them, each is dropped by itself.
    async fn drop_graves(&self, graves: &[&Served]) -> Result<u64> {
        let mut free = Vec::with_capacity(graves.len());
        for grave in graves {
            if !self.is_on_its_way(&grave.0).await? {
                free.push(*grave);
            }
        }
        if free.is_empty() || self.commit_dropped(&free).await? {
            return Ok(free.len() as u64);
        }
        let mut dropped = 0;
        for grave in free {
            dropped += u64::from(self.commit_dropped(&[grave]).await?);
        }
        Ok(dropped)
    }

    /// Whether something is on its way to the unit.
    async fn is_on_its_way(&self, (object, slot): &(ObjectId, Slot)) -> Result<bool> {
        if self.inner.neighbours.is_empty() || planted!(GraveInFlight) {
            return Ok(false);
        }
        let unit = Unit::Object { object: object.clone(), slot: *slot };
        Ok(self.inner.status.get::<Work>(&unit).await?.is_some())
    }

    /// Whether they are gone; not where anything has changed. The horizon goes with them, and never back.
    async fn commit_dropped(&self, graves: &[&Served]) -> Result<bool> {
        let Some(name) = graves.first().map(|((object, _), _)| horizon_name(&object.bucket)) else { return Ok(true) };
        let before = self.inner.status.get::<Checkpoints>(&name).await?;
        let horizon = graves.iter().map(|(_, grave)| grave.row.stamp).chain(before.as_ref().and_then(stamp_of)).max();
        let mut commit = Commit::new().frees().expect::<Checkpoints>(&name, before.map(|before| before.revision));
        for ((object, slot), grave) in graves {
            let (key, unit) = ((object.clone(), *slot), Unit::Object { object: object.clone(), slot: *slot });
            let free = !planted!(GraveInFlight);
            commit = commit.expect::<Graves>(&key, Some(grave.revision)).delete::<Graves>(&key);
            commit = commit.expect_if::<Work>(free, &unit, None);
        }
        if let Some(horizon) = horizon {
            commit = commit.put::<Checkpoints>(&name, &horizon.to_bytes().to_vec());
        }
        match self.inner.status.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }
}

/// A row of `graves`.
type Served = ((ObjectId, Slot), Stored<Grave>);

fn stamp_of(horizon: &Stored<Vec<u8>>) -> Option<Stamp> {
    <[u8; 16]>::try_from(horizon.row.as_slice()).ok().map(Stamp::from_bytes)
}

fn horizon_name(bucket: &crate::model::BucketName) -> String {
    format!("horizon/{bucket}")
}
