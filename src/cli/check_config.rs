//! `anybucket check-config`: are the settings good, do the stores answer, and what do they do by themselves?

use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use crate::app;
use crate::backend::{Capabilities, Support};
use crate::config::{self, Config, Sources};

#[derive(Debug, Args)]
pub struct Options {
    /// One JSON document, for machines
    #[arg(long)]
    json: bool,
}

/// What was found at one store.
struct Probed {
    name: String,
    /// Why it cannot be used.
    fault: Option<String>,
    capabilities: Option<Capabilities>,
}

/// Reads the settings and tries every store. Nothing is served and no key is made.
pub fn run(sources: &Sources, options: Options) -> Result<Exit> {
    let config = match sources.load() {
        Err(refused) if options.json => {
            println!("{}", refusal_json(&refused));
            return Ok(Exit::Usage);
        }
        loaded => loaded?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let probed = runtime.block_on(probe_all(&config));
    if options.json {
        println!("{:#}", report_json(sources, &probed));
    } else {
        print!("{}", report_text(sources, &config, &probed));
    }
    let failed = probed.iter().any(|store| store.fault.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

async fn probe_all(config: &Config) -> Vec<Probed> {
    let mut probed = Vec::new();
    for (name, settings) in &config.backends {
        probed.push(probe(name, settings).await);
    }
    probed
}

async fn probe(name: &str, settings: &config::Backend) -> Probed {
    match app::open_backend(settings).await {
        Err(err) => Probed { name: name.into(), fault: Some(format!("{err:#}")), capabilities: None },
        Ok(backend) => {
            let fault = backend.check().await.err().map(|err| err.to_string());
            Probed { name: name.into(), fault, capabilities: Some(backend.capabilities()) }
        }
    }
}

fn report_text(sources: &Sources, config: &Config, probed: &[Probed]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, sources, config, probed);
    text
}

fn write_report(text: &mut String, sources: &Sources, config: &Config, probed: &[Probed]) -> std::fmt::Result {
    writeln!(text, "{}: good", sources.name())?;
    writeln!(text, "  site {} (number {}), data in {}", config.site.name, config.site.number, config.data.display())?;
    writeln!(text, "  S3 on {}, admin on {}", config.s3.listen, config.admin.listen)?;
    for store in probed {
        let kind = store.capabilities.as_ref().map_or("", |found| found.kind);
        writeln!(text, "\nstore {} {kind}: {}", store.name, store.fault.as_deref().unwrap_or("answers"))?;
        for line in store.capabilities.iter().flat_map(|found| &found.lines) {
            writeln!(text, "  {:<9} {:<28} {}", word(line.support), line.name, line.detail)?;
        }
    }
    Ok(())
}

fn report_json(sources: &Sources, probed: &[Probed]) -> Value {
    let stores: Vec<_> = probed.iter().map(store_json).collect();
    json!({ "settings": sources.name(), "good": true, "stores": stores })
}

fn store_json(store: &Probed) -> Value {
    let lines = store.capabilities.iter().flat_map(|found| &found.lines);
    let properties: Vec<_> =
        lines.map(|line| json!({ "name": line.name, "support": word(line.support), "detail": line.detail })).collect();
    json!({
        "name": store.name,
        "kind": store.capabilities.as_ref().map(|found| found.kind),
        "answers": store.fault.is_none(),
        "fault": store.fault,
        "properties": properties,
    })
}

fn refusal_json(refused: &config::Error) -> Value {
    let problems: Vec<_> = match refused {
        config::Error::Refused { problems, .. } => problems
            .iter()
            .map(|problem| json!({ "setting": problem.path, "from": problem.origin, "problem": problem.text }))
            .collect(),
        other => vec![json!({ "problem": other.to_string() })],
    };
    json!({ "good": false, "problems": problems })
}

fn word(support: Support) -> &'static str {
    match support {
        Support::Native => "native",
        Support::Emulated => "emulated",
        Support::Refused => "refused",
    }
}
