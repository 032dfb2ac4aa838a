//! `anybucket status`: sites, lag, what is owed, backlog, failures and workers, on one screen.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use super::text::{columns, lasted, safe};
use crate::admin::{BufferView, COUNTED_MAX, ImportView, SiteView, StatusView, WorkerView};
use crate::config::Sources;

/// Between two looks.
const WATCH: Duration = Duration::from_secs(2);
/// Clears the screen and goes to its beginning.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    admin: AdminArgs,
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    client::block_on(async {
        if !options.watch {
            show(options, &client.get("/v1/status", &[]).await?);
            return Ok(Exit::Done);
        }
        loop {
            match client.get("/v1/status", &[]).await {
                Ok(status) => show(options, &status),
                // It may come back: whoever watches a restart wants to see that. What was typed wrong stays wrong.
                Err(err) if err.exit() == Exit::Failed => eprintln!("error: {err}"),
                Err(err) => return Err(err.into()),
            }
            tokio::time::sleep(WATCH).await;
        }
    })
}

fn show(options: &Options, status: &StatusView) {
    if options.admin.json {
        return say_json(status);
    }
    let clear = if options.watch && std::io::stdout().is_terminal() { CLEAR } else { "" };
    say(format_args!("{clear}{}", screen(status)));
}

fn screen(status: &StatusView) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_screen(&mut text, status);
    text
}

fn write_screen(text: &mut String, status: &StatusView) -> std::fmt::Result {
    let (site, up) = (&status.site, lasted(status.uptime_seconds as f64));
    let reasons = safe(&status.health.reasons.join("; "));
    let health = match (status.health.ready, reasons.is_empty()) {
        (true, true) => "ready".into(),
        (true, false) => format!("ready, BUT {reasons}"),
        (false, _) => format!("NOT READY: {reasons}"),
    };
    writeln!(text, "{} (number {})  {health}", site.name, site.number)?;
    if site.state == "restoring" {
        writeln!(text, "RESTORING: nothing is listed until everything that the other sites had is here")?;
    }
    writeln!(text, "anybucket {}, up {up}, store {}", status.version, status.store)?;
    if status.rebuilding {
        writeln!(
            text,
            "REBUILDING: status.redb was lost; listings and unknown keys are refused until the store was looked through"
        )?;
    }
    for import in &status.imports {
        writeln!(text, "{}", importing(import))?;
    }
    for buffer in status.buffers.iter().filter(|buffer| buffer.objects > 0 || buffer.refused > 0) {
        writeln!(text, "{}", buffering(buffer))?;
    }
    writeln!(
        text,
        "to fetch {} now, {} later; unsettled {}; conflicts {}; graves {}\n",
        counted(status.backlog.due),
        status.backlog.waiting,
        status.unsettled,
        status.conflicts,
        status.graves
    )?;
    if status.sites.is_empty() {
        writeln!(text, "no other sites")?;
    } else {
        let heads = ["SITE", "STANDING", "LAG", "PENDING", "OLDEST", "FAILED", "DIRTY", "CLOCK", "HEARD"];
        let heads = heads.map(ToOwned::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(heads).chain(status.sites.iter().map(row)).collect();
        text.push_str(&columns(&rows));
    }
    for site in &status.sites {
        if let Some(error) = &site.last_error {
            writeln!(text, "  {}: {}", site.name, safe(error))?;
        }
    }
    write_workers(text, &status.workers)
}

fn importing(import: &ImportView) -> String {
    let ImportView { bucket, objects, skipped, read, unreadable, .. } = import;
    let what = match import.listed {
        false => format!("{objects} files found so far"),
        true => format!("{read} of {objects} files read, {skipped} skipped, {unreadable} unreadable"),
    };
    format!("IMPORTING {}: {what}; it is served meanwhile", safe(bucket))
}

fn row(site: &SiteView) -> Vec<String> {
    let ago = |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), lasted);
    let standing = match (site.standing.as_str(), site.paused_seconds) {
        ("paused", Some(left)) => format!("paused, {} left", lasted(left)),
        (word, _) => word.replace('_', " "),
    };
    let lag = match (site.lag_seq, site.lag_seconds) {
        (None, _) => "unknown".into(),
        (Some(0), Some(0.0)) => "0".into(),
        (Some(seqs), None) => seqs.to_string(),
        (Some(seqs), Some(seconds)) => format!("{seqs} ({})", lasted(seconds)),
    };
    vec![
        site.name.clone(),
        standing,
        lag,
        site.pending.to_string(),
        ago(site.oldest_pending_seconds),
        counted(site.failed),
        site.dirty.to_string(),
        site.clock_offset_ms.map_or_else(|| "-".into(), |ms| format!("{ms:+} ms")),
        ago(site.seconds_since_heard),
    ]
}

