//! `anybucket retry`: what failed is tried again now.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::{Keys, Target, progress, progress_done, target};
use crate::admin::{Retry, RetryAnswer};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    /// Only this; else everything
    #[arg(value_name = "BUCKET[/PREFIX*]", value_parser = target)]
    target: Option<Target>,
    /// Only what this site refused, or what it told and is not here
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    let prefix = options.target.as_ref().and_then(|target| match &target.keys {
        Keys::All => None,
        Keys::One(prefix) | Keys::Under(prefix) => Some(prefix.clone()),
    });
    let bucket = options.target.as_ref().map(|target| target.bucket.clone());
    client::block_on(async {
        let mut all = RetryAnswer::default();
        let mut asked = Retry { site: options.site.clone(), bucket, prefix, after: None };
        loop {
            let answer: RetryAnswer = client.post("/v1/retry", &asked).await?;
            (all.due, all.told_again) = (all.due + answer.due, all.told_again + answer.told_again);
            progress(format_args!("{} due, {} told again", all.due, all.told_again));
            asked.after = answer.next;
            if asked.after.is_none() {
                break;
            }
        }
        progress_done();
        if options.admin.json {
            say_json(&all);
        } else {
            say(format_args!("{} to be fetched here now, {} told again to who had refused them", all.due, all.told_again));
        }
        Ok(Exit::Done)
    })
}
