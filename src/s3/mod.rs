//! The S3 face: what clients speak, translated to the one door and back.
//!
//! A request comes through [`layer`] (ids, counts), [`gate`] (signature checked, body and headers put right) and
//! `auth` (rights) to the one function of its operation. This module knows nothing of stores, rows or stamps' making.

mod absent;
mod acl;
mod auth;
mod bucket;
mod conditions;
mod convert;
mod copy;
mod cors;
mod delete;
mod digest;
mod documents;
mod encryption;
mod error;
mod final_chunk;
mod form;
mod gate;
mod held;
mod host;
mod idle;
mod layer;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod multipart_list;
mod object;
mod outgoing;
mod pace;
mod request_id;
mod settings;
mod sites;
mod tagging;
mod unbuilt;
mod unsigned;
mod upload;
mod uri;
mod versioning;
mod versions;
mod xml;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use s3s::config::StaticConfigProvider;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};

pub use auth::{Expiry, Grant, Key, Keyring, KeysError, Right, Secret};
pub use layer::{Answer, Observe, S3Layer, Unobserved, not_yet};
pub use pace::Pace;
pub use settings::{Limits, Settings};

use crate::clock::SystemClock;
use crate::site::Site;

/// S3 over a site.
#[derive(Clone)]
pub struct Face {
    site: Site,
    settings: Arc<Settings>,
    /// Whose owners access control lists may name.
    keys: Option<Keyring>,
}

impl Face {
    pub fn new(site: Site, settings: Settings) -> Self {
        Self { site, settings: Arc::new(settings), keys: None }
    }
}

/// The whole S3 face as a hyper service, ready to be put on connections. `seed` makes request ids differ from those of
/// other processes.
pub fn service(face: Face, keys: Keyring, observe: Arc<dyn Observe>, seed: u64) -> S3Layer {
    let face = Face { keys: Some(keys.clone()), ..face };
    let settings = Arc::clone(&face.settings);
    let hosts = host::Hosts::new(&settings.domains);
    let operations = operations(face.clone(), &hosts);
    let browsers = cors::Browsers { site: face.site.clone(), hosts: hosts.clone() };
    let paces = pace::Paces::default();
    let gate = gate::Gate {
        operations: operations.clone(),
        hosts: hosts.clone(),
        keys: keys.clone(),
        others: !face.site.neighbours().in_scope().is_empty(),
        xml_bytes_max: settings.limits.xml_bytes_max,
        paces: paces.clone(),
        pace: settings.limits.key_pace,
    };
    let forms = form::Forms {
        operations,
        hosts: hosts.clone(),
        keys: keys.clone(),
        settings: Arc::clone(&settings),
        wall: Arc::new(SystemClock),
        paces,
    };
    let mut builder = S3ServiceBuilder::new(SignaturesOnly);
    builder.set_config(Arc::new(StaticConfigProvider::new(settings.for_s3s())));
    builder.set_host(hosts);
    builder.set_auth(keys);
    builder.set_route(gate);
    S3Layer::new(builder.build(), forms, browsers, request_id::RequestIds::from_seed(seed), observe)
}

/// The second pass: parses and dispatches what the gate has admitted.
fn operations(face: Face, hosts: &host::Hosts) -> S3Service {
    let config = face.settings.for_s3s();
    let access = auth::Access { site: face.site.clone(), vouch_encryption: face.settings.vouch_encryption };
    let mut builder = S3ServiceBuilder::new(face);
    builder.set_config(Arc::new(StaticConfigProvider::new(config)));
    builder.set_host(hosts.clone());
    // Access is asked only where there is an authority on keys. This one knows none: the gate took the signature out.
    builder.set_auth(s3s::auth::SimpleAuth::new());
    builder.set_access(access);
    builder.build()
}

/// Stands behind the first pass, which dispatches nothing.
struct SignaturesOnly;

impl S3 for SignaturesOnly {}

