//! `anybucket resume SITE`: the end of a pause.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use crate::admin::{Resume, SiteView};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    site: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    client::block_on(async {
        let site: SiteView = client.post("/v1/resume", &Resume { site: options.site.clone() }).await?;
        if options.admin.json {
            say_json(&site);
        } else {
            say(format_args!("{} is followed and fed; it is owed {}", site.name, site.pending));
        }
        Ok(Exit::Done)
    })
}
