//! What people type: one file a command.

mod check_config;
pub mod client;
mod explain;
mod failed;
mod keys;
mod lifecycle;
mod pause;
mod reconcile;
mod replicate;
mod resume;
mod retry;
mod serve;
mod status;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Flag, Sources};
use crate::telemetry::LogError;

const AFTER_HELP: &str = "Without a command it serves. Settings are explained in config.toml.
Every command but serve and check-config asks a running site over its admin listener.
Exit code: 0 done, 1 failed, 2 wrong usage or settings, 3 a dry run found differences.";

/// One S3 endpoint over any storage, at every site.
#[derive(Debug, Parser)]
#[command(name = "anybucket", version, about, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Only what is built is shown.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a site in the foreground
    Serve,
    /// Read the settings, try every store and peer, and say what is native, emulated or refused there
    CheckConfig(check_config::Options),
    /// Access keys and their rights
    Keys(keys::Options),
    /// Prove this site equal to its store and to the others, or make it so
    Reconcile(reconcile::Options),
    /// Sites, lag, what is owed, backlog, failures and workers, on one screen
    Status(status::Options),
    /// Why an object is or is not there, and what happens next
    Explain(explain::Options),
    /// Show what a bucket's lifecycle rules would take now
    Lifecycle(lifecycle::Options),
    /// Tell objects to other sites again, now
    Replicate(replicate::Options),
    /// What failed between sites, and why
    Failed(failed::Options),
    /// Try again now what failed
    Retry(retry::Options),
    /// Neither follow nor feed a site
    Pause(pause::Options),
    /// Follow and feed a site again
    Resume(resume::Options),
}

/// Settings from the command line, which win over all others.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// File with settings; else $ANYBUCKET_CONFIG, else ./config.toml if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for everything this process keeps (the setting `data`)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// Where S3 clients connect (the setting `s3.listen`)
    #[arg(long, global = true, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Any other setting, such as `--set admin.listen=127.0.0.1:9101`; can be repeated
    #[arg(long, global = true, value_name = "SETTING=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

/// How a command ended; the numbers are promised to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// Wrong usage or settings.
    Usage = 2,
    /// Differences were found (`reconcile --dry-run`).
    Differences = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> Result<Exit> {
        let sources = self.settings.sources();
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve::run(&sources),
            Command::CheckConfig(options) => check_config::run(&sources, options),
            Command::Keys(options) => keys::run(&sources, &options),
            Command::Reconcile(options) => reconcile::run(&sources, &options),
            Command::Status(options) => status::run(&sources, &options),
            Command::Explain(options) => explain::run(&sources, &options),
            Command::Lifecycle(options) => lifecycle::run(&sources, &options),
            Command::Replicate(options) => replicate::run(&sources, &options),
            Command::Failed(options) => failed::run(&sources, &options),
            Command::Retry(options) => retry::run(&sources, &options),
            Command::Pause(options) => pause::run(&sources, &options),
            Command::Resume(options) => resume::run(&sources, &options),
        }
    }
}

/// The exit code for a command that ended with `err`.
pub fn exit_of(err: &anyhow::Error) -> Exit {
    let is_wrong_filter = matches!(err.downcast_ref(), Some(LogError::Filter(_)));
    if let Some(err) = err.downcast_ref::<client::Error>() {
        return err.exit();
    }
    if err.is::<config::Error>() || is_wrong_filter { Exit::Usage } else { Exit::Failed }
}

/// An error and its causes, one a line. A cause whose words are already there is left out.
pub fn chain(err: &anyhow::Error) -> String {
    let mut text = format!("error: {err}");
    for cause in err.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
    }
    text
}

impl SettingsArgs {
    fn sources(&self) -> Sources {
        let flag = |name: &str, path: &str, value: &String| Flag { name: name.into(), path: path.into(), value: value.clone() };
        let data = self.data.iter().map(|value| flag("--data", "data", value));
        let listen = self.listen.iter().map(|value| flag("--listen", "s3.listen", value));
        let set = self.set.iter().map(|(path, value)| flag(&format!("--set {path}"), path, value));
        Sources::of_process(self.config.clone(), data.chain(listen).chain(set).collect())
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("SETTING=VALUE is expected, such as s3.region=eu-west-1")?;
    Ok((path.trim().into(), value.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Cli {
        Cli::try_parse_from([&["anybucket"], args].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_with_the_same_flags() {
        assert!(parse(&[]).command.is_none());
        for args in [&["--config", "x.toml"][..], &["serve", "--config", "x.toml"]] {
            assert_eq!(parse(args).settings.config, Some("x.toml".into()));
        }
    }

    #[test]
    fn flags_are_settings() {
        let sources = parse(&["--data", "d", "serve", "--listen", "1.2.3.4:5", "--set", "log.level=a=b"]).settings.sources();
        let flags: Vec<_> = sources.flags.into_iter().map(|flag| (flag.path, flag.value)).collect();
        let expected = [("data", "d"), ("s3.listen", "1.2.3.4:5"), ("log.level", "a=b")];
        assert_eq!(flags, expected.map(|(path, value)| (path.to_owned(), value.to_owned())));
    }

    #[test]
    fn commands_that_are_not_built_are_not_shown() {
        let help = Cli::command().render_long_help().to_string();
        for built in [
            "serve",
            "check-config",
            "keys",
            "reconcile",
            "status",
            "explain",
            "lifecycle",
            "replicate",
            "failed",
            "retry",
            "pause",
            "resume",
        ] {
            assert!(help.contains(&format!("\n  {built} ")), "{built} is not in\n{help}");
        }
        for later in ["migrate", "verify", "forget-peer", "quarantine"] {
            assert!(!help.contains(later), "{later}");
        }
    }

    #[test]
    fn an_error_is_told_with_each_of_its_causes_once() {
        let err = anyhow::anyhow!("disk on fire").context("cannot write: disk on fire").context("cannot start");
        assert_eq!(chain(&err), "error: cannot start\n  because: cannot write: disk on fire");
    }

    #[test]
    fn wrong_settings_and_failures_end_differently() {
        let refused = anyhow::Error::from(config::Error::Refused { name: "x".into(), problems: Vec::new() });
        assert_eq!(exit_of(&refused), Exit::Usage);
        assert_eq!(exit_of(&anyhow::anyhow!("port in use")), Exit::Failed);
    }
}
