//! `anybucket check-config`: are the settings good, do the stores and the other sites answer, and what do stores do by
//! themselves?

use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{Exit, chain, exit_of};
use crate::app::{self, ProbedPeer};
use crate::backend::{Capabilities, Capability};
use crate::config::{self, Config, Sources};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct Options {
    /// One JSON document, for machines
    #[arg(long)]
    json: bool,
}

/// What was found at one store.
struct Probed {
    name: String,
    outcome: Outcome,
    /// None of a store that was not opened.
    capabilities: Vec<Capabilities>,
}

enum Outcome {
    Answers,
    /// Who has it: a running site answers for its own store.
    InUse(String),
    /// Why it cannot be used.
    Fault(String),
}

/// Reads the settings and what stands beside them, and tries every store and every peer. Nothing is served and no key is made.
pub fn run(sources: &Sources, options: Options) -> Result<Exit> {
    let config = match load(sources) {
        Err(refused) if options.json => {
            println!("{}", refusal_json(&refused));
            return Ok(exit_of(&refused));
        }
        loaded => loaded?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start threads")?;
    let probed = runtime.block_on(probe_all(&config));
    let peers = runtime.block_on(app::probe_peers(&config))?;
    if options.json {
        println!("{:#}", report_json(sources, &probed, &peers));
    } else {
        print!("{}", report_text(sources, &config, &probed, &peers));
    }
    let failed =
        probed.iter().any(|store| matches!(store.outcome, Outcome::Fault(_))) || peers.iter().any(|peer| peer.outcome.is_err());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Everything that `serve` reads before it opens a store.
fn load(sources: &Sources) -> Result<Config> {
    let config = sources.load()?;
    telemetry::check(&config.log)?;
    app::check(&config)?;
    Ok(config)
}

async fn probe_all(config: &Config) -> Vec<Probed> {
    let owner = app::owner(&config.data);
    let mut probed = Vec::new();
    for (name, settings) in &config.backends {
        probed.push(match &owner {
            Some(owner) => Probed { name: name.clone(), outcome: Outcome::InUse(owner.clone()), capabilities: Vec::new() },
            None => probe(name, settings).await,
        });
    }
    probed
}

async fn probe(name: &str, settings: &config::Backend) -> Probed {
    let (outcome, capabilities) = match app::open_store(settings).await {
        Err(err) => (Outcome::Fault(format!("{err:#}")), Vec::new()),
        Ok(backend) => {
            let outcome = backend.check().await.map_or_else(|err| Outcome::Fault(err.to_string()), |()| Outcome::Answers);
            (outcome, backend.capabilities())
        }
    };
    Probed { name: name.into(), outcome, capabilities }
}

impl Probed {
    fn kind(&self) -> Option<&'static str> {
        self.capabilities.first().map(|found| found.kind)
    }

    fn properties(&self) -> impl Iterator<Item = &Capability> {
        self.capabilities.iter().flat_map(|found| &found.properties)
    }
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Self::Answers => "answers".into(),
            Self::InUse(owner) => format!("not tried, since {owner} serves it: ask its /v1/stores, or stop it first"),
            Self::Fault(fault) => fault.clone(),
        }
    }
}

fn report_text(sources: &Sources, config: &Config, probed: &[Probed], peers: &[ProbedPeer]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, sources, config, probed).and_then(|()| write_peers(&mut text, peers));
    text
}

fn write_report(text: &mut String, sources: &Sources, config: &Config, probed: &[Probed]) -> std::fmt::Result {
    writeln!(text, "{}: good", sources.name())?;
    writeln!(text, "  site {} (number {}), data in {}", config.site.name, config.site.number, config.data.display())?;
    writeln!(text, "  S3 on {}, admin on {}", config.s3.listen, config.admin.listen)?;
    for store in probed {
        let kind = store.kind().unwrap_or_default();
        writeln!(text, "\nstore {} {kind}: {}", store.name, store.outcome.text())?;
        for line in store.properties() {
            writeln!(text, "  {:<9} {:<28} {}", <&str>::from(line.support), line.name, line.detail)?;
        }
    }
    Ok(())
}

fn write_peers(text: &mut String, peers: &[ProbedPeer]) -> std::fmt::Result {
    for ProbedPeer { site, address, outcome } in peers {
        match outcome {
            Ok(offset_ms) => writeln!(text, "\npeer {site} at {address}: answers, its clock is {offset_ms:+} ms from ours")?,
            Err(fault) => writeln!(text, "\npeer {site} at {address}: {fault}")?,
        }
    }
    Ok(())
}

fn report_json(sources: &Sources, probed: &[Probed], peers: &[ProbedPeer]) -> Value {
    let stores: Vec<_> = probed.iter().map(store_json).collect();
    let peers: Vec<_> = peers.iter().map(peer_json).collect();
    json!({ "settings": sources.name(), "good": true, "stores": stores, "peers": peers })
}

fn peer_json(peer: &ProbedPeer) -> Value {
    json!({
        "site": peer.site,
        "feed": peer.address,
        "answers": peer.outcome.is_ok(),
        "clock_offset_ms": peer.outcome.as_ref().ok(),
        "fault": peer.outcome.as_ref().err(),
    })
}

fn store_json(store: &Probed) -> Value {
    let fault = if let Outcome::Fault(fault) = &store.outcome { Some(fault) } else { None };
    json!({
        "name": store.name,
        "kind": store.kind(),
        "answers": matches!(store.outcome, Outcome::Answers),
        "in_use": matches!(store.outcome, Outcome::InUse(_)),
        "fault": fault,
        "properties": store.properties().collect::<Vec<_>>(),
    })
}

fn refusal_json(refused: &anyhow::Error) -> Value {
    let problems: Vec<_> = match refused.downcast_ref() {
        Some(config::Error::Refused { problems, .. }) => problems
            .iter()
            .map(|problem| json!({ "setting": problem.path, "from": problem.origin, "problem": problem.text }))
            .collect(),
        Some(config::Error::Beside { setting, reason }) => vec![json!({ "setting": setting, "problem": reason })],
        _ => vec![json!({ "problem": chain(refused).trim_start_matches("error: ") })],
    };
    json!({ "good": false, "problems": problems })
}
