//! Puts: to the service, or to the buffer where the service does not take them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::Buffer;
use super::file::Slip;
use super::room::Taken;
use crate::backend::service::Service;
use crate::backend::service::body::collect;
use crate::backend::service::calls::SLOW_BYTES_PER_S;
use crate::backend::service::put::HELD_BYTES_MAX;
use crate::backend::service::store::Core;
use crate::backend::{Body, Error, Kept, PutOptions, Result};
use crate::model::ObjectId;

impl<S: Service> Core<S> {
    /// Stores a body under the write's own name: in the service, or here until the service has it.
    pub(in crate::backend::service) async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        let Some(buffer) = self.buffer().filter(|buffer| buffer.is_open()) else { return self.put_there(to, body, put).await };
        let size = put.size.or(body.size);
        if buffer.wants(self.calls.is_well()) {
            match buffer.take_room(size) {
                Ok(room) => return self.keep((buffer, room), to, body, put).await,
                // Slow is better than not at all.
                Err(_) if self.calls.is_alive() => {}
                Err(full) => return Err(full),
            }
        }
        match size {
            Some(size) if size <= HELD_BYTES_MAX => {
                let bytes = collect(body, size).await?;
                self.put_or_keep(buffer, to, bytes, put).await
            }
            _ => self.put_there(to, body, put).await,
        }
    }

    /// Whether writes can be taken now, be it by the buffer alone.
    pub(in crate::backend::service) async fn check(&self) -> Result<()> {
        let Err(fault) = self.look_at_bucket(&self.home).await else { return Ok(()) };
        let is_taken = match self.buffer().filter(|buffer| buffer.is_open()) {
            Some(buffer) if fault.is_passing() || fault.is_not_tried() => buffer.take_room(Some(0)).is_ok(),
            _ => false,
        };
        if is_taken { Ok(()) } else { Err(fault.into()) }
    }

    async fn keep(&self, (buffer, room): (&Arc<Buffer>, Taken), to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        if !self.calls.is_well() {
            buffer.note_needed(if self.calls.is_alive() { "it is slow" } else { "nobody answers there" });
        }
        let (write, announced) = (put.write, put.size.or(body.size));
        let slip = Slip {
            store: String::new(),
            object: to.clone(),
            write,
            modified_ms: put.modified_ms,
            attributes: put.attributes,
            size: 0,
            crc64: 0,
        };
        let slip = buffer.store(slip, body, announced, room).await?;
        Ok(self.kept(&to.key, write, slip.size))
    }

    /// A call that was given up may be done yet: it brings the same bytes to a name that no others ever have.
    async fn put_or_keep(&self, buffer: &Arc<Buffer>, to: &ObjectId, bytes: Bytes, put: PutOptions) -> Result<Kept> {
        let (target, size) = (self.target(to, &put), bytes.len() as u64);
        self.turn(bytes.len()).await;
        let begun = Instant::now();
        let patience = buffer.settings().slow + Duration::from_secs(size / SLOW_BYTES_PER_S);
        let reason = match timeout(patience, self.put_now(&target, bytes.clone())).await {
            Ok(Ok(())) => return Ok(self.kept(&to.key, put.write, size)),
            Ok(Err(fault)) if fault.is_passing() || fault.is_not_tried() => Error::from(fault).to_string(),
            Ok(Err(fault)) => return Err(fault.into()),
            Err(_) => {
                self.calls.gave_up(begun);
                "it is slow".to_owned()
            }
        };
        let room = buffer.take_room(Some(size))?;
        buffer.note_needed(&reason);
        self.keep((buffer, room), to, bytes.into(), PutOptions { size: Some(size), ..put }).await
    }
}
