//! What a person sets for a directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of a store of kind `fs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The directory; buckets are directories in it. Made if it is not there.
    pub path: PathBuf,
    /// What survives a power cut once it is acknowledged.
    pub durability: Durability,
    /// Name of the directory in `path` for what is not an object: staging, trash, the owner file. Begins with a dot, so
    /// that no bucket can bear it.
    pub reserved: String,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After fsync: a power cut loses nothing.
    #[default]
    Fsync,
    /// When the page cache has it: a power cut loses the last seconds, a crash of this process nothing.
    Os,
}

impl Default for Settings {
    fn default() -> Self {
        Self { path: PathBuf::from("./anybucket-data/objects"), durability: Durability::Fsync, reserved: ".anybucket".to_owned() }
    }
}

impl Settings {
    /// The defaults, elsewhere.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Why these settings cannot be used, in words for whoever wrote them.
    pub fn refusal(&self) -> Option<String> {
        let name = &self.reserved;
        let well_formed = name.starts_with('.') && name.len() > 1 && name != ".." && !name.contains(['/', '\0']);
        (!well_formed)
            .then(|| format!("reserved = {name:?}: a file name that begins with a dot is needed, such as \".anybucket\""))
    }
}
