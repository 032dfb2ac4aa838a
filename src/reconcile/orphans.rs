//! Names of their own in a bucket against the rows: what nothing names for long enough goes.

use futures::StreamExt;

use super::Result;
use super::diff::Class;
use super::outward::Next;
use super::report::{Line, Report};
use crate::backend;
use crate::model::{BucketName, Key, ObjectId, WriteId};
use crate::site::{self, Site};

/// Names looked at by one step.
const STEP_NAMES: usize = 1_000;
/// Most that one walk over a bucket removes unless a person said how old they are to be: more of them would be a fault of the
/// rows rather than what crashes leave (protocol, rule 10).
const UNASKED_MAX: u64 = 1_000;
/// How old they are at the least unless somebody says otherwise.
const OLDER_MS: u64 = 24 * 3_600_000;

/// One walk over a bucket's own names, or over those of the keys under a prefix.
#[derive(Debug)]
pub(super) struct Orphans {
    site: Site,
    bucket: BucketName,
    prefix: String,
    after: Option<(Key, WriteId)>,
    /// What a person said; none is a day.
    older_ms: Option<u64>,
    dry_run: bool,
    removed: u64,
}

impl Orphans {
    /// Those older than `older_ms`; none is a day.
    pub fn begin(site: &Site, bucket: BucketName, prefix: String, older_ms: Option<u64>, dry_run: bool) -> Self {
        Self { site: site.clone(), bucket, prefix, after: None, older_ms, dry_run, removed: 0 }
    }

    /// What it is at, for people.
    pub fn at(&self) -> String {
        format!("{}, names of their own in the store", self.bucket)
    }

    pub async fn step(&mut self, report: &mut Report) -> Result<Next> {
        let backend = self.site.backend().clone();
        let bucket = self.bucket.clone();
        let mut listing = backend.list_own(&bucket, self.after.clone());
        for _ in 0..STEP_NAMES {
            let found = match listing.next().await {
                None | Some(Err(backend::Error::NoSuchBucket)) => return Ok(Next::Done),
                Some(found) => found.map_err(site::Error::from)?,
            };
            self.after = Some((found.found.key.clone(), found.write));
            if !found.found.key.as_str().starts_with(&self.prefix) {
                continue;
            }
            let key = found.found.key.clone();
            match self.look(found, report).await {
                // One that cannot be removed says nothing of those behind it.
                Err(super::Error::Here(err @ (site::Error::StoreReadOnly(_) | site::Error::Internal(_)))) => {
                    tracing::warn!(bucket = %self.bucket, %key, error = %err, "bytes that nothing names cannot be removed");
                    report.summary.unchecked += 1;
                }
                looked => looked?,
            }
        }
        Ok(Next::Step)
    }

    async fn look(&mut self, found: backend::FoundOwn, report: &mut Report) -> Result<()> {
        let object = ObjectId { bucket: self.bucket.clone(), key: found.found.key.clone() };
        let older_ms = self.older_ms.unwrap_or(OLDER_MS);
        if !self.site.is_orphan(&object, &found, older_ms).await? {
            return Ok(());
        }
        let (slot, bytes) = (found.write.to_string(), found.found.size);
        let action = match self.dry_run {
            true => "none",
            false if self.older_ms.is_none() && self.removed >= UNASKED_MAX => "left: too many for nobody having asked",
            false if self.site.remove_orphan(&object, found, older_ms).await? => {
                self.removed += 1;
                "removed"
            }
            false => return Ok(()),
        };
        let (bucket, key) = (object.bucket.to_string(), object.key.to_string());
        let (class, action) = (Class::Orphan, action.to_owned());
        report.add(Line { bucket, key, slot, class, here: None, there: None, bytes, action, with: None });
        Ok(())
    }
}
