//! The calls of [`Node`](crate::backend::fs::io::Node), on the shim.

use std::collections::BTreeMap;
use std::io;
use std::sync::MutexGuard;

use rustix::io::Errno;

use super::{Content, Handle, Inode, Name, State};
use crate::backend::fs::io::{Access, Kind, Onto, Stat, Volume};

impl Handle {
    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.shim.state();
        match state.change()? {
            Some(err) => Err(err.into()),
            None => Ok(state),
        }
    }

    fn looking(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shim.state();
        state.look()?;
        Ok(state)
    }

    fn at(&self, inode: u64) -> Self {
        Self { shim: self.shim.clone(), inode }
    }

    fn name(&self, name: &str) -> Name {
        Name { directory: self.inode, name: name.to_owned() }
    }

    pub(in crate::backend::fs) fn open_dir(&self, path: &str) -> io::Result<Self> {
        let mut state = self.looking()?;
        let inode = state.walk(self.inode, path)?;
        state.names(inode)?;
        if path.split('/').any(|name| state.closed.contains(name)) {
            return Err(Errno::ACCESS.into());
        }
        Ok(self.at(inode))
    }

    pub(in crate::backend::fs) fn open_file(&self, path: &str, _access: Access) -> io::Result<Self> {
        let inode = self.looking()?.walk(self.inode, path)?;
        Ok(self.at(inode))
    }

    pub(in crate::backend::fs) fn create(&self, name: &str) -> io::Result<Self> {
        let file = Inode::File { now: Content::empty(), synced: Content::empty() };
        let inode = self.changing()?.add(self.inode, name, file)?;
        Ok(self.at(inode))
    }

    pub(in crate::backend::fs) fn make_dir(&self, name: &str) -> io::Result<()> {
        let directory = Inode::Directory { names: BTreeMap::new(), removed: false };
        self.changing()?.add(self.inode, name, directory).map(drop)
    }

    pub(in crate::backend::fs) fn remove_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.changing()?;
        let inode = state.walk(self.inode, name)?;
        if !state.names(inode)?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        state.remove(self.inode, name)?;
        if let Some(Inode::Directory { removed, .. }) = state.inodes.get_mut(&inode) {
            *removed = true;
        }
        Ok(())
    }

    pub(in crate::backend::fs) fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.changing()?;
        let inode = state.walk(self.inode, name)?;
        state.content(inode)?;
        state.remove(self.inode, name)
    }

    pub(in crate::backend::fs) fn rename(&self, name: &str, to: &Self, to_name: &str, onto: Onto) -> io::Result<()> {
        let mut state = self.changing()?;
        let moved = state.walk(self.inode, name)?;
        let there = state.names(to.inode)?.get(to_name).copied();
        let left = match (onto, there) {
            (Onto::Nothing, Some(_)) => return Err(Errno::EXIST.into()),
            (Onto::Exchange, None) => return Err(Errno::NOENT.into()),
            (Onto::Anything, Some(there)) => state.content(there).map(|_| None)?,
            (Onto::Exchange, there) => there,
            (_, None) => None,
        };
        let arrivals = [to.inode, if left.is_some() { self.inode } else { to.inode }];
        state.rename_all(vec![(self.name(name), left), (to.name(to_name), Some(moved))], &arrivals, None)
    }

    pub(in crate::backend::fs) fn stat_at(&self, name: &str) -> io::Result<Stat> {
        let inode = self.looking()?.walk(self.inode, name)?;
        self.at(inode).stat()
    }

    pub(in crate::backend::fs) fn entries(&self, see: &mut dyn FnMut(&[u8], Kind) -> io::Result<()>) -> io::Result<()> {
        let names = self.looking()?.names(self.inode)?.clone();
        for name in names.keys() {
            match self.stat_at(name) {
                Ok(stat) => see(name.as_bytes(), stat.kind)?,
                Err(err) if Errno::from_io_error(&err) == Some(Errno::NOENT) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    pub(in crate::backend::fs) fn stat(&self) -> io::Result<Stat> {
        let state = self.looking()?;
        let links = state.links.get(&self.inode).copied().unwrap_or(0);
        Ok(match &state.inodes[&self.inode] {
            Inode::File { now: Content { data, mtime_ns, mode, reserved }, .. } => {
                let (size, mtime_ns, mode) = (data.len() as u64, *mtime_ns, *mode);
                let allocated = size.max(*reserved);
                Stat { kind: Kind::File, inode: self.inode, size, allocated, mtime_ns, ctime_ns: mtime_ns, links, mode, owner: 0 }
            }
            Inode::Directory { .. } => {
                let (kind, inode) = (Kind::Directory, self.inode);
                Stat { kind, inode, size: 0, allocated: 0, mtime_ns: 0, ctime_ns: 0, links: 1, mode: 0o755, owner: 0 }
            }
        })
    }

    pub(in crate::backend::fs) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.looking()?;
        let data = &state.content(self.inode)?.data;
        let from = data.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let size = buf.len().min(data.len() - from);
        buf[..size].copy_from_slice(&data[from..from + size]);
        Ok(size)
    }

    pub(in crate::backend::fs) fn read_cached(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buf, offset)
    }

    pub(in crate::backend::fs) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.shim.state();
        let fails = state.change()?;
        let bytes = if fails.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        state.write(self.inode, bytes, offset)?;
        fails.map_or(Ok(()), |err| Err(err.into()))
    }

    pub(in crate::backend::fs) fn set_len(&self, size: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        let content = state.content(self.inode)?;
        content.data.resize(size as usize, 0);
        content.reserved = content.reserved.min(size);
        state.touch(self.inode)
    }

    pub(in crate::backend::fs) fn set_modified(&self, mtime_ns: i128) -> io::Result<()> {
        self.changing()?.content(self.inode)?.mtime_ns = mtime_ns;
        Ok(())
    }

    /// One that fails keeps the half it got, as on ext4.
    pub(in crate::backend::fs) fn reserve(&self, size: u64) -> io::Result<()> {
        let mut state = self.shim.state();
        let fails = state.change()?;
        let content = state.content(self.inode)?;
        content.reserved = content.reserved.max(if fails.is_some() { size / 2 } else { size });
        fails.map_or(Ok(()), |err| Err(err.into()))
    }

    pub(in crate::backend::fs) fn start_writeback(&self, _offset: u64, _size: u64) {}

    pub(in crate::backend::fs) fn copy_to(&self, offset: u64, size: u64, to: &Self, to_offset: u64) -> io::Result<u64> {
        let mut state = self.changing()?;
        let data = &state.content(self.inode)?.data;
        let from = data.len().min(offset as usize);
        let bytes = data[from..data.len().min((offset + size) as usize)].to_vec();
        state.write(to.inode, &bytes, to_offset)?;
        Ok(bytes.len() as u64)
    }

    pub(in crate::backend::fs) fn sync(&self) -> io::Result<()> {
        let mut state = self.changing()?;
        match state.inodes.get_mut(&self.inode) {
            Some(Inode::File { now, synced }) => *synced = now.clone(),
            _ => state.sync_directory(self.inode),
        }
        Ok(())
    }

    pub(in crate::backend::fs) fn sync_volume(&self) -> io::Result<()> {
        let mut state = self.changing()?;
        for change in std::mem::take(&mut state.pending) {
            change.apply(&mut state.durable);
        }
        for inode in state.inodes.values_mut() {
            if let Inode::File { now, synced } = inode {
                *synced = now.clone();
            }
        }
        Ok(())
    }

    pub(in crate::backend::fs) fn volume(&self) -> io::Result<Volume> {
        let state = self.looking()?;
        let taken = |inode: &Inode| match inode {
            Inode::File { now, .. } => now.reserved.max(now.data.len() as u64),
            Inode::Directory { .. } => 0,
        };
        let (name, total_bytes) = ("shim".to_owned(), state.capacity);
        let free_bytes = total_bytes.saturating_sub(state.inodes.values().map(taken).sum());
        Ok(Volume { name, renames_whole: true, read_only: false, free_bytes, total_bytes, free_files: None })
    }

    pub(in crate::backend::fs) fn lock(&self) -> io::Result<()> {
        self.looking().map(drop)
    }
}

impl State {
    fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let data = &mut self.content(inode)?.data;
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if data.len() < to {
            data.resize(to, 0);
        }
        data[from..to].copy_from_slice(bytes);
        self.touch(inode)
    }

    /// A write sets the mtime to a time of the system's own, which is never one of ours.
    fn touch(&mut self, inode: u64) -> io::Result<()> {
        let now = -i128::from(self.calls) - 1;
        self.content(inode)?.mtime_ns = now;
        Ok(())
    }
}
