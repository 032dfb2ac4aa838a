//! `/v1/keys`: the access keys of this site. A secret is shown once, to whoever adds its key.

use std::fmt::Debug;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use super::ask::{Document, Query};
use super::error::Error;

/// The keys, as this face sees and changes them. Changes are on disk, and count from the next request on.
pub trait Keys: Debug + Send + Sync + 'static {
    fn list(&self) -> Vec<KeyView>;
    fn add(&self, asked: AddKey) -> Result<AddedKey, Error>;
    fn remove(&self, access_key: &str) -> Result<(), Error>;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyView {
    pub access_key: String,
    pub owner: String,
    /// From when on it is refused.
    pub expires: Option<String>,
    pub expired: bool,
    /// It is in no file: commands cannot remove it.
    pub from_environment: bool,
    /// As in keys.toml.
    pub grants: Vec<Value>,
}

/// What is not said is made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    pub owner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    pub grants: Vec<Value>,
}

/// A new key with its secret, which is not shown again.
#[derive(Serialize, Deserialize)]
pub struct AddedKey {
    pub secret_key: String,
    #[serde(flatten)]
    pub key: KeyView,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    access_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RemovedKey {
    pub access_key: String,
}

pub async fn list(State(parts): State<Shared>) -> Json<Vec<KeyView>> {
    Json(parts.keys.list())
}

pub async fn add(State(parts): State<Shared>, Document(asked): Document<AddKey>) -> Result<(StatusCode, Json<AddedKey>), Error> {
    let added = on_disk(parts.keys.clone(), move |keys| keys.add(asked)).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

pub async fn remove(State(parts): State<Shared>, Query(which): Query<Which>) -> Result<Json<RemovedKey>, Error> {
    let access_key = which.access_key.clone();
    on_disk(parts.keys.clone(), move |keys| keys.remove(&which.access_key)).await?;
    Ok(Json(RemovedKey { access_key }))
}

/// A change waits for the disk, which must hold up no other request.
async fn on_disk<T: Send + 'static>(
    keys: Arc<dyn Keys>,
    change: impl FnOnce(&dyn Keys) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let changed = tokio::task::spawn_blocking(move || change(&*keys)).await;
    changed.unwrap_or_else(|err| Err(Error::Failed(format!("changing the keys panicked: {err}"))))
}

/// A site whose keys nobody asks for.
#[cfg(test)]
impl Keys for () {
    fn list(&self) -> Vec<KeyView> {
        Vec::new()
    }

    fn add(&self, _: AddKey) -> Result<AddedKey, Error> {
        Err(Error::Failed("there are no keys".into()))
    }

    fn remove(&self, _: &str) -> Result<(), Error> {
        Err(Error::Failed("there are no keys".into()))
    }
}
