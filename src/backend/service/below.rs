//! Names below others, as `a/b` is below `a`. Services over directories refuse one of both. MinIO takes both and leaves the lower one
//! out of its listings, from which lost rows are restored: there bytes come to no name that is hidden, or would hide another.

use bytes::Bytes;

use super::store::Core;
use super::{Answer, Cursor, Fault, Service, Spot};
use crate::backend::Result;
use crate::model::ObjectId;

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
            // S3Proxy says that it broke.
            Err(fault) if fault.is_name_refused() || fault.status == Some(500) => Ok(Below::Refused),
            Err(fault) if fault.is_denied() || fault.is_passing() => Err(fault.into()),
            Err(_) => Ok(Below::Refused),
        }
    }

    /// Fails where bytes at a name would hide others, or may do so together with a copy that is under way. The copy to this one is
    /// noted before: of two that look at once, one sees the other.
    pub(super) async fn refuse_to_hide(&self, object: &ObjectId, at: &Spot) -> Answer<()> {
        if self.nature.below != Below::Hidden || !self.pending.holds_kin(object) && !self.has_below(at).await? {
            return Ok(());
        }
        let detail = format!("{object} is above another key, or below it, and the service would list one of them only");
        Err(Fault::nonsense("bringing an object to its name", detail).of_taken_name())
    }

    /// Whether what has a name is left out of listings.
    pub(super) async fn is_hidden(&self, at: &Spot) -> Answer<bool> {
        if self.nature.below != Below::Hidden {
            return Ok(false);
        }
        // A listing of what begins with the name shows it in more cases than others do.
        let mut behind = just_before(&at.name);
        loop {
            let first = || self.service.first_behind(&at.bucket, &behind);
            match self.quick("looking whether a name is listed", 0, || Box::pin(first())).await? {
                Some(between) if between < at.name => behind = between,
                found => return Ok(found.as_ref() != Some(&at.name)),
            }
        }
    }

    /// Where names are files, none is below another, and some services say of such a name that they broke.
    pub(super) async fn explained(&self, fault: Fault, at: &Spot) -> Answer<Fault> {
        let may_be_taken = self.nature.below == Below::Refused && fault.status == Some(500);
        Ok(if may_be_taken && self.is_taken(at).await? { fault.of_taken_name() } else { fault })
    }

    /// Whether something is above a name, or below it.
    async fn is_taken(&self, at: &Spot) -> Answer<bool> {
        for (slash, _) in at.name.rmatch_indices('/') {
            let above = Spot::new(at.bucket.clone(), at.name[..slash].to_owned());
            if self.seen(&above).await?.is_some() {
                return Ok(true);
            }
        }
        self.has_below(at).await
    }

    async fn has_below(&self, at: &Spot) -> Answer<bool> {
        let (folder, mut from) = (format!("{}/", at.name), Cursor::Start);
        loop {
            let page = self.page(&at.bucket, &folder, &from).await?;
            match page.next {
                _ if !page.listed.is_empty() => return Ok(true),
                Some(next) => from = Cursor::Next(next),
                None => return Ok(false),
            }
        }
    }
}

/// A name behind which the given one comes, and hardly another in between.
fn just_before(name: &str) -> String {
    let last = name.chars().next_back().expect("no name is empty");
    let previous = (0..u32::from(last)).rev().find_map(char::from_u32);
    let begin = &name[..name.len() - last.len_utf8()];
    previous.map_or_else(|| begin.to_owned(), |previous| format!("{begin}{previous}{}", char::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::backend::service::Late;
    use crate::backend::{Backend, Body, Kept, Place, Published, PutOptions};
    use crate::model::{BucketName, Incarnation, Key, Location, WriteId};

    #[test]
    fn hardly_a_name_comes_in_between() {
        for (name, others) in [("a/b", ["a/", "a/a", "a/azz", "a"]), ("é", ["a", "zz", "z\u{10FFFF}", "aé"])] {
            let before = just_before(name);
            assert!(before.as_str() < name && others.iter().all(|other| *other < before.as_str()), "{name} {before:?}");
        }
        assert!(just_before("\u{E000}").as_str() < "\u{E000}", "there are no characters just before that one");
    }

    async fn hiding() -> (Late, Arc<dyn Backend>) {
        let service = Late::new(1, false);
        service.hide_below();
        let store = service.open().await;
        store.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
        (service, store)
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_its_name_is_listed() {
        let service = Late::new(1, false);
        service.hide_below();
        crate::backend::conformance::names::what_comes_to_its_name_is_listed(service.open().await).await;
    }

    fn object(key: &str) -> ObjectId {
        ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new(key).unwrap() }
    }

    async fn put(store: &Arc<dyn Backend>, key: &str, n: u64) -> Kept {
        let options = PutOptions { write: WriteId::new(Incarnation(1), 1, n), ..PutOptions::any() };
        store.put(&object(key), Body::from(Bytes::from_static(b"ours")), options).await.unwrap()
    }

    async fn publish(store: &Arc<dyn Backend>, key: &str, kept: &Kept) -> Result<Published> {
        store.publish(&Place { object: object(key), location: kept.location.clone() }, &kept.binding).await
    }

    fn plain_names(service: &Late) -> Vec<String> {
        service.names("bucket").into_keys().filter(|name| !name.starts_with('.')).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn over_what_others_put_below_each_other_nothing_hidden_is_written() {
        let (service, store) = hiding().await;
        service.store_theirs("bucket", "a", "theirs");
        service.store_theirs("bucket", "a/b", "theirs");
        let kept = put(&store, "a/b", 1).await;
        assert_eq!(publish(&store, "a/b", &kept).await.unwrap(), Published::Stays);
        assert_eq!(plain_names(&service), ["a"], "what was written over is gone, and ours has a name of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_comes_late_hides_nothing_and_is_not_hidden() {
        for (late, other) in [("a/b", "a"), ("a", "a/b")] {
            let (service, store) = hiding().await;
            let (one, two) = (put(&store, late, 1).await, put(&store, other, 2).await);
            service.delay_next(Duration::from_secs(60));
            let unknown = publish(&store, late, &one).await;
            assert!(unknown.is_err(), "{unknown:?}");
            assert_eq!(publish(&store, other, &two).await.unwrap(), Published::Stays, "{other}");
            tokio::time::sleep(Duration::from_secs(61)).await;
            assert_eq!(publish(&store, late, &one).await.unwrap(), Published::Done, "{late}");
            assert_eq!(plain_names(&service), [late]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_was_hidden_meanwhile_is_taken_back() {
        let (service, store) = hiding().await;
        let one = put(&store, "a/b", 1).await;
        service.delay_next(Duration::from_secs(60));
        publish(&store, "a/b", &one).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(61)).await;
        service.store_theirs("bucket", "a", "theirs");
        let waits = publish(&store, "a/b", &one).await;
        assert!(waits.is_err(), "the first call may be under way yet: {waits:?}");
        tokio::time::sleep(Duration::from_secs(15 * 60)).await;
        assert_eq!(publish(&store, "a/b", &one).await.unwrap(), Published::Stays);
        assert_eq!(plain_names(&service), ["a"]);
        let at = Place { object: object("a/b"), location: Location::Own(WriteId::new(Incarnation(1), 1, 1)) };
        assert_eq!(store.head(&at).await.unwrap().binding, one.binding);
    }
}
