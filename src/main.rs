//! Reads the command line, runs one command, tells what went wrong.

use std::process::ExitCode;

use anybucket::cli::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    let exit = Cli::parse().run().unwrap_or_else(|err| {
        eprintln!("{}", cli::chain(&err));
        cli::exit_of(&err)
    });
    exit.into()
}
