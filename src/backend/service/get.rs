//! Bytes on their way out: what an answer brings is what its own headers say, or it is not handed out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::store::Core;
use super::{Answer, Fault, Opened, Service, Spot, Told};
use crate::backend::{Body, BodyError, Error, Fetched, Found, GetOptions, Place, Result};
use crate::model::{Binding, Location, ObjectId};

/// How often a body goes on where its connection broke.
const RESUMES_MAX: u32 = 3;
/// How long a body may bring nothing.
const STALL_MAX: Duration = Duration::from_secs(30);

impl<S: Service> Core<S> {
    /// The name of what is at a place; `None` where such a place is no name here.
    pub(super) fn spot(&self, at: &Place) -> Option<Spot> {
        match at.location {
            // Nobody's key: to such a name lead names of our own only.
            Location::Plain | Location::Native(_) if self.names.is_reserved(at.object.key.as_str()) => None,
            Location::Plain => Some(self.plain(&at.object)),
            Location::Own(write) | Location::Moving(write) => Some(self.own(&at.object, write)),
            Location::Native(ref version) => Some(Spot { version: Some(version.clone()), ..self.plain(&at.object) }),
            Location::Staged(_) | Location::OwnStaged(..) | Location::Part => None,
        }
    }

    /// The names to try. Bytes move one way only, and what has moved may be written again behind our back: own, plain, own.
    pub(super) fn spots(&self, at: &Place, expect: Option<&Binding>) -> Vec<Spot> {
        let own = self.spot(at).into_iter();
        match (&at.location, expect) {
            (Location::Moving(_), Some(_)) => own.clone().chain([self.plain(&at.object)]).chain(own).collect(),
            _ => own.collect(),
        }
    }

    pub(super) async fn look(&self, at: &Spot) -> Answer<Told> {
        let told = self.quick("looking at an object", 0, || self.service.look(at)).await.map_err(Fault::of_look)?;
        Ok(told.of_version(at.version.as_deref()))
    }

    /// What is at a name; `None` where nothing is.
    pub(super) async fn seen(&self, at: &Spot) -> Answer<Option<Told>> {
        match self.look(at).await {
            Err(fault) if fault.is_missing() => Ok(None),
            seen => seen.map(Some),
        }
    }

    pub(super) async fn head(&self, at: &Place) -> Result<Found> {
        if let Some(found) = self.look_here(at) {
            return Ok(found);
        }
        self.check_name(at).await?;
        let spot = self.spot(at).ok_or(Error::NotFound)?;
        Ok(self.look(&spot).await?.found(&at.object.key))
    }

    pub(super) async fn get(self: &Arc<Self>, at: &Place, get: GetOptions) -> Result<Fetched> {
        if let Some(fetched) = self.get_here(at, &get).await? {
            return Ok(fetched);
        }
        self.check_name(at).await?;
        if get.range.as_ref().is_some_and(Range::is_empty) {
            let (_, told) = self.look_for(at, get.expect.as_ref()).await?;
            return Ok(Fetched { found: told.found(&at.object.key), body: Body::empty() });
        }
        self.line.settled().await;
        let opened = self.open(at, get.range.clone(), get.expect.as_ref()).await?;
        let range = get.range.unwrap_or(0..opened.told.size);
        let found = opened.told.found(&at.object.key);
        let (core, binding, size) = (self.clone(), found.binding.clone(), range.end - range.start);
        let reading = Reading { core, at: at.clone(), binding, range, stream: opened.stream, resumes: 0, span: Span::current() };
        Ok(Fetched { found, body: Body::new(Some(size), stream::try_unfold(reading, Reading::next)) })
    }

    /// The name at which the bytes that are meant are now, and what its headers say.
    pub(super) async fn look_for(&self, at: &Place, expect: Option<&Binding>) -> Result<(Spot, Told)> {
        let mut seen = Error::NotFound;
        for spot in self.spots(at, expect) {
            match self.seen(&spot).await? {
                Some(told) if expect.is_none_or(|expect| told.binding == *expect) => return Ok((spot, told)),
                Some(_) => seen = Error::Changed,
                None => {}
            }
        }
        Err(seen)
    }

    /// Whether nothing took the place of what was read, since its name had so many turns. Services over directories may read
    /// headers, then open what has that name by now.
    pub(super) async fn is_still(&self, (object, turns): (&ObjectId, u64), spot: &Spot, told: &Told) -> Answer<bool> {
        if self.service.is_exact() || self.names.is_reserved(&spot.name) || !self.pending.has_turned(object, turns) {
            return Ok(true);
        }
        Ok(self.seen(spot).await?.is_some_and(|now| now.binding == told.binding))
    }

    async fn opened(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        let opened = self.quick("reading an object", 0, || self.service.open(at, range)).await;
        let Opened { told, first, stream } = opened.map_err(Fault::of_look)?;
        Ok(Opened { told: told.of_version(at.version.as_deref()), first, stream })
    }

    async fn open(&self, at: &Place, range: Option<Range<u64>>, expect: Option<&Binding>) -> Result<Opened> {
        let (mut seen, turns) = (Error::NotFound, self.pending.turns(&at.object));
        for spot in self.spots(at, expect) {
            match self.opened(&spot, range.as_ref()).await {
                Ok(opened) if expect.is_none_or(|expect| opened.told.binding == *expect) => {
                    check_range(&opened, range.as_ref())?;
                    if self.is_still((&at.object, turns), &spot, &opened.told).await? {
                        return Ok(opened);
                    }
                    seen = Error::Changed;
                }
                // Or shorter than the bytes that are meant.
                Ok(_) => seen = Error::Changed,
                Err(fault) if fault.is_beyond_end() => seen = Error::Changed,
                Err(fault) if fault.is_missing() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(seen)
    }
}

/// A range that is not within the object is one of other bytes.
fn check_range(opened: &Opened, range: Option<&Range<u64>>) -> Result<()> {
    let wanted = range.map_or(0, |range| range.start);
    match range {
        Some(range) if range.end > opened.told.size => Err(Error::Changed),
        _ if wanted != opened.first => {
            Err(Error::Unavailable(format!("the service answered from byte {} on, not from {wanted}", opened.first)))
        }
        _ => Ok(()),
    }
}

/// A body as far as it is read.
struct Reading<S> {
    core: Arc<Core<S>>,
    at: Place,
    binding: Binding,
    /// What is still to come.
    range: Range<u64>,
    stream: BoxStream<'static, Result<Bytes, String>>,
    resumes: u32,
    /// Who asked: whoever sends the body on is somebody else.
    span: Span,
}

impl<S: Service> Reading<S> {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BodyError> {
        while !self.range.is_empty() {
            let reason = match timeout(STALL_MAX, self.stream.next()).await {
                Err(_) => format!("nothing came for {} s", STALL_MAX.as_secs()),
                Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Ok(chunk))) => {
                    let left = self.range.end - self.range.start;
                    if chunk.len() as u64 > left {
                        return Err(BodyError::Read("the store sent more than was asked for".to_owned()));
                    }
                    self.range.start += chunk.len() as u64;
                    self.core.line.pass(chunk.len()).await;
                    return Ok(Some((chunk, self)));
                }
                Ok(Some(Err(reason))) => reason,
                Ok(None) => "it ended early".to_owned(),
            };
            let span = self.span.clone();
            self.resume(reason).instrument(span).await?;
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
