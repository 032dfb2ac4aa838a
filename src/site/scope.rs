//! Who came into scope, and what is not known of it. From then on everything it lacks stands in `pending`; of what was written
//! before nothing says that it has it. Nor does anything of a site that began a new life. Every bucket is dirty for it then,
//! which shows as PENDING, holds back the settled mark, and ends once the two were compared (protocol §3).

use super::Site;
use super::error::Result;
use crate::model::{Seq, SiteNumber};
use crate::status::Commit;
use crate::status::tables::{Dirty, Meta};

/// Begins the name of the rows that say which sites are in scope.
const ROW: &str = "scope.";

fn row(site: SiteNumber) -> String {
    format!("{ROW}{}", site.0)
}

impl Site {
    /// Compares who is in scope now with who was before the start.
    pub(super) async fn note_scope(&self) -> Result<()> {
        let mut before = Vec::new();
        self.each_row::<Meta>(|name, _| {
            before.extend(name.strip_prefix(ROW).and_then(|number| number.parse().ok()).map(SiteNumber))
        })
        .await?;
        let now = self.inner.neighbours.in_scope();
        let mut commit = Commit::new();
        for gone in before.iter().filter(|site| !now.contains(site)) {
            commit = commit.delete::<Meta>(&row(*gone));
        }
        for come in now.iter().filter(|site| !before.contains(site)) {
            commit = self.doubt(*come, commit.put::<Meta>(&row(*come), &1)).await?;
        }
        if !commit.is_empty() {
            self.inner.status.commit(commit).await?;
        }
        Ok(())
    }

    /// Whether `target` may lack something that nobody will tell it.
    pub async fn is_dirty(&self, target: SiteNumber) -> Result<bool> {
        let is_troubled = self.inner.status.troubled(target) > 0;
        Ok(is_troubled && self.inner.status.count::<Dirty>(&target, 1).await? > 0)
    }

    /// Notes with a commit that `target`, if it is in scope, may lack anything that was written by now.
    pub async fn doubt(&self, target: SiteNumber, commit: Commit) -> Result<Commit> {
        if !self.inner.neighbours.in_scope().contains(&target) {
            return Ok(commit);
        }
        let buckets = self.known_buckets().await?;
        Ok(buckets.into_iter().fold(commit, |commit, bucket| commit.put::<Dirty>(&(target, bucket), &Seq(1))))
    }
}
