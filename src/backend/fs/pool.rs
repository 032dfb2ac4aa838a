//! Staging files that exist before they are needed, and that are used again.
//!
//! Creating and freeing inodes is what a small durable write costs, so files are made in batches ahead of time, and one
//! that was displaced or deleted is written again by a later put. That must never show:
//!
//! * a file is handed out only after its name is durable, so that a put owes no directory sync;
//! * a file that left a plain name is reused only after that move is durable (else a crash finds another object's bytes
//!   under the old name), after its owner released it, and after it lay still for [`Limits::rest`], for the sake of other
//!   programs that may be reading it;
//! * only files of at most [`SMALL_BYTES_MAX`] are reused. Readers take those whole and look at the binding again before
//!   they answer, so they need no lease; what is larger is unlinked, and whoever has it open keeps it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::error::{Doing, is_missing};
use super::io::{Access, Kind, Node, Stat};
use super::probe::Nature;
use crate::backend::{Place, Result};
use crate::model::StagingFile;

/// Largest file that is used again, and largest body that is answered from memory; bytes.
pub(super) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Most room on the disk that a file used again may take, in bytes: what a put reserved and never filled is given back,
/// and what a file system rounds up to is not mistaken for it.
const ALLOCATED_BYTES_MAX: u64 = 2 * SMALL_BYTES_MAX;

/// How many files are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Ready files there should always be.
    pub ready_min: usize,
    /// Ready files made ahead, at the most.
    pub made_max: usize,
    /// Ready files there may be, and the room they may take on the disk, bytes: what exceeds it is unlinked. Enough for all
    /// that rested: freeing an inode and making another costs more than the write it is for.
    pub ready_max: usize,
    pub ready_bytes_max: u64,
    /// Files made with one directory sync.
    pub batch: usize,
    /// How long a file that left its plain name lies still.
    pub rest: Duration,
    /// Files that may lie still: past it the oldest are unlinked.
    pub resting_max: usize,
}

impl Limits {
    /// What a server uses. At 5 s of rest, 32,768 files are 6,500 overwrites a second.
    pub const SERVER: Self = Self {
        ready_min: 256,
        made_max: 4_096,
        ready_max: 32_768,
        ready_bytes_max: 256 << 20,
        batch: 256,
        rest: Duration::from_secs(5),
        resting_max: 32_768,
    };

    /// Few files and no rest: tests see every file again at once.
    #[cfg(test)]
    pub const TINY: Self = Self {
        ready_min: 2,
        made_max: 8,
        ready_max: 8,
        ready_bytes_max: u64::MAX,
        batch: 2,
        rest: Duration::ZERO,
        resting_max: 8,
    };
}

#[derive(Debug)]
pub(super) struct Pool {
    staging: Arc<Node>,
    limits: Limits,
    durable: bool,
    /// A new file: one whose owner or mode somebody changed, or that somebody else made, is not used again.
    fresh: Stat,
    /// Whether files may be used again at all: not where mtimes are too coarse to tell two writes apart.
    recycles: bool,
    books: Mutex<Books>,
    /// Held while a batch is made, so that those who wait for one do not each make their own.
    growing: Mutex<()>,
    wake: Condvar,
}

/// Where every staging file stands. A file in none of these is with a put that runs.
#[derive(Debug, Default)]
struct Books {
    /// To be handed out: their names are durable, nobody knows their bytes.
    ready: Vec<Ready>,
    /// Room that they take on the disk, bytes.
    ready_bytes: u64,
    /// Held by whoever put them, until released.
    out: HashSet<StagingFile>,
    /// What a publish or a delete left in the pool, until that move is durable and the file released.
    left: HashMap<StagingFile, Left>,
    left_by: HashMap<Place, Vec<StagingFile>>,
    /// Lying still, oldest first.
    resting: VecDeque<(Instant, StagingFile)>,
    /// Nobody's: to be made ready or unlinked.
    given_up: Vec<StagingFile>,
    /// Found at start, until recovery says whose they are.
    strangers: Vec<StagingFile>,
    /// The next number: never given twice.
    next: u64,
    /// Whether it is known which numbers rows still name. A file may be gone while a row names it, so that the directory
    /// alone does not tell which numbers are free.
    recovered: bool,
    taken_lately: usize,
    /// Ready files wanted, by what was taken lately.
    wanted: usize,
    stopped: bool,
}

