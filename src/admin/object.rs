//! `/v1/object/{bucket}/{key}`: whether an object is here, and its end, for programs that do not speak S3.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask;
use super::error::Error;
use crate::model::Unit;
use crate::site::{Found, WriteConditions};

#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectView {
    pub bucket: String,
    pub key: String,
    pub exists: bool,
    pub size: Option<u64>,
    pub etag: Option<String>,
    /// Of the write, or of the delete.
    pub stamp: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DeletedView {
    pub bucket: String,
    pub key: String,
    /// Of the delete; none where there was nothing to delete.
    pub stamp: Option<String>,
}

pub async fn get(State(parts): State<Shared>, Path((bucket, key)): Path<(String, String)>) -> Result<Json<ObjectView>, Error> {
    let object = ask::object(&bucket, &key)?;
    let unit = Unit::of(&object, parts.site.current_slot(&object).await?);
    let found = parts.site.explain(&unit).await?.found;
    let stamp = found.vector().map(|vector| vector.data.to_string());
    let identity = match &found {
        Found::Object(stored) if stored.row.is_shown() => Some(&stored.row.identity),
        _ => None,
    };
    let (size, etag) = (identity.map(|identity| identity.size), identity.map(|identity| identity.etag.to_string()));
    Ok(Json(ObjectView { bucket, key, exists: identity.is_some(), size, etag, stamp }))
}

pub async fn delete(
    State(parts): State<Shared>,
    Path((bucket, key)): Path<(String, String)>,
) -> Result<Json<DeletedView>, Error> {
    let deleted = parts.site.delete(&ask::object(&bucket, &key)?, WriteConditions::default()).await?;
    Ok(Json(DeletedView { bucket, key, stamp: deleted.stamp.map(|stamp| stamp.to_string()) }))
}
