//! The one door: every change at a site goes through [`Site`], which owns the order bytes → row → telling.
//!
//! It knows nothing of HTTP, XML or signatures (that is `s3`), and nothing of how a store keeps bytes (`backend`).
#![allow(unused_variables, reason = "a stub until the door is built")]

mod error;
mod types;

use crate::model::{BucketName, ObjectId, Record, Stamp, Tags};
use crate::status::{ListPage, ListQuery};

pub use error::{Error, Result};
pub use types::*;

/// A site; clones share it.
#[derive(Clone, Debug)]
pub struct Site {}

impl Site {
    pub async fn create_bucket(&self, bucket: &BucketName, owner: &str, region: &str) -> Result<BucketInfo> {
        todo!()
    }

    pub async fn bucket(&self, bucket: &BucketName) -> Result<BucketInfo> {
        todo!()
    }

    pub async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        todo!()
    }

    pub async fn buckets(&self) -> Result<Vec<BucketInfo>> {
        todo!()
    }

    pub async fn put(
        &self,
        object: &ObjectId,
        upload: Upload,
        description: Description,
        conditions: WriteConditions,
    ) -> Result<Written> {
        todo!()
    }

    pub async fn get(&self, object: &ObjectId, select: Selection, conditions: &ReadConditions) -> Result<Opened> {
        todo!()
    }

    pub async fn head(&self, object: &ObjectId, select: Selection, conditions: &ReadConditions) -> Result<Seen> {
        todo!()
    }

    pub async fn delete(&self, object: &ObjectId, conditions: WriteConditions) -> Result<Deleted> {
        todo!()
    }

    pub async fn copy(&self, from: &ObjectId, to: &ObjectId, request: CopyRequest) -> Result<Written> {
        todo!()
    }

    pub async fn list(&self, query: ListQuery) -> Result<ListPage> {
        todo!()
    }

    pub async fn set_tags(&self, object: &ObjectId, tags: Tags) -> Result<Stamp> {
        todo!()
    }

    pub async fn object_parts(&self, object: &ObjectId, record: &Record, after: u16, parts_max: usize) -> Result<ObjectParts> {
        todo!()
    }

    pub async fn start_upload(&self, object: &ObjectId, start: StartUpload) -> Result<UploadInfo> {
        todo!()
    }

    pub async fn put_part(&self, object: &ObjectId, upload_id: &str, number: u16, upload: Upload) -> Result<PartInfo> {
        todo!()
    }

    pub async fn copy_part(
        &self,
        from: &ObjectId,
        range: Option<(u64, u64)>,
        source: ReadConditions,
        to: &ObjectId,
        upload_id: &str,
        number: u16,
    ) -> Result<PartInfo> {
        todo!()
    }

    pub async fn list_parts(&self, object: &ObjectId, upload_id: &str, after: u16, parts_max: usize) -> Result<PartsPage> {
        todo!()
    }

    pub async fn complete_upload(&self, object: &ObjectId, upload_id: &str, complete: CompleteUpload) -> Result<Written> {
        todo!()
    }

    pub async fn abort_upload(&self, object: &ObjectId, upload_id: &str) -> Result<()> {
        todo!()
    }

    pub async fn list_uploads(&self, bucket: &BucketName, query: UploadsQuery) -> Result<UploadsPage> {
        todo!()
    }
}
