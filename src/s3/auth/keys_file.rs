//! `keys.toml` itself: readable by its owner only, and written by people as much as by commands. A command changes the one
//! key it is about and leaves everything else, comments too, as it stands.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::keys::{Key, KeysError};

/// How a key begins, in the way everybody writes it.
const HEADER: &str = "[[key]]";

/// The file as it was read, or as it is to be.
#[derive(Debug)]
pub struct KeysFile {
    pub keys: Vec<Key>,
    /// What was read.
    text: String,
}

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    key: Vec<Key>,
}

pub fn load(path: &Path) -> Result<KeysFile, KeysError> {
    let io = |source| KeysError::Io { path: path.into(), source };
    let text = fs::read_to_string(path).map_err(io)?;
    let mode = fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the access keys: chmod 600 it");
    }
    // The parser's own message quotes the line, which may be a secret.
    let document: Document =
        toml::from_str(&text).map_err(|err| KeysError::Parse { path: path.into(), reason: without_source(&err, &text) })?;
    Ok(KeysFile { keys: document.key, text })
}

fn without_source(err: &toml::de::Error, text: &str) -> String {
    let line = err.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
    format!("line {line}: {}", err.message())
}

/// These keys, as a file that nobody wrote by hand.
pub fn text_of(path: &Path, keys: Vec<Key>) -> Result<String, KeysError> {
    let failed = |err: toml::ser::Error| KeysError::Parse { path: path.into(), reason: err.to_string() };
    toml::to_string(&Document { key: keys }).map_err(failed)
}

/// The file with its last key, which is new, at the end.
pub fn with_last(path: &Path, file: &KeysFile) -> Result<String, KeysError> {
    let last = text_of(path, file.keys.last().cloned().into_iter().collect())?;
    let before = file.text.trim_end();
    let gap = if before.is_empty() { "" } else { "\n\n" };
    whole(path, format!("{before}{gap}{last}"), file)
}

/// The file without the key that was the one at `at`.
pub fn without(path: &Path, file: &KeysFile, at: usize) -> Result<String, KeysError> {
    let mut kept = String::new();
    let mut blocks = 0;
    for line in file.text.split_inclusive('\n') {
        blocks += usize::from(line.trim_start().starts_with(HEADER));
        if blocks != at + 1 {
            kept.push_str(line);
        }
    }
    whole(path, kept, file)
}

/// The text, where it says what it should; where keys were written in another way than expected, all of them anew.
fn whole(path: &Path, text: String, file: &KeysFile) -> Result<String, KeysError> {
    let says = toml::from_str::<Document>(&text).map(|document| document.key);
    if says.is_ok_and(|keys| keys == file.keys) { Ok(text) } else { text_of(path, file.keys.clone()) }
}

/// Written aside, synced and renamed: never half a file, never readable by others.
pub fn save(path: &Path, text: &str) -> Result<(), KeysError> {
    let io = |source| KeysError::Io { path: path.into(), source };
    let aside = path.with_extension("toml.new");
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io)?;
    }
    match fs::remove_file(&aside) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(io(err)),
        _ => {}
    }
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(io)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(io)?;
    fs::rename(&aside, path).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_written_in_another_way_are_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let one = "{ access_key = \"one\", secret_key = \"12345678\", owner = \"team\" }";
        fs::write(&path, format!("key = [{one}]\n")).unwrap();
        let mut file = load(&path).unwrap();
        file.keys.push(Key::with_every_right("two", "12345678", "team"));
        let text = with_last(&path, &file).unwrap();
        assert_eq!(toml::from_str::<Document>(&text).unwrap().key, file.keys);
        file.keys.remove(0);
        let text = without(&path, &KeysFile { keys: file.keys.clone(), text }, 0).unwrap();
        assert_eq!(toml::from_str::<Document>(&text).unwrap().key, file.keys);
    }
}
