//! Access keys, and the snapshot of them that requests look into.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::expiry::Expiry;
use super::keys_file;
use super::rights::Grant;
use crate::clock::{SystemClock, WallClock};
use crate::s3::pace::Pace;

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
    /// From when on it is as if it were not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// How many requests a second it may make, where it is not what the settings say of every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second_max: Option<NonZeroU32>,
    /// How many bytes a second its bodies may have, both ways together; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second_max: Option<NonZeroU64>,
    #[serde(default)]
    pub grants: Vec<Grant>,
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
    #[error("there is an access key {0:?} already")]
    Taken(String),
    #[error("there is no access key {0:?}")]
    Absent(String),
    #[error("the access key {0:?} is in the environment of the process, not in the keys file: take it out there")]
    Fixed(String),
    #[error("the keys are in memory only")]
    NoFile,
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
    /// Tells which keys have expired.
    wall: Arc<dyn WallClock>,
    /// Held while the file is read or written, so that of two changes none is lost and the later one is published last.
    file: Mutex<()>,
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
        Self {
            access_key: access_key.into(),
            secret_key: Secret::new(secret_key),
            owner: owner.into(),
            expires: None,
            requests_per_second_max: None,
            bytes_per_second_max: None,
            grants,
        }
    }

    /// How fast it may go, where this is what every key may.
    pub fn pace(&self, all: Pace) -> Pace {
        Pace {
            requests_per_second_max: self.requests_per_second_max.map(NonZeroU32::get).or(all.requests_per_second_max),
            bytes_per_second_max: self.bytes_per_second_max.map(NonZeroU64::get).or(all.bytes_per_second_max),
        }
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
        self.grants.iter().find_map(Grant::fault).map_or(Ok(()), fail)
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
        Self::build(None, keys, Arc::new(SystemClock))
    }

    /// Opens the file, making it with one generated key if there is none. `fixed` are keys from elsewhere (the
    /// environment): they win over the file's and are never written. Returns the key that was made.
    pub fn open(path: &Path, fixed: Vec<Key>, owner: &str) -> Result<(Self, Option<Key>), KeysError> {
        let made = match fs::symlink_metadata(path) {
            Ok(_) => None,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let key = Key::generate(owner)?;
                keys_file::save(path, &keys_file::text_of(path, vec![key.clone()])?)?;
                Some(key)
            }
            Err(source) => return Err(KeysError::Io { path: path.into(), source }),
        };
        Ok((Self::build(Some(path.into()), fixed, Arc::new(SystemClock))?, made))
    }

    /// Whether [`Keyring::open`] would find a fault in the file. None is made: a file that is not there has no fault.
    pub fn check(path: &Path) -> Result<(), KeysError> {
        match fs::symlink_metadata(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(KeysError::Io { path: path.into(), source }),
            Ok(_) => Self::build(Some(path.into()), Vec::new(), Arc::new(SystemClock)).map(drop),
        }
    }

    fn build(path: Option<PathBuf>, fixed: Vec<Key>, wall: Arc<dyn WallClock>) -> Result<Self, KeysError> {
        let shared = Shared { path, fixed, wall, file: Mutex::default(), keys: RwLock::default() };
        let ring = Self(Arc::new(shared));
        ring.reload()?;
        Ok(ring)
    }

    /// Reads the file again, and tells whether it says something new. On an error the keys stay as they were.
    pub fn reload(&self) -> Result<bool, KeysError> {
        let _file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        let keys = self.0.path.as_deref().map_or_else(|| Ok(Vec::new()), |path| keys_file::load(path).map(|file| file.keys))?;
        self.publish(keys)?;
        Ok(*before != *self.snapshot())
    }

    /// Adds a key to the file, of which everything else stays as it was written.
    pub fn add(&self, key: Key) -> Result<(), KeysError> {
        key.check()?;
        let _file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.0.path.as_deref().ok_or(KeysError::NoFile)?;
        let mut file = keys_file::load(path)?;
        let is_taken = |other: &Key| other.access_key == key.access_key;
        if file.keys.iter().chain(&self.0.fixed).any(is_taken) {
            return Err(KeysError::Taken(key.access_key));
        }
        file.keys.push(key);
        let text = keys_file::with_last(path, &file)?;
        keys_file::save(path, &text)?;
        self.publish(file.keys)
    }

    /// Takes a key out of the file, of which everything else stays as it was written.
    pub fn remove(&self, access_key: &str) -> Result<(), KeysError> {
        let _file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.0.path.as_deref().ok_or(KeysError::NoFile)?;
        let mut file = keys_file::load(path)?;
        let Some(at) = file.keys.iter().position(|key| key.access_key == access_key) else {
            let is_fixed = self.is_fixed(access_key);
            let name = access_key.to_owned();
            return Err(if is_fixed { KeysError::Fixed(name) } else { KeysError::Absent(name) });
        };
        file.keys.remove(at);
        let text = keys_file::without(path, &file, at)?;
        keys_file::save(path, &text)?;
        self.publish(file.keys)
    }

    /// Whether the key comes from elsewhere than the file.
    pub fn is_fixed(&self, access_key: &str) -> bool {
        self.0.fixed.iter().any(|key| key.access_key == access_key)
    }

    fn publish(&self, all: Vec<Key>) -> Result<(), KeysError> {
        let mut keys = ByAccessKey::new();
        for key in all {
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

    /// The key that signs a request now. One that has expired is as unknown as any other; only the log says why.
    pub fn usable(&self, access_key: &str) -> Option<Arc<Key>> {
        let key = self.snapshot().get(access_key).cloned()?;
        if let Some(expires) = key.expires.filter(|expires| self.is_over(*expires)) {
            tracing::info!(access_key, %expires, "refused an access key that has expired");
            return None;
        }
        Some(key)
    }

    /// Whether somebody of this name has keys.
    pub fn has_owner(&self, owner: &str) -> bool {
        self.snapshot().values().any(|key| key.owner == owner)
    }

    /// Whether a key that ends then has ended.
    pub fn is_over(&self, expires: Expiry) -> bool {
        expires.is_over(self.0.wall.millis())
    }

    /// All keys, by access key.
    pub fn list(&self) -> Vec<Arc<Key>> {
        self.snapshot().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::rights::Right;
    use super::*;
    use crate::clock::ManualClock;

    fn key(name: &str) -> Key {
        Key { grants: Vec::new(), ..Key::with_every_right(name, "secret-of-it", "me") }
    }

    /// A ring over a file that holds this.
    fn over(text: &str) -> (Keyring, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, text).unwrap();
        (Keyring::open(&path, vec![key("fixed")], "admin").unwrap().0, dir)
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
        assert_eq!(*ring.usable(&made.access_key).unwrap(), made);
        let (again, none) = Keyring::open(&path, Vec::new(), "admin").unwrap();
        assert!(none.is_none() && again.usable(&made.access_key).is_some());
    }

    #[test]
    fn a_key_from_elsewhere_wins_over_the_file_and_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let (ring, made) = Keyring::open(&path, vec![key("fixed")], "admin").unwrap();
        let made = made.unwrap();
        assert_eq!(*ring.usable("fixed").unwrap(), key("fixed"));
        let again = Keyring::open(&path, vec![Key { owner: "other".into(), ..made.clone() }], "admin").unwrap().0;
        assert_eq!((again.list().len(), again.usable(&made.access_key).unwrap().owner.as_str()), (1, "other"));
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
        assert_eq!(ring.usable("reader").unwrap().grants[0].rights, [Right::Read, Right::Delete]);
        fs::write(&path, "[[key]]\naccess_key = \"x\"\nsecret_key = \"hunter2hunter2\"\nonwer = \"y\"").unwrap();
        let told = ring.reload().unwrap_err().to_string();
        assert!(told.contains("line") && !told.contains("hunter2"), "{told}");
        assert!(ring.usable("reader").is_some());
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

    #[test]
    fn an_expired_key_is_as_unknown_as_any_other() {
        let wall = Arc::new(ManualClock::at(999));
        let short = Key { expires: Some(Expiry::at(1_000)), ..key("short") };
        let ring = Keyring::build(None, vec![short, key("long")], wall.clone()).unwrap();
        assert!(ring.usable("short").is_some() && ring.usable("long").is_some());
        wall.set(1_000);
        assert!(ring.usable("short").is_none() && ring.usable("long").is_some());
        assert_eq!(ring.list().len(), 2);
    }

    #[test]
    fn keys_are_added_and_removed_and_the_rest_of_the_file_stays_as_a_person_wrote_it() {
        let text = "# ours\n[[key]]\naccess_key = \"one\"  # first\nsecret_key = \"12345678\"\nowner = \"team\"\n";
        let (ring, dir) = over(text);
        let path = dir.path().join("keys.toml");
        ring.add(key("two")).unwrap();
        ring.add(key("three")).unwrap();
        assert!(ring.usable("two").is_some());
        assert!(fs::read_to_string(&path).unwrap().starts_with(text));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(ring.add(key("two")), Err(KeysError::Taken(_))));
        assert!(matches!(ring.add(key("fixed")), Err(KeysError::Taken(_))));
        ring.remove("two").unwrap();
        assert!(ring.usable("two").is_none());
        assert!(matches!(ring.remove("two"), Err(KeysError::Absent(_))));
        assert!(matches!(ring.remove("fixed"), Err(KeysError::Fixed(_))));
        ring.remove("three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), text.trim_end());
        ring.remove("one").unwrap();
        assert_eq!(ring.list().len(), 1);
    }

    #[test]
    fn what_was_edited_meanwhile_is_not_overwritten_by_a_command() {
        let (ring, dir) = over("");
        let path = dir.path().join("keys.toml");
        fs::write(&path, "[[key]]\naccess_key = \"byhand\"\nsecret_key = \"12345678\"\nowner = \"team\"\n").unwrap();
        ring.add(key("two")).unwrap();
        assert!(ring.usable("byhand").is_some());
        fs::write(&path, "[[key").unwrap();
        assert!(matches!(ring.add(key("three")), Err(KeysError::Parse { .. })));
        assert!(ring.usable("byhand").is_some() && ring.usable("three").is_none());
    }
}
