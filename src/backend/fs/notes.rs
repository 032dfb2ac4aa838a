//! Notes: small files of ours beside the staging directory, each replaced as a whole.

use std::io::ErrorKind;
use std::sync::Mutex;

use tracing::warn;

use super::error::{Doing, is_missing};
use super::io::{Access, Kind, Node, Onto};
use super::{Core, sub_directory};
use crate::backend::{Error, Result, check_note};

/// The directory of notes, in the reserved one.
const DIRECTORY: &str = "journal";
/// Notes up to this many bytes are written on a disk that is full for others, too: the owner file is one.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// Ends the name of a note that is being written: no note's own name holds it.
const UNFINISHED: &str = "~";

/// Where notes are.
#[derive(Debug)]
pub(super) struct Notes {
    dir: Node,
    /// Held while one is written: two writers of one name would meet in its unfinished one.
    writing: Mutex<()>,
}

impl Notes {
    /// Opens the directory; what a crash left of a note being written goes.
    pub fn open(reserved: &Node, durable: bool) -> Result<Self> {
        let dir = sub_directory(reserved, DIRECTORY, durable)?;
        let mut unfinished = Vec::new();
        let listed = dir.entries(&mut |name, _| {
            unfinished.extend(std::str::from_utf8(name).ok().filter(|name| name.ends_with(UNFINISHED)).map(str::to_owned));
            Ok(())
        });
        listed.doing("reading the directory of notes")?;
        for name in unfinished {
            dir.unlink(&name).doing("removing an unfinished note")?;
        }
        Ok(Self { dir, writing: Mutex::default() })
    }
}

impl Core {
    /// Bytes before name: whatever a crash leaves is the note as it was, or as it is to be.
    pub fn write_note(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_note(name, bytes.len())?;
        if bytes.len() > SMALL_BYTES_MAX {
            self.room.take(&self.root, bytes.len() as u64)?;
        }
        let _only_one = self.notes.writing.lock().expect("no code panics while it writes a note");
        let unfinished = format!("{name}{UNFINISHED}");
        let file = match self.notes.dir.create(&unfinished) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {
                self.notes.dir.unlink(&unfinished).doing("removing an unfinished note")?;
                self.notes.dir.create(&unfinished)
            }
            made => made,
        };
        let written = file.doing("making a note").and_then(|file| {
            file.write_at(bytes, 0).doing("writing a note")?;
            self.sync(&file).doing("syncing a note")?;
            self.notes.dir.rename(&unfinished, &self.notes.dir, name, Onto::Anything).doing("naming a note")
        });
        if let Err(err) = written {
            // The next one of this name, or the next start, removes it otherwise.
            let _ = self.notes.dir.unlink(&unfinished);
            return Err(err);
        }
        self.sync(&self.notes.dir).doing("syncing the directory of notes")
    }

    pub fn read_note(&self, name: &str) -> Result<Vec<u8>> {
        check_note(name, 0)?;
        let file = match self.notes.dir.open_file(name, Access::Read) {
            Err(err) if is_missing(&err) => return Err(Error::NotFound),
            opened => opened.doing("opening a note")?,
        };
        let size = file.stat().doing("looking at a note")?.size;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        check_note(name, size)?;
        let mut bytes = vec![0; size];
        let read = file.read_at(&mut bytes, 0).doing("reading a note")?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub fn list_notes(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let listed = self.notes.dir.entries(&mut |raw, kind| {
            match std::str::from_utf8(raw).ok().filter(|name| kind == Kind::File && check_note(name, 0).is_ok()) {
                Some(name) => names.push(name.to_owned()),
                None if raw.ends_with(UNFINISHED.as_bytes()) => {}
                None => warn!(name = %String::from_utf8_lossy(raw), "not one of our notes: skipped"),
            }
            Ok(())
        });
        listed.doing("listing notes")?;
        names.sort();
        Ok(names)
    }

    pub fn remove_note(&self, name: &str) -> Result<()> {
        check_note(name, 0)?;
        match self.notes.dir.unlink(name) {
            Err(err) if is_missing(&err) => Ok(()),
            removed => removed.doing("removing a note"),
        }
    }
}
