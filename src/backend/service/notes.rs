//! Notes: objects of ours in the home bucket, each replaced as a whole.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::StreamExt;
use tokio::time::{Duration, timeout};

use super::store::Core;
use super::{Answer, Fault, Metadata, Only, Service, Spot, Target};
use crate::backend::{BodyError, Error, Result, check_note};

/// For a note to be read: 64 MiB over a slow line.
const NOTE_PATIENCE: Duration = Duration::from_secs(120);
/// How often one that broke is read anew.
const READS_MAX: usize = 3;

impl<S: Service> Core<S> {
    fn note(&self, name: &str) -> Spot {
        Spot::new(self.home.clone(), self.names.note(name))
    }

    pub(super) async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        check_note(name, bytes.len())?;
        Ok(self.put_held(&Target::new(self.note(name), Metadata::new()), bytes).await?)
    }

    pub(super) async fn read_note(&self, name: &str) -> Result<Bytes> {
        check_note(name, 0)?;
        let mut seen = Error::NotFound;
        for _ in 0..READS_MAX {
            match timeout(NOTE_PATIENCE, self.read_note_once(name)).await {
                Ok(Err(err @ Error::Body(_))) => seen = err,
                Ok(read) => {
                    self.turn(read.as_ref().map_or(0, Bytes::len)).await;
                    return read;
                }
                Err(_) => return Err(Fault::late("reading a note").into()),
            }
        }
        Err(Error::Unavailable(format!("reading the note {name}: {seen}")))
    }

    async fn read_note_once(&self, name: &str) -> Result<Bytes> {
        let spot = self.note(name);
        let mut opened = self.quick("reading a note", 0, || self.service.open(&spot, None)).await?;
        let size = opened.told.size;
        check_note(name, usize::try_from(size).unwrap_or(usize::MAX))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = opened.stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(BodyError::Read)?);
            check_note(name, bytes.len())?;
        }
        crate::backend::body::check_size(Some(size), bytes.len() as u64)?;
        Ok(bytes.into())
    }

    pub(super) async fn list_notes(self: &Arc<Self>) -> Result<Vec<String>> {
        let prefix = self.names.note_prefix();
        let names = self.names_under(&self.home, prefix.clone()).await?;
        let notes = names.iter().filter_map(|name| name.strip_prefix(&prefix)).filter(|name| check_note(name, 0).is_ok());
        Ok(notes.map(str::to_owned).collect())
    }

    pub(super) async fn remove_note(&self, name: &str) -> Result<()> {
        check_note(name, 0)?;
        Ok(gone(self.remove_any("removing a note", &self.note(name)).await)?)
    }

    /// Removes what is at a name that nothing but one write is ever at.
    pub(super) async fn remove_any(&self, doing: &'static str, at: &Spot) -> Answer<()> {
        self.quick(doing, 0, || self.service.remove(at, Only::Any)).await
    }
}

/// What is not there need not be removed.
pub(super) fn gone(removed: Answer<()>) -> Answer<()> {
    match removed {
        Err(fault) if fault.is_missing() || fault.is_bucket_missing() => Ok(()),
        removed => removed,
    }
}
