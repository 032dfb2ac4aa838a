//! `anybucket replicate`: objects are told to other sites again, now.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::{Keys, Target, progress, progress_done, safe, target};
use crate::admin::{Replicate, ReplicateAnswer};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    /// A bucket, an object, or all objects whose key begins so
    #[arg(value_name = "BUCKET[/KEY or /PREFIX*]", value_parser = target)]
    target: Target,
    /// Site to tell; can be repeated. Else every site the bucket is replicated to
    #[arg(long, value_name = "SITE")]
    to: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Fails where something could not be queued.
pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    let mut asked = Replicate { bucket: Some(options.target.bucket.clone()), to: options.to.clone(), ..Replicate::default() };
    match &options.target.keys {
        Keys::All => asked.prefix = Some(String::new()),
        Keys::One(key) => asked.key = Some(key.clone()),
        Keys::Under(prefix) => asked.prefix = Some(prefix.clone()),
    }
    client::block_on(async {
        let mut all = ReplicateAnswer { results: Vec::new(), queued: 0, next: None };
        loop {
            let answer: ReplicateAnswer = client.post("/v1/replicate", &asked).await?;
            all.queued += answer.queued;
            all.results.extend(answer.results);
            progress(format_args!("{} queued", all.queued));
            asked.after = answer.next;
            if asked.after.is_none() {
                break;
            }
        }
        progress_done();
        let left: Vec<_> = all.results.iter().filter(|outcome| outcome.answer != "queued").collect();
        let exit = if left.is_empty() { Exit::Done } else { Exit::Failed };
        if options.admin.json {
            say_json(&all);
        } else {
            left.iter().for_each(|left| say(safe(&format!("{}/{}: {}", left.bucket, left.key, left.answer))));
            say(format_args!("{} queued; `anybucket status` shows what is still owed", all.queued));
        }
        Ok(exit)
    })
}
