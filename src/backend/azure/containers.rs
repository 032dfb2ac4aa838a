//! Buckets are containers, whose names are fewer.

use azure_storage_blob::models::{BlobContainerClientAcquireLeaseResultHeaders, BlobContainerClientDeleteOptions};

use super::Azure;
use super::error::fault;
use crate::backend::service::{Answer, Cursor, Fault};

/// Of a container that is being removed, in seconds: the shortest that the service gives.
const LEASE_S: i32 = 15;

impl Azure {
    pub(super) async fn make_container(&self, bucket: &str) -> Answer<()> {
        match self.client.container(bucket)?.create(None).await.map_err(fault("making a container")) {
            Err(fault) if fault.is(&["ContainerAlreadyExists"]) => Ok(()),
            Err(fault) if fault.is(&["ContainerBeingDeleted"]) => Err(passing(fault)),
            answer => answer.map(drop),
        }
    }

    pub(super) async fn look_at_container(&self, bucket: &str) -> Answer<()> {
        let answer = self.client.container(bucket)?.get_properties(None).await;
        answer.map(drop).map_err(fault("looking at a container"))
    }

    /// The service removes a container with all that is in it, so it is looked at just before. What others put there in
    /// between goes with it: a lease keeps nobody from writing, and a container's own date and ETag are not those of its blobs.
    /// What the lease keeps safe is a container that is made again: a call that comes late finds none there, and does nothing.
    pub(super) async fn remove_container(&self, bucket: &str) -> Answer<()> {
        let lease = self.lease_container(bucket).await?;
        let removed = self.remove_leased(bucket, &lease).await;
        if removed.is_err() {
            // It ends by itself too.
            let _ = self.client.container(bucket)?.release_lease(lease, None).await;
        }
        removed
    }

    pub(super) async fn lease_container(&self, bucket: &str) -> Answer<String> {
        let doing = "taking a lease of a container";
        match self.client.container(bucket)?.acquire_lease(LEASE_S, None).await.map_err(fault(doing)) {
            Ok(answer) => {
                let lease = answer.lease_id().map_err(fault(doing))?;
                lease.ok_or_else(|| Fault::nonsense(doing, "the service named no lease"))
            }
            // An earlier removal's, most likely.
            Err(fault) if fault.is(&["LeaseAlreadyPresent"]) => Err(passing(fault)),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn remove_leased(&self, bucket: &str, lease: &str) -> Answer<()> {
        if let Some(name) = self.first_blob(bucket).await? {
            return Err(not_empty(&name));
        }
        let options = BlobContainerClientDeleteOptions { lease_id: Some(lease.to_owned()), ..Default::default() };
        match self.client.container(bucket)?.delete(Some(options)).await.map_err(fault("removing a container")) {
            // It ended while the container was looked at.
            Err(fault) if fault.code.starts_with("Lease") => Err(passing(fault)),
            answer => answer.map(drop),
        }
    }

    async fn first_blob(&self, bucket: &str) -> Answer<Option<String>> {
        let mut from = Cursor::Start;
        loop {
            let page = self.blobs(bucket, "", &from).await?;
            match (page.listed.into_iter().next(), page.next) {
                (Some(listed), _) => return Ok(Some(listed.name)),
                (None, Some(next)) => from = Cursor::Next(next),
                (None, None) => return Ok(None),
            }
        }
    }
}

fn not_empty(name: &str) -> Fault {
    let (code, detail) = ("BucketNotEmpty".to_owned(), format!("{name:?} is in it"));
    Fault { doing: "removing a container", status: Some(409), code, detail }
}

/// The name is free again when the service is done, which takes half a minute or more.
fn passing(fault: Fault) -> Fault {
    Fault { status: Some(503), code: String::new(), detail: format!("{}: {}", fault.code, fault.detail), ..fault }
}

/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
pub(super) fn is_container_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_length = (3..=63).contains(&name.len());
    has_length && name.bytes().all(legal) && !name.starts_with('-') && !name.ends_with('-') && !name.contains("--")
}

/// Refuses what the service would refuse, or take for something else.
pub(super) fn check_container_name(name: &str) -> Answer<()> {
    if is_container_name(name) {
        return Ok(());
    }
    let detail = format!("{name:?} cannot be a container: 3 to 63 characters of a-z, 0-9 and single '-' between them");
    Err(Fault { doing: "naming a container", status: Some(400), code: "InvalidResourceName".to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_buckets_cannot_be_containers() {
        for good in ["abc", "a-b-c", "0a1", &"x".repeat(63)] {
            assert!(is_container_name(good), "{good}");
        }
        for bad in ["ab", "a.b", "a--b", "-abc", "abc-", "Abc", "a_b", "$root", &"x".repeat(64)] {
            assert!(!is_container_name(bad), "{bad}");
        }
    }
}
