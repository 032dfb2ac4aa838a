//! Pages of a listing, in the byte order of names.

use http::Method;
use serde::Deserialize;

use super::Gcs;
use super::call::Call;
use super::error::of_bucket;
use super::resource::{FIELDS, Resource};
use crate::backend::service::{Answer, Cursor, Listed, Page};

const DOING: &str = "listing objects";
/// What the service gives at the most.
pub(super) const PAGE_MAX: &str = "1000";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    items: Vec<Resource>,
    next_page_token: Option<String>,
}

impl Gcs {
    pub(super) async fn page_of(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        let call = Call::new(DOING, Method::GET, &["storage", "v1", "b", bucket, "o"])?;
        let call = call.with("fields", &format!("items({FIELDS}),nextPageToken")).with("maxResults", PAGE_MAX);
        let call = call.with_some("prefix", Some(prefix).filter(|prefix| !prefix.is_empty()));
        let call = match from {
            Cursor::Start => call,
            Cursor::Behind(name) => call.with("startOffset", name),
            Cursor::Next(token) => call.with("pageToken", token),
        };
        let answered: Answered = self.client.ask_json(call).await.map_err(of_bucket)?;
        let listed: Answer<Vec<Listed>> = answered.items.into_iter().map(|item| item.listed(DOING)).collect();
        let mut listed = listed?;
        // A start is listed too, where there is such a name.
        if let Cursor::Behind(name) = from {
            listed.retain(|listed| listed.name != *name);
        }
        Ok(Page { listed, next: answered.next_page_token.filter(|token| !token.is_empty()) })
    }
}
