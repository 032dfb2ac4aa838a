//! Copies that the service makes: to the key's plain name, and of one object's bytes to another write's own name.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::MetadataDirective;
use tokio::time::timeout;

use super::Core;
use super::error::{Answer, Fault};
use super::mark::{Told, binding_of};
use super::multipart::Whole;
use super::put::{REQUEST_BYTES_MAX, Target};
use crate::backend::{Error, GetOptions, Kept, Place, Published, PutOptions, Result};
use crate::model::{Binding, Location, ObjectId, WriteId};

/// For the service to copy or to put together an object.
pub(super) const COPY_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// What a service copies as a part.
const COPY_PART_BYTES: u64 = 1 << 30;
/// Ranges up to here are read and written: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html> copies
/// none of objects of 5 MB and less.
const READ_BYTES_MAX: u64 = 8 << 20;

/// An object to copy from.
struct Source {
    bucket: String,
    name: String,
    told: Told,
}

impl Source {
    /// As the service wants it named.
    fn encoded(&self) -> String {
        format!("{}/{}", self.bucket, encoded(&self.name))
    }
}

impl Core {
    /// Brings bytes to the plain name of their key; they stay at their own.
    pub(super) async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        match from.location {
            Location::Moving(write) => self.publish_own(&from.object, write, binding).await,
            // They are where they stay.
            Location::Own(_) => match self.look(from).await {
                Ok(told) if told.binding == *binding => Ok(Published::Done),
                Ok(_) | Err(Error::NotFound) => Ok(Published::Gone),
                Err(err) => Err(err),
            },
            _ => Ok(Published::Gone),
        }
    }

    async fn publish_own(&self, object: &ObjectId, write: WriteId, binding: &Binding) -> Result<Published> {
        let (bucket, plain) = (object.bucket.as_str(), object.key.as_str());
        let name = self.names.own(&object.key, write);
        let source = match self.look_at(bucket, &name).await {
            Ok(told) if told.binding == *binding => Source { bucket: bucket.to_owned(), name, told },
            Err(fault) if !fault.is_missing() => return Err(fault.into()),
            Ok(_) | Err(_) => {
                return match self.look_at(bucket, plain).await {
                    Ok(told) if told.binding == *binding => Ok(Published::Done),
                    Err(fault) if !fault.is_missing() => Err(fault.into()),
                    Ok(_) | Err(_) => Ok(Published::Gone),
                };
            }
        };
        self.pending.admit(object, write)?;
        let mut target = self.target(object, write, Some(source.told.modified_ms));
        target.name = plain.to_owned();
        match self.copy_whole(&source, &target).await {
            Ok(()) => Ok(Published::Done),
            Err(fault) if fault.is_missing() => Ok(Published::Gone),
            Err(fault) => {
                if fault.is_open() {
                    self.pending.note(object, write);
                }
                Err(fault.into())
            }
        }
    }

    /// Stores a copy of bytes, or of a range of them, under another write's own name.
    pub(super) async fn copy(self: &Arc<Self>, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        let mut source = self.source(from, get.expect.as_ref()).await?;
        let range = get.range.clone().unwrap_or(0..source.told.size);
        if range.end > source.told.size {
            return Err(Error::Changed);
        }
        let (size, is_whole) = (range.end - range.start, range == (0..source.told.size));
        let target = self.target(to, put.write, Some(put.modified_ms));
        let to_own = Place { object: to.clone(), location: Location::Own(put.write) };
        if is_whole {
            let mut copied = self.copy_whole(&source, &target).await;
            // What is on its way to its plain name may have left the other while it was copied: services say all sorts of things.
            if copied.is_err() && self.has_left(&source).await {
                source = self.source(from, get.expect.as_ref()).await?;
                copied = self.copy_whole(&source, &target).await;
            }
            if let Err(fault) = copied {
                self.release(&to_own, put.write).await;
                return Err(fault.into());
            }
        } else if size <= READ_BYTES_MAX || size > REQUEST_BYTES_MAX {
            let get = GetOptions { range: Some(range), expect: Some(source.told.binding) };
            let body = self.get(from, get).await?.body;
            return self.put(to, body, put).await;
        } else {
            self.copy_parts(&source, &target, range).await?;
        }
        Ok(self.kept(&to.key, put.write, size))
    }

    /// Whether nothing is at a name any more.
    async fn has_left(&self, source: &Source) -> bool {
        self.look_at(&source.bucket, &source.name).await.is_err_and(|fault| fault.is_missing())
    }

    /// The name at which the bytes that are meant are now.
    async fn source(&self, from: &Place, expect: Option<&Binding>) -> Result<Source> {
        let own = self.name_of(from).ok_or(Error::NotFound)?;
        let plain = matches!(from.location, Location::Moving(_)).then(|| from.object.key.as_str().to_owned());
        let (bucket, mut seen) = (from.object.bucket.as_str(), Error::NotFound);
        for name in [own].into_iter().chain(plain) {
            match self.look_at(bucket, &name).await {
                Ok(told) if expect.is_none_or(|expect| told.binding == *expect) => {
                    return Ok(Source { bucket: bucket.to_owned(), name, told });
                }
                Ok(_) => seen = Error::Changed,
                Err(fault) if fault.is_missing() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(seen)
    }

    /// The whole of an object, marked anew. What it was when it was looked at, or nothing.
    async fn copy_whole(&self, source: &Source, target: &Target<'_>) -> Answer<()> {
        if source.told.size > REQUEST_BYTES_MAX {
            return self.copy_parts(source, target, 0..source.told.size).await;
        }
        let request = self.service.long().copy_object().bucket(target.bucket.as_str()).key(&target.name);
        let request = request.copy_source(source.encoded()).set_copy_source_if_match(source.told.etag.clone());
        let request = request.metadata_directive(MetadataDirective::Replace).set_metadata(Some(target.metadata.clone()));
        let call = self.service.ask("copying an object", request.send());
        timeout(COPY_PATIENCE, call).await.unwrap_or_else(|_| Err(Fault::late("copying an object"))).map(drop)
    }

    async fn copy_parts(&self, source: &Source, target: &Target<'_>, range: Range<u64>) -> Answer<()> {
        let mut whole = Whole::begin(self, target).await?;
        let (mut at, name) = (range.start, source.encoded());
        while at < range.end {
            // No part is left that would be too small for one in the middle.
            let end = if range.end - at <= 2 * COPY_PART_BYTES { range.end } else { at + COPY_PART_BYTES };
            if let Err(fault) = whole.add_copy(&name, source.told.etag.as_deref(), at..end).await {
                whole.abort().await;
                return Err(fault);
            }
            at = end;
        }
        whole.complete().await
    }

    /// Removes what is at a place, if it is `only`.
    pub(super) async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        match at.location {
            Location::Own(write) | Location::Moving(write) if *only == binding_of(write) => {
                Ok(self.remove_own(at, write).await?)
            }
            Location::Plain => self.delete_plain(&at.object, only).await,
            _ => Ok(()),
        }
    }

    async fn delete_plain(&self, object: &ObjectId, only: &Binding) -> Result<()> {
        // A copy to the name that may be under way yet would bring back what was deleted.
        self.pending.admit_delete(object)?;
        let (bucket, name) = (object.bucket.as_str(), object.key.as_str());
        if self.names.is_reserved(name) {
            return Ok(());
        }
        let told = match self.look_at(bucket, name).await {
            Ok(told) if told.binding == *only => told,
            Ok(_) => return Ok(()),
            Err(fault) if fault.is_missing() || fault.is(&["NoSuchBucket"]) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        let request = || self.service.once().delete_object().bucket(bucket).key(name);
        let call = request().set_if_match(told.etag).send();
        let mut removed = self.service.ask("removing an object", call).await;
        if removed.as_ref().is_err_and(Fault::is_unknown_call) {
            removed = self.service.ask("removing an object", request().send()).await;
        }
        match removed {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_missing() || fault.is_refused_by_condition() || fault.is(&["NoSuchBucket"]) => {
                // Of two calls at once the service took the other: this one is to be made again.
                if fault.is(&["ConditionalRequestConflict"]) { Err(fault.into()) } else { Ok(()) }
            }
            Err(fault) => {
                if fault.is_open() {
                    self.pending.note_delete(object);
                }
                Err(fault.into())
            }
        }
    }
}

/// A name as a path has it: everything but letters, digits, `-._~` and slashes by its bytes.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_source_is_named_by_its_bytes() {
        assert_eq!(encoded("a/b c+é%#~"), "a/b%20c%2B%C3%A9%25%23~");
    }
}
