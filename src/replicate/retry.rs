//! Trying again because a person asked: work here is due at once, and what other sites refused is told to them again. In
//! bounded steps, since there may be a million of it.

use crate::model::{BucketName, SiteNumber, Unit};
use crate::site::{Result, Site, ToldAgain};
use crate::status::tables::{Due, Failed, Hint, Work};
use crate::status::{Commit, CommitError, Page};

/// Rows of one commit.
const ROWS_MAX: usize = 256;
/// How often a page that met other commits is taken up again.
const TRIES_MAX: usize = 16;

/// Which units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Told by this site, or refused by it.
    pub site: Option<SiteNumber>,
    pub bucket: Option<BucketName>,
    /// How the key begins; empty is every key, and the bucket itself.
    pub prefix: String,
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried<K> {
    pub units: u64,
    /// Where the next step goes on; `None` is the end.
    pub next: Option<K>,
}

impl Which {
    pub fn takes(&self, unit: &Unit) -> bool {
        let right_bucket = self.bucket.as_ref().is_none_or(|bucket| bucket == unit.bucket());
        right_bucket
            && match unit {
                Unit::Object { object, .. } => object.key.as_str().starts_with(&self.prefix),
                Unit::Bucket(_) => self.prefix.is_empty(),
            }
    }
}

/// Makes work after `after` due at once, as if it had never failed. Ring the bell after the last step.
pub async fn retry_work(site: &Site, which: &Which, after: Option<&Unit>) -> Result<Retried<Unit>> {
    let now_ms = site.clock().wall_ms();
    let told_by = |hint: &Hint| which.site.is_none_or(|site| hint.sources.contains(&site));
    let anew = |hint: &Hint| Hint { due_ms: now_ms.min(hint.due_ms), tries: 0, ..hint.clone() };
    make_due(site, after, |unit, hint| (which.takes(unit) && told_by(hint)).then(|| anew(hint))).await
}

/// Changes a page of work after `after`, as far as `changed` says how.
pub(super) async fn make_due(
    site: &Site,
    after: Option<&Unit>,
    changed: impl Fn(&Unit, &Hint) -> Option<Hint>,
) -> Result<Retried<Unit>> {
    for _ in 0..TRIES_MAX {
        let page: Page<Work> = site.status().page(&(), after, ROWS_MAX).await?;
        let next = page.more.then(|| page.rows.last().map(|(unit, _)| unit.clone())).flatten();
        let (mut commit, mut units) = (Commit::new(), 0);
        for (unit, stored) in &page.rows {
            let Some(hint) = changed(unit, &stored.row) else { continue };
            commit = commit
                .expect::<Work>(unit, Some(stored.revision))
                .delete::<Due>(&(stored.row.due_ms, unit.clone()))
                .put::<Due>(&(hint.due_ms, unit.clone()), &())
                .put::<Work>(unit, &hint);
            units += 1;
        }
        if commit.is_empty() {
            return Ok(Retried { units, next });
        }
        match site.status().commit(commit).await {
            Ok(_) => return Ok(Retried { units, next }),
            // Some of it was worked off meanwhile: the page is read again.
            Err(CommitError::Conflict) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(CommitError::Conflict.into())
}

/// Tells what sites refused to them again, after `after`.
pub async fn retell_failed(
    site: &Site,
    which: &Which,
    after: Option<&(SiteNumber, Unit)>,
) -> Result<Retried<(SiteNumber, Unit)>> {
    let page: Page<Failed> = match which.site {
        Some(target) => site.status().page(&target, after, ROWS_MAX).await?,
        None => site.status().page(&(), after, ROWS_MAX).await?,
    };
    let mut units = 0;
    for ((target, unit), _) in page.rows.iter().filter(|((_, unit), _)| which.takes(unit)) {
        units += u64::from(site.tell_again(unit, &[*target]).await? == ToldAgain::Queued);
    }
    Ok(Retried { units, next: page.more.then(|| page.rows.last().map(|(key, _)| key.clone())).flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectId;

    #[test]
    fn a_prefix_takes_keys_and_none_takes_the_bucket_too() {
        let bucket = BucketName::new("bucket").unwrap();
        let object = Unit::null(&ObjectId::parse("bucket", "logs/a").unwrap());
        let of = |prefix: &str| Which { site: None, bucket: Some(bucket.clone()), prefix: prefix.into() };
        assert!(of("").takes(&object) && of("logs/").takes(&object) && !of("x").takes(&object));
        assert!(of("").takes(&Unit::Bucket(bucket.clone())) && !of("logs/").takes(&Unit::Bucket(bucket.clone())));
        let other = Unit::null(&ObjectId::parse("other", "logs/a").unwrap());
        assert!(!of("").takes(&other) && Which::default().takes(&other));
    }
}
