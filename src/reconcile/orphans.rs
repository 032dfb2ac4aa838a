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

/// One walk over a bucket's own names, or over those of the keys under a prefix.
#[derive(Debug)]
pub(super) struct Orphans {
    site: Site,
    bucket: BucketName,
    prefix: String,
    after: Option<(Key, WriteId)>,
    older_ms: u64,
    dry_run: bool,
}

impl Orphans {
    /// Those older than `older_ms`.
    pub fn begin(site: &Site, bucket: BucketName, prefix: String, older_ms: u64, dry_run: bool) -> Self {
        Self { site: site.clone(), bucket, prefix, after: None, older_ms, dry_run }
    }

    /// What it is at, for people.
    pub fn at(&self) -> String {
        format!("{}, names of their own in the store", self.bucket)
    }

    pub async fn step(&mut self, report: &mut Report) -> Result<Next> {
        let backend = self.site.backend().clone();
        let mut listing = backend.list_own(&self.bucket, self.after.clone());
        for _ in 0..STEP_NAMES {
            let found = match listing.next().await {
                None | Some(Err(backend::Error::NoSuchBucket)) => return Ok(Next::Done),
                Some(found) => found.map_err(site::Error::from)?,
            };
            self.after = Some((found.found.key.clone(), found.write));
            if found.found.key.as_str().starts_with(&self.prefix) {
                self.look(found, report).await?;
            }
        }
        Ok(Next::Step)
    }

    async fn look(&self, found: backend::FoundOwn, report: &mut Report) -> Result<()> {
        let object = ObjectId { bucket: self.bucket.clone(), key: found.found.key.clone() };
        if !self.site.is_orphan(&object, &found, self.older_ms).await? {
            return Ok(());
        }
        let (slot, bytes) = (found.write.to_string(), found.found.size);
        let action = match self.dry_run {
            true => "none",
            false if self.site.remove_orphan(&object, found, self.older_ms).await? => "removed",
            false => return Ok(()),
        };
        let (bucket, key) = (object.bucket.to_string(), object.key.to_string());
        let (class, action) = (Class::Orphan, action.to_owned());
        report.add(Line { bucket, key, slot, class, here: None, there: None, bytes, action, with: None });
        Ok(())
    }
}
