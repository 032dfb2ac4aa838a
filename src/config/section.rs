//! Reads a section of the settings key by key, so that nothing in it goes unread and every fault is told at once.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::value::Setting;

/// A setting that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Such as `s3.listen` or `route[0].buckets`.
    pub path: String,
    /// The environment variable or flag that gave it; `None` is the file.
    pub origin: Option<String>,
    /// What was found, what is allowed, what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)?;
        self.origin.as_ref().map_or(Ok(()), |origin| write!(f, " (from {origin})"))
    }
}

/// What reading the sections brought to light.
#[derive(Debug, Default)]
pub struct Report {
    pub problems: Vec<Problem>,
    /// Every setting that was asked for: what there is to set.
    pub known: Vec<String>,
    /// Path → the variable or flag that gave its value.
    pub overridden: BTreeMap<String, String>,
}

/// One table of the settings while it is read.
pub struct Section<'a> {
    path: String,
    /// Keys that nobody asked for yet.
    rest: Table,
    known: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    /// Reads the whole of `table`; what `read` does not ask for is refused.
    pub fn read<T>(path: String, table: Table, report: &'a mut Report, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let mut section = Section { path, rest: table, known: Vec::new(), report };
        let value = read(&mut section);
        section.refuse_rest();
        value
    }

    /// The value of `key`, or `default` where it is not set or wrong.
    pub fn value<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        let path = self.path_of(key);
        self.report.known.push(path);
        self.optional(key).unwrap_or(default)
    }

    /// The value of `key`, where it is set: a setting without a default.
    pub fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let path = self.path_of(key);
        let found = self.take(key)?;
        let value = T::read(&found).or_else(|| self.read_text(&path, &found));
        if value.is_none() {
            self.refuse(key, format!("found {}; allowed: {}", T::show(&found), T::ALLOWED));
        }
        value
    }

    /// The value of `key`, which must be set to `what`.
    pub fn required<T: Setting>(&mut self, key: &'static str, what: &str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.refuse(key, format!("is missing: {what}; allowed: {}", T::ALLOWED));
            return None;
        }
        self.optional(key)
    }

    /// The section `key`, empty where it is not there.
    pub fn within<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                let path = self.path_of(key);
                self.refuse(key, format!("found {}; a section [{path}] is expected", kind_of(&other)));
                Table::new()
            }
        };
        Section::read(self.path_of(key), table, self.report, read)
    }

    /// The section `key`, where it is there.
    pub fn optional_within<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        if self.has(key) {
            return Some(self.within(key, read));
        }
        self.known.push(key);
        None
    }

    /// The sections `[key.NAME]`, by name.
    pub fn named<T>(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Section<'_>) -> T) -> Vec<(String, T)> {
        self.within(key, |all| {
            let mut values = Vec::new();
            for (name, table) in std::mem::take(&mut all.rest) {
                let path = all.path_of(&name);
                if let Value::Table(table) = table {
                    let value = Section::read(path, table, all.report, |section| read(&name, section));
                    values.push((name, value));
                } else {
                    all.refuse(&name, format!("found {}; a section [{path}] is expected", kind_of(&table)));
                }
            }
            values
        })
    }

    /// The sections `[[key]]`, in order; `None` where there are none.
    pub fn list<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Option<Vec<T>> {
        let found = self.take(key)?;
        let tables = match found.clone().try_into::<Vec<Table>>() {
            Ok(tables) => tables,
            Err(_) => {
                self.refuse(key, format!("found {}; sections [[{key}]] are expected", kind_of(&found)));
                return None;
            }
        };
        let path = self.path_of(key);
        let read_one = |(at, table)| Section::read(format!("{path}[{at}]"), table, self.report, &mut read);
        Some(tables.into_iter().enumerate().map(read_one).collect())
    }

    /// Passes over `key` where it says `default`, for a key that means nothing beside the others.
    pub fn pass_over<T: Setting + PartialEq>(&mut self, key: &str, default: &T) {
        if self.rest.get(key).and_then(T::read).as_ref() == Some(default) {
            self.rest.remove(key);
        }
    }

    /// A key that a later version knows: refused rather than ignored.
    pub fn not_yet(&mut self, key: &'static str) {
        if self.rest.remove(key).is_some() {
            self.refuse(key, format!("{NOT_YET}; remove it"));
        }
    }

    /// Complains about the value of `key`.
    pub fn refuse(&mut self, key: &str, text: String) {
        let path = self.path_of(key);
        let origin = self.report.overridden.get(&path).cloned();
        self.report.problems.push(Problem { path, origin, text });
    }

    /// Whether `key` is set to true.
    pub fn is_true(&self, key: &str) -> bool {
        self.rest.get(key).and_then(Value::as_bool) == Some(true)
    }

    /// Whether `key` is set.
    pub fn has(&self, key: &str) -> bool {
        self.rest.contains_key(key)
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.rest.remove(key)
    }

    /// A variable or flag gives text, which may stand for a number, a list or a table.
    fn read_text<T: Setting>(&self, path: &str, found: &Value) -> Option<T> {
        let text = found.as_str().filter(|_| self.report.overridden.contains_key(path))?;
        let mut parsed = format!("value = {text}").parse::<Table>().ok()?;
        T::read(&parsed.remove("value")?)
    }

    fn refuse_rest(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        known.sort_unstable();
        known.dedup();
        for key in std::mem::take(&mut self.rest).keys() {
            let meant = nearest(key, &known).map(|key| format!(" did you mean `{key}`?")).unwrap_or_default();
            self.refuse(key, format!("unknown key;{meant} allowed here: {}", known.join(", ")));
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// How settings of later stages are refused.
pub const NOT_YET: &str = "not built yet in this version";

/// What stands there, without showing it.
pub fn kind_of(value: &Value) -> String {
    let article = if matches!(value, Value::Integer(_) | Value::Array(_)) { "an" } else { "a" };
    format!("{article} {}", value.type_str())
}

/// The key that was probably meant.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let (distance, best) = known.iter().map(|known| (distance(key, known), *known)).min()?;
    (distance <= 2.min(best.len() / 2)).then_some(best)
}

/// Levenshtein's: insertions, deletions and replacements that turn one into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("listen", "listen", 0), ("listn", "listen", 1), ("", "abc", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), edits, "{from} → {to}");
        }
    }

    #[test]
    fn a_far_key_is_no_suggestion() {
        assert_eq!(nearest("listn", &["region", "listen"]), Some("listen"));
        assert_eq!(nearest("bananas", &["region", "listen"]), None);
    }
}
