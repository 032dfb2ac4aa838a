//! A disk that forgets what was not synced, for tests.
//!
//! To see every state that a crash can leave:
//!
//! 0. Make the store with the power on: only a store that exists survives a crash on a bare storage. (A file is made under
//!    another name, see `create.rs`.)
//! 1. Run the scenario once on a [`Forgetful`] and read [`Power::calls`]: that many steps can be cut.
//! 2. For each step `n`: a new disk, [`Power::fail_after`]`(n)`, the same scenario. From the nth call on everything fails,
//!    as for a machine that lost its power: reads too. Note which operations were acknowledged, then drop the store.
//! 3. [`Forgetful::crash`]`(seed)` is the disk after the power came back: what was synced, and of what was written later a
//!    part that the seed chooses, torn at sectors of 512 bytes. Seed 0 keeps nothing that was not synced, seed 1 all of it.
//!    Open a store on it and compare with what was acknowledged. Try several seeds for each step.
//!
//! ```ignore
//! let power = Power::on();
//! let disk = Forgetful::new(power.clone());
//! let status = Status::open_on(disk.clone(), &Options::default())?;
//! power.fail_after(n);
//! // ... the scenario, until something fails ...
//! drop(status);
//! let status = Status::open_on(disk.crash(seed), &Options::default())?;
//! ```
//!
//! A shim of the file system that is given the same [`Power`] and asks [`Power::step`] before each of its own calls is cut
//! at the same moment: one count then runs through the engine's calls and the files' alike. The call that fails may
//! have reached the disk all the same; that is left to the seed, as for every call that no sync covered.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::StorageBackend;

use super::chance::Chance;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Counts the calls that change something, and ends them all after a number of them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Power(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    calls: AtomicU64,
    /// Calls that succeed.
    calls_max: AtomicU64,
}

impl Power {
    pub fn on() -> Self {
        Self(Arc::new(Switch { calls: 0.into(), calls_max: u64::MAX.into() }))
    }

    /// Lets `more` calls succeed from now on, and none after them.
    pub fn fail_after(&self, more: u64) {
        self.0.calls_max.store(self.calls().saturating_add(more), Ordering::SeqCst);
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Counts one call; an error if the power is off.
    pub fn step(&self) -> io::Result<()> {
        let before = self.0.calls.fetch_add(1, Ordering::SeqCst);
        if before < self.0.calls_max.load(Ordering::SeqCst) { Ok(()) } else { Err(off()) }
    }

    /// An error once a call has failed, for calls that change nothing.
    pub fn check(&self) -> io::Result<()> {
        if self.calls() <= self.0.calls_max.load(Ordering::SeqCst) { Ok(()) } else { Err(off()) }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Forgetful {
    power: Power,
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    /// What reads see.
    now: Vec<u8>,
    /// What a crash cannot take.
    synced: Vec<u8>,
    /// What led from there to here.
    since: Vec<Change>,
    syncs: u64,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl Forgetful {
    /// An empty disk.
    pub fn new(power: Power) -> Self {
        Self { power, disk: Arc::default() }
    }

    /// The disk after a crash now, with power of its own.
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.lock();
        let mut image = disk.synced.clone();
        let mut left = Left::by(seed);
        for change in &disk.since {
            left.keep(change, &mut image);
        }
        let disk = Disk { now: image.clone(), synced: image, since: Vec::new(), syncs: 0 };
        Self { power: Power::on(), disk: Arc::new(Mutex::new(disk)) }
    }

    /// The switch it hangs on.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no code panics while it holds the disk")
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut disk = self.lock();
        let was_on = self.power.check().is_ok();
        let done = self.power.step();
        if done.is_ok() {
            apply(&change, &mut disk.now);
        }
        // The call that finds the power off may have reached the disk; no later one does.
        if was_on {
            disk.since.push(change);
        }
        done
    }
}

fn apply(change: &Change, image: &mut Vec<u8>) {
    match change {
        Change::Length(len) => image.resize(*len, 0),
        Change::Write { offset, data } => put(image, *offset, data),
    }
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

/// What a crash leaves of unsynced changes.
enum Left {
    Nothing,
    All,
    Some(Chance),
}

impl Left {
    fn by(seed: u64) -> Self {
        match seed {
            0 => Self::Nothing,
            1 => Self::All,
            seed => Self::Some(Chance::new(seed)),
        }
    }

    fn keep(&mut self, change: &Change, image: &mut Vec<u8>) {
        match self {
            Self::Nothing => {}
            Self::All => apply(change, image),
            Self::Some(chance) => match chance.next() % 3 {
                0 => {}
                1 => apply(change, image),
                _ => tear(change, image, chance),
            },
        }
    }
}

/// Some sectors of a write reach the disk. A length changes or does not.
fn tear(change: &Change, image: &mut Vec<u8>, chance: &mut Chance) {
    let Change::Write { offset, data } = change else { return };
    let (mut at, end) = (*offset, offset + data.len());
    while at < end {
        let next = (at / SECTOR * SECTOR + SECTOR).min(end);
        if chance.next().is_multiple_of(2) {
            put(image, at, &data[at - offset..next - offset]);
        }
        at = next;
    }
}

impl StorageBackend for Forgetful {
    fn len(&self) -> io::Result<u64> {
        self.power.check()?;
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.power.check()?;
        let start = offset as usize;
        let disk = self.lock();
        let bytes = disk.now.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.lock();
        self.power.step()?;
        disk.syncs += 1;
        let since = std::mem::take(&mut disk.since);
        for change in &since {
            apply(change, &mut disk.synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, data: data.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(disk: &Forgetful) -> Vec<u8> {
        disk.lock().now.clone()
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
        let disk = Forgetful::new(Power::on());
        disk.write(0, &[1; 2_048]).unwrap();
        disk.sync_data().unwrap();
        disk.write(0, &[2; 2_048]).unwrap();
        assert_eq!(bytes(&disk.crash(0)), [1; 2_048]);
        assert_eq!(bytes(&disk.crash(1)), [2; 2_048]);
        let torn = (2..50).map(|seed| bytes(&disk.crash(seed))).filter(|image| image[0] != image[600]).count();
        assert!(torn > 0);
        for seed in 2..50 {
            let image = bytes(&disk.crash(seed));
            assert!(image.chunks(SECTOR).all(|sector| sector == [1; SECTOR] || sector == [2; SECTOR]));
        }
    }

    #[test]
    fn nothing_works_after_the_power_went() {
        let disk = Forgetful::new(Power::on());
        disk.write(0, &[1; 512]).unwrap();
        disk.power().fail_after(1);
        disk.read(0, &mut [0]).unwrap();
        disk.sync_data().unwrap();
        assert!(disk.write(0, &[2; 512]).is_err());
        assert!(disk.write(0, &[3; 512]).is_err());
        assert!(disk.sync_data().is_err());
        assert!(disk.read(0, &mut [0]).is_err());
        assert_eq!(bytes(&disk.crash(0)), [1; 512]);
        assert_eq!(bytes(&disk.crash(1)), [2; 512], "the call that failed may have reached the disk");
    }
}
