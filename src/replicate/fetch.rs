//! Bringing units here: their state is fetched from a site that has them, and applied.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;

use crate::model::{LiveReplica, Replica, Unit, Vector};
use crate::peer::{Error as PeerError, Fetched, Peer, SMALL_BYTES_MAX};
use crate::site::{Applied, Error, Incoming, Site};

/// For a batch of small units to come.
const FETCH_PATIENCE: Duration = Duration::from_secs(30);
/// For a bucket that an object needs.
const BUCKET_PATIENCE: Duration = Duration::from_secs(10);
/// Objects of a batch that wait for their bucket side by side.
const SIDE_BY_SIDE: usize = 32;

/// Why a unit did not get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nobody who has it answers: not asked.
    Unreachable,
    /// A read, or another transfer, is to bring it.
    Underway,
    /// Trying again may help.
    ForNow(String),
    /// It cannot be kept here: nothing but a person's act helps.
    ForGood(String),
}

/// What became of a unit that was fetched.
#[derive(Debug)]
pub enum Brought {
    Here,
    /// So much of it as that site has; others may have more that stamps do not tell.
    Part(Vector),
    /// That site knows nothing of it.
    Nothing,
    /// All but its bytes, which are too many to come along with others.
    Record(Box<LiveReplica>),
}

/// Of each unit.
pub type Outcomes = Vec<(Unit, Result<Brought, Missed>)>;

/// Fetches units from a peer and applies them.
pub async fn fetch(site: Site, peer: Arc<dyn Peer>, units: Vec<Unit>) -> Outcomes {
    let (mut outcomes, mut left) = (Vec::with_capacity(units.len()), units);
    loop {
        let asked = left.len();
        let (decided, crowded_out) = match fetched(&*peer, &left).await {
            Ok(fetched) => applied(&site, &peer, left, fetched).await,
            Err(reason) => (left.into_iter().map(|unit| (unit, Err(Missed::ForNow(reason.clone())))).collect(), Vec::new()),
        };
        outcomes.extend(decided);
        // Bodies are small one by one, and were too many for one answer.
        let comes_along = crowded_out.len() < asked;
        if crowded_out.is_empty() || !comes_along {
            outcomes.extend(crowded_out.into_iter().map(|(unit, live)| (unit, Ok(Brought::Record(live)))));
            return outcomes;
        }
        left = crowded_out.into_iter().map(|(unit, _)| unit).collect();
    }
}

async fn fetched(peer: &dyn Peer, units: &[Unit]) -> Result<Vec<Fetched>, String> {
    match timeout(FETCH_PATIENCE, peer.fetch(units)).await {
        Ok(Ok(fetched)) if fetched.len() == units.len() => Ok(fetched),
        Ok(Ok(fetched)) => Err(format!("{} answers came", fetched.len())),
        Ok(Err(err)) => Err(err.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}

/// Applies what was fetched. Beside the outcomes: small objects whose bytes did not come along.
async fn applied(
    site: &Site,
    peer: &Arc<dyn Peer>,
    units: Vec<Unit>,
    fetched: Vec<Fetched>,
) -> (Outcomes, Vec<(Unit, Box<LiveReplica>)>) {
    let mut incoming = Vec::with_capacity(units.len());
    for (unit, Fetched { replica, bytes }) in units.into_iter().zip(fetched) {
        #[cfg(test)]
        let replica = as_planted(site, &unit, replica).await;
        incoming.push(Incoming { unit, replica, bytes: bytes.map(Bytes::from) });
    }
    let applied = site.apply_all(incoming.clone()).await;
    let brought = futures::stream::iter(incoming.into_iter().zip(applied)).map(|(incoming, applied)| async move {
        let unit = incoming.unit.clone();
        (unit, brought(site, peer, incoming, applied).await)
    });
    let (mut outcomes, mut crowded_out) = (Vec::new(), Vec::new());
    for (unit, outcome) in brought.buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await {
        match outcome {
            Ok(Brought::Record(live)) if live.identity.size <= SMALL_BYTES_MAX => crowded_out.push((unit, live)),
            outcome => outcomes.push((unit, outcome)),
        }
    }
    (outcomes, crowded_out)
}

async fn brought(
    site: &Site,
    peer: &Arc<dyn Peer>,
    incoming: Incoming,
    applied: Result<Applied, Error>,
) -> Result<Brought, Missed> {
    let replica = incoming.replica.clone();
    let applied = match applied {
        Ok(Applied::NeedsBucket) => site.apply_with_bucket(&**peer, incoming, BUCKET_PATIENCE).await,
        applied => applied,
    };
    match (applied.map_err(missed)?, replica) {
        (Applied::Part(vector), _) => Ok(Brought::Part(vector)),
        (Applied::Reached(_), _) => Ok(Brought::Here),
        (Applied::NeedsBytes, Replica::Live(live)) if live.has_bytes => Ok(Brought::Record(live)),
        (Applied::NeedsBytes, Replica::Live(_)) => Err(Missed::ForNow("the site that told of it lost its bytes".into())),
        (Applied::Unknown, _) => Ok(Brought::Nothing),
        (other, _) => Err(Missed::ForNow(format!("it changed while it came ({other:?})"))),
    }
}

/// Brings the bytes of an object whose record was fetched.
pub async fn fetch_bytes(site: Site, peer: Arc<dyn Peer>, unit: Unit, live: Box<LiveReplica>) -> Outcomes {
    let outcome = bytes(&site, &peer, &unit, live).await;
    vec![(unit, outcome)]
}

async fn bytes(site: &Site, peer: &Arc<dyn Peer>, unit: &Unit, live: Box<LiveReplica>) -> Result<Brought, Missed> {
    let Unit::Object { object, .. } = unit else { return Err(Missed::ForNow("it needs bytes and is no object".into())) };
    let opened = peer.open(object, live.vector.data, 0..live.identity.size).await;
    let body = opened.map_err(|err: PeerError| Missed::ForNow(err.to_string()))?;
    match site.apply(unit, Replica::Live(live), Some(body)).await.map_err(missed)? {
        Applied::Reached(_) => Ok(Brought::Here),
        Applied::Part(vector) => Ok(Brought::Part(vector)),
        Applied::NeedsBucket => Err(Missed::ForNow("its bucket went while its bytes came".into())),
        other => Err(Missed::ForNow(format!("it changed while its bytes came ({other:?})"))),
    }
}

fn missed(err: Error) -> Missed {
    match err {
        err @ (Error::UnstorableName(_) | Error::EntityTooLarge { .. } | Error::Name(_)) => Missed::ForGood(err.to_string()),
        err => Missed::ForNow(err.to_string()),
    }
}

/// What was told in place of what was fetched, where a test wants that.
#[cfg(test)]
async fn as_planted(site: &Site, unit: &Unit, replica: Replica) -> Replica {
    if !planted!(EventsOwnVector) {
        return replica;
    }
    let work = site.status().get::<crate::status::tables::Work>(unit).await.expect("it can be read");
    match (replica, work) {
        (Replica::Live(live), Some(work)) => {
            Replica::Live(Box::new(crate::model::LiveReplica { vector: work.row.want, ..*live }))
        }
        (replica, _) => replica,
    }
}
