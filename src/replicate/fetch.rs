//! Bringing units here: their state is fetched from a site that has them, and applied.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;

use crate::backend::Body;
use crate::model::{Replica, Unit};
use crate::peer::{Error as PeerError, Fetched, Peer};
use crate::site::{Applied, Error, Site};

/// For a batch of small units to come.
const FETCH_PATIENCE: Duration = Duration::from_secs(30);
/// Units of a batch that are applied side by side: their commits meet in few transactions.
const SIDE_BY_SIDE: usize = 32;

/// Why a unit did not get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nobody who has it answers: not asked.
    Unreachable,
    /// A read is bringing it already.
    Underway,
    /// Trying again may help.
    ForNow(String),
    /// It cannot be kept here: nothing but a person's act helps.
    ForGood(String),
}

/// Fetches units from a peer and applies each. Answers in the order of `units`.
pub async fn fetch(site: &Site, peer: &Arc<dyn Peer>, units: Vec<Unit>) -> Vec<(Unit, Result<(), Missed>)> {
    let fetched = match timeout(FETCH_PATIENCE, peer.fetch(&units)).await {
        Ok(Ok(fetched)) if fetched.len() == units.len() => fetched,
        Ok(Ok(fetched)) => return all_missed(units, &format!("{} answers came", fetched.len())),
        Ok(Err(err)) => return all_missed(units, &err.to_string()),
        Err(_) => return all_missed(units, "no answer in time"),
    };
    let applied = futures::stream::iter(units.into_iter().zip(fetched)).map(|(unit, fetched)| async move {
        let outcome = bring(site, peer, &unit, fetched).await;
        (unit, outcome)
    });
    applied.buffered(SIDE_BY_SIDE).collect().await
}

fn all_missed(units: Vec<Unit>, reason: &str) -> Vec<(Unit, Result<(), Missed>)> {
    units.into_iter().map(|unit| (unit, Err(Missed::ForNow(reason.to_owned())))).collect()
}

/// Applies what was fetched, with its bytes and after its bucket, where it needs them.
async fn bring(site: &Site, peer: &Arc<dyn Peer>, unit: &Unit, fetched: Fetched) -> Result<(), Missed> {
    let Fetched { replica, bytes } = fetched;
    #[cfg(test)]
    let replica = as_planted(site, unit, replica).await;
    let body = bytes.map(|bytes| Body::from(bytes::Bytes::from(bytes)));
    match apply(site, unit, &replica, body).await? {
        Applied::Reached(_) => Ok(()),
        Applied::Unknown => Err(Missed::ForNow("the site that told of it knows nothing of it any more".into())),
        Applied::NeedsBytes => with_bytes(site, peer, unit, &replica).await,
        Applied::NeedsBucket => with_bucket(site, peer, unit).await,
    }
}

async fn with_bytes(site: &Site, peer: &Arc<dyn Peer>, unit: &Unit, replica: &Replica) -> Result<(), Missed> {
    let (Unit::Object { object, .. }, Replica::Live(live)) = (unit, replica) else {
        return Err(Missed::ForNow("it needs bytes and is no object".into()));
    };
    if !live.has_bytes {
        return Err(Missed::ForNow("the site that told of it lost its bytes".into()));
    }
    let body = peer.open(object, live.vector.data, 0..live.identity.size).await.map_err(for_now)?;
    match apply(site, unit, replica, Some(body)).await? {
        Applied::Reached(_) => Ok(()),
        Applied::NeedsBucket => Err(Missed::ForNow("its bucket went while its bytes came".into())),
        other => Err(Missed::ForNow(format!("it changed while its bytes came ({other:?})"))),
    }
}

/// The bucket first, then the object as it is by then.
async fn with_bucket(site: &Site, peer: &Arc<dyn Peer>, unit: &Unit) -> Result<(), Missed> {
    let bucket = Unit::Bucket(unit.bucket().clone());
    let fetched = peer.fetch(&[bucket.clone(), unit.clone()]).await.map_err(for_now)?;
    let Ok([found, again]) = <[Fetched; 2]>::try_from(fetched) else {
        return Err(Missed::ForNow("its bucket was not told".into()));
    };
    apply(site, &bucket, &found.replica, None).await?;
    let body = again.bytes.map(|bytes| Body::from(bytes::Bytes::from(bytes)));
    match apply(site, unit, &again.replica, body).await? {
        Applied::Reached(_) => Ok(()),
        Applied::NeedsBytes => with_bytes(site, peer, unit, &again.replica).await,
        other => Err(Missed::ForNow(format!("its bucket came, and it did not ({other:?})"))),
    }
}

async fn apply(site: &Site, unit: &Unit, replica: &Replica, body: Option<Body>) -> Result<Applied, Missed> {
    site.apply(unit, replica.clone(), body).await.map_err(|err| match err {
        err @ (Error::UnstorableName(_) | Error::EntityTooLarge { .. } | Error::Name(_)) => Missed::ForGood(err.to_string()),
        err => Missed::ForNow(err.to_string()),
    })
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

fn for_now(err: PeerError) -> Missed {
    Missed::ForNow(err.to_string())
}
