//! Waiting: until other sites have what was written here, or until this one knows what was written elsewhere. Nothing
//! depends on either; a client that needs to know asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::error::{Error, Result};
use super::{Neighbour, Replication, Site};
use crate::model::{BucketName, Incarnation, ObjectId, Seq, SiteNumber, Slot, Stamp, Unit};
use crate::peer::LogAsk;
use crate::status::Page;
use crate::status::tables::Work;

/// How long a read waits for what it must not be less than.
const REACH_PATIENCE: Duration = Duration::from_secs(5);
/// For one answer meanwhile.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at what arrived.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Entries of a log looked at to see where it ends.
const ENTRIES_MAX: usize = 1_000;
/// Work looked through for what a listing lacks; with more of it nothing is certain.
const WORK_ROWS_MAX: usize = 10_000;

/// Who is to have a write before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// So many other sites.
    Count(usize),
    Site(SiteNumber),
}

impl Enough {
    fn is_reached(self, stands: &[(SiteNumber, Replication)]) -> bool {
        let has = |site: &(SiteNumber, Replication)| site.1 == Replication::Completed;
        match self {
            Self::Count(count) => stands.iter().filter(|site| has(site)).count() >= count,
            Self::Site(number) => stands.iter().any(|site| site.0 == number && has(site)),
        }
    }
}

/// Where each site's log ended after the question came: everything up to there is to be known.
type Ends = BTreeMap<SiteNumber, (Incarnation, Seq)>;

