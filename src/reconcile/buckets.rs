//! The buckets of two sites: made, deleted and set up alike before their objects are compared.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Result;
use super::diff::Class;
use super::pair::{Ways, in_time};
use super::report::{Line, Report, Side};
use crate::model::{Bucket, BucketName, Replica, SiteNumber, Unit};
use crate::peer::Error as PeerError;
use crate::site::{Neighbour, Site};
use crate::status::Page;
use crate::status::tables::Dirty;

/// Buckets of one request.
const FETCH_MAX: usize = 256;

/// Makes the buckets of two sites equal, and answers those whose objects are to be compared: that live, or of which the
/// other site may lack something.
pub(super) async fn buckets(
    site: &Site,
    neighbour: &Arc<Neighbour>,
    only: &Only,
    dry_run: bool,
    report: &mut Report,
) -> Result<Vec<BucketName>> {
    let mut names: BTreeSet<BucketName> = in_time(neighbour.peer.buckets()).await?.into_iter().collect();
    names.extend(site.known_buckets().await?);
    let dirty = dirty(site, neighbour.id.number).await?;
    let names: Vec<BucketName> = names.into_iter().filter(|name| only.has(name, &dirty)).collect();
    let mut both = Vec::new();
    for some in names.chunks(FETCH_MAX) {
        let units: Vec<Unit> = some.iter().cloned().map(Unit::Bucket).collect();
        let fetched = in_time(neighbour.peer.fetch(&units)).await?;
        if fetched.len() != units.len() {
            let reason = format!("{} answers came of {} buckets", fetched.len(), units.len());
            return Err(PeerError::Malformed(reason).into());
        }
        for (name, fetched) in some.iter().zip(fetched) {
            let unit = Unit::Bucket(name.clone());
            let (here, there) = (bucket_of(site.replica(&unit).await?), bucket_of(fetched.replica));
            let compared = Compared { site, neighbour, name, here, there };
            if compared.settle(dry_run, report).await? || dirty.contains(name) {
                both.push(name.clone());
            }
        }
    }
    Ok(both)
}

/// Which buckets are of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Only {
    All,
    One(BucketName),
    Dirty,
}

impl Only {
    fn has(&self, name: &BucketName, dirty: &BTreeSet<BucketName>) -> bool {
        match self {
            Self::All => true,
            Self::One(only) => only == name,
            Self::Dirty => dirty.contains(name),
        }
    }
}

/// The buckets of which a site may lack something that nobody will tell it.
pub(super) async fn dirty(site: &Site, target: SiteNumber) -> Result<BTreeSet<BucketName>> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let page: Page<Dirty> = site.status().page(&target, after.as_ref(), 1_000).await.map_err(crate::site::Error::from)?;
        after = page.rows.last().map(|(key, _)| key.clone());
        all.extend(page.rows.into_iter().map(|((_, bucket), _)| bucket));
        if !page.more {
            return Ok(all);
        }
    }
}

fn bucket_of(replica: Replica) -> Option<Bucket> {
    match replica {
        Replica::Bucket(bucket) => Some(bucket),
        _ => None,
    }
}

struct Compared<'a> {
    site: &'a Site,
    neighbour: &'a Arc<Neighbour>,
    name: &'a BucketName,
    here: Option<Bucket>,
    there: Option<Bucket>,
}

impl Compared<'_> {
    /// Whether both sites have the bucket and its objects can be compared.
    async fn settle(self, dry_run: bool, report: &mut Report) -> Result<bool> {
        let merged = match (&self.here, &self.there) {
            (Some(here), Some(there)) => here.merge(there),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => return Ok(false),
        };
        let ways = Ways::between(self.site, self.neighbour);
        let pull = (ways.here || ways.brings_back(merged.created)) && self.here.as_ref() != Some(&merged);
        let tell = ways.there && self.there.as_ref() != Some(&merged);
        if pull || tell {
            report.add(self.line(if dry_run { "none" } else { action(pull, tell) }));
        }
        if dry_run {
            // The objects of a bucket that only one side has are missing on the other, all of them.
            return Ok(merged.is_live());
        }
        let unit = Unit::Bucket(self.name.clone());
        if pull {
            self.site.apply(&unit, Replica::Bucket(merged.clone()), None).await?;
        }
        if tell {
            self.site.retell(&unit, self.neighbour.id.number).await?;
        }
        Ok(merged.is_live())
    }

    fn line(&self, action: &str) -> Line {
        let class = match (&self.here, &self.there) {
            (None, _) => Class::MissingHere,
            (_, None) => Class::MissingThere,
            (Some(here), Some(there)) => match (here.created, here.deleted).cmp(&(there.created, there.deleted)) {
                Ordering::Less => Class::OlderHere,
                Ordering::Equal => Class::Registers,
                Ordering::Greater => Class::OlderThere,
            },
        };
        let side = |bucket: &Bucket| Side::at(bucket.greatest(), if bucket.is_live() { "bucket" } else { "deleted" });
        Line {
            bucket: self.name.to_string(),
            key: String::new(),
            slot: "bucket".into(),
            class,
            here: self.here.as_ref().map(side),
            there: self.there.as_ref().map(side),
            bytes: 0,
            action: action.into(),
            with: Some(self.neighbour.id.name.clone()),
        }
    }
}

fn action(pull: bool, tell: bool) -> &'static str {
    match (pull, tell) {
        (true, true) => "applied, told",
        (true, false) => "applied",
        _ => "told",
    }
}
