//! Names that a service refuses, or takes for others. Only foreign bytes have such names: ours lie at names of ours then.

use super::store::Core;
use super::{Answer, Cursor, Service, Spot};
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

    /// Fails where a name would lead to something else: services over directories take `a/` and `a/./b` for `a` and `a/b`, MinIO
    /// `/a` for `a`. There something has such a name only if it is listed under it.
    pub(super) async fn check_name(&self, at: &Place) -> Result<()> {
        if at.location != Location::Plain || !self.nature.confuses_names || self.has_plain(&at.object.key) {
            return Ok(());
        }
        let spot = self.plain(&at.object);
        match self.is_listed(&spot).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotFound),
            // Not even the beginning of a name there.
            Err(fault) if fault.is_no_name() => Err(Error::NotFound),
            // S3Proxy says no more: it is the name if another listing goes well.
            Err(fault) if fault.is(&["InvalidRequest"]) && self.lists(&spot.bucket).await => Err(Error::NotFound),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn lists(&self, bucket: &str) -> bool {
        self.page(bucket, &self.names.own_prefix(), &Cursor::Start).await.is_ok()
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
        let there = store.head(&plain("a")).await.unwrap();
        for odd in ODD {
            holds_nothing(&store, odd).await;
            store.delete(&plain(odd), &there.binding).await.unwrap();
        }
        assert_eq!(store.head(&plain("a")).await.unwrap(), there);
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
    async fn what_says_nothing_of_the_name_is_not_taken_for_nothing() {
        for code in ["", "InvalidRequest", "InvalidArgument"] {
            for spells_as_minio in [false, true] {
                let service = Late::new(1, false);
                if spells_as_minio {
                    service.spell_as_minio();
                }
                let (service, store) = opened(service).await;
                service.deny(400, code);
                let looked = store.head(&plain("a/./b")).await;
                assert!(matches!(looked, Err(Error::Io { .. })), "{code}: {looked:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_token_is_read_anew_at_once() {
        let (service, store) = opened(Late::new(1, false)).await;
        service.deny(400, "ExpiredToken");
        let looked = store.head(&plain("a")).await;
        assert!(matches!(&looked, Err(Error::Unavailable(reason)) if reason.contains("credentials")), "{looked:?}");
        assert_eq!(service.forgotten(), 2, "once for each of two attempts");
    }
}
