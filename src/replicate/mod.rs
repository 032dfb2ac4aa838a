//! Following other sites: hearing what they told (`follow`), writing it down as work (`absorb`), fetching and applying it
//! (`work`). Which of two writes wins is `model::decide`; the only way in is [`Site::apply`](crate::site::Site::apply).

mod absorb;
mod fetch;
mod follow;
mod greet;
mod heads;
mod open;
mod put_off;
mod retry;
mod work;

use std::sync::Arc;

use tokio::sync::Notify;

pub use absorb::absorb_hints;
pub use greet::{greet, next_life};
pub use heads::heads_for;
pub use open::{Error, Opening, open_status};
pub use put_off::is_given_up;
pub use retry::{Retried, Which, retell_failed, retry_work};

use crate::site::Site;
use crate::tasks::Worker;

/// Wakes whoever fetches, when there is something to fetch.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    async fn rung(&self) {
        self.0.notified().await;
    }
}

/// The workers that follow every neighbour of a site. `seed` spreads the pauses between tries.
pub fn workers(site: &Site, bell: &Bell, seed: u64) -> Vec<Box<dyn Worker>> {
    if site.neighbours().is_empty() {
        return Vec::new();
    }
    let follow =
        |neighbour| Box::new(follow::Follower::new(site.clone(), Arc::clone(neighbour), bell.clone())) as Box<dyn Worker>;
    let mut workers: Vec<Box<dyn Worker>> = site.neighbours().iter().map(follow).collect();
    workers.push(Box::new(work::Fetcher::new(site.clone(), bell.clone(), seed)));
    workers
}
