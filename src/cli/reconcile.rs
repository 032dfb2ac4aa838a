//! `anybucket reconcile`: proves this site equal to its store and to the others, or makes it so. The site does the work;
//! this begins it and watches, so that interrupting it here stops nothing there.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::Exit;
use super::client::{AdminArgs, Client, block_on, say, say_json};
use super::text::{Keys, Target, target};
use crate::admin::{Begun, Runs, Stopped, Watched};
use crate::config::{Period, Sources};
use crate::model::BucketName;
use crate::reconcile::{Ask, Line, Progress, RunState};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// What to compare, and what to do about it.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this bucket, or the keys in it that begin with PREFIX; a * at its end changes nothing
    #[arg(value_name = "BUCKET[/PREFIX]", value_parser = scope)]
    scope: Option<Scope>,
    /// Only with this site
    #[arg(long, value_name = "SITE")]
    with: Option<String>,
    /// Find differences and change nothing; exit code 3 if there are any
    #[arg(long)]
    dry_run: bool,
    /// Read all bytes here and hash them
    #[arg(long)]
    deep: bool,
    /// Remove bytes that nothing names if they are older, such as 1h or 0; without it a day, and a thousand a bucket at the most
    #[arg(long, value_name = "AGE", value_parser = age)]
    orphans_older: Option<Duration>,
    /// Write each difference as a line of JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Stop a run, or every one; what it mended stays mended
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with_all = ["scope", "with", "dry_run", "deep", "report"])]
    stop: Option<Option<u64>>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A bucket and how keys in it begin.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    bucket: BucketName,
    prefix: String,
}

/// An age may be nothing, unlike the periods of settings.
fn age(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => Period::of(text).map(|period| period.0).ok_or_else(|| "allowed: an age such as 30m or 24h, or 0".to_owned()),
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    let Target { bucket, keys } = target(text)?;
    let prefix = match keys {
        Keys::All => String::new(),
        Keys::One(prefix) | Keys::Under(prefix) => prefix,
    };
    Ok(Scope { bucket: BucketName::new(&bucket).map_err(|err| err.to_string())?, prefix })
}

/// Begins the run and watches it to its end.
pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let client = Client::new(&options.admin, sources)?;
    if let Some(stop) = options.stop {
        return block_on(stopped(&client, stop, options));
    }
    let ask = options.ask();
    let mut lines = Lines::open(options)?;
    block_on(async {
        let Begun { id } = client.post("/v1/reconcile", &ask).await?;
        let watching = watch(&client, id, &mut lines);
        let ended = tokio::select! {
            ended = watching => ended?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("run {id} goes on at the site: GET {}/v1/reconcile?id={id} shows it, `anybucket reconcile --stop {id}` ends it", client.url());
                return Ok(Exit::Failed);
            }
        };
        lines.end(&ended)?;
        Ok(options.told(&ended))
    })
}

/// Stops a run, or all that are under way.
async fn stopped(client: &Client, stop: Option<u64>, options: &Options) -> Result<Exit> {
    let under_way = |run: &Progress| run.ended_ms.is_none();
    let ids: Vec<u64> = match stop {
        Some(id) => vec![id],
        None => {
            let Runs { runs } = client.get("/v1/reconcile", &[]).await?;
            runs.iter().filter(|run| under_way(run)).map(|run| run.id).collect()
        }
    };
    for id in &ids {
        let Stopped { run } = client.delete("/v1/reconcile", &[("id", &id.to_string())]).await?;
        match (options.admin.json, run.state) {
            (true, _) => say_json(&run),
            (false, RunState::Stopped) => say(format!("run {id} stopped")),
            (false, _) => say(format!("run {id} had ended")),
        }
    }
    if ids.is_empty() && !options.admin.json {
        say("no run is under way");
    }
    Ok(Exit::Done)
}

async fn watch(client: &Client, id: u64, lines: &mut Lines) -> Result<Progress> {
    let mut seen = 0;
    loop {
        let query = [("id", Some(id.to_string())), ("skip", Some(seen.to_string()))];
        let Watched { run, lines: found } = client.get("/v1/reconcile", &query).await?;
        seen += found.len();
        for line in &found {
            lines.write(line)?;
        }
        lines.progress(&run);
        match (run.ended_ms, found.is_empty()) {
            (Some(_), true) => return Ok(run),
            (None, true) => tokio::time::sleep(LOOK).await,
            _ => {}
        }
    }
}

