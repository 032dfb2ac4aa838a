//! Copies that the service makes, in as many steps as it wants.

use http::Method;
use serde::Deserialize;

use super::Gcs;
use super::call::Call;
use super::objects::condition;
use super::put::About;
use super::resource::generation;
use crate::backend::service::{Answer, Fault, Only, Spot, Target, Told};

const DOING: &str = "copying an object";

/// How far a copy is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    done: bool,
    /// Names the copy that goes on.
    rewrite_token: Option<String>,
}

impl Gcs {
    /// Where another region or class is in the way, the service copies for a while and wants to be asked to go on.
    pub(super) async fn copy_whole(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        let mut token = None;
        loop {
            let call = copying(from, seen, to, only)?.with_some("rewriteToken", token.as_deref());
            let step: Step = self.client.ask_json(call.json(&About::new(to))?).await?;
            if step.done {
                return Ok(());
            }
            token = Some(step.rewrite_token.ok_or_else(|| Fault::nonsense(DOING, "it is not done, and cannot go on"))?);
        }
    }
}

fn copying(from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<Call> {
    let Spot { bucket, name, .. } = &to.spot;
    let path = ["storage", "v1", "b", &from.bucket, "o", &from.name, "rewriteTo", "b", bucket, "o", name];
    let call = Call::new(DOING, Method::POST, &path)?.with("fields", "done,rewriteToken");
    let call = call.with("ifSourceGenerationMatch", generation(DOING, seen)?);
    Ok(call.with_some("ifGenerationMatch", condition(DOING, only)?))
}
