//! `anybucket pause SITE`: a site is neither followed nor fed, until it is resumed.

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::lasted;
use crate::admin::{Pause, SiteView};
use crate::config::Sources;

#[derive(Debug, Args)]
pub struct Options {
    site: String,
    /// Resume by itself after this, such as 30m, 6h or 2d
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    client::block_on(async {
        let asked = Pause { site: options.site.clone(), lasts: options.lasts.clone() };
        let site: SiteView = client.post("/v1/pause", &asked).await?;
        if options.admin.json {
            say_json(&site);
        } else {
            let until =
                site.paused_seconds.map_or_else(|| "until `anybucket resume`".into(), |left| format!("for {}", lasted(left)));
            say(format_args!("{} is paused {until}; what it is owed is kept for it", site.name));
        }
        Ok(Exit::Done)
    })
}
