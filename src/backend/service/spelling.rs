//! Names that a service refuses, or takes for others. Only foreign bytes have such names: ours lie at names of ours then.

use super::names::is_odd;
use super::store::Core;
use super::{Answer, Cursor, Fault, Service, Spot};
use crate::backend::{Error, Place, Result};
use crate::model::Location;

impl<S: Service> Core<S> {
    /// Whether other names lead to one that is there.
    pub(super) async fn probe_spellings(&self) -> Result<bool> {
        let name = self.names.probe("a0");
        let below = |between: &str| name.replacen('/', between, 1);
        for other in [format!("/{name}"), format!("./{name}"), format!("{name}/"), below("//"), below("/./"), below("/x/../")] {
            match self.seen(&Spot::new(self.home.clone(), other)).await {
                Ok(None) => {}
                Err(fault) if fault.is_silence() => return Err(fault.into()),
                // What it makes of such names is not known then.
                Ok(Some(_)) | Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// A service that refuses a name has nothing there. What answers a HEAD gives no reason, and not every 400 is that: a listing
    /// tells.
    pub(super) async fn unless_no_name<T>(&self, at: &Spot, answer: Answer<T>) -> Answer<T> {
        let Err(fault) = answer else { return answer };
        let is_untold = fault.status == Some(400) && fault.code.is_empty() && at.version.is_none();
        let is_no_name = match is_untold && is_odd(&at.name) {
            true => self.is_listed(at).await.is_err_and(|told| told.is_no_prefix()),
            false => fault.is_no_name(),
        };
        Err(if is_no_name { Fault { status: Some(404), code: String::new(), ..fault } } else { fault })
    }

    /// Fails where a name would lead to something else: services over directories take `a/` and `a/./b` for `a` and `a/b`, MinIO
    /// `/a` for `a`. There something has such a name only if it is listed under it.
    pub(super) async fn check_name(&self, at: &Place) -> Result<()> {
        if at.location != Location::Plain || !self.nature.confuses_names || self.has_plain(&at.object.key) {
            return Ok(());
        }
        match self.is_listed(&self.plain(&at.object)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotFound),
            Err(fault) if fault.is_no_prefix() => Err(Error::NotFound),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn is_listed(&self, at: &Spot) -> Answer<bool> {
        let mut from = Cursor::Start;
        loop {
            let page = self.page(&at.bucket, &at.name, &from).await?;
            match page.next {
                _ if page.listed.iter().any(|listed| listed.name == at.name) => return Ok(true),
                // Longer names come behind it.
                Some(next) if page.listed.is_empty() => from = Cursor::Next(next),
                _ => return Ok(false),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::backend::service::Late;
    use crate::backend::{Backend, Body, GetOptions, PutOptions};
    use crate::model::{Binding, BucketName, Key, ObjectId};

    const ODD: [&str; 6] = ["/a", "a//b", "./a", "a/../a", "a/.", ".."];

    fn at(key: &str, location: Location) -> Place {
        Place { object: ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new(key).unwrap() }, location }
    }

    fn plain(key: &str) -> Place {
        at(key, Location::Plain)
    }

    /// A service with a bucket, and its store.
    async fn opened(service: Late) -> (Late, Arc<dyn Backend>) {
        let store = service.open().await;
        store.create_bucket(&plain("a").object.bucket).await.unwrap();
        service.store_theirs("bucket", "a", "theirs");
        (service, store)
    }

    async fn holds_nothing(store: &Arc<dyn Backend>, odd: &str) {
        let looked = store.head(&plain(odd)).await;
        assert!(matches!(looked, Err(Error::NotFound)), "{odd}: {looked:?}");
        let read = store.get(&plain(odd), GetOptions::default()).await.map(|fetched| fetched.found);
        assert!(matches!(read, Err(Error::NotFound)), "{odd}: {read:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_to_another_holds_nothing() {
        let service = Late::new(1, false);
        service.spell_as_minio();
        let (_service, store) = opened(service).await;
        for odd in ODD {
            holds_nothing(&store, odd).await;
        }
        assert_eq!(store.head(&plain("a")).await.unwrap().size, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_refused_holds_nothing_and_its_key_has_a_name_of_ours() {
        let (service, store) = opened(Late::new(1, false)).await;
        // Unseen by the start: only its answers say so.
        service.spell_as_minio();
        for odd in ODD.into_iter().filter(|odd| *odd != "/a") {
            holds_nothing(&store, odd).await;
            store.delete(&plain(odd), &Binding::Tag("another".to_owned())).await.unwrap();
            let kept = store.put(&plain(odd).object, Body::from(Bytes::from_static(b"ours")), PutOptions::any()).await.unwrap();
            let fetched = store.get(&at(odd, kept.location), GetOptions::default()).await.unwrap();
            assert_eq!(fetched.body.collect(9).await.unwrap(), "ours");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_odd_name_is_no_reason_to_take_an_answer_without_reason_for_nothing() {
        let (service, store) = opened(Late::new(1, false)).await;
        service.store_theirs("bucket", "a//b", "theirs");
        service.deny_looks(400, "");
        for odd in ["a//b", "a//c"] {
            let looked = store.head(&plain(odd)).await;
            assert!(matches!(looked, Err(Error::Unavailable(_))), "{odd}: {looked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_over_is_read_anew_at_once() {
        let (service, store) = opened(Late::new(1, false)).await;
        service.deny_looks(400, "ExpiredToken");
        let looked = store.head(&plain("a")).await;
        assert!(matches!(&looked, Err(Error::Unavailable(reason)) if reason.contains("credentials")), "{looked:?}");
        assert_eq!(service.forgotten(), 2, "once for each of two attempts");
    }
}