impl Site {
    /// Waits until enough sites have an object as it is here, `patience` at the most; answers how they stand then. `None`:
    /// what is here by now was written elsewhere.
    pub async fn wait_for(
        &self,
        (object, slot): (&ObjectId, Slot),
        enough: Enough,
        patience: Duration,
    ) -> Result<Option<Vec<(SiteNumber, Replication)>>> {
        let deadline = Instant::now() + patience;
        let mut answered = self.inner.status.answered();
        loop {
            answered.mark_unchanged();
            let stands = self.stands(object, slot).await?;
            let is_over = stands.as_ref().is_none_or(|stands| enough.is_reached(stands));
            if is_over || Instant::now() >= deadline {
                return Ok(stands);
            }
            tokio::select! {
                _ = answered.changed() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// How every site in scope stands with an object, or its grave, as it is here.
    async fn stands(&self, object: &ObjectId, slot: Slot) -> Result<Option<Vec<(SiteNumber, Replication)>>> {
        let known = self.known(object, slot).await?;
        let Some(vector) = known.here().stamps() else { return Ok(None) };
        self.replication(&Unit::of(object, slot), &vector, known.seq()).await
    }

    /// Returns once what is known of an object is not older than a stamp, or everything told up to it is known.
    pub async fn reach(&self, object: &ObjectId, stamp: Stamp) -> Result<()> {
        planted!(MinStampIgnored => {
            return Ok(());
        });
        let deadline = Instant::now() + REACH_PATIENCE;
        let unit = Unit::null(object);
        let (mut ends, mut is_asked) = (Ends::new(), false);
        loop {
            let reached = self.greatest_of_key(object).await? >= Some(stamp);
            if reached || self.is_own(stamp) || self.is_heard(&mut ends).await? && self.is_worked_off(object).await? {
                return Ok(());
            }
            if !is_asked && let Some(writer) = self.inner.neighbours.get(stamp.parts().site) {
                is_asked = true;
                let answer = self.ask(writer, &unit, ANSWER_PATIENCE).await;
                if self.noted(&unit, writer.id.number, answer).await.is_ok() {
                    continue;
                }
            }
            pause(deadline).await?;
        }
    }

    /// The greatest stamp known of any version of a key that may be current.
    async fn greatest_of_key(&self, object: &ObjectId) -> Result<Option<Stamp>> {
        let of_null = self.known(object, Slot::Null).await?.greatest();
        let current = self.current(object).await?.map(|stored| stored.row.vector.greatest());
        let marker = self.inner.status.hiding(object).await?.map(|stored| stored.row.vector.greatest());
        Ok(of_null.max(current).max(marker))
    }

    /// Returns once everything told up to a stamp is in a bucket's listing.
    pub async fn reach_all(&self, bucket: &BucketName, stamp: Stamp) -> Result<()> {
        let deadline = Instant::now() + REACH_PATIENCE;
        let mut ends = Ends::new();
        loop {
            if self.is_own(stamp) || self.is_heard(&mut ends).await? && self.is_listed(bucket, stamp).await? {
                return Ok(());
            }
            pause(deadline).await?;
        }
    }

    /// Whether this site drew a stamp itself, in this life: what it wrote is here.
    fn is_own(&self, stamp: Stamp) -> bool {
        let parts = stamp.parts();
        (parts.site, parts.incarnation) == (self.inner.id.number, self.inner.status.facts().incarnation)
    }

    /// Whether everything that any site had told when it was first asked here is known. What it told to an earlier life of this
    /// site, or in one of its own, is in no log any more: until the two were compared nothing is certain.
    async fn is_heard(&self, ends: &mut Ends) -> Result<bool> {
        let unasked = self.inner.neighbours.iter().filter(|one| !ends.contains_key(&one.id.number));
        let asked = unasked.map(|one| async { (one.id.number, self.end_of_log(one).await) });
        for (site, end) in futures::future::join_all(asked).await {
            ends.extend(end.map(|end| (site, end)));
        }
        let is_known = |one: &Neighbour| {
            let (Some((life, end)), Some(received)) = (ends.get(&one.id.number), one.seen().received) else { return false };
            one.is_learned() && received.0 == *life && received.1 >= *end
        };
        Ok(self.inner.neighbours.iter().all(|one| is_known(one)))
    }

    /// Where a site's log ends now; `None` while that cannot be said.
    async fn end_of_log(&self, neighbour: &Neighbour) -> Option<(Incarnation, Seq)> {
        if neighbour.standing() == super::Standing::Unreachable {
            return None;
        }
        let received = neighbour.seen().received?;
        let ask = LogAsk { site: self.inner.id.number, after: received.1, received, entries_max: ENTRIES_MAX };
        let page = timeout(ANSWER_PATIENCE, neighbour.peer.log(ask)).await.ok()?.ok()?;
        (!page.more).then_some((page.incarnation, page.through))
    }

    /// Whether nothing is on its way to any version of a key.
    async fn is_worked_off(&self, object: &ObjectId) -> Result<bool> {
        // Newest first, behind the null version.
        let (first, last) = (Unit::null(object), Unit::of(object, Slot::Version(Stamp::from_bytes([0; 16]))));
        let page: Page<Work> = self.inner.status.between(&(), Some(&first), Some(&last), 1).await?;
        Ok(page.rows.is_empty())
    }

    /// Whether no work is left that would change what a bucket shows up to a stamp.
    async fn is_listed(&self, bucket: &BucketName, stamp: Stamp) -> Result<bool> {
        let page: Page<Work> = self.inner.status.page(&(), None, WORK_ROWS_MAX).await?;
        let lacking = |(unit, hint): &(Unit, crate::status::Stored<crate::status::tables::Hint>)| {
            unit.bucket() == bucket && hint.row.want.data <= stamp
        };
        Ok(!page.more && !page.rows.iter().any(lacking))
    }
}

async fn pause(deadline: Instant) -> Result<()> {
    if Instant::now() >= deadline {
        let reason = "what is known here does not reach the stamp that the answer must not be less than".to_owned();
        return Err(Error::Unavailable { reason, retry_after: Duration::from_secs(1) });
    }
    tokio::time::sleep(LOOK_PAUSE).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Replication::{Completed, Failed, Pending};

    #[test]
    fn enough_counts_who_has_it() {
        let stands = [(SiteNumber(2), Completed), (SiteNumber(3), Pending), (SiteNumber(4), Failed)];
        assert!(Enough::Count(1).is_reached(&stands) && !Enough::Count(2).is_reached(&stands));
        assert!(Enough::Site(SiteNumber(2)).is_reached(&stands) && !Enough::Site(SiteNumber(3)).is_reached(&stands));
    }
}
