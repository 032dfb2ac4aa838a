//! `anybucket failed`: what other sites could not take and what could not be had from them, and why.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::Exit;
use super::client::{self, AdminArgs, Client, Error, say};
use super::text::{lasted, safe};
use crate::admin::{FailedView, Rows, WorkView};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    /// Only what this site could not take, or what it told and cannot be had
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    client::block_on(async {
        let refused = pages(&client, "/v1/failed", options, |row: &FailedView| Some(refused(row)), "failed").await?;
        let missing = pages(&client, "/v1/work", options, missing, "work").await?;
        if refused + missing == 0 && !options.admin.json {
            say("nothing failed");
        }
        Ok(Exit::Done)
    })
}

/// Prints rows as they come: for machines one document a line. Answers how many.
async fn pages<R: serde::de::DeserializeOwned + serde::Serialize>(
    client: &Client,
    path: &str,
    options: &Options,
    line: impl Fn(&R) -> Option<String>,
    kind: &str,
) -> Result<u64, Error> {
    let (mut after, mut count) = (None, 0);
    loop {
        let query = [("site", options.site.clone()), ("after", after), ("limit", Some("1000".into()))];
        let page: Rows<R> = client.get(path, &query).await?;
        for row in &page.rows {
            let Some(line) = line(row) else { continue };
            count += 1;
            say(if options.admin.json { json!({ "kind": kind, "row": row }).to_string() } else { line });
        }
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

fn name(bucket: &str, key: Option<&str>) -> String {
    safe(&key.map_or_else(|| bucket.to_owned(), |key| format!("{bucket}/{key}")))
}

fn refused(row: &FailedView) -> String {
    format!("{}  {} could not take it: {}", name(&row.bucket, row.key.as_deref()), row.site, safe(&row.reason))
}

/// Work that was not tried yet has not failed.
fn missing(row: &WorkView) -> Option<String> {
    let error = row.last_error.as_ref()?;
    let (name, from) = (name(&row.bucket, row.key.as_deref()), row.sources.join(" or "));
    let next = lasted(row.next_try_seconds);
    Some(format!("{name}  not had from {from}: {} ({} tries, next in {next})", safe(error), row.tries))
}
