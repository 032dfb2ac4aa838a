//! Any S3 service as a store: AWS, or whatever speaks the same.
//!
//! Nothing here rests on conditions that the service may not know.

mod attributes;
mod buckets;
mod chain;
mod client;
mod copy;
mod credentials;
mod error;
mod list;
mod list_versions;
mod names;
mod objects;
mod renewed;
mod settings;
mod sum;
#[cfg(test)]
mod tests;
mod uploads;
mod versions;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use credentials::{Keys, Login};
pub use settings::{Checksums, Settings};

use super::service::{
    Answer, Cursor, Limits, Only, Opened, Outgoing, Page, PartAt, Service, Spot, Store, Target, Told, UploadAt, VersionCursor,
    VersionPage,
};
use super::{Backend, Capability, Result, Support};
use crate::model::Versioning;
use client::Caller;
use sum::{Sum, Summed};
use versions::Versioned;

/// The most that one request stores: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
const REQUEST_BYTES_MAX: u64 = 5 << 30;

/// Connects, makes the home bucket if it is missing, and tries out what the service can.
pub async fn open(settings: Settings, login: Login) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(connect(settings, login).await?))
}

async fn connect(settings: Settings, login: Login) -> Result<Store<S3>> {
    let common = settings.common.clone();
    let caller = Caller::new(&settings, login).await?;
    Store::open(S3 { settings, caller, versioned: Versioned::default() }, &common).await
}

/// An S3 service.
#[derive(Debug)]
struct S3 {
    settings: Settings,
    caller: Caller,
    versioned: Versioned,
}

#[async_trait]
impl Service for S3 {
    fn kind(&self) -> &'static str {
        "s3"
    }

    fn limits(&self) -> Limits {
        Limits { put_bytes_max: REQUEST_BYTES_MAX }
    }

    /// ETags are made of the bytes alone, and many services pass over conditions that they do not know.
    fn is_exact(&self) -> bool {
        false
    }

    /// AWS says so of uploads: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>.
    fn dates_by_begin(&self) -> bool {
        true
    }

    /// Which services take what, nobody can tell: what many do not is dealt with for all of them.
    fn is_odd(&self, name: &str) -> bool {
        names::is_odd(name)
    }

    fn capabilities(&self) -> Vec<Capability> {
        let (support, detail) = match self.settings.checksums {
            Checksums::Crc32 => (Support::Native, "a CRC-32 goes with every body"),
            Checksums::None => (Support::Refused, "checksums = \"none\": what breaks on the way in is found when it is read"),
        };
        let checksums = Capability { name: "checksums", support, detail: detail.to_owned() };
        [Some(checksums), self.versioned_home()].into_iter().flatten().collect()
    }

    fn forget_keys(&self) {
        self.caller.forget_keys();
    }

    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        self.put_object(to, bytes).await
    }

    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        self.put_object_streamed(to, body).await
    }

    async fn look(&self, at: &Spot) -> Answer<Told> {
        self.head_object(at).await
    }

    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        self.get_object(at, range).await
    }

    async fn copy(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        self.copy_object(from, seen, to, only).await
    }

    async fn copy_range(&self, from: &Spot, seen: &Told, range: Range<u64>, to: &Target) -> Answer<bool> {
        self.copy_parts(from, seen, range, (to, Only::Any)).await.map(|()| true)
    }

    async fn remove(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        self.delete_object(at, only).await
    }

    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.list_objects(bucket, prefix, from).await
    }

    async fn first_behind(&self, bucket: &str, name: &str) -> Answer<Option<String>> {
        self.list_one(bucket, name).await
    }

    async fn start_upload(&self, to: &Target) -> Answer<String> {
        self.create_multipart_upload(to).await
    }

    async fn put_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        let sum = Sum::of(&bytes);
        self.upload_part(upload, number, (bytes.len() as u64, bytes.into()), &sum).await
    }

    async fn put_part_streamed(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String> {
        let (size, (summed, sum)) = (body.size(), Summed::new(body));
        self.upload_part(upload, number, (size, objects::stream_of(summed)), &sum).await
    }

    async fn complete_upload(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()> {
        self.complete_multipart_upload(upload, parts, Only::Any).await
    }

    async fn abort_upload(&self, upload: &UploadAt) -> Answer<()> {
        self.abort_multipart_upload(upload).await
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.create_bucket(bucket).await
    }

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.head_bucket(bucket).await
    }

    async fn remove_bucket(&self, bucket: &str) -> Answer<()> {
        self.delete_bucket(bucket).await
    }

    fn lists_versions(&self) -> bool {
        true
    }

    async fn versioning(&self, bucket: &str) -> Answer<Versioning> {
        self.bucket_versioning(bucket).await
    }

    async fn page_versions(&self, bucket: &str, prefix: &str, from: Option<&VersionCursor>) -> Answer<VersionPage> {
        self.list_object_versions(bucket, prefix, from).await
    }

    async fn buckets(&self) -> Answer<Vec<String>> {
        self.list_buckets().await
    }
}
