//! `anybucket explain BUCKET [KEY] [--version ID]`: why an object is or is not there, and what happens next.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::{lasted, safe};
use crate::admin::ExplainView;
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    bucket: String,
    /// Without a key the bucket itself is explained
    key: Option<String>,
    /// A version by its id, or `null`; left out, the current one
    #[arg(long, value_name = "ID", requires = "key")]
    version: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    let query = [("bucket", Some(options.bucket.clone())), ("key", options.key.clone()), ("version", options.version.clone())];
    client::block_on(async {
        let explained: ExplainView = client.get("/v1/explain", &query).await?;
        if options.admin.json {
            say_json(&explained);
        } else {
            say(text(&explained).join("\n"));
        }
        Ok(Exit::Done)
    })
}

fn text(explained: &ExplainView) -> Vec<String> {
    let ExplainView { bucket, key, site, state, .. } = explained;
    let name = key.as_ref().map_or_else(|| bucket.clone(), |key| format!("{bucket}/{key}"));
    let mut lines = vec![format!("{} at {site}: {state}", safe(&name))];
    if let (Some(stamp), Some(by), Some(age)) = (&explained.stamp, &explained.written_by, explained.age_seconds) {
        let act = if state == "deleted" { "deleted" } else { "written" };
        lines
            .extend(explained.version.iter().filter(|version| *version != "null").map(|version| format!("  version  {version}")));
        lines.push(format!("  stamp    {stamp}, {act} at {by} {} ago", lasted(age)));
    }
    if let (Some(size), Some(etag)) = (explained.size, &explained.etag) {
        let location = explained.location.as_deref().unwrap_or("nowhere");
        lines.push(format!("  content  {size} bytes, etag {etag}, kept {location}"));
    }
    if let Some(stamp) = &explained.tags_stamp {
        lines.push(format!("  tags     {stamp}"));
    }
    if let Some(seq) = explained.told_under {
        lines.push(format!("  told     under seq {seq}"));
    }
    for told in &explained.sites {
        let reason = told.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", safe(reason)));
        let dirty = if told.dirty { ", to be reconciled" } else { "" };
        lines.push(format!("  {:<8} {}{dirty}{reason}", told.site, told.status));
    }
    if let Some(work) = &explained.work {
        lines.push(format!("  wanted   {} from {}, {} tries", work.stamp, work.sources.join(", "), work.tries));
        lines.extend(work.last_error.iter().map(|error| format!("           last error: {}", safe(error))));
    }
    if let Some(stamp) = &explained.lost_stamp {
        lines.push(format!("  conflict a write with stamp {stamp} lost: its writer and the winner's had not seen each other"));
    }
    lines.extend(explained.next.iter().map(|next| format!("- {}", safe(next))));
    lines
}
