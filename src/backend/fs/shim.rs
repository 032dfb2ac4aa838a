//! A file system in memory that forgets what was not synced, for enumerating crashes.
//!
//! ```ignore
//! let shim = Shim::new();
//! let fs = Fs::on_shim(&shim).unwrap();          // the whole backend; no thread of its own, so calls come in order
//! let before = shim.calls();                     // changing calls so far: reads do not count
//! shim.crash_at(before + n);                     // that call and every later one, reads too, fails with EIO
//! … drive the store until it fails …
//! drop(fs);
//! for seed in 0..8 {
//!     let after = shim.crash(seed);              // what a restart finds; the shim crashed is left as it was
//!     let fs = Fs::on_shim(&after).unwrap();
//! }
//! ```
//!
//! The model. *Files*: data, length, mtime and mode that no fsync of the file covered may be gone, each without the
//! other: old bytes under a new mtime as well as new bytes under an old one. *Names*: each create, mkdir, unlink and
//! rename survives whole or not at all, in any combination, but for two laws that every journal keeps: changes of one
//! name survive in their order, and nothing survives in a directory that did not. A name is durable once every
//! directory in which something arrived was synced; that its directory's own name is durable is another matter.
//! Seed 0 forgets everything it may, seed 1 nothing; others choose.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::io::{Access, Kind, Node, Onto, Stat, Volume};

/// The root directory's inode.
const ROOT: u64 = 1;

/// A file system; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shim {
    state: Arc<Mutex<State>>,
}

/// An open file or directory on it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    shim: Shim,
    inode: u64,
}

#[derive(Debug)]
struct State {
    inodes: HashMap<u64, Inode>,
    /// How many names each has.
    links: HashMap<u64, u64>,
    /// Names that survive any crash.
    durable: HashMap<Name, u64>,
    /// Changes of names that may be forgotten, oldest first.
    pending: Vec<Change>,
    calls: u64,
    crash_at: Option<u64>,
    fail: Option<(u64, Errno)>,
    crashed: bool,
}

#[derive(Clone, Debug)]
enum Inode {
    File { now: Content, synced: Content },
    Directory { names: BTreeMap<String, u64>, removed: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    data: Vec<u8>,
    mtime_ns: i128,
    mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    directory: u64,
    name: String,
}

/// One call that changed names: it survives whole or not at all.
#[derive(Clone, Debug)]
struct Change {
    /// What each name stands for afterwards.
    to: Vec<(Name, Option<u64>)>,
    /// Directories whose sync it still waits for.
    waits: BTreeSet<u64>,
    /// The directory it made.
    made: Option<u64>,
}

impl Default for State {
    fn default() -> Self {
        let root = Inode::Directory { names: BTreeMap::new(), removed: false };
        Self {
            inodes: HashMap::from([(ROOT, root)]),
            links: HashMap::new(),
            durable: HashMap::new(),
            pending: Vec::new(),
            calls: 0,
            crash_at: None,
            fail: None,
            crashed: false,
        }
    }
}

impl Shim {
    pub fn new() -> Self {
        Self::default()
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The changing call with this number, counted from 1, and everything after it fails.
    pub fn crash_at(&self, call: u64) {
        self.state().crash_at = Some(call);
    }

    /// The changing call with this number fails, once; a write has done half of its work by then.
    pub fn fail_call(&self, call: u64, err: Errno) {
        self.state().fail = Some((call, err));
    }

    /// Whether the crash asked for has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// What a restart finds after a crash now.
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.state();
        Self { state: Arc::new(Mutex::new(state.survivors(&mut Coins::new(seed)))) }
    }

