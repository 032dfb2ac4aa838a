//! Azure Blob Storage, over Microsoft's crates.
//!
//! Typed calls are `azure_storage_blob`'s, made once each; signing with an account's key is ours, and reads go through the
//! crate's pipeline only: its own download is many requests, and allocates as much as it asked for when an answer is short.

mod attributes;
mod blobs;
mod blocks;
mod body;
mod client;
mod containers;
mod copy;
mod credentials;
mod entra;
mod error;
mod list;
mod names;
mod settings;
mod shared_key;
#[cfg(test)]
mod tests;
mod told;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use credentials::Credentials;
pub use entra::{Identity, Token};
pub use settings::Settings;

use self::client::Client;
use super::service::{
    Answer, Cursor, Held, Limits, Only, Opened, Outgoing, Page, PartAt, ReadKeys, Service, Spot, Store, Target, Told, UploadAt,
};
use super::{Backend, Capability, Error, Result, Support};

/// <https://learn.microsoft.com/rest/api/storageservices/put-blob>
const PUT_BYTES_MAX: u64 = 5000 << 20;
/// <https://learn.microsoft.com/rest/api/storageservices/put-block>
const BLOCK_BYTES_MAX: u64 = 4000 << 20;
/// S3's largest part: more than a block, so it may be two.
const PART_BYTES_MAX: u64 = 5 << 30;
/// Blobs asked for at once; the service lists 5,000 at the most.
const PAGE_NAMES_MAX: i32 = 1000;

/// Connects, makes the home container if it is missing, and tries out what the service can.
pub async fn open(settings: Settings, keys: ReadKeys<Credentials>) -> Result<Arc<dyn Backend>> {
    let service = Azure::new(&settings, keys)?;
    Ok(Arc::new(Store::open(service, &settings.common).await?))
}

/// An account.
#[derive(Debug)]
struct Azure {
    client: Client,
    keys: Arc<Held<Credentials>>,
    /// [`PAGE_NAMES_MAX`], but for tests.
    page_names_max: i32,
    /// [`BLOCK_BYTES_MAX`], but for tests.
    block_bytes_max: u64,
}

impl Azure {
    /// Asks nothing of the service yet.
    pub fn new(settings: &Settings, keys: ReadKeys<Credentials>) -> Result<Self> {
        let keys = Arc::new(Held::new(keys));
        keys.current().map_err(|reason| Error::Unavailable(format!("no credentials: {reason}")))?;
        let client = Client::new(settings, keys.clone())?;
        Ok(Self { client, keys, page_names_max: PAGE_NAMES_MAX, block_bytes_max: BLOCK_BYTES_MAX })
    }
}

#[async_trait]
impl Service for Azure {
    fn kind(&self) -> &'static str {
        "azure"
    }

    fn limits(&self) -> Limits {
        Limits { put_bytes_max: PUT_BYTES_MAX }
    }

    /// Every write makes a new ETag: <https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations>.
    fn is_exact(&self) -> bool {
        true
    }

    fn capabilities(&self) -> Vec<Capability> {
        let detail = "the service's own, of each request; what we store has no MD5 there".to_owned();
        vec![Capability { name: "checksums", support: Support::Native, detail }]
    }

    fn is_odd(&self, name: &str) -> bool {
        names::is_odd(name)
    }

    fn forget_keys(&self) {
        self.keys.forget();
    }

    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        self.put_whole(to, bytes.into()).await
    }

    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        self.put_outgoing(to, body).await
    }

    async fn look(&self, at: &Spot) -> Answer<Told> {
        self.look_at_blob(at).await
    }

    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        self.open_blob(at, range).await
    }

    async fn copy(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        self.copy_blob(from, seen, to, only).await
    }

    async fn remove(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        self.remove_blob(at, only).await
    }

    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.blobs(bucket, prefix, from).await
    }

    async fn start_upload(&self, _to: &Target) -> Answer<String> {
        Ok(blocks::UPLOAD_ID.to_owned())
    }

    async fn put_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        self.put_held_part(upload, number, bytes).await
    }

    async fn put_part_streamed(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String> {
        self.put_outgoing_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()> {
        self.commit(upload, parts).await
    }

    async fn abort_upload(&self, upload: &UploadAt) -> Answer<()> {
        self.drop_blocks(upload).await
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.make_container(bucket).await
    }

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.look_at_container(bucket).await
    }

    async fn remove_bucket(&self, bucket: &str) -> Answer<()> {
        self.remove_container(bucket).await
    }

    async fn buckets(&self) -> Answer<Vec<String>> {
        self.containers().await
    }
}
