//! What the compiler does not check of the house rules: who leans on whom, what is used where, how long things are.
//!
//! It reads the sources as text and relies on rustfmt: a block ends with the first `}` under its first line's indent.
//! `cargo test tidy -- --nocapture` prints the longest functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A function may be longer if the line above it says `// long: ` and why.
const FUNCTION_LINES_MAX: usize = 70;
const EXCUSE: &str = "// long: ";
/// A longer file probably holds a second idea.
const FILE_LINES_LISTED: usize = 400;
const FILE_LINES_MAX: usize = 600;

/// Rooms by floor, from the ground up: a room leans on lower floors only. `tasks` and `telemetry` stand beside.
const FLOORS: [&[&str]; 13] = [
    &["model"],
    &["clock"],
    &["backend", "status"],
    &["peer"],
    &["site"],
    &["journal"],
    &["replicate"],
    &["events"],
    &["reconcile"],
    &["s3", "feed", "admin"],
    &["config"],
    &["app"],
    &["cli"],
];
/// Everybody may use these; they use nothing but values.
const BESIDE: [&str; 4] = ["planted", "tasks", "telemetry", "tls"];

/// A source file without its tests.
struct Source {
    /// Under `src`.
    path: PathBuf,
    /// Line number and text, tests left out.
    code: Vec<(usize, String)>,
}

/// A function and its length in lines.
struct Function {
    place: String,
    lines: usize,
    excused: bool,
}

