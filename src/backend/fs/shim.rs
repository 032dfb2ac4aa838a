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
//! shim.restart();                                // or: only the process was killed, the machine lives on
//! let shim = shim.powered_by(disk.power());      // or: cut at the same instant as other disks, by one count of calls
//! ```
//!
//! The model. *Files*: data, length, mtime and mode that no fsync of the file covered may be gone, each without the
//! other: old bytes under a new mtime as well as new bytes under an old one. *Names*: each create, mkdir, unlink and
//! rename survives whole or not at all, in any combination, but for two laws that every journal keeps: changes of one
//! name survive in their order, and nothing survives in a directory that did not. A name is durable once every
//! directory in which something arrived was synced; that its directory's own name is durable is another matter.
//! Seed 0 forgets everything it may, seed 1 nothing; others choose.

mod calls;
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::io::Node;
use crate::status::redb::forgetful::Power;

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
    /// Directories of these names are closed to this process.
    closed: BTreeSet<String>,
    crashed: bool,
    /// Bytes that it holds at the most.
    capacity: u64,
    /// The switch it hangs on together with other disks.
    power: Option<Power>,
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
    /// Bytes of room taken, whatever the length.
    reserved: u64,
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
            closed: BTreeSet::new(),
            crashed: false,
            capacity: 1 << 40,
            power: None,
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

    /// Hangs it on this switch: each changing call is one of its steps.
    pub fn powered_by(self, power: &Power) -> Self {
        self.state().power = Some(power.clone());
        self
    }

    /// The changing call with this number, counted from 1, and everything after it fails.
    pub fn crash_at(&self, call: u64) {
        self.state().crash_at = Some(call);
    }

    /// The changing call with this number fails, once; a write has done half of its work by then.
    pub fn fail_call(&self, call: u64, err: Errno) {
        self.state().fail = Some((call, err));
    }

    /// Directories of this name may not be opened any more.
    pub fn close(&self, name: &str) {
        self.state().closed.insert(name.to_owned());
    }

    /// Makes it as large as this, bytes.
    pub fn resize(&self, capacity: u64) {
        self.state().capacity = capacity;
    }

    /// Whether the crash asked for has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Only the process died: calls work again, nothing is forgotten, and what was not synced may be at a later crash.
    pub fn restart(&self) {
        let mut state = self.state();
        (state.crash_at, state.crashed) = (None, false);
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
        // Calls are counted on, so that nothing drawn from the count comes twice.
        let mut after = Self { calls: self.calls, ..Self::default() };
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
        let is_cut = self.power.as_ref().is_some_and(|power| power.step().is_err());
        if is_cut || self.crash_at.is_some_and(|at| self.calls >= at) {
            self.crashed = true;
        }
        self.look()?;
        Ok(self.fail.take_if(|(at, _)| *at == self.calls).map(|(_, err)| err))
    }

    fn look(&self) -> io::Result<()> {
        let is_off = self.power.as_ref().is_some_and(|power| power.check().is_err());
        if self.crashed || is_off { Err(Errno::IO.into()) } else { Ok(()) }
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
        Self { data: Vec::new(), mtime_ns: 0, mode: 0o644, reserved: 0 }
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
