//! What scripts rely on: the exit codes, the first lines and the signals of the real binary.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary in `dir`, on free ports.
fn anybucket(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anybucket"));
    for (inherited, _) in std::env::vars_os().filter(|(name, _)| steers(&name.to_string_lossy())) {
        command.env_remove(inherited);
    }
    command.current_dir(dir).env("ANYBUCKET__S3__LISTEN", "127.0.0.1:0").env("ANYBUCKET__ADMIN__LISTEN", "127.0.0.1:0");
    command
}

/// Whether a variable of whoever runs the tests would change what the binary does.
fn steers(variable: &str) -> bool {
    variable == "RUST_LOG" || ["ANYBUCKET_", "AWS_", "RCLONE_"].iter().any(|prefix| variable.starts_with(prefix))
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    ended(anybucket(dir).args(args))
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), [String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()].concat())
}

/// A serving process; killed when the test ends.
struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Serving {
    /// Waits for the first line.
    fn start(dir: &Path, args: &[&str]) -> (Self, String) {
        let mut child = anybucket(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut serving = Self { stdout: BufReader::new(child.stdout.take().unwrap()), child };
        let mut line = String::new();
        serving.stdout.read_line(&mut line).unwrap();
        (serving, line)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > deadline => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_starts_with_nothing_says_where_everything_is_and_ends_in_order() {
    let dir = TempDir::new().unwrap();
    for signal in ["TERM", "INT"] {
        let (mut serving, first) = Serving::start(dir.path(), &[]);
        assert!(first.contains("serves S3 at http://127.0.0.1:"), "{first}");
        serving.signal(signal);
        assert_eq!(serving.end().code(), Some(0), "{signal}");
        let mut lines = String::new();
        serving.stdout.read_to_string(&mut lines).unwrap();
        for part in ["./anybucket-data/keys.toml", "admin-token", "aws --endpoint-url", "rclone lsd"] {
            assert!(lines.contains(part), "{part} is not in\n{lines}");
        }
        let keys = fs::read_to_string(dir.path().join("anybucket-data/keys.toml")).unwrap();
        let secret = keys.lines().find_map(|line| line.strip_prefix("secret_key = ")).unwrap().trim_matches('"');
        assert!(!lines.contains(secret), "the secret is shown");
    }
}

#[test]
fn a_second_process_on_the_same_data_ends_with_1_and_names_the_first() {
    let dir = TempDir::new().unwrap();
    let (serving, _) = Serving::start(dir.path(), &["serve"]);
    let (code, said) = run(dir.path(), &["serve"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("in use by process {}", serving.child.id())), "{said}");
}

#[test]
fn a_killed_process_leaves_nothing_that_keeps_the_next_from_starting() {
    let dir = TempDir::new().unwrap();
    let (mut serving, _) = Serving::start(dir.path(), &[]);
    serving.signal("KILL");
    serving.end();
    let (_next, first) = Serving::start(dir.path(), &[]);
    assert!(first.contains("serves S3"), "{first}");
}

#[test]
fn wrong_settings_end_with_2_and_name_every_fault() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("config.toml"), "[s3]\nlistn = 1\n[log]\nformat = 'xml'\n").unwrap();
    for command in ["serve", "check-config"] {
        let (code, said) = run(dir.path(), &[command]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("s3.listn: unknown key") && said.contains("log.format: found"), "{said}");
    }
    assert_eq!(run(dir.path(), &["no-such-command"]).0, Some(2));
    assert_eq!(run(dir.path(), &["serve", "--config", "missing.toml"]).0, Some(2));
}

#[test]
fn what_stands_beside_the_settings_is_checked_like_them() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("keys.toml"), "[[key]]\naccess_key = 'abc'\n").unwrap();
    let cases = [
        ("ANYBUCKET_ACCESS_KEY", "only-half", "set both or none"),
        ("ANYBUCKET__ACCESS__KEYS_FILE", "keys.toml", "keys.toml: line 1: missing field"),
        ("ANYBUCKET__ADMIN__TOKEN__ENV", "NO_SUCH_VARIABLE", "the environment variable NO_SUCH_VARIABLE is not set"),
        ("RUST_LOG", "a=b=c", "RUST_LOG"),
    ];
    for (name, value, told) in cases {
        for args in [&["serve"][..], &["check-config"], &["check-config", "--json"]] {
            let (code, said) = ended(anybucket(dir.path()).args(args).env(name, value));
            assert_eq!(code, Some(2), "{name} {args:?}: {said}");
            assert!(said.contains(told) && !said.contains(": good"), "{name} {args:?}: {said}");
        }
    }
}

#[test]
fn check_config_tells_what_the_store_does() {
    let dir = TempDir::new().unwrap();
    let (code, said) = run(dir.path(), &["check-config"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("store main fs: answers") && said.contains("native"), "{said}");
    let (code, said) = run(dir.path(), &["check-config", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["stores"][0]["answers"].as_bool()), (Some(0), Some(true)), "{said}");
    assert!(!dir.path().join("anybucket-data/keys.toml").exists(), "a check makes no keys");
}

#[test]
fn check_config_ends_with_1_where_a_store_cannot_be_used() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (code, said) = run(dir.path(), &["check-config", "--set", "backend.main.path=file/objects"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("store main"), "{said}");
}

#[test]
fn check_config_leaves_a_store_to_the_process_that_serves_it() {
    let dir = TempDir::new().unwrap();
    let (serving, _) = Serving::start(dir.path(), &[]);
    let (code, said) = run(dir.path(), &["check-config"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("process {} serves it", serving.child.id())), "{said}");
}
