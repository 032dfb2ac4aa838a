//! Buckets are containers, whose names are fewer.

use super::Azure;
use super::error::fault;
use crate::backend::service::{Answer, Cursor, Fault};

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
    pub(super) async fn remove_container(&self, bucket: &str) -> Answer<()> {
        let mut from = Cursor::Start;
        loop {
            let page = self.blobs(bucket, "", &from).await?;
            if let Some(listed) = page.listed.first() {
                return Err(not_empty(&listed.name));
            }
            let Some(next) = page.next else { break };
            from = Cursor::Next(next);
        }
        let answer = self.client.container(bucket)?.delete(None).await;
        answer.map(drop).map_err(fault("removing a container"))
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
