//! Bytes that another site has and this one lacks: they go to the client and to the store at once (protocol §8).
//!
//! The store sets the pace. A client that reads slower falls out of a bounded buffer and goes on by itself, from here if
//! the bytes have arrived by then, else from a site that has them; one that goes away stops nothing.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use super::apply::{Applied, Between};
use super::error::{Error, Result};
use super::land::{Replacing, replacing};
use super::types::Seen;
use super::{CONFLICTS_MAX, Incoming, Neighbour, Site, Standing};
use crate::backend::{Body, BodyError};
use crate::model::{
    Binding, Decision, LiveReplica, Location, ObjectId, Record, Replica, SiteNumber, Slot, Stamp, State, Unit, Vector, WriteId,
};
use crate::peer::{Fetched, Peer};
use crate::status::tables::{Due, Hint, Work};
use crate::status::{Commit, CommitError, Stored};

/// What a client may lag behind the store, bytes and chunks.
const LAG_BYTES_MAX: u64 = 4 << 20;
const LAG_CHUNKS_MAX: usize = 1_024;
/// For a site to say what it has of an object whose bytes are wanted.
pub(super) const SOURCE_PATIENCE: Duration = Duration::from_secs(1);
/// For a site to begin to send them.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// Work that a read is likely to do is left to it for so long, milliseconds.
pub(super) const HEAD_START_MS: u64 = 5_000;

/// What a site answered about a unit.
#[derive(Debug)]
pub(super) enum Answer {
    /// Whatever it has is here now, or was.
    Settled,
    /// It has this object, whose bytes did not come along.
    Record(Box<LiveReplica>),
}

/// Where wanted bytes are to be had.
enum Source {
    /// Something changed here meanwhile: look again.
    Here,
    Peer(Arc<Neighbour>, Box<LiveReplica>),
}

/// Objects whose bytes a read is bringing.
#[derive(Debug, Default)]
pub(super) struct Restores(Mutex<HashSet<Unit>>);

/// Holds a unit among [`Restores`] until it is dropped.
pub(super) struct Restoring {
    site: Site,
    unit: Unit,
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.site.restores().remove(&self.unit);
    }
}

