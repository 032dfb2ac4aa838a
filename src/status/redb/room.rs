//! Room on the disk, asked before every batch: an engine that runs out of it inside a transaction takes no further write
//! until a restart, so we stop before it does.

use std::path::{Path, PathBuf};

use crate::status::{Commit, CommitError};

/// Free bytes below which rows are not added any more.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Small disks: not more than one part in this many is held back.
const HELD_BACK_PART: u64 = 16;

/// Commits that free room may use what is held back, down to one part in this many of it: who is out of room
/// deletes.
const LAST_PART: u64 = 4;

/// Where the store lies.
#[derive(Debug)]
pub(super) enum Room {
    Disk(PathBuf),
    Memory,
    /// A large disk with as many free bytes as a test says.
    #[cfg(test)]
    Said(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Enough,
    /// Only to free more.
    Little {
        free: u64,
    },
    None {
        free: u64,
    },
}

impl Room {
    pub fn on_disk(path: &Path) -> Self {
        Self::Disk(path.to_owned())
    }

    pub fn in_memory() -> Self {
        Self::Memory
    }

    /// Unknown counts as enough: the engine will tell.
    pub fn left(&self) -> Left {
        let path = match self {
            Self::Disk(path) => path,
            Self::Memory => return Left::Enough,
            #[cfg(test)]
            Self::Said(free) => return left(free.load(std::sync::atomic::Ordering::Relaxed), u64::MAX),
        };
        let Ok(disk) = rustix::fs::statvfs(path) else { return Left::Enough };
        left(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize))
    }
}

fn left(free: u64, total: u64) -> Left {
    let held_back = FREE_BYTES_MIN.min(total / HELD_BACK_PART);
    match free {
        free if free >= held_back => Left::Enough,
        free if free >= held_back / LAST_PART => Left::Little { free },
        free => Left::None { free },
    }
}

impl Left {
    /// Why this commit is not taken now.
    pub fn refusal(self, commit: &Commit) -> Option<CommitError> {
        match self {
            Self::Enough => None,
            Self::Little { .. } if commit.frees => None,
            Self::Little { free } | Self::None { free } => Some(CommitError::Full(format!("{free} bytes are left on its disk"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tables::Meta;

    #[test]
    fn the_last_room_is_for_commits_that_free_some() {
        let (gib, mib) = (1 << 30, 1 << 20);
        // As a write of a new key does, which takes its grave away.
        let put = Commit::new().put::<Meta>(&"a".into(), &1).delete::<Meta>(&"b".into());
        let delete = Commit::new().put::<Meta>(&"a".into(), &1).frees();
        let refused = |free, commit: &Commit| left(free, 100 * gib).refusal(commit).is_some();
        assert!(!refused(64 * mib, &put) && !refused(64 * mib, &delete));
        assert!(refused(63 * mib, &put) && !refused(63 * mib, &delete));
        assert!(refused(15 * mib, &put) && refused(15 * mib, &delete));
        assert_eq!(left(4 * mib, 32 * mib), Left::Enough);
    }
}
