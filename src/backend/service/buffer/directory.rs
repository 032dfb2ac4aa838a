//! The directory of a buffer, known on both sides: it has a mark, and this site remembers which it was.
//!
//! A disk that is not mounted looks like an empty directory. Taken for one, acknowledged writes would count as lost.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ANCESTORS, Settings, files, holds_writes};
use crate::backend::{Error, Result};

/// The mark's name in the directory.
const MARK: &str = "mark";
/// What names of files end in that remember one.
const REMEMBERED: &str = "json";

/// What this site remembers of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// Absolute.
    path: PathBuf,
    /// What its mark says.
    mark: String,
}

/// Opens the directory of a buffer, made where there was none before. One that is not what it was is refused.
pub(super) fn open(settings: &Settings) -> Result<File> {
    let shown = |source| failed(&settings.path, source);
    let remembered = recall(&settings.remembered).map_err(|source| failed(&settings.remembered, source))?;
    let mark = read_mark(&settings.path).map_err(shown)?;
    match remembered {
        Some(known) if mark.as_ref() != Some(&known.mark) => known.refuse_what_waits(&settings.store, &settings.remembered)?,
        _ => {}
    }
    let dir = open_dir(&settings.path).map_err(shown)?;
    let mark = match mark {
        Some(mark) => mark,
        None => write_mark(&settings.path, &dir).map_err(shown)?,
    };
    let now = Remembered { path: std::path::absolute(&settings.path).map_err(shown)?, mark };
    now.write(&settings.remembered).map_err(|source| failed(&settings.remembered, source))?;
    Ok(dir)
}

/// Acknowledged writes are not forgotten with a setting: refuses buffers in the folder `remembered` that none of the stores
/// has by now, unless they are empty.
pub fn refuse_abandoned(remembered: &Path, stores: &[&str]) -> Result<()> {
    let found = match files(remembered) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|source| failed(remembered, source))?,
    };
    for file in found.iter().filter(|file| file.extension().is_some_and(|end| end == REMEMBERED)) {
        let store = file.file_stem().unwrap_or_default().to_string_lossy();
        let known = recall(file).map_err(|source| failed(file, source))?;
        if let Some(known) = known.filter(|_| !stores.contains(&&*store)) {
            known.refuse_what_waits(&store, file)?;
            fs::remove_file(file).map_err(|source| failed(file, source))?;
        }
    }
    Ok(())
}

/// Where a buffer of this name is remembered.
pub(super) fn remembered_at(folder: &Path, store: &str) -> PathBuf {
    // Names have no dots.
    folder.join(store).with_extension(REMEMBERED)
}

impl Remembered {
    /// Fails unless it is there, and empty.
    fn refuse_what_waits(&self, store: &str, file: &Path) -> Result<()> {
        let path = self.path.display();
        let remedy = format!("[backend.{store}.buffer] with path = \"{path}\"");
        if read_mark(&self.path).map_err(|source| failed(&self.path, source))?.as_ref() != Some(&self.mark) {
            return Err(Error::Setup(format!(
                "the buffer {path} is not what it was, and acknowledged writes may wait in it: is its disk mounted? Give it back as \
                 {remedy}; if it is lost with all that waited in it, remove {}",
                file.display()
            )));
        }
        if holds_writes(&self.path).map_err(|source| failed(&self.path, source))? {
            return Err(Error::Setup(format!(
                "acknowledged writes wait in the buffer {path}: give it back as {remedy} and when = \"never\" until it is empty"
            )));
        }
        Ok(())
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        if recall(file)?.as_ref() == Some(self) {
            return Ok(());
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        make(folder)?;
        replace(file, &serde_json::to_vec(self)?, &File::open(folder)?)
    }
}

fn recall(file: &Path) -> io::Result<Option<Remembered>> {
    read(file)?.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
}

fn read_mark(dir: &Path) -> io::Result<Option<String>> {
    Ok(read(&dir.join(MARK))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_mark(path: &Path, dir: &File) -> io::Result<String> {
    let mark = format!("{:016x}", getrandom::u64()?);
    replace(&path.join(MARK), mark.as_bytes(), dir)?;
    Ok(mark)
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        read => read.map(Some),
    }
}

/// Written aside: never half a file, and durable.
fn replace(file: &Path, bytes: &[u8], folder: &File) -> io::Result<()> {
    let aside = file.with_extension("new");
    let mut out = File::create(&aside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&aside, file)?;
    folder.sync_all()
}

/// The directory, locked.
fn open_dir(path: &Path) -> io::Result<File> {
    make(path)?;
    let dir = File::open(path)?;
    match rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(dir),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::other("another process has it")),
        Err(err) => Err(err.into()),
    }
}