impl Site {
    fn restores(&self) -> std::sync::MutexGuard<'_, HashSet<Unit>> {
        self.inner.restores.0.lock().expect("nothing panics while it holds the restores")
    }

    /// Whether a read is bringing this unit's bytes, so that nobody else needs to.
    pub fn is_restoring(&self, unit: &Unit) -> bool {
        self.restores().contains(unit)
    }

    pub(super) fn begin_restoring(&self, unit: &Unit) -> Option<Restoring> {
        let begun = self.restores().insert(unit.clone());
        begun.then(|| Restoring { site: self.clone(), unit: unit.clone() })
    }

    /// Asks a site for a unit and takes what it has, with the bytes of small objects. An error says why it is not known.
    pub(super) async fn ask(&self, neighbour: &Neighbour, unit: &Unit, patience: Duration) -> Result<Answer, String> {
        let Fetched { replica, bytes } = fetched(&*neighbour.peer, unit, patience).await?;
        let incoming = Incoming { unit: unit.clone(), replica: replica.clone(), bytes: bytes.map(Bytes::from) };
        let mut applied = self.apply(unit, replica.clone(), incoming.body()).await;
        if let Ok(Applied::NeedsBucket) = applied {
            applied = self.apply_with_bucket(&*neighbour.peer, incoming, patience).await;
        }
        match (applied.map_err(|err| err.to_string())?, replica) {
            (Applied::NeedsBytes, Replica::Live(live)) => Ok(Answer::Record(live)),
            (Applied::NeedsBucket, _) => Err("its bucket is not known there".into()),
            _ => Ok(Answer::Settled),
        }
    }

    /// Applies a unit after its bucket, which was not known here.
    pub async fn apply_with_bucket(&self, peer: &dyn Peer, incoming: Incoming, patience: Duration) -> Result<Applied> {
        let bucket = Unit::Bucket(incoming.unit.bucket().clone());
        let found = fetched(peer, &bucket, patience).await.map_err(not_sent)?;
        self.apply(&bucket, found.replica, None).await?;
        let body = incoming.body();
        self.apply(&incoming.unit, incoming.replica, body).await
    }

    /// Notes an answer about a unit that is not here: a record whose bytes did not come along is kept without them.
    pub(super) async fn noted(&self, unit: &Unit, from: SiteNumber, answer: Result<Answer, String>) -> Result<(), String> {
        let (Answer::Record(live), Unit::Object { object, slot }) = (answer?, unit) else { return Ok(()) };
        let (site, object, slot) = (self.clone(), object.clone(), *slot);
        let noted = self.unstoppable(async move { site.note_wanted((&object, slot), &live, from).await });
        noted.await.map_err(|err| err.to_string())
    }

    /// Its record at once, its bytes as work: who reads it meanwhile is served by the site that has them. It may take the
    /// place of a record whose bytes are missing too.
    async fn note_wanted(&self, (object, slot): (&ObjectId, Slot), live: &LiveReplica, from: SiteNumber) -> Result<()> {
        let _key = self.lock_key(object).await?;
        let replica = Replica::Live(Box::new(live.clone()));
        for _ in 0..CONFLICTS_MAX {
            let known = self.known(object, slot).await?;
            let is_taken = matches!(self.decide(&known, &replica, Between::States), Decision::Take { .. });
            if !is_taken || known.has_bytes() {
                return Ok(());
            }
            let record = wanted_record(live, slot, self.inner.writes.next());
            let commit = self.superseding(object, &known, live.vector).seen(live.vector.greatest());
            let current = known.live();
            let commit = replacing(commit, object, Replacing { record: &record, part_map: &live.part_map, current });
            let Some(commit) = self.guard(object, &known, &replica, commit).await? else { return Ok(()) };
            let commit = self.with_work(&Unit::of(object, slot), live.vector, &[from], HEAD_START_MS, commit).await?;
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    tracing::debug!(stamp = %live.vector.data, %object, "known, its bytes are to be fetched");
                    return Ok(());
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Adds to a commit that an object's bytes are to be fetched, in so many milliseconds.
    pub(super) async fn with_work(
        &self,
        unit: &Unit,
        want: Vector,
        from: &[SiteNumber],
        in_ms: u64,
        commit: Commit,
    ) -> Result<Commit> {
        let before = self.inner.status.get::<Work>(unit).await?;
        let due_ms = self.inner.clock.wall_ms() + in_ms;
        let mut hint = Hint { want, sources: Vec::new(), due_ms, tries: 0, error: None };
        let mut commit = commit.expect::<Work>(unit, before.as_ref().map(|before| before.revision));
        if let Some(before) = before {
            commit = commit.delete::<Due>(&(before.row.due_ms, unit.clone()));
            hint = Hint { want: before.row.want.merge(want), sources: before.row.sources, ..hint };
        }
        hint.sources.extend(from);
        hint.sources.sort();
        hint.sources.dedup();
        Ok(commit.put::<Work>(unit, &hint).put::<Due>(&(due_ms, unit.clone()), &()))
    }

    /// Has an object's bytes fetched as soon as possible.
    async fn queue(&self, unit: &Unit, want: Vector) -> Result<()> {
        let soon_ms = self.inner.clock.wall_ms() + HEAD_START_MS;
        if self.inner.status.get::<Work>(unit).await?.is_some_and(|hint| hint.row.due_ms <= soon_ms) {
            return Ok(());
        }
        let commit = self.with_work(unit, want, &self.inner.neighbours.numbers(), 0, Commit::new()).await?;
        match self.inner.status.commit(commit).await {
            // Somebody else saw to it.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// A body of bytes that are missing here. `None`: something changed, look again.
    pub(super) async fn read_through(&self, object: &ObjectId, seen: &Seen) -> Result<Option<Body>> {
        let Source::Peer(neighbour, live) = self.source(object, &seen.record).await? else { return Ok(None) };
        let size = live.identity.size;
        let unit = Unit::of(object, seen.record.row.slot());
        let restoring = if seen.range == (0..size) { self.begin_restoring(&unit) } else { None };
        let (data, vector) = (live.vector.data, live.vector);
        let opened = open(&neighbour, object, data, seen.range.clone()).await.map_err(not_sent)?;
        let Some(restoring) = restoring else {
            if !self.is_restoring(&unit) {
                self.queue(&unit, vector).await?;
            }
            return Ok(Some(opened));
        };
        tracing::info!(stamp = %data, %object, peer = %neighbour.id.name, "read through");
        let (to_client, from_store) = lagging();
        let tapped = Body { size: Some(size), stream: tapped(opened.stream, to_client) };
        tokio::spawn(restore(self.clone(), restoring, *live, tapped));
        Ok(Some(self.followed(object, data, size, from_store)))
    }

    /// Brings missing bytes here before anything else happens. `Ok` means: look again.
    pub(super) async fn restore(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<()> {
        let Source::Peer(neighbour, live) = self.source(object, seen).await? else { return Ok(()) };
        let body = open(&neighbour, object, live.vector.data, 0..live.identity.size).await.map_err(not_sent)?;
        self.apply(&Unit::of(object, seen.row.slot()), Replica::Live(live), Some(body)).await?;
        Ok(())
    }

    /// Who has the bytes of a record that lacks them here.
    async fn source(&self, object: &ObjectId, record: &Stored<Record>) -> Result<Source> {
        let (unit, data) = (Unit::of(object, record.row.slot()), record.row.vector.data);
        let mut unasked = Vec::new();
        let mut newer: Option<(SiteNumber, Box<LiveReplica>)> = None;
        for neighbour in self.inner.neighbours.iter() {
            if neighbour.standing() == Standing::Unreachable {
                unasked.push(neighbour.id.name.as_str());
                continue;
            }
            match self.ask(neighbour, &unit, SOURCE_PATIENCE).await {
                Ok(Answer::Record(live)) if live.vector.data == data && live.has_bytes => {
                    return Ok(Source::Peer(Arc::clone(neighbour), live));
                }
                Ok(Answer::Record(live)) if live.vector.data > data && live.has_bytes => {
                    newer = Some((neighbour.id.number, live))
                }
                Ok(Answer::Record(_)) => {}
                Ok(Answer::Settled) => {
                    let now = self.inner.status.unit(object, record.row.slot()).await?;
                    if now.is_none_or(|now| now.revision != record.revision) {
                        return Ok(Source::Here);
                    }
                }
                Err(reason) => {
                    tracing::debug!(%object, peer = %neighbour.id.name, reason, "asked for bytes in vain");
                    unasked.push(neighbour.id.name.as_str());
                }
            }
        }
        let Some((site, live)) = newer else { return Err(no_source(&unasked)) };
        // What replaced it elsewhere is known now: that is what is read instead.
        self.noted(&unit, site, Ok(Answer::Record(live))).await.map_err(not_sent)?;
        let now = self.inner.status.unit(object, record.row.slot()).await?;
        if now.is_none_or(|now| now.revision != record.revision) { Ok(Source::Here) } else { Err(no_source(&unasked)) }
    }

    /// What the store was given, as far as the client keeps up, and then the rest.
    fn followed(&self, object: &ObjectId, data: Stamp, size: u64, store: Lagging) -> Body {
        let (site, object) = (self.clone(), object.clone());
        let start = Following { store: Some(store), rest: None, sent: 0 };
        let stream = stream::unfold(start, move |mut state| {
            let (site, object) = (site.clone(), object.clone());
            async move {
                if let Some(chunk) = state.next_of_store().await {
                    return Some((Ok(chunk), state));
                }
                if state.sent == size {
                    return None;
                }
                if state.rest.is_none() {
                    state.rest = Some(site.rest(&object, data, state.sent..size).await);
                }
                let chunk = state.rest.as_mut()?.next().await?;
                state.sent += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Some((chunk, state))
            }
        });
        Body::new(Some(size), stream)
    }

    /// The end of an object whose data has this stamp, from wherever it is.
    async fn rest(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> BoxStream<'static, Result<Bytes, BodyError>> {
        let here = self.unit_of_data(object, data).await.ok().flatten();
        if let Some(here) = here
            && let Ok(body) = self.open_bytes(object, &here.row, range.clone()).await
        {
            return body.stream;
        }
        for neighbour in self.inner.neighbours.iter().filter(|one| one.standing() != Standing::Unreachable) {
            if let Ok(body) = open(neighbour, object, data, range.clone()).await {
                return body.stream;
            }
        }
        stream::iter([Err(BodyError::Read("no site that can be asked has the rest of it".into()))]).boxed()
    }
}

/// The store's side of a read. Runs whatever the client does.
async fn restore(site: Site, restoring: Restoring, live: LiveReplica, body: Body) {
    let (vector, unit) = (live.vector, &restoring.unit);
    let applied = site.apply(unit, Replica::Live(Box::new(live)), Some(body)).await;
    if let Err(err) = applied {
        tracing::warn!(stamp = %vector.data, %unit, error = %err, "what was read through is not here yet");
        // The work that stands in its row does it: soon, rather than when the read was given a head start.
        if let Err(err) = site.queue(unit, vector).await {
            tracing::warn!(%unit, error = %err, "it could not be queued");
        }
    }
}

pub(super) async fn fetched(peer: &dyn Peer, unit: &Unit, patience: Duration) -> Result<Fetched, String> {
    let answer = timeout(patience, peer.fetch(std::slice::from_ref(unit))).await;
    let all = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|err| err.to_string())?;
    all.into_iter().next().ok_or_else(|| "an empty answer came".to_owned())
}

pub(super) async fn open(neighbour: &Neighbour, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body, String> {
    let opened = timeout(OPEN_PATIENCE, neighbour.peer.open(object, data, range)).await;
    opened.map_err(|_| "no answer in time".to_owned())?.map_err(|err| err.to_string())
}

fn not_sent(reason: String) -> Error {
    Error::Unavailable {
        reason: format!("the site that has the bytes did not send them: {reason}"),
        retry_after: Duration::from_secs(1),
    }
}

fn no_source(unasked: &[&str]) -> Error {
    if unasked.is_empty() {
        return Error::Lost;
    }
    let reason = format!("the bytes are missing here and may be at sites that cannot be asked: {}", unasked.join(", "));
    Error::Unavailable { reason, retry_after: Duration::from_secs(1) }
}

fn wanted_record(live: &LiveReplica, slot: Slot, write: WriteId) -> Record {
    Record {
        vector: live.vector,
        state: State::Wanted,
        identity: live.identity.clone(),
        // Where nothing is: bytes that come get another name.
        location: if slot == Slot::Null { Location::Plain } else { Location::Own(write) },
        binding: Binding::None,
        write,
        base: live.base,
        versioned: slot != Slot::Null,
        registers: live.registers.clone(),
    }
}

/// Where a client stands in a body that the store is given too.
struct Following {
    /// `None` once it ended, or the client fell behind.
    store: Option<Lagging>,
    rest: Option<BoxStream<'static, Result<Bytes, BodyError>>>,
    sent: u64,
}

impl Following {
    async fn next_of_store(&mut self) -> Option<Bytes> {
        let chunk = self.store.as_mut()?.next().await;
        if let Some(chunk) = &chunk {
            self.sent += chunk.len() as u64;
        } else {
            self.store = None;
        }
        chunk
    }
}

/// The client's end of a buffer of [`LAG_BYTES_MAX`].
struct Lagging {
    chunks: Receiver<Bytes>,
    held: Arc<AtomicU64>,
}

/// The store's end. Nothing is waited for: what does not fit ends the client's part.
struct ToClient {
    chunks: Option<Sender<Bytes>>,
    held: Arc<AtomicU64>,
}

fn lagging() -> (ToClient, Lagging) {
    let (sender, chunks) = mpsc::channel(LAG_CHUNKS_MAX);
    let held = Arc::new(AtomicU64::new(0));
    (ToClient { chunks: Some(sender), held: Arc::clone(&held) }, Lagging { chunks, held })
}

impl Lagging {
    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.recv().await?;
        self.held.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
        Some(chunk)
    }
}

impl ToClient {
    fn offer(&mut self, chunk: &Bytes) {
        let Some(chunks) = &self.chunks else { return };
        let bytes = chunk.len() as u64;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = held == 0 || held + bytes <= LAG_BYTES_MAX;
        if !fits || chunks.try_send(chunk.clone()).is_err() {
            self.chunks = None;
        }
    }
}

/// A body whose chunks a client hears too.
fn tapped(
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    mut client: ToClient,
) -> BoxStream<'static, Result<Bytes, BodyError>> {
    body.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            client.offer(chunk);
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_falls_behind_is_left_with_a_beginning() {
        let (mut store, mut client) = lagging();
        let chunk = Bytes::from(vec![7; 1 << 20]);
        (0..10).for_each(|_| store.offer(&chunk));
        let mut got = 0;
        while let Some(chunk) = client.next().await {
            got += chunk.len() as u64;
        }
        assert_eq!(got, LAG_BYTES_MAX);
    }

    #[tokio::test]
    async fn one_chunk_larger_than_the_buffer_passes() {
        let (mut store, mut client) = lagging();
        store.offer(&Bytes::from(vec![7; 5 << 20]));
        drop(store);
        assert_eq!(client.next().await.unwrap().len(), 5 << 20);
        assert!(client.next().await.is_none());
    }

    #[test]
    fn bytes_that_nobody_has_are_lost_only_if_everybody_was_asked() {
        assert!(matches!(no_source(&[]), Error::Lost));
        assert!(matches!(no_source(&["berlin"]), Error::Unavailable { .. }));
    }
}
