//! The commands that ask a running site: what they print, and how they end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The binary in `dir`, with nothing of the environment that steers it.
fn anybucket(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anybucket"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANYBUCKET_")) {
        command.env_remove(name);
    }
    command.current_dir(dir).env_remove("RUST_LOG").env("ANYBUCKET__S3__LISTEN", "127.0.0.1:0");
    command
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), [String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()].concat())
}

/// A site that runs; killed when the test ends.
struct Serving {
    child: Child,
    dir: TempDir,
    admin: String,
}

impl Serving {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = anybucket(dir.path());
        let command = command.env("ANYBUCKET__ADMIN__LISTEN", "127.0.0.1:0").env("ANYBUCKET__SITE__NAME", "paris");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.into_iter().find(|line| line.trim_start().starts_with("admin")).unwrap();
        let admin = line.split_whitespace().nth(1).unwrap().trim_end_matches(',').to_owned();
        Self { child, dir, admin }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = anybucket(self.dir.path());
        command.args(args).env("ANYBUCKET_ADMIN", &self.admin);
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        ended(&mut self.command(args))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_asks_the_site_that_runs_and_says_what_it_heard() {
    let serving = Serving::start();
    let (code, said) = serving.run(&["status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("paris (number 1)  ready") && said.contains("no other sites"), "{said}");
    let (code, said) = serving.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, status["site"]["name"].as_str()), (Some(0), Some("paris")));
    let (code, said) = serving.run(&["explain", "bucket", "a key/\u{fc}"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("bucket/a key/\u{fc} at paris: unknown") && said.contains("no such bucket"), "{said}");
    assert_eq!(serving.run(&["failed"]), (Some(0), "nothing failed\n".into()));
    let (code, said) = serving.run(&["retry", "bucket/logs/*", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["due"], 0);
}

#[test]
fn what_was_asked_for_wrongly_ends_with_2_in_the_words_of_the_site() {
    let serving = Serving::start();
    for args in [&["pause", "berlin"][..], &["resume", "berlin"], &["failed", "--site", "berlin"], &["retry", "--site", "berlin"]]
    {
        let (code, said) = serving.run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("this site knows no other") && said.lines().count() == 1, "{args:?}: {said}");
    }
    assert_eq!(serving.run(&["explain", "B", "key"]).0, Some(2));
    assert_eq!(serving.run(&["replicate", "bucket"]).0, Some(2));
}

#[test]
fn a_site_that_is_not_there_a_wrong_token_and_a_wrong_url_are_each_told_in_one_sentence() {
    let serving = Serving::start();
    let one_sentence = |command: &mut Command, code: i32, parts: &[&str]| {
        let (ended_with, said) = ended(command);
        assert_eq!(ended_with, Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{part:?} is not in {said}"));
    };
    let absent = &["no site answers at http://127.0.0.1:1", "anybucket serve", "--admin"];
    one_sentence(serving.command(&["status"]).env("ANYBUCKET_ADMIN", "http://127.0.0.1:1"), 1, absent);
    let wrong = &["does not take the token from $ANYBUCKET_ADMIN_TOKEN"];
    one_sentence(serving.command(&["status"]).env("ANYBUCKET_ADMIN_TOKEN", "wrong"), 2, wrong);
    one_sentence(&mut serving.command(&["status", "--admin", "ftp://h:1"]), 2, &["http://HOST:PORT"]);
    let elsewhere = TempDir::new().unwrap();
    let none = &["the admin token cannot be read", "ANYBUCKET_ADMIN_TOKEN"];
    one_sentence(anybucket(elsewhere.path()).args(["status", "--admin", &serving.admin]), 2, none);
    // The token alone is enough: no settings are read.
    let token = fs::read_to_string(serving.dir.path().join("anybucket-data/admin-token")).unwrap();
    fs::write(elsewhere.path().join("config.toml"), "nonsense = 1").unwrap();
    let mut command = anybucket(elsewhere.path());
    let command = command.args(["status", "--admin", &serving.admin]).env("ANYBUCKET_ADMIN_TOKEN", token.trim());
    assert_eq!(ended(command).0, Some(0));
}
