//! `GET /v1/lifecycle`: what of a bucket its lifecycle rules would take now. Nothing is changed.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Query};
use super::error::Error;
use crate::model::Key;
use crate::site::{Due, End, LifecyclePlace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    bucket: String,
    /// The `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct LifecycleView {
    pub due: Vec<DueView>,
    /// Where a next page goes on; none at the end.
    pub next: Option<String>,
}

/// Something whose time is over.
#[derive(Debug, Serialize, Deserialize)]
pub struct DueView {
    pub key: String,
    /// Its id or `null`; none of an upload.
    pub version: Option<String>,
    /// `expired`, `noncurrent`, `marker`, `released` (a purge that waited for a lock) or `upload`.
    pub end: String,
    pub size: u64,
}

pub async fn due(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<LifecycleView>, Error> {
    let bucket = ask::bucket(&asked.bucket)?;
    parts.site.bucket(&bucket).await?;
    let after = asked.after.map(|after| Key::new(&after).map_err(|err| Error::Bad(format!("after: {err}")))).transpose()?;
    let (due, next) = parts.site.due(&bucket, after.map(LifecyclePlace::behind), parts.day).await?;
    let due = due.iter().map(DueView::of).collect();
    Ok(Json(LifecycleView { due, next: next.map(LifecyclePlace::into_key) }))
}

impl DueView {
    fn of(due: &Due) -> Self {
        let end = match due.end {
            End::Expired => "expired",
            End::Noncurrent => "noncurrent",
            End::Marker => "marker",
            End::Released => "released",
            End::Upload => "upload",
        };
        let (key, version) = (due.object.key.to_string(), due.slot.map(|slot| slot.to_string()));
        Self { key, version, end: end.into(), size: due.size }
    }
}
