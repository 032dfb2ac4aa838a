//! Secrets: written into the file, or better, named by an environment variable or a file. Never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::section::kind_of;
use super::value::Setting;

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Literal(String),
    /// The name of an environment variable.
    Env(String),
    /// A file whose content, without the line end, is the secret.
    File(PathBuf),
}

/// A secret that cannot be read. Shows where it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set or empty")]
    Env(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0} is empty")]
    Empty(PathBuf),
}

impl Secret {
    /// The secret itself.
    pub fn resolve(&self) -> Result<String, SecretError> {
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Env(name) => {
                std::env::var(name).ok().filter(|text| !text.is_empty()).ok_or_else(|| SecretError::Env(name.clone()))
            }
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretError::File { path: path.into(), source })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(SecretError::Empty(path.into())) } else { Ok(text.into()) }
}

impl Setting for Secret {
    const ALLOWED: &'static str = "a text, { env = \"NAME\" } or { file = \"PATH\" }";

    fn read(value: &Value) -> Option<Self> {
        if let Value::Table(table) = value {
            let (key, text) = table.iter().next().filter(|_| table.len() == 1)?;
            let text = String::read(text)?;
            return match key.as_str() {
                "env" => Some(Self::Env(text)),
                "file" => Some(Self::File(text.into())),
                _ => None,
            };
        }
        // A variable may hold `{ file = "…" }`: that is no literal.
        String::read(value).filter(|text| !text.starts_with('{')).map(Self::Literal)
    }

    fn show(found: &Value) -> String {
        kind_of(found)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("(secret)"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let literal = Value::from("hunter2");
        let secret = Secret::read(&literal).unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!Secret::show(&literal).contains("hunter2"));
        assert_eq!(secret.resolve().unwrap(), "hunter2");
    }

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(Secret::File(path.clone()).resolve().unwrap(), "hunter2");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::File(path).resolve(), Err(SecretError::Empty(_))));
    }

    #[test]
    fn what_is_missing_is_named() {
        let err = Secret::Env("ANYBUCKET_TEST_NO_SUCH_VARIABLE".into()).resolve().unwrap_err();
        assert!(err.to_string().contains("ANYBUCKET_TEST_NO_SUCH_VARIABLE"));
    }
}
