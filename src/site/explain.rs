//! Everything known of one unit, for people who ask why it is or is not there.

use std::sync::Arc;

use super::error::Result;
use super::{Replication, Site};
use crate::model::{Bucket, Record, Seq, SiteNumber, Unit, Vector};
use crate::status::Stored;
use crate::status::tables::{Buckets, Conflicts, Dirty, Failed, Grave, Graves, Hint, Pending, Work};

/// What is here of a unit.
#[derive(Clone, Debug)]
pub enum Found {
    /// Nothing is known of it, which says nothing about other sites.
    Nothing,
    Object(Arc<Stored<Record>>),
    Grave(Stored<Grave>),
    Bucket(Stored<Bucket>),
}

/// How one other site stands with a unit, as far as this one told it.
#[derive(Clone, Debug)]
pub struct Told {
    pub site: SiteNumber,
    pub status: Replication,
    /// Why it could not take it.
    pub refusal: Option<String>,
    /// Whether it may lack something of this bucket that only reconciliation finds.
    pub is_dirty: bool,
}

/// The whole of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub found: Found,
    /// Whether the bucket is here.
    pub has_bucket: bool,
    /// Every other site that was told of it, or will be.
    pub told: Vec<Told>,
    /// What is left to do to have it here.
    pub work: Option<Hint>,
    /// The last write of it that lost against one that had not seen it.
    pub lost: Option<Vector>,
}

impl Found {
    /// Under which seq it was told; 0 where it was not.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Nothing => Seq(0),
            Self::Object(stored) => stored.seq,
            Self::Grave(stored) => stored.seq,
            Self::Bucket(stored) => stored.seq,
        }
    }

    /// The stamps it has.
    pub fn vector(&self) -> Option<Vector> {
        match self {
            Self::Nothing => None,
            Self::Object(stored) => Some(stored.row.vector),
            Self::Grave(stored) => Some(stored.row.vector()),
            Self::Bucket(stored) => Some(Vector::of(stored.row.greatest())),
        }
    }
}

impl Site {
    /// Everything known of a unit. Changes nothing and asks no other site.
    pub async fn explain(&self, unit: &Unit) -> Result<Explanation> {
        let status = &self.inner.status;
        let found = self.found(unit).await?;
        let lost = match unit {
            Unit::Object { object, slot } => status.get::<Conflicts>(&(object.clone(), *slot)).await?.map(|stored| stored.row),
            Unit::Bucket(_) => None,
        };
        let bucket = status.get::<Buckets>(unit.bucket()).await?;
        Ok(Explanation {
            told: self.told(unit, &found).await?,
            found,
            has_bucket: bucket.is_some_and(|stored| stored.row.is_live()),
            work: status.get::<Work>(unit).await?.map(|stored| stored.row),
            lost,
        })
    }

    async fn found(&self, unit: &Unit) -> Result<Found> {
        let status = &self.inner.status;
        match unit {
            Unit::Bucket(bucket) => Ok(status.get::<Buckets>(bucket).await?.map_or(Found::Nothing, Found::Bucket)),
            Unit::Object { object, slot } => match status.unit(object, *slot).await? {
                Some(stored) => Ok(Found::Object(stored)),
                None => {
                    let grave = status.get::<Graves>(&(object.clone(), *slot)).await?;
                    Ok(grave.map_or(Found::Nothing, Found::Grave))
                }
            },
        }
    }

    /// Sites of which this one has something to say: those in scope where it wrote the unit, and those that are owed it or
    /// refused it, whoever did.
    async fn told(&self, unit: &Unit, found: &Found) -> Result<Vec<Told>> {
        let Some(vector) = found.vector() else { return Ok(Vec::new()) };
        let (status, seq) = (&self.inner.status, found.seq());
        let in_scope = self.replication(unit, &vector, seq).await?.unwrap_or_default();
        let mut all = Vec::new();
        for site in self.inner.neighbours.numbers() {
            // A refusal of an earlier state counts no more.
            let refused = status.get::<Failed>(&(site, unit.clone())).await?.filter(|refused| refused.row.vector >= vector);
            let refusal = refused.map(|refused| refused.row.reason);
            let is_dirty = status.get::<Dirty>(&(site, unit.bucket().clone())).await?.is_some();
            let owed = status.get::<Pending>(&(site, seq)).await?.is_some_and(|stored| stored.row.unit == *unit);
            let derived = in_scope.iter().find(|(number, _)| *number == site).map(|(_, status)| *status);
            let status = match derived {
                Some(status) => status,
                None if refusal.is_some() => Replication::Failed,
                None if owed => Replication::Pending,
                None => continue,
            };
            all.push(Told { site, status, refusal, is_dirty });
        }
        Ok(all)
    }
}
