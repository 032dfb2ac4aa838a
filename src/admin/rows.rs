//! Rows of the status store as people ask for them, a bounded page at a time.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Query};
use super::census::seconds;
use super::error::Error;
use crate::model::{ObjectId, Seq, SiteNumber, Slot, Unit};
use crate::replicate::Which;
use crate::site::Site;
use crate::status::tables::{Conflicts, Failed, Hint, Pending, Work};
use crate::status::{Page, Stored, Table, TableKey};

/// Rows looked at for one page, at the most: what is asked for may be rare.
const LOOKED_AT_MAX: usize = 10_000;
/// Rows of one look.
const LOOK: usize = 1_000;

/// Which rows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    site: Option<String>,
    bucket: Option<String>,
    prefix: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    limit: Option<usize>,
}

/// Rows, and where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows<R> {
    pub rows: Vec<R>,
    /// Ask again with this as `after`; none at the end. A page may be empty and not the last.
    pub next: Option<String>,
}

/// A unit that a site is owed.
#[derive(Debug, Serialize, Deserialize)]
pub struct PendingView {
    pub site: String,
    pub bucket: String,
    /// None where it is the bucket itself.
    pub key: Option<String>,
    pub seq: u64,
    pub stamp: String,
    pub age_seconds: f64,
}

/// A unit that a site could not take.
#[derive(Debug, Serialize, Deserialize)]
pub struct FailedView {
    pub site: String,
    pub bucket: String,
    pub key: Option<String>,
    pub stamp: String,
    /// In that site's words.
    pub reason: String,
}

/// A unit that other sites have and this one has not.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkView {
    pub bucket: String,
    pub key: Option<String>,
    pub stamp: String,
    /// Who told of it.
    pub sources: Vec<String>,
    pub tries: u32,
    pub last_error: Option<String>,
    /// Until the next try; 0 is now.
    pub next_try_seconds: f64,
}

/// A write that lost against one that had not seen it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConflictView {
    pub bucket: String,
    pub key: String,
    /// Of the write that lost.
    pub stamp: String,
    /// Where that was written.
    pub site: String,
}

impl Asked {
    fn which(&self, site: &Site) -> Result<Which, Error> {
        which(site, self.site.as_deref(), self.bucket.as_deref(), self.prefix.as_deref())
    }
}

/// Which units three parameters name.
pub fn which(site: &Site, name: Option<&str>, bucket: Option<&str>, prefix: Option<&str>) -> Result<Which, Error> {
    let neighbour = name.map(|name| ask::neighbour(site.neighbours(), name)).transpose()?;
    let bucket = bucket.map(ask::bucket).transpose()?;
    if prefix.is_some() && bucket.is_none() {
        return Err(Error::Bad("prefix: needs a bucket".into()));
    }
    Ok(Which { site: neighbour.map(|neighbour| neighbour.id.number), bucket, prefix: prefix.unwrap_or_default().into() })
}

