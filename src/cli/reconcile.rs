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
use super::client::{AdminArgs, Client, block_on, say};
use crate::admin::{Begun, Watched};
use crate::config::Sources;
use crate::model::BucketName;
use crate::reconcile::{Ask, Line, Progress, RunState};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// What to compare, and what to do about it.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this bucket, or the keys in it that begin with PREFIX
    #[arg(value_name = "BUCKET[/PREFIX]")]
    scope: Option<String>,
    /// Only with this site
    #[arg(long, value_name = "SITE")]
    with: Option<String>,
    /// Find differences and change nothing; exit code 3 if there are any
    #[arg(long)]
    dry_run: bool,
    /// Read all bytes here and hash them
    #[arg(long)]
    deep: bool,
    /// Write each difference as a line of JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Begins the run and watches it to its end.
pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let ask = options.ask()?;
    let client = Client::new(&options.admin, sources)?;
    let mut lines = Lines::open(options)?;
    block_on(async {
        let Begun { id } = client.post("/v1/reconcile", &ask).await?;
        let watching = watch(&client, id, &mut lines);
        let ended = tokio::select! {
            ended = watching => ended?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("the run goes on at the site: GET {}/v1/reconcile?id={id} shows it", client.url());
                return Ok(Exit::Failed);
            }
        };
        lines.end(&ended)?;
        Ok(options.told(&ended))
    })
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
    fn ask(&self) -> Result<Ask> {
        let (bucket, prefix) = match self.scope.as_deref().map(|scope| scope.split_once('/').unwrap_or((scope, ""))) {
            Some((bucket, prefix)) => (Some(BucketName::new(bucket)?), prefix.to_owned()),
            None => (None, String::new()),
        };
        Ok(Ask { bucket, prefix, with: self.with.clone(), dry_run: self.dry_run, deep: self.deep })
    }

    /// Says how it ended, to people; machines have read it.
    fn told(&self, ended: &Progress) -> Exit {
        if ended.state == RunState::Failed {
            eprintln!("error: {}", ended.error.as_deref().unwrap_or("the run failed"));
            return Exit::Failed;
        }
        let (summary, differences) = (&ended.summary, ended.summary.differences());
        if !self.admin.json {
            say(format!("compared {}, found {differences} differences", summary.compared));
            for (class, count) in summary.classes.iter().filter(|(_, count)| **count > 0) {
                say(format!("  {:<14} {count}", class.name()));
            }
            if !self.dry_run && differences > 0 {
                say(format!("{} to be fetched, {} told again, {} corrected", summary.queued, summary.told, summary.corrected));
            }
            if summary.busy + summary.unchecked > 0 {
                say(format!("{} changed meanwhile and are left to the next run", summary.busy + summary.unchecked));
            }
        }
        if self.dry_run && differences > 0 { Exit::Differences } else { Exit::Done }
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

    fn options(scope: &str) -> Options {
        let (with, report, admin) = (None, None, AdminArgs::default());
        Options { scope: Some(scope.into()), with, dry_run: true, deep: false, report, admin }
    }

    #[test]
    fn the_scope_is_a_bucket_and_what_keys_begin_with() {
        let ask = options("logs/2026/a").ask().unwrap();
        assert_eq!((ask.bucket.unwrap().as_str(), ask.prefix.as_str()), ("logs", "2026/a"));
        assert_eq!(options("logs").ask().unwrap().prefix, "");
        assert!(options("/x").ask().is_err());
    }
}
