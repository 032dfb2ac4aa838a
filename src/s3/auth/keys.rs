//! Access keys: `keys.toml`, readable by its owner only, and the snapshot that requests look into.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::rights::Grant;

/// A secret access key. Has no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for signatures, and for the person it is made for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// An access key, whose it is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub access_key: String,
    pub secret_key: Secret,
    /// Who owns the buckets and uploads that this key makes.
    pub owner: String,
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// The file as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Key>,
}

/// The keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", .path.display())]
    Parse { path: PathBuf, reason: String },
    #[error("access key {0:?}: {1}")]
    Key(String, &'static str),
    #[error("no random numbers: {0}")]
    Random(String),
}

type ByAccessKey = BTreeMap<String, Arc<Key>>;

/// The keys of a site; clones share them. Changes count from the next request on.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The file, read again on reload; none in tests.
    path: Option<PathBuf>,
    /// Keys that are not in the file.
    fixed: Vec<Key>,
    keys: RwLock<Arc<ByAccessKey>>,
}

impl Key {
    /// A new key with every right.
    pub fn generate(owner: &str) -> Result<Self, KeysError> {
        let access_key = format!("AB{}", random_text(18, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?);
        let secret = random_text(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")?;
        Ok(Self::with_every_right(&access_key, &secret, owner))
    }

    /// A key that is given, as by the environment.
    pub fn with_every_right(access_key: &str, secret_key: &str, owner: &str) -> Self {
        let grants = vec![Grant::everything()];
        Self { access_key: access_key.into(), secret_key: Secret::new(secret_key), owner: owner.into(), grants }
    }

    /// Whether requests can be signed with it.
    pub fn check(&self) -> Result<(), KeysError> {
        let fail = |reason| Err(KeysError::Key(self.access_key.clone(), reason));
        let legal = |c: char| c.is_ascii_graphic() && !"/,=\"".contains(c);
        if self.access_key.len() < 3 || self.access_key.len() > 128 || !self.access_key.chars().all(legal) {
            return fail("must have 3 to 128 printable ASCII characters without / , = and quotes");
        }
        if self.secret_key.0.len() < 8 {
            return fail("its secret key must have at least 8 characters");
        }
        if self.owner.is_empty() {
            return fail("must have an owner");
        }
        Ok(())
    }
}

/// `len` characters of a power-of-two alphabet of at most 64.
fn random_text(len: usize, alphabet: &[u8]) -> Result<String, KeysError> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).map_err(|err| KeysError::Random(err.to_string()))?;
    Ok(bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect())
}

impl Keyring {
    /// Keys in memory only.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeysError> {
        Self::build(None, keys)
    }

    /// Opens the file, making it with one generated key if there is none. `fixed` are keys from elsewhere (the
    /// environment): they win over the file's and are never written. Returns the key that was made.
    pub fn open(path: &Path, fixed: Vec<Key>, owner: &str) -> Result<(Self, Option<Key>), KeysError> {
        let made = match fs::symlink_metadata(path) {
            Ok(_) => None,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let key = Key::generate(owner)?;
                save(path, &File { key: vec![key.clone()] })?;
                Some(key)
            }
            Err(source) => return Err(KeysError::Io { path: path.into(), source }),
        };
        Ok((Self::build(Some(path.into()), fixed)?, made))
    }

    /// Whether [`Keyring::open`] would find a fault in the file. None is made: a file that is not there has no fault.
    pub fn check(path: &Path) -> Result<(), KeysError> {
        match fs::symlink_metadata(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(KeysError::Io { path: path.into(), source }),
            Ok(_) => Self::build(Some(path.into()), Vec::new()).map(drop),
        }
    }

    fn build(path: Option<PathBuf>, fixed: Vec<Key>) -> Result<Self, KeysError> {
        let shared = Shared { path, fixed, keys: RwLock::default() };
        let ring = Self(Arc::new(shared));
        ring.reload()?;
        Ok(ring)
    }

    /// Reads the file again. On an error the keys stay as they were.
    pub fn reload(&self) -> Result<(), KeysError> {
        let file = self.0.path.as_deref().map_or_else(|| Ok(File::default()), load)?;
        self.publish(file)
    }

    fn publish(&self, file: File) -> Result<(), KeysError> {
        let mut keys = ByAccessKey::new();
        for key in file.key {
            key.check()?;
            let name = key.access_key.clone();
            if keys.insert(name.clone(), Arc::new(key)).is_some() {
                return Err(KeysError::Key(name, "is there twice"));
            }
        }
        for key in &self.0.fixed {
            key.check()?;
            keys.insert(key.access_key.clone(), Arc::new(key.clone()));
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn snapshot(&self) -> Arc<ByAccessKey> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn find(&self, access_key: &str) -> Option<Arc<Key>> {
        self.snapshot().get(access_key).cloned()
    }

    /// All keys, by access key.
    pub fn list(&self) -> Vec<Arc<Key>> {
        self.snapshot().values().cloned().collect()
    }
}

fn load(path: &Path) -> Result<File, KeysError> {
    let io = |source| KeysError::Io { path: path.into(), source };
    let text = fs::read_to_string(path).map_err(io)?;
    let mode = fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the access keys: chmod 600 it");
    }
    // The parser's own message quotes the line, which may be a secret.
    toml::from_str(&text).map_err(|err| KeysError::Parse { path: path.into(), reason: without_source(&err, &text) })
}

