//! `anybucket lifecycle BUCKET`: what the bucket's rules would take now.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::safe;
use crate::admin::{DueView, LifecycleView};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    bucket: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    client::block_on(async {
        let (mut after, mut count, mut bytes) = (None, 0_u64, 0);
        loop {
            let query = [("bucket", Some(options.bucket.clone())), ("after", after)];
            let page: LifecycleView = client.get("/v1/lifecycle", &query).await?;
            for due in &page.due {
                (count, bytes) = (count + 1, bytes + due.size);
                if options.admin.json { say_json(due) } else { say(line(due)) }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !options.admin.json {
            say(format_args!("{count} to go, {bytes} bytes; the worker `lifecycle` takes them"));
        }
        Ok(Exit::Done)
    })
}

fn line(due: &DueView) -> String {
    let version = due.version.as_deref().unwrap_or("-");
    format!("{:<10} {version:<26} {:>12} {}", due.end, due.size, safe(&due.key))
}
