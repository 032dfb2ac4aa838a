//! Making the file of a new store. The engine cannot open a file whose making a crash cut short, so a new store is made
//! in memory, written under another name, and takes its own name when it is whole and durable. Whatever else lies under
//! its own name is then damage, and refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::{Builder, StorageBackend};

use super::migrate::{Refused, make};

/// Why a store could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateError {
    #[error("another process is making it")]
    InUse,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Engine(#[from] ::redb::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Makes the file, unless it is there.
pub(super) fn create(path: &Path, now_s: u32) -> Result<(), CreateError> {
    if path.try_exists()? {
        return Ok(());
    }
    let unfinished = unfinished(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&unfinished)?;
    // Where the file system knows no locks the engine goes without them, too.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(CreateError::InUse);
    }
    // Whoever held the lock before us has perhaps finished: what we opened is then the store itself.
    if path.try_exists()? {
        return Ok(());
    }
    file.set_len(0)?;
    file.write_all(&image(now_s)?)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The name of a store while it is made.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The bytes of a new store that was closed properly.
fn image(now_s: u32) -> Result<Vec<u8>, CreateError> {
    let memory = Memory::default();
    let db = Builder::new().create_with_backend(memory.clone()).map_err(::redb::Error::from)?;
    make(&db, now_s)?;
    drop(db);
    Ok(std::mem::take(&mut memory.lock()))
}

/// A storage whose bytes can be taken out again.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("no code panics while it holds the memory")
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.lock();
        out.copy_from_slice(bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = offset as usize;
        let mut bytes = self.lock();
        let place = bytes.get_mut(start..start + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{OpenError, Options, Status};

    fn options(folder: &tempfile::TempDir) -> Options {
        Options { path: Some(folder.path().join("status.redb")), now_s: 7, ..Options::default() }
    }

    #[test]
    fn what_a_crash_left_of_a_store_being_made_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let unfinished = folder.path().join("status.redb.new");
        std::fs::write(&unfinished, vec![0; 1 << 20]).expect("written");
        let facts = Status::open(options(&folder)).expect("it is made again").facts();
        assert_eq!((facts.start, facts.established), (1, crate::model::Incarnation(0)));
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_store_that_another_process_is_making_is_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = File::create(folder.path().join("status.redb.new")).expect("a file");
        other.lock().expect("locked");
        assert!(matches!(Status::open(options(&folder)), Err(OpenError::InUse { .. })));
    }

    #[test]
    fn a_store_that_lost_its_beginning_is_refused_and_not_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("status.redb"), vec![0; 1 << 20]).expect("written");
        assert!(matches!(Status::open(options(&folder)), Err(OpenError::Engine { .. })));
    }
}
