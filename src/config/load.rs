//! Where settings come from: the file, then the environment, then flags; the later one wins.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::section::{Report, Section};
use super::{Config, Error};

/// Read where no file is named.
const DEFAULT_FILE: &str = "config.toml";
/// Names the file where no flag does.
const FILE_VARIABLE: &str = "ANYBUCKET_CONFIG";
/// Begins every variable that is a setting: `ANYBUCKET__S3__LISTEN`.
const PREFIX: &str = "ANYBUCKET__";

/// Everything settings are made from, taken from the process once, so that tests can make it up.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file to read; it must be there.
    pub file: Option<PathBuf>,
    /// Environment variables, of which only `ANYBUCKET__…` matter.
    pub env: Vec<(String, String)>,
    /// Flag, the path of its setting, and its value.
    pub flags: Vec<Flag>,
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, for error messages.
    pub name: String,
    /// Such as `s3.listen`.
    pub path: String,
    pub value: String,
}

impl Sources {
    /// `--config`, else `ANYBUCKET_CONFIG`, else `./config.toml` if it is there; and this process's environment.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let named = file.or_else(|| std::env::var_os(FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from));
        let file = named.or_else(|| Path::new(DEFAULT_FILE).is_file().then(|| DEFAULT_FILE.into()));
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        Self { file, env, flags }
    }

    /// What the settings are said to come from, in messages.
    pub fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "the settings (no file)".into(), |file| file.display().to_string())
    }

    /// Reads, merges and checks everything.
    pub fn load(&self) -> Result<Config, Error> {
        let mut report = Report::default();
        let table = self.merged(&mut report)?;
        let config = Section::read(String::new(), table, &mut report, Config::read);
        if report.problems.is_empty() {
            super::rules::check(&config, &mut report);
        }
        if report.problems.is_empty() { Ok(config) } else { Err(Error::Refused { name: self.name(), problems: report.problems }) }
    }

    /// The file with what the environment and the flags put over it.
    pub(super) fn merged(&self, report: &mut Report) -> Result<Table, Error> {
        let mut table = self.file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut variables: Vec<_> = self.env.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        for (name, value) in variables {
            let path = name[PREFIX.len()..].to_lowercase().replace("__", ".");
            put_over(&mut table, &path, value, &format!("the environment variable {name}"), report)?;
        }
        for flag in &self.flags {
            put_over(&mut table, &flag.path, &flag.value, &format!("the flag {}", flag.name), report)?;
        }
        Ok(table)
    }
}

fn read_file(path: &Path) -> Result<Table, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    text.parse().map_err(|err: toml::de::Error| syntax_error(path, &text, &err))
}

/// The line is named but not shown: it may hold a secret.
fn syntax_error(path: &Path, text: &str, err: &toml::de::Error) -> Error {
    let before = err.span().map_or("", |span| &text[..span.start.min(text.len())]);
    Error::Syntax { path: path.into(), line: before.matches('\n').count() + 1, reason: err.message().replace('\n', ", ") }
}

/// Sets `path` to the text `value`, which the reader of the setting interprets.
fn put_over(table: &mut Table, path: &str, value: &str, origin: &str, report: &mut Report) -> Result<(), Error> {
    let keys: Vec<&str> = path.split('.').collect();
    set(table, &keys, value.into()).ok_or_else(|| Error::Override { origin: origin.into(), path: path.into() })?;
    report.overridden.insert(shown(&keys), origin.into());
    Ok(())
}

/// `None` where the way to the setting leads through something that is no section.
fn set(table: &mut Table, keys: &[&str], value: Value) -> Option<()> {
    let (key, rest) = keys.split_first().filter(|(key, _)| !key.is_empty())?;
    let Some((next, after)) = rest.split_first() else {
        table.insert((*key).into(), value);
        return Some(());
    };
    if let Ok(at) = next.parse::<usize>() {
        let list = table.entry(*key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
        if at == list.len() {
            list.push(Value::Table(Table::new()));
        }
        return set(list.get_mut(at)?.as_table_mut()?, after, value);
    }
    let inner = table.entry(*key).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        // Over a literal secret, `…TOKEN__ENV` names a variable instead.
        *inner = Value::Table(Table::new());
    }
    set(inner.as_table_mut()?, rest, value)
}

/// A path as the reader of sections writes it: `route[0].buckets`.
fn shown(keys: &[&str]) -> String {
    let mut path = String::new();
    for key in keys {
        if key.parse::<usize>().is_ok() {
            path.push_str(&format!("[{key}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(key);
        }
    }
    path
}
