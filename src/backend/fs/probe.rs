//! What this directory's file system does by itself, tried out once at start.

use tracing::warn;

use super::error::{Doing, is_missing, is_unknown_call};
use super::io::{Access, Node, Onto, Stat, Volume};
use super::room::{self, Room};
use super::{Core, Settings};
use crate::backend::{Capabilities, Capability, Error, Result, Support};

/// Files the probe makes, and removes.
const PROBES: [&str; 2] = ["probe-a", "probe-b"];

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Nature {
    pub volume: Volume,
    /// RENAME_EXCHANGE works.
    pub exchange: bool,
    /// RENAME_NOREPLACE works.
    pub no_replace: bool,
    /// An mtime keeps its nanoseconds.
    pub fine_mtime: bool,
    /// Files can be opened without waiting for the disk.
    pub cached_opens: bool,
    /// A new file: what it looks like before anybody else touched it.
    pub fresh: Stat,
}

impl Nature {
    /// Tries things out in the staging directory.
    pub fn probe(root: &Node, staging: &Node) -> Result<Self> {
        let volume = root.volume().doing("looking at the file system")?;
        remove_probes(staging).doing("removing an old probe")?;
        let [a, b] = PROBES;
        let file = staging.create(a).doing("making a probe file")?;
        staging.create(b).doing("making a probe file")?;
        if staging.stat_at("PROBE-A").is_ok() {
            return Err(Error::Setup(
                "the file system takes upper and lower case for the same: keys would be confused".to_owned(),
            ));
        }
        let mtime_ns = 1_234_567_890_123_456_789;
        file.set_modified(mtime_ns).doing("dating a probe file")?;
        let stat = file.stat().doing("looking at a probe file")?;
        let exchange = supports(staging.rename(a, staging, b, Onto::Exchange))?;
        let cached_opens = !matches!(staging.open_file(a, Access::ReadCached), Err(err) if is_unknown_call(&err));
        staging.unlink(b).doing("removing a probe file")?;
        let no_replace = supports(staging.rename(a, staging, b, Onto::Nothing))?;
        remove_probes(staging).doing("removing a probe")?;
        Ok(Self { volume, exchange, no_replace, fine_mtime: stat.mtime_ns == mtime_ns, cached_opens, fresh: stat })
    }
}

impl Nature {
    /// Tells whoever runs this what the file system cannot promise; `check-config` tells the rest.
    pub fn warn(&self, settings: &Settings) {
        let (path, volume) = (settings.path.display(), &self.volume.name);
        if !self.volume.renames_whole {
            warn!(%path, %volume, "this file system is not known to keep a rename whole over a crash: expect slow writes");
        }
        if !self.fine_mtime {
            warn!(%path, %volume, "this file system cuts modification times: quick rewrites of a file may go unnoticed");
        }
    }
}

fn supports(tried: std::io::Result<()>) -> Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(err) if is_unknown_call(&err) => Ok(false),
        Err(err) => Err(err).doing("trying out renames"),
    }
}

fn remove_probes(staging: &Node) -> std::io::Result<()> {
    for name in PROBES {
        match staging.unlink(name) {
            Err(err) if is_missing(&err) => {}
            other => other?,
        }
    }
    Ok(())
}

fn line(name: &'static str, support: Support, detail: impl Into<String>) -> Capability {
    Capability { name, support, detail: detail.into() }
}

/// Native if it works, emulated in the way told if not.
fn native_or(works: bool, name: &'static str, native: &str, emulated: &str) -> Capability {
    if works { line(name, Support::Native, native) } else { line(name, Support::Emulated, emulated) }
}

impl Core {
    pub fn capabilities(&self) -> Capabilities {
        let Nature { volume, exchange, no_replace, fine_mtime, cached_opens, .. } = &self.nature;
        let whole = format!("{} keeps a rename whole over a crash", volume.name);
        let synced = format!(
            "{} is not known to keep a rename whole over a crash: directories are synced before each answer, which is slow, \
             and even so a power cut may tear one",
            volume.name
        );
        let durability = if self.durable {
            line("durability", Support::Native, "fsync before each answer")
        } else {
            line("durability", Support::Refused, "durability = \"os\": a power cut loses what the page cache had")
        };
        let recycled = "displaced files are used again";
        let coarse = line(
            "mtime",
            Support::Refused,
            "mtimes lose their nanoseconds here: two writes within its granularity cannot be told apart by it",
        );
        let properties = vec![
            durability,
            native_or(volume.renames_whole, "atomic publish", &whole, &synced),
            native_or(*exchange, "replace", recycled, "no RENAME_EXCHANGE: replaced files are freed, which is slow"),
            native_or(*no_replace, "create only", "RENAME_NOREPLACE", "looked up before the rename, under the key's lock"),
            if *fine_mtime { line("mtime", Support::Native, "nanoseconds: every write has its own binding") } else { coarse },
            native_or(
                *cached_opens,
                "cached reads",
                "answered without a thread",
                "Linux 5.12 is needed: every read takes a thread",
            ),
            line("confinement", Support::Native, "openat2: no path leaves its bucket, links are not followed"),
            line("conditional writes", Support::Emulated, "exact among this process's clients, by its key locks"),
            line("copy", Support::Native, "copy_file_range"),
        ];
        Capabilities { store: String::new(), kind: "fs", properties }
    }

    /// Whether a write could succeed now.
    pub fn check(&self) -> Result<()> {
        let volume = self.root.volume().doing("looking at the file system")?;
        if volume.read_only {
            return Err(Error::ReadOnly(rustix::io::Errno::ROFS.into()));
        }
        if Room::is_full(&volume) || volume.free_files == Some(0) {
            return Err(room::full());
        }
        self.pool.take().map(drop)
    }
}
