//! The real file system, through openat2 and its relatives.

use std::io::{IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RawDir, RawMode, RenameFlags, ResolveFlags,
    StatVfsMountFlags, Timespec, Timestamps,
};
use rustix::io::{Errno, ReadWriteFlags};

use super::io::{Access, Kind, Onto, Stat, Volume};

/// A descriptor.
#[derive(Debug)]
pub(super) struct File(OwnedFd);

/// No path leaves the directory it starts from, by whatever an outsider puts into it.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Room for directory entries of one call, in bytes.
const ENTRIES_BYTES: usize = 32 * 1024;

const NANOS: i128 = 1_000_000_000;

/// What `st_blocks` counts in, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// Opens a directory by any path: a store's own.
pub(super) fn open_root(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File(rustix::fs::open(path, flags, Mode::empty())?))
}

impl File {
    fn open(&self, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<Self> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self(rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve)?))
    }

    pub fn open_dir(&self, path: &str) -> Result<Self> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, BENEATH)
    }

    pub fn open_file(&self, path: &str, access: Access) -> Result<Self> {
        // NONBLOCK: to open a pipe that an outsider put there must not wait for its other end.
        let (flags, resolve) = match access {
            Access::Read => (OFlags::RDONLY | OFlags::NONBLOCK, BENEATH),
            Access::ReadCached => (OFlags::RDONLY | OFlags::NONBLOCK, BENEATH | ResolveFlags::CACHED),
            Access::Write => (OFlags::RDWR | OFlags::NONBLOCK, BENEATH),
        };
        self.open(path, flags, resolve)
    }

    /// With a bit that means nothing on a file and that nobody else's have: such a file may be written again when its bytes
    /// are replaced, while another program may still have its own open.
    pub fn create(&self, name: &str) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH | Mode::SVTX;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, mode)?))
    }

    pub fn make_dir(&self, name: &str) -> Result<()> {
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        Ok(rustix::fs::mkdirat(&self.0, name, mode)?)
    }

    pub fn remove_dir(&self, name: &str) -> Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    pub fn unlink(&self, name: &str) -> Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    pub fn rename(&self, name: &str, to: &Self, to_name: &str, onto: Onto) -> Result<()> {
        let flags = match onto {
            Onto::Nothing => RenameFlags::NOREPLACE,
            Onto::Anything => RenameFlags::empty(),
            Onto::Exchange => RenameFlags::EXCHANGE,
        };
        Ok(rustix::fs::renameat_with(&self.0, name, &to.0, to_name, flags)?)
    }

    pub fn stat_at(&self, name: &str) -> Result<Stat> {
        Ok(stat_of(&rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    pub fn entries(&self, see: &mut dyn FnMut(&[u8], Kind) -> Result<()>) -> Result<()> {
        // A descriptor of its own: the position in a directory belongs to the open file.
        let again = self.open_dir(".")?;
        let mut buf = vec![MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(&again.0, &mut buf);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match rustix::fs::statat(&again.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat_of(&stat).kind,
                    Err(Errno::NOENT) => continue,
                    Err(err) => return Err(err.into()),
                },
                known => kind_of(known),
            };
            see(name.to_bytes(), kind)?;
        }
        Ok(())
    }
}

impl File {
    pub fn stat(&self) -> Result<Stat> {
        Ok(stat_of(&rustix::fs::fstat(&self.0)?))
    }

    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(&self.0, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(done)
    }

    pub fn read_cached(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        Ok(rustix::io::preadv2(&self.0, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT)?)
    }

    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.0, bytes, offset) {
                Ok(0) => return Err(Errno::IO.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    pub fn set_len(&self, size: u64) -> Result<()> {
        Ok(rustix::fs::ftruncate(&self.0, size)?)
    }

    pub fn set_modified(&self, mtime_ns: i128) -> Result<()> {
        let time = Timespec {
            tv_sec: i64::try_from(mtime_ns.div_euclid(NANOS)).map_err(|_| Errno::RANGE)?,
            tv_nsec: mtime_ns.rem_euclid(NANOS).try_into().expect("below a thousand million"),
        };
        let keep = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        Ok(rustix::fs::futimens(&self.0, &Timestamps { last_access: keep, last_modification: time })?)
    }

    pub fn reserve(&self, size: u64) -> Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    #[allow(unsafe_code, reason = "rustix does not have this call")]
    pub fn start_writeback(&self, offset: u64, size: u64) {
        let (Ok(offset), Ok(size)) = (offset.try_into(), size.try_into()) else { return };
        // SAFETY: a call on a descriptor that is open while `self` lives, with numbers only. Its failure costs time alone.
        unsafe { libc::sync_file_range(self.0.as_raw_fd(), offset, size, libc::SYNC_FILE_RANGE_WRITE) };
    }

    pub fn copy_to(&self, offset: u64, size: u64, to: &Self, to_offset: u64) -> Result<u64> {
        let (mut from, mut into) = (offset, to_offset);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(rustix::fs::copy_file_range(&self.0, Some(&mut from), &to.0, Some(&mut into), size)? as u64)
    }

    pub fn sync(&self) -> Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    pub fn sync_volume(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    pub fn volume(&self) -> Result<Volume> {
        let kind = rustix::fs::fstatfs(&self.0)?;
        let room = rustix::fs::fstatvfs(&self.0)?;
        // Magic numbers: statfs(2). Only these keep a rename whole in their journal or tree.
        let (name, renames_whole) = match kind.f_type & 0xFFFF_FFFF {
            0xEF53 => ("ext4".to_owned(), true),
            0x5846_5342 => ("xfs".to_owned(), true),
            0x9123_683E => ("btrfs".to_owned(), true),
            0x2FC1_2FC1 => ("zfs".to_owned(), true),
            0x0102_1994 => ("tmpfs".to_owned(), false),
            0x794C_7630 => ("overlayfs".to_owned(), false),
            0x6969 => ("nfs".to_owned(), false),
            other => (format!("file system {other:#x}"), false),
        };
        Ok(Volume {
            name,
            renames_whole,
            read_only: room.f_flag.contains(StatVfsMountFlags::RDONLY),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
            total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            free_files: (room.f_files > 0).then_some(room.f_favail),
        })
    }

    pub fn lock(&self) -> Result<()> {
        Ok(rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive)?)
    }
}

fn kind_of(file: FileType) -> Kind {
    match file {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode as RawMode)),
        inode: stat.st_ino,
        size: stat.st_size.try_into().unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES),
        mtime_ns: i128::from(stat.st_mtime) * NANOS + i128::from(stat.st_mtime_nsec),
        ctime_ns: i128::from(stat.st_ctime) * NANOS + i128::from(stat.st_ctime_nsec),
        links: stat.st_nlink,
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
    }
}