/// Makes a directory durable, with those above it.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // What is durable in it is lost with its own name.
    for above in path.canonicalize()?.ancestors().skip(1).take(ANCESTORS) {
        // One that may not be opened was not made here.
        if let Ok(above) = File::open(above) {
            above.sync_all()?;
        }
    }
    Ok(())
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { context: format!("the buffer {}: cannot be opened", path.display()), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Incarnation, WriteId};

    fn settings(data: &TempDir, path: &Path) -> Settings {
        Settings { path: path.to_owned(), ..Settings::at(data.path(), "main") }
    }

    /// A file such as a write that waits has.
    fn fill(dir: &Path) {
        fs::write(dir.join(format!("{}-0123456789abcdef", WriteId::new(Incarnation(1), 1, 1))), "bytes").unwrap();
    }

    fn empty(dir: &Path) {
        for file in files(dir).unwrap().iter().filter(|file| super::super::file::is_write(file)) {
            fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_no_empty_buffer() {
        let (data, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mounted, away) = (disk.path().join("buffer"), disk.path().join("away"));
        let settings = settings(&data, &mounted);
        drop(open(&settings).unwrap());
        drop(open(&settings).unwrap());
        fs::rename(&mounted, &away).unwrap();
        for is_there in [false, true] {
            if is_there {
                fs::create_dir(&mounted).unwrap();
            }
            let refused = open(&settings).unwrap_err().to_string();
            assert!(refused.contains("is its disk mounted?") && refused.contains("main.json"), "{refused}");
            assert_eq!(mounted.exists(), is_there, "nothing is made where it should be");
        }
        fs::remove_dir(&mounted).unwrap();
        fs::rename(&away, &mounted).unwrap();
        drop(open(&settings).unwrap());
        fs::remove_dir_all(&mounted).unwrap();
        fs::remove_file(data.path().join("main.json")).unwrap();
        open(&settings).unwrap();
    }

    #[test]
    fn a_buffer_may_move_with_what_is_in_it_and_change_when_it_is_empty() {
        let (data, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [first, second, third] = ["1", "2", "3"].map(|name| disk.path().join(name));
        drop(open(&settings(&data, &first)).unwrap());
        fill(&first);
        let refused = open(&settings(&data, &second)).unwrap_err().to_string();
        assert!(refused.contains("wait in the buffer") && refused.contains(first.to_str().unwrap()), "{refused}");
        fs::rename(&first, &second).unwrap();
        drop(open(&settings(&data, &second)).unwrap());
        assert!(open(&settings(&data, &third)).is_err());
        empty(&second);
        drop(open(&settings(&data, &third)).unwrap());
        assert!(third.join(MARK).exists());
    }

    #[test]
    fn what_waits_for_a_store_is_not_forgotten_with_its_setting() {
        let (data, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        refuse_abandoned(&data.path().join("none"), &[]).unwrap();
        let path = disk.path().join("buffer");
        drop(open(&settings(&data, &path)).unwrap());
        fill(&path);
        fs::write(data.path().join("note.txt"), "of a person").unwrap();
        refuse_abandoned(data.path(), &["main"]).unwrap();
        let refused = refuse_abandoned(data.path(), &["other"]).unwrap_err().to_string();
        assert!(refused.contains("[backend.main.buffer]") && refused.contains("when = \"never\""), "{refused}");
        empty(&path);
        refuse_abandoned(data.path(), &["other"]).unwrap();
        fs::remove_dir_all(&path).unwrap();
        refuse_abandoned(data.path(), &["other"]).unwrap();
    }
}
