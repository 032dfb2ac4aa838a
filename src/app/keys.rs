//! The access keys of a running site: from the keys file, which is read again when it changes, and from the environment.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;
use tracing::{info, warn};

use super::watch::Watch;
use crate::admin::{self, AddKey, AddedKey, KeyView, Refusal};
use crate::config::{self, Config};
use crate::s3::{Expiry, Grant, Key, Keyring, KeysError, Secret};
use crate::site::FIRST_OWNER;
use crate::tasks::Worker;

/// A key from the environment: for containers and tests.
const ACCESS_KEY: &str = "ANYBUCKET_ACCESS_KEY";
const SECRET_KEY: &str = "ANYBUCKET_SECRET_KEY";

/// The access keys.
#[derive(Clone, Debug)]
pub struct Keys {
    ring: Keyring,
    /// Where they are kept.
    file: PathBuf,
    /// The one to show to whoever starts the process.
    first: Option<FirstKey>,
}

/// A key for the first steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstKey {
    pub access_key: String,
    /// Whether its secret is in the environment rather than in the keys file.
    pub from_environment: bool,
}

impl Keys {
    /// Reads the keys file, which is made with a new key where it is not there, and the environment.
    pub fn open(config: &Config) -> Result<Self> {
        let fixed = key_of(variable(ACCESS_KEY), variable(SECRET_KEY))?;
        let path = &config.access.keys_file;
        let (ring, made) = Keyring::open(path, fixed.iter().cloned().collect(), FIRST_OWNER).map_err(unusable)?;
        if made.is_some() {
            info!(path = %path.display(), "made an access key");
        }
        let from_environment = fixed.is_some();
        let first = fixed.or(made).or_else(|| ring.list().first().map(|key| Key::clone(key)));
        let first = first.map(|key| FirstKey { access_key: key.access_key, from_environment });
        Ok(Self { ring, file: path.clone(), first })
    }

    /// Whether [`Keys::open`] would find a fault. Makes nothing.
    pub fn check(config: &Config) -> Result<()> {
        key_of(variable(ACCESS_KEY), variable(SECRET_KEY))?;
        Keyring::check(&config.access.keys_file).map_err(unusable)
    }

    /// A key for the first steps; none where a person emptied the file.
    pub fn first(&self) -> Option<&FirstKey> {
        self.first.as_ref()
    }

    /// What requests look into.
    pub fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// Reads the file again. A file with a fault changes nothing.
    pub fn reload(&self) -> Result<(), String> {
        let changed = self.ring.reload().map_err(|err| format!("the access keys stay as they were: {err}"))?;
        if changed {
            info!(keys = self.ring.list().len(), "read the access keys again");
        }
        Ok(())
    }

    /// Reads the file again whenever it changes.
    pub fn watch(&self) -> Box<dyn Worker> {
        let keys = self.clone();
        Box::new(Watch::new("keys", vec![self.file.clone()], move || keys.reload()))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file with a fault is a wrong setting, for a person to mend; a disk that fails is not.
fn unusable(err: KeysError) -> anyhow::Error {
    match err {
        KeysError::Parse { .. } | KeysError::Key(..) => refusal("access.keys_file", err.to_string()),
        other => anyhow::Error::new(other).context("cannot use the access keys (access.keys_file)"),
    }
}

fn refusal(setting: &str, reason: String) -> anyhow::Error {
    config::Error::Beside { setting: setting.into(), reason }.into()
}

fn key_of(access_key: Option<String>, secret_key: Option<String>) -> Result<Option<Key>> {
    match (access_key, secret_key) {
        (None, None) => Ok(None),
        (Some(access_key), Some(secret)) => {
            let key = Key::with_every_right(&access_key, &secret, FIRST_OWNER);
            key.check().map_err(|err| refusal("the environment", err.to_string()))?;
            Ok(Some(key))
        }
        _ => Err(refusal("the environment", format!("{ACCESS_KEY} and {SECRET_KEY} make a key together: set both or none"))),
    }
}

/// As commands see and change them.
impl admin::Keys for Keys {
    fn list(&self) -> Vec<KeyView> {
        self.ring.list().iter().map(|key| self.view(key)).collect()
    }

    fn add(&self, asked: AddKey) -> Result<AddedKey, Refusal> {
        let key = wanted(asked)?;
        self.ring.add(key.clone()).map_err(refused)?;
        info!(access_key = key.access_key, owner = key.owner, "added an access key");
        Ok(AddedKey { secret_key: key.secret_key.expose().into(), key: self.view(&key) })
    }

    fn remove(&self, access_key: &str) -> Result<(), Refusal> {
        self.ring.remove(access_key).map_err(refused)?;
        info!(access_key, "removed an access key");
        if self.ring.list().is_empty() {
            warn!("there is no access key any more");
        }
        Ok(())
    }
}

impl Keys {
    fn view(&self, key: &Key) -> KeyView {
        let grant = |grant: &Grant| serde_json::to_value(grant).expect("a grant has nothing that JSON lacks");
        KeyView {
            access_key: key.access_key.clone(),
            owner: key.owner.clone(),
            expires: key.expires.map(|expires| expires.to_string()),
            expired: key.expires.is_some_and(|expires| self.ring.is_over(expires)),
            from_environment: self.ring.is_fixed(&key.access_key),
            grants: key.grants.iter().map(grant).collect(),
        }
    }
}

/// The key that is asked for; what is not said is made.
fn wanted(asked: AddKey) -> Result<Key, Refusal> {
    let made = Key::generate(&asked.owner).map_err(refused)?;
    let grant = |value: Value| serde_json::from_value::<Grant>(value).map_err(|err| Refusal::Bad(format!("grants: {err}")));
    let expires = asked.expires.as_deref().map(str::parse::<Expiry>).transpose();
    Ok(Key {
        access_key: asked.access_key.unwrap_or(made.access_key),
        secret_key: asked.secret_key.map_or(made.secret_key, Secret::new),
        requests_per_second_max: None,
        bytes_per_second_max: None,
        owner: asked.owner,
        expires: expires.map_err(|err| Refusal::Bad(format!("expires: {err}")))?,
        grants: asked.grants.into_iter().map(grant).collect::<Result<_, _>>()?,
    })
}

fn refused(err: KeysError) -> Refusal {
    let text = err.to_string();
    match err {
        KeysError::Key(..) | KeysError::Fixed(_) => Refusal::Bad(text),
        KeysError::Taken(_) => Refusal::Taken(text),
        KeysError::Absent(_) => Refusal::NoSuchKey(text),
        KeysError::Io { .. } | KeysError::Parse { .. } | KeysError::Random(_) | KeysError::NoFile => Refusal::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_key_in_the_environment_is_refused() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(key_of(None, None).unwrap(), None);
        assert_eq!(key_of(text("ABC"), text("secret-of-it")).unwrap().unwrap().access_key, "ABC");
        for (access_key, secret) in [(text("A"), None), (None, text("s"))] {
            assert!(key_of(access_key, secret).unwrap_err().to_string().contains("set both or none"));
        }
    }
}
