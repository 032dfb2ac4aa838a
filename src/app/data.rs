//! The data directory: made on first start, owned by one process, closed to others.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

use crate::config::{self, Secret};
use crate::model::hex;

/// Holds the number of the process that locks it.
const LOCK: &str = "lock";

/// The right to a data directory, held as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    /// Locked; the kernel gives it up with the process, however that ends.
    _lock: File,
}

/// Makes the directory, mode 0700, where it is not there.
pub fn make_private_dir(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the directory {}", path.display()))
}

impl DataDir {
    /// Takes the directory for this process, or says which one has it.
    pub fn own(path: &Path) -> Result<Self> {
        make_private_dir(path)?;
        let lock_path = path.join(LOCK);
        let shown = || format!("cannot lock {}", lock_path.display());
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&lock_path).with_context(shown)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(in_use(path, &owner_of(&mut lock))),
            Err(err) => return Err(err).with_context(shown),
        }
        // For the message of whoever comes second; nothing else reads it.
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(shown)?;
        Ok(Self { _lock: lock })
    }
}

/// The process that owns the directory now, in words; `None` where nobody does.
pub fn owner(path: &Path) -> Option<String> {
    let mut lock = File::open(path.join(LOCK)).ok()?;
    let free = flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
    (!free).then(|| owner_of(&mut lock))
}

fn owner_of(lock: &mut File) -> String {
    let mut owner = String::new();
    match lock.read_to_string(&mut owner) {
        Ok(_) if !owner.trim().is_empty() => format!("process {}", owner.trim()),
        _ => "another process".into(),
    }
}

fn in_use(path: &Path, owner: &str) -> String {
    let path = path.display();
    format!("the data directory {path} is in use by {owner}: stop that one, or give this one another `data` (--data DIR)")
}

/// The admin token. A file that is not there is made with a new one, mode 0600.
pub fn admin_token(source: &Secret) -> Result<String> {
    if let Secret::File(path) = source {
        make_token(path).with_context(|| format!("cannot make the admin token {}", path.display()))?;
        warn_if_readable(path);
    }
    read_token(source)
}

/// Whether [`admin_token`] would find a fault. Makes nothing: a file that is not there has no fault.
pub fn check_admin_token(source: &Secret) -> Result<()> {
    match source {
        Secret::File(path) if !path.exists() => Ok(()),
        source => read_token(source).map(drop),
    }
}

fn read_token(source: &Secret) -> Result<String> {
    let refused = |err: config::SecretError| config::Error::Beside { setting: "admin.token".into(), reason: err.to_string() };
    Ok(source.resolve().map_err(refused)?)
}

fn make_token(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_private_dir(parent)?;
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    // Written aside and linked: never half a token, and never over one that another process made meanwhile.
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(format!("{}\n", hex(&bytes)).as_bytes()).and_then(|()| file.sync_all())?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(err.into()),
        _ => info!(path = %path.display(), "made an admin token"),
    }
    Ok(())
}

fn warn_if_readable(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        warn!(path = %path.display(), mode = format!("{mode:o}"), "others may read the admin token: chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::own(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let said = DataDir::own(&path).unwrap_err().to_string();
        assert!(said.contains(&format!("in use by process {}", std::process::id())) && said.contains("--data"), "{said}");
        assert_eq!(owner(&path), Some(format!("process {}", std::process::id())));
        drop(first);
        assert_eq!(owner(&path), None);
        DataDir::own(&path).unwrap();
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/token");
        let source = Secret::File(path.clone());
        let token = admin_token(&source).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(admin_token(&source).unwrap(), token);
    }

    #[test]
    fn a_token_that_cannot_be_read_is_named() {
        let err = admin_token(&Secret::Env("ANYBUCKET_TEST_NO_SUCH_VARIABLE".into())).unwrap_err();
        assert!(format!("{err:#}").contains("admin.token: the environment variable"), "{err:#}");
    }
}