#[test]
fn every_room_leans_downward_only() {
    let mut faults = Vec::new();
    for source in sources() {
        let room = source.room();
        for (number, line) in &source.code {
            for used in rooms_used(line) {
                if !may_use(&room, &used) {
                    faults.push(format!("{}: {room} must not use {used}: {}", source.place(*number), line.trim()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "see the ladder in ARCHITECTURE.md\n{}", faults.join("\n"));
}

#[test]
fn every_room_has_a_floor() {
    let rooms: BTreeSet<String> = sources().iter().map(Source::room).collect();
    for room in rooms.iter().filter(|room| !["lib", "main"].contains(&room.as_str())) {
        assert!(floor(room).is_some() || BESIDE.contains(&room.as_str()), "{room} is in no row of FLOORS");
    }
}

#[test]
fn only_the_clock_reads_the_wall() {
    forbid(&["SystemTime", "UNIX_EPOCH"], "clock", "pass a Clock, a WallClock or milliseconds in");
}

#[test]
fn only_the_s3_face_speaks_its_error_codes() {
    forbid(&["S3ErrorCode", "s3_error!"], "s3/error.rs", "return the module's own error, which s3/error.rs translates");
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    forbid(&[".unwrap()", ".unwrap_err()"], "nowhere", "return an error, or expect() with why it cannot fail");
}

#[test]
fn functions_fit_a_screen() {
    let mut functions: Vec<Function> = sources().iter().flat_map(functions).collect();
    functions.sort_by_key(|function| std::cmp::Reverse(function.lines));
    println!("the longest functions:");
    for function in functions.iter().take(10) {
        println!("{:>4} lines  {}", function.lines, function.place);
    }
    let too_long = functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX && !function.excused);
    let too_long: Vec<_> = too_long.map(|function| format!("{} has {} lines", function.place, function.lines)).collect();
    assert!(too_long.is_empty(), "split them, or say `{EXCUSE}why` on the line above\n{}", too_long.join("\n"));
}

#[test]
fn files_hold_one_idea() {
    let mut too_long = Vec::new();
    for source in sources() {
        let lines = source.code.len();
        if lines > FILE_LINES_LISTED {
            println!("{lines:>4} lines  {}", source.path.display());
        }
        if lines > FILE_LINES_MAX {
            too_long.push(format!("{} has {lines} lines", source.path.display()));
        }
    }
    assert!(too_long.is_empty(), "look for the second idea in\n{}", too_long.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_silent = |source: &Source| !source.code.first().is_some_and(|(_, line)| line.starts_with("//! "));
    let silent: Vec<_> = sources().into_iter().filter(is_silent).map(|source| source.path).collect();
    assert!(silent.is_empty(), "begin them with `//! `: {silent:?}");
}

impl Source {
    /// The module under the crate's root that the file belongs to.
    fn room(&self) -> String {
        let first = self.path.components().next().expect("a path under src has a part");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    fn place(&self, number: usize) -> String {
        format!("src/{}:{number}", self.path.display())
    }
}

/// Fails where one of `words` stands in code outside `home`.
fn forbid(words: &[&str], home: &str, instead: &str) {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with(home)) {
        for (number, line) in &source.code {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                faults.push(format!("{}: {}", source.place(*number), line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{words:?} outside {home}: {instead}\n{}", faults.join("\n"));
}

fn may_use(room: &str, used: &str) -> bool {
    if room == used || ["lib", "main"].contains(&room) {
        return true;
    }
    if BESIDE.contains(&room) {
        return used == "model";
    }
    BESIDE.contains(&used) || floor(used).is_none() || floor(used) < floor(room)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// Rooms that a line names after `crate::`, be it one or several in braces.
fn rooms_used(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let first_word = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let named = |path: &str| match path.strip_prefix('{') {
        Some(list) => list.split(',').map(first_word).collect(),
        None => vec![first_word(path)],
    };
    code.split("crate::").skip(1).flat_map(named).collect()
}

fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, (number, line)) in source.code.iter().enumerate() {
        let header = line.trim_start();
        if is_function(header) {
            let name = header.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next()).unwrap_or_default();
            let place = format!("{} {name}", source.place(*number));
            found.push(Function { place, lines: function_lines(&source.code[at..]), excused: is_excused(&source.code[..at]) });
        }
    }
    found
}

/// Lines of the function that begins `code`, or of its declaration.
fn function_lines(code: &[(usize, String)]) -> usize {
    let ends_header = |(_, line): &(usize, String)| line.ends_with(['{', ';', '}']);
    let header = code.iter().position(ends_header).map_or(code.len(), |at| at + 1);
    if !code[header - 1].1.ends_with('{') {
        return header;
    }
    let end = format!("{}}}", " ".repeat(indent(&code[0].1)));
    code.iter().position(|(_, line)| *line == end).map_or(code.len(), |at| at + 1)
}

/// Whether the comments and attributes that end `above` give a reason for the length of what follows.
fn is_excused(above: &[(usize, String)]) -> bool {
    let lines = above.iter().rev().map(|(_, line)| line.trim_start());
    lines.take_while(|line| line.starts_with("//") || line.starts_with("#[")).any(|line| line.starts_with(EXCUSE))
}

fn is_function(line: &str) -> bool {
    let rest = line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
    let qualifiers = ["const ", "async ", "unsafe "];
    let rest = qualifiers.iter().fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    rest.starts_with("fn ")
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn sources() -> Vec<Source> {
    let root = root();
    let tests = test_modules(&root);
    let mut sources = Vec::new();
    for path in files(&root) {
        let module = path.with_extension("");
        if tests.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let code = code_of(&read(&path));
        sources.push(Source { path: path.strip_prefix(&root).expect("it was found under the root").into(), code });
    }
    sources
}

/// The lines of a file, without what is compiled for tests only.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<(usize, String)> = (1..).zip(text.lines().map(ToOwned::to_owned)).collect();
    let mut code = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].1.trim_start().starts_with("#[cfg(test)]") {
            at += 1 + function_lines(&lines[at + 1..]);
        } else {
            code.push(lines[at].clone());
            at += 1;
        }
    }
    code
}

/// Modules that are compiled for tests only, as the paths of their files and folders without `.rs`.
fn test_modules(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in files(root) {
        let is_root = ["mod", "lib", "main"].iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name));
        let inside = if is_root { path.parent().expect("a file has a directory").into() } else { path.with_extension("") };
        let text = read(&path);
        if text.contains("\n#![cfg(test)]") {
            found.push(inside.clone());
        }
        let after_cfg = text.lines().zip(text.lines().skip(1)).filter(|(line, _)| *line == "#[cfg(test)]");
        let modules = after_cfg.filter_map(|(_, line)| line.strip_suffix(';')?.split("mod ").nth(1));
        found.extend(modules.map(|name| inside.join(name)));
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

mod the_checks_themselves {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "site/put.rs".into(), code: code_of(text) }
    }

    #[test]
    fn find_what_a_line_uses() {
        assert_eq!(rooms_used("use crate::site::{Site, crate_};"), ["site"]);
        assert_eq!(rooms_used("use crate::{app, telemetry::Metrics};"), ["app", "telemetry"]);
        assert_eq!(rooms_used("    crate::model::hex(&crate::clock::now())"), ["model", "clock"]);
        assert!(rooms_used("// see crate::app").is_empty());
    }

    #[test]
    fn know_up_from_down() {
        for (room, used) in
            [("site", "status"), ("site", "tasks"), ("s3", "model"), ("cli", "app"), ("main", "cli"), ("site", "site")]
        {
            assert!(may_use(room, used), "{room} → {used}");
        }
        for (room, used) in [("status", "site"), ("status", "backend"), ("model", "clock"), ("s3", "admin"), ("tasks", "site")] {
            assert!(!may_use(room, used), "{room} → {used}");
        }
    }

    #[test]
    fn measure_functions_and_read_excuses() {
        let text = "    // long: a table\n    #[x]\n    pub(super) async fn one(\n        a: u8,\n    ) -> u8\n    where\n    {\n        a\n    }\n\nfn two() {}\n\n    fn declared(\n        &self,\n    );\n";
        let found: Vec<_> = functions(&source(text)).into_iter().map(|found| (found.lines, found.excused)).collect();
        assert_eq!(found, [(7, true), (1, false), (3, false)]);
    }

    #[test]
    fn leave_tests_out() {
        let text = "fn kept() {\n}\n#[cfg(test)]\nmod tests {\n    fn left_out() {\n    }\n}\n#[cfg(test)]\nmod other;\nfn kept_too() {}\n";
        let lines: Vec<_> = code_of(text).into_iter().map(|(number, _)| number).collect();
        assert_eq!(lines, [1, 2, 10]);
    }
}
