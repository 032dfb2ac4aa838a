//! The seam for file-system calls: what this backend asks of the system, and nothing more.
//!
//! A [`Node`] is an opened file or directory. The real one is a descriptor ([`disk`](super::disk)); tests have one that
//! forgets what was not synced (`shim`). Names given to a directory's methods are relative to it and lead nowhere
//! outside of it; links are not followed.

use std::io::Result;

use super::disk;
#[cfg(test)]
use super::shim;

/// An opened file or directory.
#[derive(Debug)]
pub(super) enum Node {
    Disk(disk::File),
    #[cfg(test)]
    Shim(shim::Handle),
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// Links, sockets, devices: never ours.
    Other,
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub kind: Kind,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes it takes on the disk: more than its size where room was reserved, less where it has holes.
    pub allocated: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When its bytes, names or attributes last changed; nanoseconds since 1970.
    pub ctime_ns: i128,
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub owner: u32,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Only if that takes no disk access: `EAGAIN` otherwise.
    ReadCached,
    Write,
}

/// What a rename may find at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onto {
    Nothing,
    /// A file there is replaced and lost.
    Anything,
    /// What is there goes where the renamed file was.
    Exchange,
}

/// Whether a file system keeps a rename whole over a crash, and what room it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    /// ext4, xfs, … or its magic number.
    pub name: String,
    /// Whether a rename survives a crash whole or not at all.
    pub renames_whole: bool,
    pub read_only: bool,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that there are in all.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where there is no limit.
    pub free_files: Option<u64>,
}

/// Passes a call on to whatever the node is.
macro_rules! pass {
    ($node:expr, $of:ident => $call:expr) => {
        match $node {
            Node::Disk($of) => $call,
            #[cfg(test)]
            Node::Shim($of) => $call,
        }
    };
}

/// Passes a call on two nodes on; both are always of one kind.
macro_rules! pass_both {
    ($one:expr, $other:expr, $of:ident, $and:ident => $call:expr) => {
        match ($one, $other) {
            (Node::Disk($of), Node::Disk($and)) => $call,
            #[cfg(test)]
            (Node::Shim($of), Node::Shim($and)) => $call,
            #[cfg(test)]
            _ => unreachable!("a store stands on one file system"),
        }
    };
}

/// Directories.
impl Node {
    /// Opens a directory beneath this one.
    pub fn open_dir(&self, path: &str) -> Result<Self> {
        match self {
            Self::Disk(of) => of.open_dir(path).map(Self::Disk),
            #[cfg(test)]
            Self::Shim(of) => of.open_dir(path).map(Self::Shim),
        }
    }

    /// Opens what is at `path` beneath this directory; the caller looks whether it is a regular file.
    pub fn open_file(&self, path: &str, access: Access) -> Result<Self> {
        match self {
            Self::Disk(of) => of.open_file(path, access).map(Self::Disk),
            #[cfg(test)]
            Self::Shim(of) => of.open_file(path, access).map(Self::Shim),
        }
    }

    /// Makes a file that was not there and opens it for writing.
    pub fn create(&self, name: &str) -> Result<Self> {
        match self {
            Self::Disk(of) => of.create(name).map(Self::Disk),
            #[cfg(test)]
            Self::Shim(of) => of.create(name).map(Self::Shim),
        }
    }

    pub fn make_dir(&self, name: &str) -> Result<()> {
        pass!(self, of => of.make_dir(name))
    }

    /// Removes a directory, if it is empty.
    pub fn remove_dir(&self, name: &str) -> Result<()> {
        pass!(self, of => of.remove_dir(name))
    }

    pub fn unlink(&self, name: &str) -> Result<()> {
        pass!(self, of => of.unlink(name))
    }

    pub fn rename(&self, name: &str, to: &Self, to_name: &str, onto: Onto) -> Result<()> {
        pass_both!(self, to, of, to => of.rename(name, to, to_name, onto))
    }

    /// What a name of this directory stands for.
    pub fn stat_at(&self, name: &str) -> Result<Stat> {
        pass!(self, of => of.stat_at(name))
    }

    /// Gives every name in this directory, in no order; `see` may stop by an error.
    pub fn entries(&self, see: &mut dyn FnMut(&[u8], Kind) -> Result<()>) -> Result<()> {
        pass!(self, of => of.entries(see))
    }
}

/// Files.
impl Node {
    pub fn stat(&self) -> Result<Stat> {
        pass!(self, of => of.stat())
    }

    /// Reads until `buf` is full or the file ends.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        pass!(self, of => of.read_at(buf, offset))
    }

    /// Reads what is in memory already; `EAGAIN` if that is nothing.
    pub fn read_cached(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        pass!(self, of => of.read_cached(buf, offset))
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        pass!(self, of => of.write_at(bytes, offset))
    }

    pub fn set_len(&self, size: u64) -> Result<()> {
        pass!(self, of => of.set_len(size))
    }

    pub fn set_modified(&self, mtime_ns: i128) -> Result<()> {
        pass!(self, of => of.set_modified(mtime_ns))
    }

    /// Takes room for `size` bytes without changing the file's length.
    pub fn reserve(&self, size: u64) -> Result<()> {
        pass!(self, of => of.reserve(size))
    }

    /// Sends a stretch on its way to the disk and does not wait for it.
    pub fn start_writeback(&self, offset: u64, size: u64) {
        pass!(self, of => of.start_writeback(offset, size));
    }

    /// Copies up to `size` bytes to `to_offset` in `to`; answers how many, 0 at the end of the file.
    pub fn copy_to(&self, offset: u64, size: u64, to: &Self, to_offset: u64) -> Result<u64> {
        pass_both!(self, to, of, to => of.copy_to(offset, size, to, to_offset))
    }

    /// Makes a file's bytes and mtime, or a directory's names, durable.
    pub fn sync(&self) -> Result<()> {
        pass!(self, of => of.sync())
    }
}

/// The file system underneath.
impl Node {
    /// Makes everything on this file system durable.
    pub fn sync_volume(&self) -> Result<()> {
        pass!(self, of => of.sync_volume())
    }

    pub fn volume(&self) -> Result<Volume> {
        pass!(self, of => of.volume())
    }

    /// Claims this file for the process; `EWOULDBLOCK` if another one has it.
    pub fn lock(&self) -> Result<()> {
        pass!(self, of => of.lock())
    }
}
