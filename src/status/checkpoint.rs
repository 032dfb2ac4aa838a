//! Where resumable work stands, in rows of `checkpoints`: a version, then the value as postcard writes it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tables::Checkpoints;
use super::{Commit, ReadError, Status};

/// The row of one piece of work.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub name: String,
    /// Of the value: one of another version is not understood.
    pub version: u8,
}

impl Checkpoint {
    /// What the row says, if there is one.
    pub async fn read<T: DeserializeOwned>(&self, status: &Status) -> Result<Option<T>, ReadError> {
        let Some(stored) = status.get::<Checkpoints>(&self.name).await? else { return Ok(None) };
        let value = stored.row.split_first().filter(|(version, _)| **version == self.version);
        let value = value.and_then(|(_, value)| postcard::from_bytes(value).ok());
        let reason = || format!("the row `{}` is not understood", self.name);
        value.map(Some).ok_or_else(|| ReadError::Row { table: "checkpoints", reason: reason() })
    }

    /// Adds the row to a commit.
    pub fn noted<T: Serialize>(&self, commit: Commit, value: &T) -> Commit {
        let mut row = vec![self.version];
        row.extend(postcard::to_stdvec(value).expect("work notes only numbers, texts and lists of them"));
        commit.put::<Checkpoints>(&self.name, &row)
    }

    /// Removes the row; for this there is room when nothing else has any.
    pub fn removed(&self) -> Commit {
        Commit::new().frees().delete::<Checkpoints>(&self.name)
    }
}
