//! What this service does by itself, tried out once at start in the home bucket.

use std::sync::Arc;

use bytes::Bytes;

use super::mark::{Mark, binding_of};
use super::put::Target;
use super::{Checksums, Core};
use crate::backend::{Capabilities, Capability, Error, Result, Support};
use crate::model::{BucketName, Incarnation, WriteId};

/// An ETag that nothing has.
const NOBODYS_ETAG: &str = "\"00000000000000000000000000000000\"";

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// A DELETE with If-Match spares other bytes.
    pub conditional_delete: bool,
}

impl Core {
    /// Stores, copies and removes an object. A service that does not keep what is needed is refused.
    pub(super) async fn probe(self: &Arc<Self>) -> Result<Nature> {
        let home = BucketName::new(&self.settings.home).map_err(|err| Error::Name(err.to_string()))?;
        let write = WriteId::new(Incarnation(0), 0, 1);
        let metadata = Mark { write, modified_ms: Some(1), key: None }.metadata();
        let target = Target { bucket: &home, name: self.names.probe("object"), metadata };
        self.put_held(&target, Bytes::from_static(b"probe")).await?;
        let told = self.look_at(&self.settings.home, &target.name).await?;
        if told.binding != binding_of(write) || told.modified_ms != 1 || told.size != 5 {
            let reason = "the service does not keep the metadata of objects: nothing could be told apart there";
            return Err(Error::Name(reason.to_owned()));
        }
        let request = || self.service.once().delete_object().bucket(&self.settings.home).key(&target.name);
        let stale = self.service.ask("trying out a condition", request().if_match(NOBODYS_ETAG).send()).await;
        let nature = Nature { conditional_delete: stale.is_err_and(|fault| fault.is_refused_by_condition()) };
        self.service.ask("removing a probe", request().send()).await?;
        Ok(nature)
    }

    pub(super) fn capabilities(&self, nature: Nature) -> Capabilities {
        let line = |name, support, detail: &str| Capability { name, support, detail: detail.to_owned() };
        let checksums = match self.settings.checksums {
            Checksums::Crc32 => line("checksums", Support::Native, "a CRC-32 goes with every body"),
            Checksums::None => {
                line("checksums", Support::Refused, "checksums = \"none\": what breaks on the way in is found when it is read")
            }
        };
        let conditional_delete = match nature.conditional_delete {
            true => line("conditional delete", Support::Native, "If-Match, tried"),
            false => line("conditional delete", Support::Refused, "looked at before: what others write in between may go"),
        };
        let lines = vec![
            line("durability", Support::Native, "as the service promises it"),
            line(
                "atomic publish",
                Support::Native,
                "each write has a name of its own; what is no version is copied to its key afterwards",
            ),
            conditional_delete,
            line("conditional writes", Support::Emulated, "exact among this process's clients, by its key locks"),
            line("copy", Support::Native, "by the service"),
            line("multipart", Support::Native, "parts go where the whole will be"),
            checksums,
            line(
                "names",
                Support::Emulated,
                "keys with empty or dotted segments, control characters or segments over 200 bytes stay under names of ours",
            ),
        ];
        Capabilities { kind: "s3", lines }
    }
}