fn without_source(err: &toml::de::Error, text: &str) -> String {
    let line = err.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
    format!("line {line}: {}", err.message())
}

/// Written aside, synced and renamed: never half a file, never readable by others.
fn save(path: &Path, file: &File) -> Result<(), KeysError> {
    let io = |source| KeysError::Io { path: path.into(), source };
    let text = toml::to_string(file).map_err(|err| KeysError::Parse { path: path.into(), reason: err.to_string() })?;
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
    use super::super::rights::Right;
    use super::*;

    fn key(name: &str) -> Key {
        Key { access_key: name.into(), secret_key: Secret::new("secret-of-it"), owner: "me".into(), grants: Vec::new() }
    }

    #[test]
    fn the_first_start_makes_a_key_that_only_its_owner_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/keys.toml");
        let (ring, made) = Keyring::open(&path, Vec::new(), "admin").unwrap();
        let made = made.unwrap();
        assert_eq!(made.access_key.len(), 20);
        assert_eq!(made.secret_key.expose().len(), 40);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*ring.find(&made.access_key).unwrap(), made);
        let (again, none) = Keyring::open(&path, Vec::new(), "admin").unwrap();
        assert!(none.is_none() && again.find(&made.access_key).is_some());
    }

    #[test]
    fn a_key_from_elsewhere_wins_over_the_file_and_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let (ring, made) = Keyring::open(&path, vec![key("fixed")], "admin").unwrap();
        let made = made.unwrap();
        assert_eq!(*ring.find("fixed").unwrap(), key("fixed"));
        let again = Keyring::open(&path, vec![Key { owner: "other".into(), ..made.clone() }], "admin").unwrap().0;
        assert_eq!((again.list().len(), again.find(&made.access_key).unwrap().owner.as_str()), (1, "other"));
    }

    #[test]
    fn a_check_makes_no_file_and_finds_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        Keyring::check(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "[[key]]").unwrap();
        assert!(matches!(Keyring::check(&path), Err(KeysError::Parse { .. })));
    }

    #[test]
    fn a_file_edited_by_hand_is_read_on_reload_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let (ring, _) = Keyring::open(&path, Vec::new(), "admin").unwrap();
        let text = r#"
            [[key]]
            access_key = "reader"
            secret_key = "12345678"
            owner = "team"
            grants = [{ buckets = "logs-*", prefix = "a/", rights = ["READ", "DELETE"] }]
        "#;
        fs::write(&path, text).unwrap();
        ring.reload().unwrap();
        assert_eq!(ring.find("reader").unwrap().grants[0].rights, [Right::Read, Right::Delete]);
        fs::write(&path, "[[key]]\naccess_key = \"x\"\nsecret_key = \"hunter2hunter2\"\nonwer = \"y\"").unwrap();
        let told = ring.reload().unwrap_err().to_string();
        assert!(told.contains("line") && !told.contains("hunter2"), "{told}");
        assert!(ring.find("reader").is_some());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", key("abc")).contains("secret-of-it"));
    }

    #[test]
    fn keys_that_cannot_sign_are_refused() {
        assert!(Keyring::new(vec![key("a/b")]).is_err());
        assert!(Keyring::new(vec![Key { secret_key: Secret::new("short"), ..key("abc") }]).is_err());
    }
}