pub async fn pending(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<Rows<PendingView>>, Error> {
    let (site, which) = (&parts.site, asked.which(&parts.site)?);
    let now_ms = site.clock().wall_ms();
    let view = |(target, seq): &(SiteNumber, Seq), stored: &Stored<_>| {
        let telling: &crate::model::Telling = &stored.row;
        which.takes(&telling.unit).then(|| PendingView {
            site: ask::site_name(site, *target),
            bucket: telling.unit.bucket().to_string(),
            key: key_of(&telling.unit),
            seq: seq.0,
            stamp: telling.vector.data.to_string(),
            age_seconds: seconds(now_ms.saturating_sub(telling.vector.greatest().ms())),
        })
    };
    of_site::<Pending, _>(site, &asked, which.site, view).await
}

pub async fn failed(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<Rows<FailedView>>, Error> {
    let (site, which) = (&parts.site, asked.which(&parts.site)?);
    let view = |(target, unit): &(SiteNumber, Unit), stored: &Stored<crate::status::tables::Failure>| {
        which.takes(unit).then(|| FailedView {
            site: ask::site_name(site, *target),
            bucket: unit.bucket().to_string(),
            key: key_of(unit),
            stamp: stored.row.vector.data.to_string(),
            reason: stored.row.reason.clone(),
        })
    };
    of_site::<Failed, _>(site, &asked, which.site, view).await
}

/// What other sites have and this one has not: all of it, or what one of them told.
pub async fn work(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<Rows<WorkView>>, Error> {
    let (site, which) = (&parts.site, asked.which(&parts.site)?);
    let view = |unit: &Unit, stored: &Stored<Hint>| {
        let told = which.site.is_none_or(|source| stored.row.sources.contains(&source));
        (told && which.takes(unit)).then(|| WorkView::of(site, unit, &stored.row))
    };
    scan::<Work, _>(site, &(), &asked, view).await
}

pub async fn conflicts(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<Rows<ConflictView>>, Error> {
    let (site, which) = (&parts.site, asked.which(&parts.site)?);
    let view = |(object, _): &(ObjectId, Slot), stored: &Stored<crate::model::Vector>| {
        let stamp = stored.row.data;
        let takes = which.takes(&Unit::null(object)) && which.site.is_none_or(|site| site == stamp.parts().site);
        takes.then(|| ConflictView {
            bucket: object.bucket.to_string(),
            key: object.key.to_string(),
            stamp: stamp.to_string(),
            site: ask::site_name(site, stamp.parts().site),
        })
    };
    match &which.bucket {
        Some(bucket) => scan::<Conflicts, _>(site, bucket, &asked, view).await,
        None => scan::<Conflicts, _>(site, &(), &asked, view).await,
    }
}

impl WorkView {
    pub fn of(site: &Site, unit: &Unit, hint: &Hint) -> Self {
        Self {
            bucket: unit.bucket().to_string(),
            key: key_of(unit),
            stamp: hint.want.data.to_string(),
            sources: hint.sources.iter().map(|source| ask::site_name(site, *source)).collect(),
            tries: hint.tries,
            last_error: hint.error.clone(),
            next_try_seconds: seconds(hint.due_ms.saturating_sub(site.clock().wall_ms())),
        }
    }
}

/// A unit's key; `None` of a bucket.
pub fn key_of(unit: &Unit) -> Option<String> {
    match unit {
        Unit::Object { object, .. } => Some(object.key.to_string()),
        Unit::Bucket(_) => None,
    }
}

/// Rows whose keys begin with a site: those of one, or of all.
async fn of_site<T: Table, V>(
    site: &Site,
    asked: &Asked,
    target: Option<SiteNumber>,
    view: impl Fn(&T::Key, &Stored<T::Row>) -> Option<V>,
) -> Result<Json<Rows<V>>, Error> {
    match target {
        Some(target) => scan::<T, _>(site, &target, asked, view).await,
        None => scan::<T, _>(site, &(), asked, view).await,
    }
}

/// Rows under a prefix for which there is a view, until the page is full or enough was looked at.
async fn scan<T: Table, V>(
    site: &Site,
    prefix: &impl TableKey,
    asked: &Asked,
    view: impl Fn(&T::Key, &Stored<T::Row>) -> Option<V>,
) -> Result<Json<Rows<V>>, Error> {
    let limit = ask::limit(asked.limit)?;
    let mut after: Option<T::Key> = ask::after(asked.after.as_deref())?;
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    loop {
        let page: Page<T> = site.status().page(prefix, after.as_ref(), LOOK.min(limit.max(100))).await?;
        let more = page.more;
        looked_at += page.rows.len();
        for (key, stored) in page.rows {
            rows.extend(view(&key, &stored));
            let next = ask::cursor(&key);
            after = Some(key);
            if rows.len() >= limit {
                return Ok(Json(Rows { rows, next: Some(next) }));
            }
        }
        if !more || looked_at >= LOOKED_AT_MAX {
            return Ok(Json(Rows { rows, next: after.filter(|_| more).map(|key| ask::cursor(&key)) }));
        }
    }
}
