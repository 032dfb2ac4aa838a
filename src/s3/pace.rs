//! How fast a key may go: requests and bytes a second, each with one second of them ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tasks::{Brake, Due};

/// Bounds on one key; none is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub requests_per_second_max: Option<u32>,
    /// Of bodies, both ways together.
    pub bytes_per_second_max: Option<u64>,
}

/// How far each key has gone; clones share it. Only keys that exist come here, and all strangers under one name, so it stays as small as their list.
#[derive(Clone, Debug, Default)]
pub struct Paces(Arc<Mutex<HashMap<String, Gone>>>);

/// How far a key has gone.
#[derive(Clone, Debug, Default)]
struct Gone {
    requests: Arc<Due>,
    bytes: Arc<Due>,
}

impl Paces {
    /// Counts a request. Where it is one too many, how long to stay away.
    pub fn admit(&self, access_key: &str, pace: Pace) -> Result<Option<Brake>, Duration> {
        if pace == Pace::default() {
            return Ok(None);
        }
        let gone = self.of(access_key);
        if let Some(rate) = pace.requests_per_second_max {
            gone.requests.take_if(Duration::from_secs(1) / rate.max(1))?;
        }
        Ok(pace.bytes_per_second_max.map(|rate| Brake::new(gone.bytes, rate)))
    }

    fn of(&self, access_key: &str) -> Gone {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = all.get(access_key) {
            return gone.clone();
        }
        all.entry(access_key.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    fn admit(paces: &Paces, key: &str, rate: u32) -> Result<(), Duration> {
        let pace = Pace { requests_per_second_max: Some(rate), ..Pace::default() };
        paces.admit(key, pace).map(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_its_requests_a_second_and_no_other_key_pays_for_it() {
        let paces = Paces::default();
        for _ in 0..10 {
            admit(&paces, "a", 10).unwrap();
        }
        let wait = admit(&paces, "a", 10).unwrap_err();
        assert!(wait <= Duration::from_millis(100) && !wait.is_zero(), "{wait:?}");
        admit(&paces, "b", 10).unwrap();
        sleep(Duration::from_millis(101)).await;
        admit(&paces, "a", 10).unwrap();
        assert!(admit(&paces, "a", 10).is_err());
        sleep(Duration::from_secs(60)).await;
        assert_eq!((0..20).filter(|_| admit(&paces, "a", 10).is_ok()).count(), 10, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_a_key_share_its_bytes() {
        let (paces, began) = (Paces::default(), Instant::now());
        let pace = Pace { bytes_per_second_max: Some(1000), ..Pace::default() };
        for key in ["a", "a", "b"] {
            paces.admit(key, pace).unwrap().unwrap().pass(2000).await;
        }
        assert_eq!(began.elapsed().as_secs(), 4, "three for the two of the first key, one of the other's");
    }

    #[tokio::test]
    async fn without_a_bound_nothing_is_counted() {
        let paces = Paces::default();
        assert!(paces.admit("a", Pace::default()).unwrap().is_none());
        assert!(paces.0.lock().unwrap().is_empty());
    }
}