/// Workers that are well are a number; the others are named with what ails them.
fn write_workers(text: &mut String, workers: &[WorkerView]) -> std::fmt::Result {
    let ails = |worker: &&WorkerView| ["failing", "panicked"].contains(&worker.state.as_str());
    let failing: Vec<_> = workers.iter().filter(ails).collect();
    writeln!(text, "\nworkers: {} well, {} failing", workers.len() - failing.len(), failing.len())?;
    for worker in failing {
        let error = worker.last_error.as_deref().unwrap_or("no reason given");
        writeln!(text, "  {} {} ({} tries): {}", worker.name, worker.state, worker.tries, safe(error))?;
    }
    Ok(())
}

/// What waits for a store, and what somebody has to look at.
fn buffering(buffer: &BufferView) -> String {
    let BufferView { store, objects, bytes, refused, .. } = buffer;
    let refused = if *refused > 0 { format!("; REFUSED there, or unreadable: {refused}, see the log") } else { String::new() };
    format!("BUFFERED for the store {store}: {objects} objects, {bytes} bytes wait on the local disk{refused}")
}

/// A number that is counted only so far.
fn counted(number: u64) -> String {
    if number >= COUNTED_MAX as u64 { format!("{number} or more") } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> StatusView {
        let site = serde_json::json!({ "name": "berlin", "number": 2, "standing": "unreachable", "reachable": false,
            "paused": false, "paused_seconds": null, "lag_seq": 12, "lag_seconds": 305.0, "seconds_since_heard": 300.0,
            "clock_offset_ms": -3, "pending": 132, "oldest_pending_seconds": 240.0, "failed": 10_000, "dirty": 0,
            "last_error": "cut \u{1b}off" });
        let worker = serde_json::json!({ "name": "fetch", "state": "failing", "tries": 3, "worked": 1, "failed": 3,
            "seconds_since_step": 1.0, "last_error": "no room", "seconds_since_error": 1.0 });
        serde_json::from_value(
            serde_json::json!({ "site": { "name": "paris", "number": 1, "state": "restoring" }, "version": "0.1.0",
            "uptime_seconds": 90_000, "store": "fs", "unsettled": 0,
            "buffers": [{ "store": "main", "objects": 3, "bytes": 70, "oldest_ms": 1, "refused": 1 }], "ready": false, "reasons": ["disk full"],
            "sites": [site], "backlog": { "due": 4, "waiting": 5 }, "conflicts": 1, "graves": 2, "workers": [worker] }),
        )
        .unwrap()
    }

    #[test]
    fn one_screen_tells_what_is_wrong() {
        let shown = screen(&status());
        for part in [
            "paris (number 1)  NOT READY: disk full\nRESTORING: nothing is listed",
            "up 1 d 1 h, store fs",
            "BUFFERED for the store main: 3 objects, 70 bytes wait on the local disk; REFUSED there, or unreadable: 1",
            "to fetch 4 now, 5 later",
            "berlin  unreachable  12 (5 m 5 s)  132      4 m 0 s  10000 or more  0      -3 ms  5 m 0 s",
            "berlin: cut \\u{1b}off",
            "workers: 0 well, 1 failing\n  fetch failing (3 tries): no room",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        assert!(shown.lines().count() <= 24);
    }
}