#[derive(Debug)]
struct Ready {
    file: StagingFile,
    /// Room that it takes on the disk, bytes.
    allocated: u64,
}

#[derive(Debug)]
struct Left {
    since: Instant,
    durable: bool,
    released: bool,
}

/// A staging file handed out for writing. Unless it is kept, it goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    pool: Arc<Pool>,
    pub file: StagingFile,
    pub node: Node,
    kept: bool,
}

impl Taken {
    /// The bytes in it are somebody's now, until [`Pool::release`].
    pub fn keep(mut self) -> StagingFile {
        self.kept = true;
        self.pool.books().out.insert(self.file);
        self.file
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.kept {
            self.pool.books().given_up.push(self.file);
        }
    }
}

impl Pool {
    /// A pool on the directory `staging`, whose files are strangers until [`Pool::recover`].
    pub fn open(staging: Arc<Node>, limits: Limits, durable: bool, nature: &Nature) -> Result<Arc<Self>> {
        let mut books = Books { wanted: limits.ready_min, next: 1, ..Books::default() };
        let seen = staging.entries(&mut |name, _| {
            let number = std::str::from_utf8(name).ok().and_then(read_name);
            books.strangers.extend(number);
            Ok(())
        });
        seen.doing("reading the staging directory")?;
        books.next = books.strangers.iter().map(|file| file.0 + 1).max().unwrap_or(1);
        let (books, growing) = (Mutex::new(books), Mutex::new(()));
        let (fresh, recycles) = (nature.fresh, nature.fine_mtime);
        Ok(Arc::new(Self { staging, limits, durable, fresh, recycles, books, growing, wake: Condvar::new() }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no code panics while it holds the books")
    }

    /// A file to write to.
    pub fn take(self: &Arc<Self>) -> Result<Taken> {
        loop {
            let Some(file) = self.next_ready() else {
                self.grow(1)?;
                continue;
            };
            match self.staging.open_file(&file.to_string(), Access::Write) {
                Ok(node) => return Ok(Taken { pool: self.clone(), file, node, kept: false }),
                Err(err) if is_missing(&err) => warn!(%file, "a staging file was removed by somebody else"),
                Err(err) => {
                    // Nobody's bytes: rather one file less than one that fails every put that takes it.
                    self.unlink(file);
                    return Err(err).doing("opening a staging file");
                }
            }
        }
    }

    fn next_ready(&self) -> Option<StagingFile> {
        let mut books = self.books();
        books.taken_lately += 1;
        let file = books.pop_ready();
        if books.ready.len() == books.wanted / 2 {
            self.wake.notify_one();
        }
        file
    }

    /// A number that no file bears.
    pub fn fresh_number(&self) -> StagingFile {
        let mut books = self.books();
        books.next += 1;
        StagingFile(books.next - 1)
    }

    /// Makes a batch of files, if fewer than `enough` are ready.
    fn grow(&self, enough: usize) -> Result<()> {
        let _only_one = self.growing.lock().expect("no code panics while it grows the pool");
        if self.books().ready.len() >= enough {
            return Ok(());
        }
        let (mut made, mut failed) = (Vec::new(), None);
        while made.len() < self.limits.batch && failed.is_none() {
            let file = self.fresh_number();
            match self.staging.create(&file.to_string()) {
                Ok(_) => made.push(file),
                Err(err) => failed = Some(err),
            }
        }
        if self.durable
            && let Err(err) = self.staging.sync()
        {
            made.drain(..).for_each(|file| self.unlink(file));
            failed = Some(err);
        }
        let some = !made.is_empty();
        self.books().ready.extend(made.into_iter().map(|file| Ready { file, allocated: 0 }));
        failed.filter(|_| !some).map_or(Ok(()), Err).doing("making staging files")
    }

    fn unlink(&self, file: StagingFile) {
        match self.staging.unlink(&file.to_string()) {
            Ok(()) => debug!(%file, "a staging file was removed"),
            Err(err) => warn!(%file, %err, "cannot remove a staging file"),
        }
    }
}

/// What becomes of files after their put.
impl Pool {
    /// A publish left what it displaced in `file`.
    pub fn displaced(&self, file: StagingFile, from: &Place) {
        self.leave(file, from, false);
    }

    /// A publish moved `file` out of the pool and displaced nothing.
    pub fn moved_out(&self, file: StagingFile) {
        self.books().out.remove(&file);
    }

    /// A delete moved what it deleted to `file`.
    pub fn deleted(&self, file: StagingFile, from: &Place) {
        self.leave(file, from, true);
    }

    fn leave(&self, file: StagingFile, from: &Place, released: bool) {
        let mut books = self.books();
        books.left.insert(file, Left { since: Instant::now(), durable: false, released });
        books.left_by.entry(from.clone()).or_default().push(file);
    }

    /// What earlier moves at these places left: to be handed to [`Pool::hardened`] once they are durable.
    pub fn left_by(&self, places: &[Place]) -> Vec<StagingFile> {
        let books = self.books();
        places.iter().filter_map(|place| books.left_by.get(place)).flatten().copied().collect()
    }

    /// The moves that left these files are durable.
    pub fn hardened(&self, places: &[Place], files: &[StagingFile]) {
        let mut books = self.books();
        let files: HashSet<_> = files.iter().copied().collect();
        for place in places {
            if let Some(left) = books.left_by.get_mut(place) {
                left.retain(|file| !files.contains(file));
                if left.is_empty() {
                    books.left_by.remove(place);
                }
            }
        }
        for file in files {
            if let Some(left) = books.left.get_mut(&file) {
                left.durable = true;
                books.rest(file);
            }
        }
    }

    /// The caller is done with `file`. What it does not hold is left alone.
    pub fn release(&self, file: StagingFile) {
        let mut books = self.books();
        if !books.out.remove(&file) {
            return;
        }
        match books.left.get_mut(&file) {
            Some(left) => {
                left.released = true;
                books.rest(file);
            }
            None => books.given_up.push(file),
        }
        if books.given_up.len() >= self.limits.batch {
            self.wake.notify_one();
        }
    }

    /// Whatever was found at start and is not in `keep` is nobody's. No number of `keep` is drawn after this, whether a
    /// file bears it or not: its owner will release it.
    pub fn recover(&self, keep: &HashSet<StagingFile>) {
        let mut books = self.books();
        let strangers = std::mem::take(&mut books.strangers);
        for file in strangers.into_iter().filter(|file| !keep.contains(file)) {
            // What a move redone before this left in it is durable by now, and was released before it was held.
            books.left.remove(&file);
            books.given_up.push(file);
        }
        // Numbers that a look at the store drew again before this was known: what bears them waits for their owner.
        books.ready.retain(|ready| !keep.contains(&ready.file));
        books.given_up.retain(|file| !keep.contains(file));
        books.out.extend(keep);
        books.next = keep.iter().map(|file| file.0 + 1).fold(books.next, u64::max);
        books.recovered = true;
        self.wake.notify_all();
    }
}

impl Books {
    fn pop_ready(&mut self) -> Option<StagingFile> {
        let ready = self.ready.pop()?;
        self.ready_bytes = self.ready_bytes.saturating_sub(ready.allocated);
        Some(ready.file)
    }

    /// Keeps a file to be handed out, while there is room for it.
    fn keep_ready(&mut self, ready: Ready, limits: &Limits) -> bool {
        let has_room = self.ready.len() < limits.ready_max && self.ready_bytes + ready.allocated <= limits.ready_bytes_max;
        if has_room {
            self.ready_bytes += ready.allocated;
            self.ready.push(ready);
        }
        has_room
    }

    /// Lays a file to rest, once both its move is durable and its owner is done with it.
    fn rest(&mut self, file: StagingFile) {
        if self.left.get(&file).is_some_and(|left| left.durable && left.released)
            && let Some(left) = self.left.remove(&file)
        {
            self.resting.push_back((left.since, file));
        }
    }
}

/// Housekeeping.
impl Pool {
    /// One round: sorts files given up into ready ones and ones to unlink, makes new ones where few are ready. Answers
    /// whether another round should follow at once.
    pub fn tend(&self) -> bool {
        for (file, reusable) in self.due() {
            self.sort(file, reusable);
        }
        let wanted = self.books().wanted;
        match self.grow(wanted) {
            Ok(()) => self.books().ready.len() < wanted,
            Err(err) => {
                warn!(%err, "cannot make staging files ahead of time");
                false
            }
        }
    }

    /// Files that lay still long enough, and those given up; whether each may be used again.
    fn due(&self) -> Vec<(StagingFile, bool)> {
        let mut books = self.books();
        let mut due: Vec<_> = books.given_up.drain(..).map(|file| (file, true)).collect();
        let now = Instant::now();
        while let Some((since, file)) = books.resting.front().copied() {
            let rested = now.duration_since(since) >= self.limits.rest;
            if !rested && books.resting.len() <= self.limits.resting_max {
                break;
            }
            books.resting.pop_front();
            due.push((file, rested));
        }
        due
    }

    fn sort(&self, file: StagingFile, reusable: bool) {
        let name = file.to_string();
        let stat = match self.staging.stat_at(&name) {
            Ok(stat) => stat,
            Err(err) if is_missing(&err) => return,
            Err(err) => return warn!(%file, %err, "cannot look at a staging file"),
        };
        let ready = Ready { file, allocated: stat.allocated };
        if !(reusable && self.is_reusable(&stat) && self.books().keep_ready(ready, &self.limits)) {
            self.unlink(file);
        }
    }

    /// A file that is like a new one but for its bytes.
    fn is_reusable(&self, stat: &Stat) -> bool {
        self.recycles
            && stat.kind == Kind::File
            && stat.size <= SMALL_BYTES_MAX
            && stat.allocated <= ALLOCATED_BYTES_MAX
            && stat.links == 1
            && (stat.mode, stat.owner) == (self.fresh.mode, self.fresh.owner)
    }

    /// Tends the pool from [`Pool::recover`] until [`Pool::stop`]; for a thread of its own.
    pub fn keep(&self) {
        const TICK: Duration = Duration::from_secs(1);
        let unknown = |books: &mut Books| !books.recovered && !books.stopped;
        drop(self.wake.wait_while(self.books(), unknown).expect("no code panics while it holds the books"));
        let mut ticked = Instant::now();
        loop {
            let again = self.tend();
            let mut books = self.books();
            if !again && !books.stopped {
                let waited = self.wake.wait_timeout(books, TICK);
                books = waited.expect("no code panics while it holds the books").0;
            }
            if books.stopped {
                return;
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                books.wanted = std::mem::take(&mut books.taken_lately).clamp(self.limits.ready_min, self.limits.made_max);
            }
        }
    }

    /// Ends [`Pool::keep`].
    pub fn stop(&self) {
        self.books().stopped = true;
        self.wake.notify_all();
    }

    /// Files with bytes that somebody holds or that were left by moves not yet durable, and names in the staging
    /// directory that the books do not know.
    #[cfg(test)]
    pub fn held(&self) -> (HashSet<StagingFile>, HashSet<StagingFile>) {
        let books = self.books();
        let held: HashSet<_> = books.out.iter().chain(books.left.keys()).copied().collect();
        let mut unknown = HashSet::new();
        let seen = self.staging.entries(&mut |name, _| {
            unknown.extend(std::str::from_utf8(name).ok().and_then(read_name));
            Ok(())
        });
        seen.expect("the staging directory can be read");
        let resting = books.resting.iter().map(|(_, file)| file);
        let ready = books.ready.iter().map(|ready| &ready.file);
        let free = ready.chain(resting).chain(&books.given_up).chain(&books.strangers);
        let known: HashSet<_> = free.chain(&held).copied().collect();
        unknown.retain(|file| !known.contains(file));
        (held, unknown)
    }

    /// Files ready to be handed out.
    #[cfg(test)]
    pub fn ready(&self) -> usize {
        self.books().ready.len()
    }
}

/// The number a staging file's name stands for.
fn read_name(name: &str) -> Option<StagingFile> {
    let number = u64::from_str_radix(name, 16).ok().map(StagingFile)?;
    (number.to_string() == name).then_some(number)
}
