//! Bytes on their way out: what an answer brings is what its own headers say, or it is not handed out.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::stream;

use super::Core;
use super::error::Answer;
use super::mark::Told;
use crate::backend::{Body, BodyError, Error, Fetched, Found, GetOptions, Place, Result};
use crate::model::{Binding, Location};

/// How often a body goes on where its connection broke.
const RESUMES_MAX: u32 = 3;

/// An answer whose body is still to be read.
struct Opened {
    told: Told,
    /// The first byte of the object that the body brings, as the service says.
    first: u64,
    stream: ByteStream,
}

impl Core {
    /// The name of what is at a place; `None` where such a place is no name here.
    pub(super) fn name_of(&self, at: &Place) -> Option<String> {
        match at.location {
            // Nobody's key: to such a name lead names of our own only.
            Location::Plain if self.names.is_reserved(at.object.key.as_str()) => None,
            Location::Plain => Some(at.object.key.as_str().to_owned()),
            Location::Own(write) | Location::Moving(write) => Some(self.names.own(&at.object.key, write)),
            Location::Staged(_) | Location::OwnStaged(..) | Location::Native(_) | Location::Part => None,
        }
    }

    /// The names to try. Bytes move one way only, and what has moved may be written again behind our back: own, plain, own.
    fn names_of(&self, at: &Place, expect: Option<&Binding>) -> Vec<String> {
        let own = self.name_of(at).into_iter();
        match (&at.location, expect) {
            (Location::Moving(_), Some(_)) => {
                let plain = at.object.key.as_str().to_owned();
                own.clone().chain([plain]).chain(own).collect()
            }
            _ => own.collect(),
        }
    }

    /// What is at a place now.
    pub(super) async fn look(&self, at: &Place) -> Result<Told> {
        let name = self.name_of(at).ok_or(Error::NotFound)?;
        Ok(self.look_at(at.object.bucket.as_str(), &name).await?)
    }

    pub(super) async fn look_at(&self, bucket: &str, name: &str) -> Answer<Told> {
        let call = self.service.quick().head_object().bucket(bucket).key(name).send();
        let head = self.service.ask("looking at an object", call).await?;
        let size = head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        Ok(Told::new(head.metadata(), head.e_tag(), head.last_modified(), size))
    }

    pub(super) async fn head(&self, at: &Place) -> Result<Found> {
        self.look(at).await.map(|told| told.found(&at.object.key))
    }

    pub(super) async fn get(self: &Arc<Self>, at: &Place, get: GetOptions) -> Result<Fetched> {
        if get.range.as_ref().is_some_and(Range::is_empty) {
            let told = self.look_for(at, get.expect.as_ref()).await?;
            return Ok(Fetched { found: told.found(&at.object.key), body: Body::empty() });
        }
        let opened = self.open(at, get.range.clone(), get.expect.as_ref()).await?;
        let range = get.range.unwrap_or(0..opened.told.size);
        let found = opened.told.found(&at.object.key);
        let size = range.end - range.start;
        let reading = Reading {
            core: self.clone(),
            at: at.clone(),
            binding: found.binding.clone(),
            range,
            stream: opened.stream,
            resumes: 0,
        };
        Ok(Fetched { found, body: Body::new(Some(size), stream::try_unfold(reading, Reading::next)) })
    }

    /// Says of the bytes that are meant what their headers do.
    async fn look_for(&self, at: &Place, expect: Option<&Binding>) -> Result<Told> {
        let mut seen = Err(Error::NotFound);
        for name in self.names_of(at, expect) {
            seen = match self.look_at(at.object.bucket.as_str(), &name).await {
                Ok(told) if expect.is_none_or(|expect| told.binding == *expect) => return Ok(told),
                Ok(_) => Err(Error::Changed),
                Err(fault) if fault.is_missing() => seen,
                Err(fault) => return Err(fault.into()),
            };
        }
        seen
    }

    async fn open(&self, at: &Place, range: Option<Range<u64>>, expect: Option<&Binding>) -> Result<Opened> {
        let mut seen = Err(Error::NotFound);
        for name in self.names_of(at, expect) {
            seen = match self.open_at(at.object.bucket.as_str(), &name, range.as_ref()).await {
                Ok(opened) if expect.is_none_or(|expect| opened.told.binding == *expect) => {
                    check_range(&opened, range.as_ref())?;
                    return Ok(opened);
                }
                Ok(_) => Err(Error::Changed),
                Err(fault) if fault.is_missing() => seen,
                // Shorter than the bytes that are meant.
                Err(fault) if fault.is(&["InvalidRange"]) => Err(Error::Changed),
                Err(fault) => return Err(fault.into()),
            };
        }
        seen
    }

    async fn open_at(&self, bucket: &str, name: &str, range: Option<&Range<u64>>) -> Answer<Opened> {
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let call = self.service.quick().get_object().bucket(bucket).key(name).set_range(range).send();
        let answer = self.service.ask("reading an object", call).await?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let size = answer.content_range().and_then(whole_size).unwrap_or(length);
        let first = answer.content_range().and_then(first_byte).unwrap_or(0);
        let told = Told::new(answer.metadata(), answer.e_tag(), answer.last_modified(), size);
        Ok(Opened { told, first, stream: answer.body })
    }
}

/// A range that is not within the object is one of other bytes.
fn check_range(opened: &Opened, range: Option<&Range<u64>>) -> Result<()> {
    match range {
        Some(range) if range.end > opened.told.size => Err(Error::Changed),
        Some(range) if range.start != opened.first => {
            Err(Error::Unavailable(format!("the service answered from byte {} on, not from {}", opened.first, range.start)))
        }
        _ => Ok(()),
    }
}

/// The first byte that `bytes 3-9/100` tells.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// The size that `bytes 0-9/100` tells.
fn whole_size(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

/// A body as far as it is read.
struct Reading {
    core: Arc<Core>,
    at: Place,
    binding: Binding,
    /// What is still to come.
    range: Range<u64>,
    stream: ByteStream,
    resumes: u32,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BodyError> {
        while !self.range.is_empty() {
            let reason = match self.stream.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    let left = self.range.end - self.range.start;
                    if chunk.len() as u64 > left {
                        return Err(BodyError::Read("the store sent more than was asked for".to_owned()));
                    }
                    self.range.start += chunk.len() as u64;
                    return Ok(Some((chunk, self)));
                }
                Some(Err(err)) => err.to_string(),
                None => "it ended early".to_owned(),
            };
            self.resume(reason).await?;
        }
        Ok(None)
    }

    /// Goes on behind what was read, with the same bytes or not at all.
    async fn resume(&mut self, reason: String) -> Result<(), BodyError> {
        if self.resumes >= RESUMES_MAX {
            return Err(BodyError::Read(format!("the store's answer broke {} times: {reason}", RESUMES_MAX + 1)));
        }
        self.resumes += 1;
        tracing::debug!(object = %self.at.object, at = self.range.start, reason, "the store's answer broke: asked again");
        let opened = self.core.open(&self.at, Some(self.range.clone()), Some(&self.binding)).await;
        self.stream = opened.map_err(|err| BodyError::Read(format!("{reason}; then {err}")))?.stream;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_which_bytes_of_how_many_it_brings() {
        assert_eq!((first_byte("bytes 3-9/100"), whole_size("bytes 3-9/100")), (Some(3), Some(100)));
        assert_eq!((first_byte("bytes */100"), whole_size("bytes 3-9/*")), (None, None));
    }
}
