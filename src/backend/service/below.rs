//! Names below others, as `a/b` is below `a`. Services over directories refuse one of both. MinIO takes both and lists the upper
//! one only, where lost rows are restored from listings: there the later one is kept from its plain name.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures::future::try_join_all;

use super::store::Core;
use super::{Answer, Cursor, Fault, Service, Spot};
use crate::backend::Result;

/// Of what is tried out, a name below another.
pub(super) const BELOW: &str = "a0/b";

/// What becomes of a name below another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Below {
    #[default]
    Listed,
    Refused,
    Hidden,
}

impl<S: Service> Core<S> {
    pub(super) async fn probe_below(&self) -> Result<Below> {
        let target = self.probe_target(BELOW, 9);
        match self.put_held(&target, Bytes::from_static(b"probe")).await {
            Ok(()) => {
                let is_listed = self.probes().await?.iter().any(|name| name == BELOW);
                self.remove_any("removing a probe", &target.spot).await?;
                Ok(if is_listed { Below::Listed } else { Below::Hidden })
            }
            Err(fault) if fault.is_silence() || fault.is_denied() => Err(fault.into()),
            Err(_) => Ok(Below::Refused),
        }
    }

    /// Whether a listing would leave out a name that is brought, or another because of it.
    pub(super) async fn would_hide(&self, arrival: &Arrival<'_>) -> Answer<bool> {
        Ok(self.nature.below == Below::Hidden && (arrival.meets_kin() || self.is_taken(&arrival.spot).await?))
    }

    /// Where names are files, none is below another, and some services say of such a name that they broke.
    pub(super) async fn explained(&self, fault: Fault, at: &Spot) -> Answer<Fault> {
        let may_be_taken = self.nature.below == Below::Refused && fault.status == Some(500);
        Ok(if may_be_taken && self.is_taken(at).await? { fault.of_taken_name() } else { fault })
    }

    /// Whether something is above a name, or below it.
    async fn is_taken(&self, at: &Spot) -> Answer<bool> {
        let above = above(&at.name).map(|name| Spot::new(at.bucket.clone(), name.to_owned()));
        let above = try_join_all(above.map(|spot| async move { self.seen(&spot).await })).await?;
        if above.iter().any(Option::is_some) {
            return Ok(true);
        }
        let below = self.page(&at.bucket, &format!("{}/", at.name), &Cursor::Start).await?;
        Ok(!below.listed.is_empty())
    }
}

/// The names above one, the nearest first.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('/').map(|(slash, _)| &name[..slash])
}

/// Bucket and name.
type Name = (String, String);

/// Plain names that bytes are being brought to, and how many calls bring some: of two that are above each other both may be
/// missing at the service yet.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<BTreeMap<Name, u32>>);

impl Arrivals {
    pub fn begin(&self, spot: &Spot) -> Arrival<'_> {
        *self.names().entry((spot.bucket.clone(), spot.name.clone())).or_default() += 1;
        Arrival { arrivals: self, spot: spot.clone() }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<Name, u32>> {
        self.0.lock().expect("nothing panics while it holds the names")
    }
}

/// A name that bytes are being brought to.
pub(super) struct Arrival<'a> {
    arrivals: &'a Arrivals,
    spot: Spot,
}

impl Arrival<'_> {
    /// Whether bytes are being brought to a name above this one, or below it.
    fn meets_kin(&self) -> bool {
        let (Spot { bucket, name, .. }, names) = (&self.spot, self.arrivals.names());
        let mut above = above(name).map(|above| (bucket.clone(), above.to_owned()));
        let folder = (bucket.clone(), format!("{name}/"));
        let behind = names.range(&folder..).next();
        above.any(|above| names.contains_key(&above))
            || behind.is_some_and(|((bucket, name), _)| *bucket == folder.0 && name.starts_with(&folder.1))
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let (name, mut names) = ((self.spot.bucket.clone(), self.spot.name.clone()), self.arrivals.names());
        if let Some(calls) = names.get_mut(&name).filter(|calls| **calls > 1) {
            *calls -= 1;
        } else {
            names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_above_and_below_each_other_meet() {
        let arrivals = Arrivals::default();
        let begin = |bucket: &str, name: &str| arrivals.begin(&Spot::new(bucket.to_owned(), name.to_owned()));
        let (one, again) = (begin("b", "a/b"), begin("b", "a/b"));
        assert!(!one.meets_kin(), "the same name is none of them");
        for (bucket, name, meets) in [
            ("b", "a", true),
            ("b", "a/b/c/d", true),
            ("b", "a/b-c", false),
            ("b", "a/", false),
            ("b", "a/bc/d", false),
            ("c", "a", false),
            ("c", "a/b/c", false),
        ] {
            assert_eq!(begin(bucket, name).meets_kin(), meets, "{bucket} {name}");
        }
        drop(again);
        assert!(begin("b", "a").meets_kin(), "it is brought yet");
        drop(one);
        assert!(!begin("b", "a").meets_kin());
        assert!(arrivals.names().is_empty());
    }
}
