//! Buckets that keep versions at the service: what is removed there stays, behind a delete marker.
//!
//! That is what its owner wants of the names of keys. At names of ours it would keep every body twice for ever, where nobody
//! looks for it: there all of a name goes.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::operation::delete_object::DeleteObjectOutput;
use aws_sdk_s3::types::{DeleteMarkerEntry, ObjectVersion};

use super::S3;
use super::error::ask;
use crate::backend::service::{Answer, Fault, Spot};
use crate::backend::{Capability, NULL_VERSION, Support};

/// What one removal takes along: bytes at a name of their own have a version or two. Of a note that was written more often some stay.
const VERSIONS_MAX: i32 = 32;

/// What answers told of versions.
#[derive(Debug, Default)]
pub(super) struct Versioned {
    /// The bucket of notes keeps what is replaced there.
    home: AtomicBool,
    /// A person was told that old versions cannot be removed.
    is_told: AtomicBool,
}

impl S3 {
    /// A name was removed. If its bucket has versions the service says so, and has the bytes yet.
    pub(super) async fn remove_for_good(&self, at: &Spot, removed: &DeleteObjectOutput) -> Answer<()> {
        if removed.delete_marker() != Some(true) {
            return Ok(());
        }
        let common = &self.settings.common;
        if at.bucket == common.home && removed.version_id().is_some_and(|version| version != NULL_VERSION) {
            self.versioned.home.store(true, Ordering::Relaxed);
        }
        if !at.name.strip_prefix(&common.reserved).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(());
        }
        match self.remove_versions(at).await {
            // Nothing is there to be seen, which is what was asked for.
            Err(fault) if fault.is_forbidden() || fault.is_unknown_call() => {
                self.tell_once(&at.bucket, &fault);
                Ok(())
            }
            removed => removed,
        }
    }

    fn tell_once(&self, bucket: &str, fault: &Fault) {
        if !self.versioned.is_told.swap(true, Ordering::Relaxed) {
            let remedy = "allow s3:ListBucketVersions and s3:DeleteObjectVersion there, or let old versions expire";
            tracing::warn!(bucket, ?fault, remedy, "the store keeps what the site removes at names of its own");
        }
    }

    /// Removes what a name ever had, its delete markers last and only where nothing else is left: an older version must not come
    /// forward.
    async fn remove_versions(&self, at: &Spot) -> Answer<()> {
        let request = self.caller.client().list_object_versions().bucket(&at.bucket).prefix(&at.name).max_keys(VERSIONS_MAX);
        let page = ask("listing the versions of a name", request.send()).await?;
        // Longer names begin with it too, and come behind it.
        let is_it = |key: Option<&str>| key == Some(at.name.as_str());
        let is_all = page.is_truncated() != Some(true) || page.next_key_marker().is_some_and(|next| next != at.name);
        let versions = page.versions().iter().filter(|version| is_it(version.key())).filter_map(ObjectVersion::version_id);
        let markers = page.delete_markers().iter().filter(|marker| is_all && is_it(marker.key()));
        for version in versions.chain(markers.filter_map(DeleteMarkerEntry::version_id)) {
            self.remove_version(at, version).await?;
        }
        Ok(())
    }

    async fn remove_version(&self, at: &Spot, version: &str) -> Answer<()> {
        let request = self.caller.client().delete_object().bucket(&at.bucket).key(&at.name).version_id(version);
        match ask("removing a version", request.send()).await {
            Err(fault) if fault.is_missing() => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// What people are told where it matters.
    pub(super) fn versioned_home(&self) -> Option<Capability> {
        let detail = format!(
            "{} keeps every note that is replaced: suspend its versioning, or let old versions expire",
            self.settings.common.home
        );
        let line = Capability { name: "home without versions", support: Support::Refused, detail };
        self.versioned.home.load(Ordering::Relaxed).then_some(line)
    }
}
