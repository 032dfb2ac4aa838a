//! What a person sets of a buffer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::remembered_at;

/// Settings of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory of its files, for one store alone.
    pub path: PathBuf,
    /// What settings call the store, for people.
    pub store: String,
    /// The file in which this site remembers that directory.
    pub remembered: PathBuf,
    pub when: When,
    /// The store is slow when half of its latest small calls took longer.
    pub slow: Duration,
    /// What bodies may take on the disk.
    pub bytes_max: u64,
    /// What they leave free there.
    pub free_bytes_min: u64,
}

/// Which writes are acknowledged from the local disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Those that come while the store is down or slow.
    #[default]
    Down,
    /// All of them, as far as there is room.
    Always,
    /// No new one: what is there is served and carried on.
    Never,
}

impl Settings {
    /// The defaults, for the buffer of a store in a folder of buffers.
    pub fn at(folder: &Path, store: &str) -> Self {
        Self {
            path: folder.join(store),
            store: store.to_owned(),
            remembered: remembered_at(folder, store),
            when: When::default(),
            slow: Duration::from_secs(2),
            bytes_max: 10 << 30,
            free_bytes_min: 1 << 30,
        }
    }
}
