//! Buckets of one project.

use http::Method;
use serde::{Deserialize, Serialize};

use super::Gcs;
use super::call::Call;
use super::error::of_bucket;
use super::list::PAGE_MAX;
use crate::backend::service::{Answer, Fault};

const MAKING: &str = "making a bucket";
const LOOKING: &str = "looking at a bucket";
const REMOVING: &str = "removing a bucket";
const LISTING: &str = "listing the buckets";
const CONFLICT: Option<u16> = Some(409);

#[derive(Serialize, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    items: Vec<Bucket>,
    next_page_token: Option<String>,
}

impl Gcs {
    /// The names of buckets are everybody's, and the service says the same of ours and of others'.
    pub(super) async fn insert_bucket(&self, name: &str) -> Answer<()> {
        let call = Call::new(MAKING, Method::POST, &["storage", "v1", "b"])?.with("project", &self.settings.project);
        let call = call.with("fields", "name").json(&Bucket { name: name.to_owned() })?;
        match self.client.ask(call).await {
            Err(fault) if fault.status == CONFLICT => match self.get_bucket(name).await {
                Err(denied) if denied.is_forbidden() => Err(Fault { code: "BucketAlreadyExists".to_owned(), ..fault }),
                looked => looked,
            },
            made => made.map(drop),
        }
    }

    pub(super) async fn get_bucket(&self, name: &str) -> Answer<()> {
        let call = Call::new(LOOKING, Method::GET, &["storage", "v1", "b", name])?.with("fields", "name");
        self.client.ask(call).await.map(drop).map_err(of_bucket)
    }

    pub(super) async fn delete_bucket(&self, name: &str) -> Answer<()> {
        let call = Call::new(REMOVING, Method::DELETE, &["storage", "v1", "b", name])?;
        self.client.ask(call).await.map(drop).map_err(|fault| match fault.status {
            CONFLICT => Fault { code: "BucketNotEmpty".to_owned(), ..fault },
            _ => of_bucket(fault),
        })
    }

    pub(super) async fn list_buckets(&self) -> Answer<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let call = Call::new(LISTING, Method::GET, &["storage", "v1", "b"])?.with("project", &self.settings.project);
            let call = call.with("fields", "items(name),nextPageToken").with("maxResults", PAGE_MAX);
            let page: Answered = self.client.ask_json(call.with_some("pageToken", token.as_deref())).await?;
            names.extend(page.items.into_iter().map(|bucket| bucket.name));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(names);
            }
        }
    }
}
