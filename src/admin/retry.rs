//! `POST /v1/retry`: what failed is tried again now, in bounded steps.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Document};
use super::error::Error;
use super::rows::which;
use crate::replicate::{Which, retell_failed, retry_work};
use crate::site::Site;

/// Steps of one request; each is one page.
const STEPS_MAX: usize = 16;

/// What is to be tried again; nothing named is everything.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    pub site: Option<String>,
    pub bucket: Option<String>,
    pub prefix: Option<String>,
    /// The `next` of the answer before.
    pub after: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryAnswer {
    /// Units that other sites have and this one tries to get now.
    pub due: u64,
    /// Units that a site had refused and is told again.
    pub told_again: u64,
    /// Ask again with this as `after`; none at the end.
    pub next: Option<String>,
}

pub async fn retry(State(parts): State<Shared>, Document(asked): Document<Retry>) -> Result<Json<RetryAnswer>, Error> {
    let site = &parts.site;
    let which = which(site, asked.site.as_deref(), asked.bucket.as_deref(), asked.prefix.as_deref())?;
    // A cursor says which of the two tables it goes on in.
    let answer = match asked.after.as_deref().map(|after| after.split_at_checked(1).unwrap_or((after, ""))) {
        None => work(site, &which, None).await?,
        Some(("w", after)) => work(site, &which, Some(after)).await?,
        Some(("f", "")) => refused(site, &which, None).await?,
        Some(("f", after)) => refused(site, &which, Some(after)).await?,
        Some((other, _)) => return Err(Error::Bad(format!("after: found {other:?}…; allowed: the `next` of an earlier answer"))),
    };
    if answer.due > 0 {
        parts.bell.ring();
    }
    parts.census.forget();
    Ok(Json(answer))
}

async fn work(site: &Site, which: &Which, after: Option<&str>) -> Result<RetryAnswer, Error> {
    let (mut due, mut after) = (0, ask::after(after)?);
    for _ in 0..STEPS_MAX {
        let step = retry_work(site, which, after.as_ref()).await?;
        due += step.units;
        after = step.next;
        if after.is_none() {
            return Ok(RetryAnswer { due, next: Some("f".into()), ..RetryAnswer::default() });
        }
    }
    Ok(RetryAnswer { due, next: after.map(|unit| format!("w{}", ask::cursor(&unit))), ..RetryAnswer::default() })
}

async fn refused(site: &Site, which: &Which, after: Option<&str>) -> Result<RetryAnswer, Error> {
    let step = retell_failed(site, which, ask::after(after)?.as_ref()).await?;
    let next = step.next.map(|row| format!("f{}", ask::cursor(&row)));
    Ok(RetryAnswer { told_again: step.units, next, ..RetryAnswer::default() })
}