impl Options {
    fn ask(&self) -> Ask {
        let (bucket, prefix) = self.scope.clone().map(|scope| (scope.bucket, scope.prefix)).unzip();
        let prefix = prefix.unwrap_or_default();
        let orphans_older_ms = self.orphans_older.and_then(|age| u64::try_from(age.as_millis()).ok());
        Ask { bucket, prefix, with: self.with.clone(), dry_run: self.dry_run, deep: self.deep, orphans_older_ms }
    }

    /// Says how it ended, to people; machines have read it.
    fn told(&self, ended: &Progress) -> Exit {
        let (summary, differences) = (&ended.summary, ended.summary.differences());
        if !self.admin.json && summary.compared + differences > 0 {
            say(format!("compared {}, found {differences} differences", summary.compared));
            for (class, count) in summary.classes.iter().filter(|(_, count)| **count > 0) {
                say(format!("  {:<14} {count}", class.name()));
            }
            if !self.dry_run && differences > 0 {
                say(format!("{} to be fetched, {} told again, {} corrected", summary.queued, summary.told, summary.corrected));
            }
            if summary.busy + summary.unchecked > 0 {
                say(format!(
                    "{} changed meanwhile or could not be read, and are left to the next run",
                    summary.busy + summary.unchecked
                ));
            }
            if summary.out_of_scope > 0 {
                say(format!("{} differ where nothing is to be replicated (replication.sites) and stay so", summary.out_of_scope));
            }
        }
        let wants_lines = self.report.is_some() || self.dry_run && self.admin.json;
        if wants_lines && summary.lines_left_out > 0 {
            eprintln!(
                "{} differences are counted and were not kept as lines: ask for less, by bucket and prefix",
                summary.lines_left_out
            );
        }
        match ended.state {
            RunState::Failed => eprintln!("error: {}", ended.error.as_deref().unwrap_or("the run failed")),
            RunState::Stopped => eprintln!("error: the run was stopped"),
            _ => return if self.dry_run && differences > 0 { Exit::Differences } else { Exit::Done },
        }
        Exit::Failed
    }
}

/// Where differences go while they come.
struct Lines {
    file: Option<BufWriter<File>>,
    /// Lines of JSON on standard output: a dry run for machines.
    print: bool,
    json: bool,
    /// Progress is for whoever sits there.
    terminal: bool,
}

impl Lines {
    fn open(options: &Options) -> Result<Self> {
        let create = |path: &PathBuf| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let file = options.report.as_ref().map(create).transpose()?.map(BufWriter::new);
        let json = options.admin.json;
        Ok(Self { file, print: json && options.dry_run, json, terminal: std::io::stderr().is_terminal() })
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line).context("a difference cannot be written as JSON")?;
        if self.print {
            say(&text);
        }
        if let Some(file) = &mut self.file {
            writeln!(file, "{text}").context("cannot write the report")?;
        }
        Ok(())
    }

    fn progress(&self, run: &Progress) {
        if self.terminal {
            let at = run.at.as_deref().unwrap_or_default();
            eprint!("\r\x1b[K{} compared, {} differ  {at}", run.summary.compared, run.summary.differences());
        }
    }

    fn end(&mut self, run: &Progress) -> Result<()> {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
        let summary = json!({ "summary": run.summary }).to_string();
        if self.json {
            say(&summary);
        }
        if let Some(file) = &mut self.file {
            writeln!(file, "{summary}").and_then(|()| file.flush()).context("cannot write the report")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_a_bucket_and_what_keys_begin_with() {
        for (text, prefix) in [("logs/2026/a", "2026/a"), ("logs/2026/*", "2026/"), ("logs/*", ""), ("logs", "")] {
            let scope = scope(text).unwrap();
            assert_eq!((scope.bucket.as_str(), &*scope.prefix), ("logs", prefix));
        }
        assert!(scope("/x").is_err() && scope("No_Bucket").is_err());
    }
}