    pub(super) fn root(&self) -> Node {
        Node::Shim(Handle { shim: self.clone(), inode: ROOT })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Chance from a seed.
struct Coins {
    seed: u64,
    state: u64,
}

impl Coins {
    fn new(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// Whether something that may be forgotten survives.
    fn survives(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        match self.seed {
            0 => false,
            1 => true,
            _ => self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 63 == 1,
        }
    }
}

impl State {
    fn survivors(&self, coins: &mut Coins) -> Self {
        let mut names = self.durable.clone();
        let (mut lost, mut lost_directories) = (HashSet::new(), HashSet::new());
        for change in &self.pending {
            let blocked = change.to.iter().any(|(name, _)| lost.contains(name) || lost_directories.contains(&name.directory));
            if coins.survives() && !blocked {
                change.apply(&mut names);
            } else {
                lost.extend(change.to.iter().map(|(name, _)| name.clone()));
                lost_directories.extend(change.made);
            }
        }
        let mut after = Self { durable: HashMap::new(), ..Self::default() };
        after.grow(ROOT, self, &names, coins);
        after
    }

    /// Takes over the directory `from` of the state before, with what `names` says is in it.
    fn grow(&mut self, directory: u64, before: &Self, names: &HashMap<Name, u64>, coins: &mut Coins) {
        let inside: BTreeMap<String, u64> = names
            .iter()
            .filter(|(name, _)| name.directory == directory)
            .map(|(name, inode)| (name.name.clone(), *inode))
            .collect();
        for (name, inode) in &inside {
            self.durable.insert(Name { directory, name: name.clone() }, *inode);
            *self.links.entry(*inode).or_default() += 1;
            match &before.inodes[inode] {
                Inode::Directory { .. } => self.grow(*inode, before, names, coins),
                Inode::File { now, synced } => {
                    let left = Content::after_crash(now, synced, coins);
                    self.inodes.entry(*inode).or_insert(Inode::File { now: left.clone(), synced: left });
                }
            }
        }
        self.inodes.insert(directory, Inode::Directory { names: inside, removed: false });
    }

    /// A changing call begins: it is counted, and may be the one that fails. `Some` is an error that comes half-way.
    fn change(&mut self) -> io::Result<Option<Errno>> {
        self.look()?;
        self.calls += 1;
        if self.crash_at.is_some_and(|at| self.calls >= at) {
            self.crashed = true;
        }
        self.look()?;
        Ok(self.fail.take_if(|(at, _)| *at == self.calls).map(|(_, err)| err))
    }

    fn look(&self) -> io::Result<()> {
        if self.crashed { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn names(&mut self, directory: u64) -> io::Result<&mut BTreeMap<String, u64>> {
        match self.inodes.get_mut(&directory) {
            Some(Inode::Directory { names, removed: false }) => Ok(names),
            Some(Inode::Directory { .. }) => Err(Errno::NOENT.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn content(&mut self, inode: u64) -> io::Result<&mut Content> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File { now, .. }) => Ok(now),
            _ => Err(Errno::ISDIR.into()),
        }
    }

    fn walk(&mut self, from: u64, path: &str) -> io::Result<u64> {
        path.split('/')
            .filter(|name| *name != ".")
            .try_fold(from, |directory, name| self.names(directory)?.get(name).copied().ok_or_else(|| Errno::NOENT.into()))
    }

    /// Records a change of names and makes it visible.
    fn rename_all(&mut self, to: Vec<(Name, Option<u64>)>, arrivals: &[u64], made: Option<u64>) -> io::Result<()> {
        for (name, inode) in &to {
            let names = self.names(name.directory)?;
            let before = match inode {
                Some(inode) => names.insert(name.name.clone(), *inode),
                None => names.remove(&name.name),
            };
            before.iter().for_each(|inode| *self.links.entry(*inode).or_default() -= 1);
            inode.iter().for_each(|inode| *self.links.entry(*inode).or_default() += 1);
        }
        self.pending.push(Change { to, waits: arrivals.iter().copied().collect(), made });
        Ok(())
    }

    fn add(&mut self, directory: u64, name: &str, inode: Inode) -> io::Result<u64> {
        if self.names(directory)?.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        // The least free number: a new file often bears the number of one that is gone, as on real file systems.
        let number = (ROOT..).find(|number| !self.inodes.contains_key(number)).expect("there are 2^64 numbers");
        let made = matches!(inode, Inode::Directory { .. }).then_some(number);
        self.inodes.insert(number, inode);
        let name = Name { directory, name: name.to_owned() };
        self.rename_all(vec![(name, Some(number))], &[directory], made)?;
        Ok(number)
    }

    fn remove(&mut self, directory: u64, name: &str) -> io::Result<()> {
        let name = Name { directory, name: name.to_owned() };
        self.rename_all(vec![(name, None)], &[directory], None)
    }

    fn sync_directory(&mut self, directory: u64) {
        for change in &mut self.pending {
            change.waits.remove(&directory);
        }
        // What a durable change builds on is durable with it.
        let mut needed = HashSet::new();
        let durable: Vec<_> = self
            .pending
            .iter()
            .rev()
            .map(|change| {
                let durable = change.waits.is_empty() || change.to.iter().any(|(name, _)| needed.contains(name));
                if durable {
                    needed.extend(change.to.iter().map(|(name, _)| name.clone()));
                }
                durable
            })
            .collect();
        let mut durable = durable.into_iter().rev();
        let names = &mut self.durable;
        self.pending.retain(|change| {
            let done = durable.next().expect("one answer for each");
            if done {
                change.apply(names);
            }
            !done
        });
    }
}

impl Change {
    fn apply(&self, names: &mut HashMap<Name, u64>) {
        for (name, inode) in &self.to {
            match inode {
                Some(inode) => names.insert(name.clone(), *inode),
                None => names.remove(name),
            };
        }
    }
}

impl Content {
    fn empty() -> Self {
        Self { data: Vec::new(), mtime_ns: 0, mode: 0o644 }
    }

    fn after_crash(now: &Self, synced: &Self, coins: &mut Coins) -> Self {
        if now == synced {
            return now.clone();
        }
        let (data, inode) = (coins.survives(), coins.survives());
        let mut left = Self { data: if data { now } else { synced }.data.clone(), ..if inode { now } else { synced }.clone() };
        left.data.resize(if inode { now } else { synced }.data.len(), 0);
        left
    }
}

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

    pub(super) fn open_dir(&self, path: &str) -> io::Result<Self> {
        let mut state = self.looking()?;
        let inode = state.walk(self.inode, path)?;
        state.names(inode)?;
        Ok(self.at(inode))
    }

    pub(super) fn open_file(&self, path: &str, _access: Access) -> io::Result<Self> {
        let inode = self.looking()?.walk(self.inode, path)?;
        Ok(self.at(inode))
    }

    pub(super) fn create(&self, name: &str) -> io::Result<Self> {
        let file = Inode::File { now: Content::empty(), synced: Content::empty() };
        let inode = self.changing()?.add(self.inode, name, file)?;
        Ok(self.at(inode))
    }

    pub(super) fn make_dir(&self, name: &str) -> io::Result<()> {
        let directory = Inode::Directory { names: BTreeMap::new(), removed: false };
        self.changing()?.add(self.inode, name, directory).map(drop)
    }

    pub(super) fn remove_dir(&self, name: &str) -> io::Result<()> {
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

    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.changing()?;
        let inode = state.walk(self.inode, name)?;
        state.content(inode)?;
        state.remove(self.inode, name)
    }

    pub(super) fn rename(&self, name: &str, to: &Self, to_name: &str, onto: Onto) -> io::Result<()> {
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

    pub(super) fn stat_at(&self, name: &str) -> io::Result<Stat> {
        let inode = self.looking()?.walk(self.inode, name)?;
        self.at(inode).stat()
    }

    pub(super) fn entries(&self, see: &mut dyn FnMut(&[u8], Kind) -> io::Result<()>) -> io::Result<()> {
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

    pub(super) fn stat(&self) -> io::Result<Stat> {
        let state = self.looking()?;
        let links = state.links.get(&self.inode).copied().unwrap_or(0);
        Ok(match &state.inodes[&self.inode] {
            Inode::File { now: Content { data, mtime_ns, mode }, .. } => {
                let (size, mtime_ns, mode) = (data.len() as u64, *mtime_ns, *mode);
                Stat { kind: Kind::File, inode: self.inode, size, mtime_ns, links, mode }
            }
            Inode::Directory { .. } => {
                Stat { kind: Kind::Directory, inode: self.inode, size: 0, mtime_ns: 0, links: 1, mode: 0o755 }
            }
        })
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.looking()?;
        let data = &state.content(self.inode)?.data;
        let from = data.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let size = buf.len().min(data.len() - from);
        buf[..size].copy_from_slice(&data[from..from + size]);
        Ok(size)
    }

    pub(super) fn read_cached(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buf, offset)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.shim.state();
        let fails = state.change()?;
        let bytes = if fails.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        state.write(self.inode, bytes, offset)?;
        fails.map_or(Ok(()), |err| Err(err.into()))
    }

    pub(super) fn set_len(&self, size: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        state.content(self.inode)?.data.resize(size as usize, 0);
        state.touch(self.inode)
    }

    pub(super) fn set_modified(&self, mtime_ns: i128) -> io::Result<()> {
        self.changing()?.content(self.inode)?.mtime_ns = mtime_ns;
        Ok(())
    }

    pub(super) fn reserve(&self, _size: u64) -> io::Result<()> {
        self.changing().map(drop)
    }

    pub(super) fn start_writeback(&self, _offset: u64, _size: u64) {}

    pub(super) fn copy_to(&self, offset: u64, size: u64, to: &Self, to_offset: u64) -> io::Result<u64> {
        let mut state = self.changing()?;
        let data = &state.content(self.inode)?.data;
        let from = data.len().min(offset as usize);
        let bytes = data[from..data.len().min((offset + size) as usize)].to_vec();
        state.write(to.inode, &bytes, to_offset)?;
        Ok(bytes.len() as u64)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.changing()?;
        match state.inodes.get_mut(&self.inode) {
            Some(Inode::File { now, synced }) => *synced = now.clone(),
            _ => state.sync_directory(self.inode),
        }
        Ok(())
    }

    pub(super) fn sync_volume(&self) -> io::Result<()> {
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

    pub(super) fn volume(&self) -> io::Result<Volume> {
        drop(self.looking()?);
        let (name, free_bytes) = ("shim".to_owned(), 1 << 40);
        Ok(Volume { name, renames_whole: true, read_only: false, free_bytes, free_files: None })
    }

    pub(super) fn lock(&self) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(node: &Node) -> Vec<String> {
        let mut names = Vec::new();
        node.entries(&mut |name, _| {
            names.push(String::from_utf8(name.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        names
    }

    #[test]
    fn a_name_is_forgotten_until_its_directory_is_synced() {
        let shim = Shim::new();
        shim.root().create("a").unwrap();
        assert_eq!(names(&shim.crash(0).root()), [""; 0]);
        assert_eq!(names(&shim.crash(1).root()), ["a"]);
        shim.root().sync().unwrap();
        assert_eq!(names(&shim.crash(0).root()), ["a"]);
    }

    #[test]
    fn bytes_and_mtime_are_forgotten_apart() {
        let shim = Shim::new();
        let file = shim.root().create("a").unwrap();
        shim.root().sync().unwrap();
        file.write_at(b"old", 0).unwrap();
        file.set_modified(1).unwrap();
        file.sync().unwrap();
        file.write_at(b"new", 0).unwrap();
        file.set_modified(2).unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let file = shim.crash(seed).root().open_file("a", Access::Read).unwrap();
            let mut buf = [0; 3];
            file.read_at(&mut buf, 0).unwrap();
            seen.insert((buf, file.stat().unwrap().mtime_ns));
        }
        assert_eq!(seen, BTreeSet::from([(*b"old", 1), (*b"old", 2), (*b"new", 1), (*b"new", 2)]));
    }

    #[test]
    fn a_rename_survives_whole_or_not_at_all_and_changes_of_one_name_in_order() {
        let shim = Shim::new();
        let root = shim.root();
        for name in ["1", "2", "a"] {
            root.create(name).unwrap();
        }
        root.make_dir("d").unwrap();
        root.sync().unwrap();
        let d = root.open_dir("d").unwrap();
        root.rename("a", &d, "a", Onto::Nothing).unwrap();
        root.rename("1", &d, "a", Onto::Exchange).unwrap();
        root.rename("2", &d, "a", Onto::Exchange).unwrap();
        let inodes = ["1", "2"].map(|name| root.stat_at(name).unwrap().inode);
        for seed in 0..64 {
            let after = shim.crash(seed).root();
            let d = after.open_dir("d").unwrap();
            assert_eq!(names(&after).len() + names(&d).len(), 4, "seed {seed}");
            let there = d.stat_at("a").map(|stat| stat.inode).ok();
            if there == Some(inodes[0]) {
                assert!(after.stat_at("a").is_err(), "seed {seed}");
            }
        }
        d.sync().unwrap();
        root.sync().unwrap();
        assert_eq!(shim.crash(0).root().stat_at("1").unwrap().inode, inodes[0]);
    }

    #[test]
    fn after_the_crash_every_call_fails() {
        let shim = Shim::new();
        shim.root().create("a").unwrap();
        shim.crash_at(2);
        assert!(shim.root().stat_at("a").is_ok());
        assert!(shim.root().create("b").is_err());
        assert!(shim.root().stat_at("a").is_err());
        assert!(shim.crashed());
        assert_eq!(names(&shim.crash(1).root()), ["a"]);
    }
}
