//! Objects that are there: what is said of them, their bytes, and how they go.

use std::ops::Range;

use futures::stream::{StreamExt, try_unfold};
use http::{Method, StatusCode, header};
use reqwest::Response;

use super::Gcs;
use super::client::of_object;
use super::resource::{FIELDS, Resource, generation};
use crate::backend::service::{self, Answer, Fault, Only, Opened, Spot, Told};

const LOOKING: &str = "looking at an object";
const OPENING: &str = "opening an object";
const REMOVING: &str = "removing an object";
/// How often one that is replaced between a look and a read is looked at.
pub(super) const LOOKS_MAX: usize = 8;
/// Which object the bytes are of.
const GENERATION: &str = "x-goog-generation";

impl Gcs {
    pub(super) async fn look_at(&self, at: &Spot) -> Answer<Told> {
        let call = of_object(LOOKING, Method::GET, &at.bucket, &at.name)?.with("fields", FIELDS);
        let resource: Resource = self.client.ask_json(call).await?;
        resource.told(LOOKING)
    }

    /// The answer that brings bytes does not bring the metadata, so they are asked for first:
    /// <https://github.com/googleapis/google-cloud-go/issues/2740>.
    pub(super) async fn open_at(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        for _ in 0..LOOKS_MAX {
            let told = self.look_at(at).await?;
            match self.open_told(at, told, range).await {
                // It was replaced meanwhile.
                Err(fault) if fault.is_missing() => {}
                opened => return opened,
            }
        }
        // Something is there, whatever it is by now.
        let detail = "it is replaced again and again".to_owned();
        Err(Fault { doing: OPENING, status: Some(503), code: String::new(), detail })
    }

    async fn open_told(&self, at: &Spot, told: Told, range: Option<&Range<u64>>) -> Answer<Opened> {
        let wanted = generation(OPENING, &told)?;
        let call = of_object(OPENING, Method::GET, &at.bucket, &at.name)?.with("alt", "media").with("generation", wanted);
        // What others stored compressed comes as it is, as long as it is said to be:
        // <https://cloud.google.com/storage/docs/transcoding>.
        let mut call = call.header(header::ACCEPT_ENCODING, "gzip")?;
        if let Some(range) = range {
            call = call.header(header::RANGE, &format!("bytes={}-{}", range.start, range.end - 1))?;
        }
        let answer = self.client.send(call).await?;
        let brought = text(&answer, GENERATION);
        if brought.is_some_and(|brought| brought != wanted) {
            return Err(Fault::nonsense(OPENING, format!("of generation {wanted} it brings {brought:?}")));
        }
        let first = first_byte(&answer)?;
        let stream = try_unfold(answer, |mut answer| async {
            let chunk = answer.chunk().await.map_err(|err| err.without_url());
            chunk.map(|chunk| chunk.map(|chunk| (chunk, answer)))
        });
        let stream = stream.map(|chunk| chunk.map_err(|err| Fault::broken(OPENING, None, &err).detail)).boxed();
        Ok(Opened { told, first, stream })
    }

    pub(super) async fn remove_at(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        let call = of_object(REMOVING, Method::DELETE, &at.bucket, &at.name)?;
        let call = call.with_some("ifGenerationMatch", condition(REMOVING, only)?);
        self.client.ask(call).await.map(drop)
    }
}

/// The generation that has to be at a name; none is called 0.
pub(super) fn condition<'a>(doing: &'static str, only: Only<'a>) -> Answer<Option<&'a str>> {
    match only {
        Only::Any => Ok(None),
        Only::Nothing => Ok(Some("0")),
        Only::Seen(told) => generation(doing, told).map(Some),
    }
}

/// Of `bytes 5-9/10` it is 5.
fn first_byte(answer: &Response) -> Answer<u64> {
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(0);
    }
    let told = text(answer, header::CONTENT_RANGE.as_str()).unwrap_or_default();
    service::first_byte(told).ok_or_else(|| Fault::nonsense(OPENING, format!("it brings the range {told:?}")))
}

fn text<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}
