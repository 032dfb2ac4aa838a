//! A counter that many increment by compare and swap: each tries until it won often enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::json;

use crate::{Client, Refused, Request, Said};

#[derive(Default)]
struct Tally {
    created: AtomicU64,
    won: AtomicU64,
    lost: AtomicU64,
}

pub async fn count<C: Client>(client: &Arc<C>, asked: Request) -> Said {
    let (asked, tally) = (Arc::new(asked), Arc::new(Tally::default()));
    let racers = (0..asked.threads).map(|_| tokio::spawn(alone(client.clone(), asked.clone(), tally.clone())));
    for racer in racers.collect::<Vec<_>>() {
        racer.await.map_err(Refused::here)??;
    }
    Ok(json!({ "created": tally.created.load(Relaxed), "won": tally.won.load(Relaxed), "lost": tally.lost.load(Relaxed) }))
}

async fn alone<C: Client>(client: Arc<C>, asked: Arc<Request>, tally: Arc<Tally>) -> Result<(), Refused> {
    if won(client.write(&asked, "0".into(), None).await)? {
        tally.created.fetch_add(1, Relaxed);
    }
    let mut mine = 0;
    while mine < asked.steps {
        let (etag, body) = client.read(&asked).await?;
        let number: u64 = body.parse().map_err(Refused::here)?;
        if won(client.write(&asked, (number + 1).to_string(), Some(etag)).await)? {
            mine += 1;
            tally.won.fetch_add(1, Relaxed);
        } else {
            tally.lost.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

fn won(said: Result<(), Refused>) -> Result<bool, Refused> {
    match said {
        Ok(()) => Ok(true),
        Err(refused) if refused.lost() => Ok(false),
        Err(refused) => Err(refused),
    }
}
