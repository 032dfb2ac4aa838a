//! Notes: objects of ours in the home bucket, each replaced as a whole.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::{Duration, timeout};

use super::Core;
use super::error::Fault;
use crate::backend::{Error, NOTE_BYTES_MAX, Result, check_note};

/// For a note to be stored or read: 64 MiB over a slow line.
const NOTE_PATIENCE: Duration = Duration::from_secs(120);
/// How often one that broke is read anew.
const READS_MAX: usize = 3;

impl Core {
    pub(super) async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        check_note(name, bytes.len())?;
        let request = self.service.long().put_object().bucket(&self.settings.home).key(self.names.note(name));
        let call = request.content_length(bytes.len() as i64).body(ByteStream::from(bytes)).send();
        let stored = timeout(NOTE_PATIENCE, self.service.ask("storing a note", call)).await;
        stored.unwrap_or_else(|_| Err(Fault::late("storing a note")))?;
        Ok(())
    }

    pub(super) async fn read_note(&self, name: &str) -> Result<Bytes> {
        check_note(name, 0)?;
        let mut seen = Error::NotFound;
        for _ in 0..READS_MAX {
            match timeout(NOTE_PATIENCE, self.read_note_once(name)).await {
                Ok(Err(err @ Error::Body(_))) => seen = err,
                Ok(read) => return read,
                Err(_) => return Err(Fault::late("reading a note").into()),
            }
        }
        Err(Error::Unavailable(format!("reading the note {name}: {seen}")))
    }

    async fn read_note_once(&self, name: &str) -> Result<Bytes> {
        let call = self.service.quick().get_object().bucket(&self.settings.home).key(self.names.note(name)).send();
        let mut answer = self.service.ask("reading a note", call).await?;
        let size = answer.content_length().and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        check_note(name, size)?;
        let mut bytes = Vec::with_capacity(size.min(NOTE_BYTES_MAX));
        while let Some(chunk) = answer.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|err| crate::backend::BodyError::Read(err.to_string()))?);
        }
        crate::backend::body::check_size(Some(size as u64), bytes.len() as u64)?;
        Ok(bytes.into())
    }

    pub(super) async fn list_notes(self: &Arc<Self>) -> Result<Vec<String>> {
        let prefix = self.names.note_prefix();
        let names = self.names_under(&self.settings.home, prefix.clone()).await?;
        let notes = names.iter().filter_map(|name| name.strip_prefix(&prefix)).filter(|name| check_note(name, 0).is_ok());
        Ok(notes.map(str::to_owned).collect())
    }

    pub(super) async fn remove_note(&self, name: &str) -> Result<()> {
        check_note(name, 0)?;
        let call = self.service.quick().delete_object().bucket(&self.settings.home).key(self.names.note(name)).send();
        match self.service.ask("removing a note", call).await {
            Err(fault) if fault.is_missing() => Ok(()),
            removed => Ok(removed.map(drop)?),
        }
    }
}
