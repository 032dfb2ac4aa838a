//! Google Cloud Storage as a service: its JSON side, and its XML side for multipart uploads, which the other has not.
//!
//! Conditions are about generations: a number that every write of a name gets anew.

mod auth;
mod buckets;
mod call;
mod client;
mod copy;
mod error;
#[cfg(test)]
mod fake;
mod list;
mod objects;
mod put;
mod resource;
mod settings;
#[cfg(test)]
mod tests;
mod uploads;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use auth::Keys;
pub use settings::Settings;

use super::service::{
    Answer, Cursor, Limits, Only, Opened, Outgoing, Page, PartAt, Service, Spot, Store, Target, Told, UploadAt,
};
use super::{Backend, Capability, Result, Support};
use client::Client;

/// What one request stores, an object or a part: of a part the service takes no more
/// (<https://cloud.google.com/storage/quotas#requests>), and S3's clients send no more at once.
const REQUEST_BYTES_MAX: u64 = 5 << 30;
/// <https://cloud.google.com/storage/docs/objects#naming>.
const NAME_BYTES_MAX: usize = 1024;
/// Names that the service keeps for itself, ibid.
const NOT_OURS: &str = ".well-known/acme-challenge/";

/// Connects, makes the home bucket if it is missing, and tries out what the service can.
pub async fn open(settings: Settings, keys: Keys) -> Result<Arc<dyn Backend>> {
    let common = settings.common.clone();
    Ok(Arc::new(Store::open(Gcs::new(settings, keys)?, &common).await?))
}

/// Buckets of a project.
#[derive(Debug)]
struct Gcs {
    settings: Settings,
    client: Client,
}

impl Gcs {
    /// Asks nobody anything yet.
    pub fn new(settings: Settings, keys: Keys) -> Result<Self> {
        let client = Client::new(&settings, keys)?;
        Ok(Self { settings, client })
    }
}

#[async_trait]
impl Service for Gcs {
    fn kind(&self) -> &'static str {
        "gcs"
    }

    fn limits(&self) -> Limits {
        Limits { put_bytes_max: REQUEST_BYTES_MAX }
    }

    /// No two writes of a name have the same generation.
    fn is_exact(&self) -> bool {
        true
    }

    fn capabilities(&self) -> Vec<Capability> {
        let detail = "a CRC-32C goes with what is held in memory; the service checks what streams by its length".to_owned();
        vec![Capability { name: "checksums", support: Support::Native, detail }]
    }

    fn is_odd(&self, name: &str) -> bool {
        matches!(name, "" | "." | "..")
            || name.len() > NAME_BYTES_MAX
            || name.contains(['\r', '\n'])
            || name.starts_with(NOT_OURS)
    }

    /// Tokens are renewed without it; a file of credentials is read again.
    fn forget_keys(&self) {
        self.client.auth.forget();
    }

    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        self.put_held(to, bytes).await
    }

    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        self.put_outgoing(to, body).await
    }

    async fn look(&self, at: &Spot) -> Answer<Told> {
        self.look_at(at).await
    }

    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        self.open_at(at, range).await
    }

    async fn copy(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        self.copy_whole(from, seen, to, only).await
    }

    async fn remove(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        self.remove_at(at, only).await
    }

    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.page_of(bucket, prefix, from).await
    }

    async fn start_upload(&self, to: &Target) -> Answer<String> {
        self.begin_upload(to).await
    }

    async fn put_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        self.put_held_part(upload, number, bytes).await
    }

    async fn put_part_streamed(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String> {
        self.put_outgoing_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()> {
        self.end_upload(upload, parts).await
    }

    async fn abort_upload(&self, upload: &UploadAt) -> Answer<()> {
        self.drop_upload(upload).await
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.insert_bucket(bucket).await
    }

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.get_bucket(bucket).await
    }

    async fn remove_bucket(&self, bucket: &str) -> Answer<()> {
        self.delete_bucket(bucket).await
    }

    async fn buckets(&self) -> Answer<Vec<String>> {
        self.list_buckets().await
    }
}