type Req<T> = S3Request<T>;
type Answered<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Face {
    async fn list_buckets(&self, req: Req<ListBucketsInput>) -> Answered<ListBucketsOutput> {
        bucket::list(self, req).await
    }
    async fn create_bucket(&self, req: Req<CreateBucketInput>) -> Answered<CreateBucketOutput> {
        bucket::create(self, req).await
    }
    async fn delete_bucket(&self, req: Req<DeleteBucketInput>) -> Answered<DeleteBucketOutput> {
        bucket::delete(self, req).await
    }
    async fn head_bucket(&self, req: Req<HeadBucketInput>) -> Answered<HeadBucketOutput> {
        bucket::head(self, req).await
    }
    async fn get_bucket_location(&self, req: Req<GetBucketLocationInput>) -> Answered<GetBucketLocationOutput> {
        bucket::location(self, req).await
    }
    async fn get_bucket_versioning(&self, req: Req<GetBucketVersioningInput>) -> Answered<GetBucketVersioningOutput> {
        versioning::get(self, req).await
    }
    async fn get_bucket_lifecycle_configuration(
        &self,
        req: Req<GetBucketLifecycleConfigurationInput>,
    ) -> Answered<GetBucketLifecycleConfigurationOutput> {
        lifecycle::get(self, req).await
    }
    async fn put_bucket_lifecycle_configuration(
        &self,
        req: Req<PutBucketLifecycleConfigurationInput>,
    ) -> Answered<PutBucketLifecycleConfigurationOutput> {
        lifecycle::put(self, req).await
    }
    async fn delete_bucket_lifecycle(&self, req: Req<DeleteBucketLifecycleInput>) -> Answered<DeleteBucketLifecycleOutput> {
        lifecycle::delete(self, req).await
    }
    async fn get_object_lock_configuration(
        &self,
        req: Req<GetObjectLockConfigurationInput>,
    ) -> Answered<GetObjectLockConfigurationOutput> {
        lock::get_of_bucket(self, req).await
    }
    async fn put_object_lock_configuration(
        &self,
        req: Req<PutObjectLockConfigurationInput>,
    ) -> Answered<PutObjectLockConfigurationOutput> {
        lock::put_of_bucket(self, req).await
    }
    async fn get_object_retention(&self, req: Req<GetObjectRetentionInput>) -> Answered<GetObjectRetentionOutput> {
        lock::get_retention(self, req).await
    }
    async fn put_object_retention(&self, req: Req<PutObjectRetentionInput>) -> Answered<PutObjectRetentionOutput> {
        lock::put_retention(self, req).await
    }
    async fn get_object_legal_hold(&self, req: Req<GetObjectLegalHoldInput>) -> Answered<GetObjectLegalHoldOutput> {
        lock::get_hold(self, req).await
    }
    async fn put_object_legal_hold(&self, req: Req<PutObjectLegalHoldInput>) -> Answered<PutObjectLegalHoldOutput> {
        lock::put_hold(self, req).await
    }
    async fn put_bucket_versioning(&self, req: Req<PutBucketVersioningInput>) -> Answered<PutBucketVersioningOutput> {
        versioning::put(self, req).await
    }
    async fn get_bucket_acl(&self, req: Req<GetBucketAclInput>) -> Answered<GetBucketAclOutput> {
        acl::get_of_bucket(self, req).await
    }
    async fn put_bucket_acl(&self, req: Req<PutBucketAclInput>) -> Answered<PutBucketAclOutput> {
        acl::put_of_bucket(self, req).await
    }
    async fn get_object_acl(&self, req: Req<GetObjectAclInput>) -> Answered<GetObjectAclOutput> {
        acl::get_of_object(self, req).await
    }
    async fn put_object_acl(&self, req: Req<PutObjectAclInput>) -> Answered<PutObjectAclOutput> {
        acl::put_of_object(self, req).await
    }
    async fn get_bucket_cors(&self, req: Req<GetBucketCorsInput>) -> Answered<GetBucketCorsOutput> {
        cors::get(self, req).await
    }
    async fn put_bucket_cors(&self, req: Req<PutBucketCorsInput>) -> Answered<PutBucketCorsOutput> {
        cors::put(self, req).await
    }
    async fn delete_bucket_cors(&self, req: Req<DeleteBucketCorsInput>) -> Answered<DeleteBucketCorsOutput> {
        cors::delete(self, req).await
    }
    async fn get_bucket_tagging(&self, req: Req<GetBucketTaggingInput>) -> Answered<GetBucketTaggingOutput> {
        documents::get_tags(self, req).await
    }
    async fn put_bucket_tagging(&self, req: Req<PutBucketTaggingInput>) -> Answered<PutBucketTaggingOutput> {
        documents::put_tags(self, req).await
    }
    async fn delete_bucket_tagging(&self, req: Req<DeleteBucketTaggingInput>) -> Answered<DeleteBucketTaggingOutput> {
        documents::delete_tags(self, req).await
    }
    async fn get_bucket_ownership_controls(
        &self,
        req: Req<GetBucketOwnershipControlsInput>,
    ) -> Answered<GetBucketOwnershipControlsOutput> {
        documents::get_ownership(self, req).await
    }
    async fn put_bucket_ownership_controls(
        &self,
        req: Req<PutBucketOwnershipControlsInput>,
    ) -> Answered<PutBucketOwnershipControlsOutput> {
        documents::put_ownership(self, req).await
    }
    async fn delete_bucket_ownership_controls(
        &self,
        req: Req<DeleteBucketOwnershipControlsInput>,
    ) -> Answered<DeleteBucketOwnershipControlsOutput> {
        documents::delete_ownership(self, req).await
    }
    async fn get_public_access_block(&self, req: Req<GetPublicAccessBlockInput>) -> Answered<GetPublicAccessBlockOutput> {
        documents::get_public_access(self, req).await
    }
    async fn put_public_access_block(&self, req: Req<PutPublicAccessBlockInput>) -> Answered<PutPublicAccessBlockOutput> {
        documents::put_public_access(self, req).await
    }
    async fn delete_public_access_block(
        &self,
        req: Req<DeletePublicAccessBlockInput>,
    ) -> Answered<DeletePublicAccessBlockOutput> {
        documents::delete_public_access(self, req).await
    }
    async fn get_bucket_policy(&self, req: Req<GetBucketPolicyInput>) -> Answered<GetBucketPolicyOutput> {
        absent::get_policy(self, req).await
    }
    async fn delete_bucket_policy(&self, req: Req<DeleteBucketPolicyInput>) -> Answered<DeleteBucketPolicyOutput> {
        absent::delete_policy(self, req).await
    }
    async fn get_bucket_policy_status(&self, req: Req<GetBucketPolicyStatusInput>) -> Answered<GetBucketPolicyStatusOutput> {
        absent::policy_status(self, req).await
    }
    async fn get_bucket_encryption(&self, req: Req<GetBucketEncryptionInput>) -> Answered<GetBucketEncryptionOutput> {
        absent::get_encryption(self, req).await
    }
    async fn delete_bucket_encryption(&self, req: Req<DeleteBucketEncryptionInput>) -> Answered<DeleteBucketEncryptionOutput> {
        absent::delete_encryption(self, req).await
    }
    async fn get_bucket_website(&self, req: Req<GetBucketWebsiteInput>) -> Answered<GetBucketWebsiteOutput> {
        absent::get_website(self, req).await
    }
    async fn delete_bucket_website(&self, req: Req<DeleteBucketWebsiteInput>) -> Answered<DeleteBucketWebsiteOutput> {
        absent::delete_website(self, req).await
    }
    async fn get_bucket_replication(&self, req: Req<GetBucketReplicationInput>) -> Answered<GetBucketReplicationOutput> {
        absent::get_replication(self, req).await
    }
    async fn delete_bucket_replication(&self, req: Req<DeleteBucketReplicationInput>) -> Answered<DeleteBucketReplicationOutput> {
        absent::delete_replication(self, req).await
    }
    async fn get_bucket_logging(&self, req: Req<GetBucketLoggingInput>) -> Answered<GetBucketLoggingOutput> {
        absent::get_logging(self, req).await
    }
    async fn get_bucket_notification_configuration(
        &self,
        req: Req<GetBucketNotificationConfigurationInput>,
    ) -> Answered<GetBucketNotificationConfigurationOutput> {
        absent::get_notification(self, req).await
    }
    async fn get_bucket_request_payment(
        &self,
        req: Req<GetBucketRequestPaymentInput>,
    ) -> Answered<GetBucketRequestPaymentOutput> {
        absent::get_request_payment(self, req).await
    }
    async fn get_bucket_accelerate_configuration(
        &self,
        req: Req<GetBucketAccelerateConfigurationInput>,
    ) -> Answered<GetBucketAccelerateConfigurationOutput> {
        absent::get_accelerate(self, req).await
    }
    async fn list_objects(&self, req: Req<ListObjectsInput>) -> Answered<ListObjectsOutput> {
        list::v1(self, req).await
    }
    async fn list_objects_v2(&self, req: Req<ListObjectsV2Input>) -> Answered<ListObjectsV2Output> {
        list::v2(self, req).await
    }
    async fn list_object_versions(&self, req: Req<ListObjectVersionsInput>) -> Answered<ListObjectVersionsOutput> {
        versions::list(self, req).await
    }
    async fn put_object(&self, req: Req<PutObjectInput>) -> Answered<PutObjectOutput> {
        object::put(self, req).await
    }
    async fn get_object(&self, req: Req<GetObjectInput>) -> Answered<GetObjectOutput> {
        object::get(self, req).await
    }
    async fn head_object(&self, req: Req<HeadObjectInput>) -> Answered<HeadObjectOutput> {
        object::head(self, req).await
    }
    async fn get_object_attributes(&self, req: Req<GetObjectAttributesInput>) -> Answered<GetObjectAttributesOutput> {
        object::attributes(self, req).await
    }
    async fn delete_object(&self, req: Req<DeleteObjectInput>) -> Answered<DeleteObjectOutput> {
        delete::one(self, req).await
    }
    async fn delete_objects(&self, req: Req<DeleteObjectsInput>) -> Answered<DeleteObjectsOutput> {
        delete::many(self, req).await
    }
    async fn copy_object(&self, req: Req<CopyObjectInput>) -> Answered<CopyObjectOutput> {
        copy::object(self, req).await
    }
    async fn get_object_tagging(&self, req: Req<GetObjectTaggingInput>) -> Answered<GetObjectTaggingOutput> {
        tagging::get(self, req).await
    }
    async fn put_object_tagging(&self, req: Req<PutObjectTaggingInput>) -> Answered<PutObjectTaggingOutput> {
        tagging::put(self, req).await
    }
    async fn delete_object_tagging(&self, req: Req<DeleteObjectTaggingInput>) -> Answered<DeleteObjectTaggingOutput> {
        tagging::delete(self, req).await
    }
    async fn create_multipart_upload(&self, req: Req<CreateMultipartUploadInput>) -> Answered<CreateMultipartUploadOutput> {
        multipart::create(self, req).await
    }
    async fn upload_part(&self, req: Req<UploadPartInput>) -> Answered<UploadPartOutput> {
        multipart::part(self, req).await
    }
    async fn upload_part_copy(&self, req: Req<UploadPartCopyInput>) -> Answered<UploadPartCopyOutput> {
        copy::part(self, req).await
    }
    async fn complete_multipart_upload(&self, req: Req<CompleteMultipartUploadInput>) -> Answered<CompleteMultipartUploadOutput> {
        multipart::complete(self, req).await
    }
    async fn abort_multipart_upload(&self, req: Req<AbortMultipartUploadInput>) -> Answered<AbortMultipartUploadOutput> {
        multipart::abort(self, req).await
    }
    async fn list_parts(&self, req: Req<ListPartsInput>) -> Answered<ListPartsOutput> {
        multipart_list::parts(self, req).await
    }
    async fn list_multipart_uploads(&self, req: Req<ListMultipartUploadsInput>) -> Answered<ListMultipartUploadsOutput> {
        multipart_list::uploads(self, req).await
    }
    /// S3 has given torrents up: no object has one.
    async fn get_object_torrent(&self, _: Req<GetObjectTorrentInput>) -> Answered<GetObjectTorrentOutput> {
        Err(error::no_such_key())
    }
    /// Forms go another way ([`form`]); s3s would make a PutObject of this one.
    async fn post_object(&self, _: Req<PostObjectInput>) -> Answered<PostObjectOutput> {
        Err(error::malformed_form())
    }
}
