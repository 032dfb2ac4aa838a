//! A store that could not be opened when the site started: refuses everything until it can be, and is that store from then on.
//!
//! What a start asks of a store is remembered for it ([`Backend::recover`]): nobody reaches it before that was done.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, select_all};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{
    Attributes, Backend, Body, Buffered, Capabilities, Capability, Error, Fetched, Found, FoundOwn, FoundVersion, GetOptions,
    Kept, KeptPart, Place, Published, PutOptions, Result, StoreUpload, Support, Traffic,
};
use crate::model::{Binding, BucketName, Key, ObjectId, Versioning, WriteId};
use crate::tasks::{Backoff, Step, Worker};

/// Between two tries to open it.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1_000 });
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Opens a store, as often as it is asked. The fault is for people.
pub type Opener = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Backend>, String>> + Send + Sync>;

/// A store that is not there yet. Dropping it ends the tries.
#[derive(Debug)]
pub struct Awaited {
    shared: Arc<Shared>,
    tries: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    store: OnceLock<Arc<dyn Backend>>,
    /// Why it is not there.
    fault: Mutex<String>,
    /// What it is to keep when it comes, once that was said. Held while it comes, so that what is said meanwhile is not lost.
    keep: AsyncMutex<Option<Vec<Place>>>,
    is_there: watch::Sender<bool>,
}

impl Awaited {
    /// Tries again to open the store that settings call `name`, after growing pauses. `fault` is why it could not be so far,
    /// `seed` spreads the pauses.
    pub fn new(name: String, fault: String, open: Opener, seed: u64) -> Self {
        let (store, keep, is_there) = (OnceLock::new(), AsyncMutex::default(), watch::Sender::new(false));
        let shared = Arc::new(Shared { name, store, fault: Mutex::new(fault), keep, is_there });
        let tries = tokio::spawn(try_on(shared.clone(), open, Backoff::new(PAUSE, PAUSE_MAX, seed)));
        Self { shared, tries }
    }

    /// Why it is not there; `None` where it is.
    pub fn fault(&self) -> Option<String> {
        self.shared.store.get().is_none().then(|| self.shared.fault())
    }

    /// Returns once it is there. May be dropped at any point.
    pub async fn came(&self) {
        self.shared.came().await;
    }

    /// The store itself, if it is there.
    pub fn there(&self) -> Option<Arc<dyn Backend>> {
        self.shared.store.get().cloned()
    }

    fn store(&self) -> Result<&Arc<dyn Backend>> {
        let Shared { name, store, .. } = &*self.shared;
        let refused = || Error::Unavailable(format!("the store {name} cannot be used yet: {}", self.shared.fault()));
        store.get().ok_or_else(refused)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.tries.abort();
    }
}

impl Shared {
    fn fault(&self) -> String {
        self.fault.lock().expect("nothing panics while it holds the fault").clone()
    }

    async fn came(&self) {
        let told = self.is_there.subscribe().wait_for(|is_there| *is_there).await.map(drop);
        told.expect("the sender lives as long as this");
    }

    /// Lets everybody have the store, once it has done what a start asks.
    async fn come(&self, store: Arc<dyn Backend>) -> Result<(), String> {
        let keep = self.keep.lock().await;
        if let Some(keep) = keep.as_ref() {
            store.recover(keep).await.map_err(|err| format!("cannot recover it: {err}"))?;
        }
        // It comes once: nobody else sets it.
        let _ = self.store.set(store);
        self.is_there.send_replace(true);
        Ok(())
    }
}

async fn try_on(shared: Arc<Shared>, open: Opener, mut pauses: Backoff) {
    loop {
        sleep(pauses.next_pause()).await;
        let opened = match open().await {
            Ok(store) => shared.come(store).await,
            Err(fault) => Err(fault),
        };
        let Err(fault) = opened else { break };
        tracing::warn!(store = shared.name, fault, "the store cannot be used yet");
        *shared.fault.lock().expect("nothing panics while it holds the fault") = fault;
    }
    tracing::info!(store = shared.name, "the store is there");
}

/// What is to go on beside the requests of a store that is not there yet.
struct LateWorker {
    shared: Arc<Shared>,
    name: String,
    /// Those of the store; `None` until it is there.
    workers: Option<Vec<Box<dyn Worker>>>,
}

impl LateWorker {
    fn of(shared: Arc<Shared>) -> Self {
        let name = format!("store-{}", shared.name);
        Self { shared, name, workers: None }
    }
}

#[async_trait]
impl Worker for LateWorker {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&mut self) -> Result<Step, String> {
        let Some(store) = self.shared.store.get() else { return Ok(Step::Idle) };
        let steps = self.workers.get_or_insert_with(|| store.workers()).iter_mut().map(|worker| worker.step());
        let steps = join_all(steps).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(if steps.contains(&Step::Worked) { Step::Worked } else { Step::Idle })
    }

    async fn wait(&mut self) {
        match &mut self.workers {
            Some(workers) if workers.is_empty() => std::future::pending().await,
            Some(workers) => drop(select_all(workers.iter_mut().map(|worker| worker.wait())).await),
            None => self.shared.came().await,
        }
    }
}

#[async_trait]
impl Backend for Awaited {
    fn capabilities(&self) -> Vec<Capabilities> {
        match self.store() {
            Ok(store) => store.capabilities(),
            Err(err) => {
                let reached = Capability { name: "reached", support: Support::Refused, detail: err.to_string() };
                vec![Capabilities { store: String::new(), kind: "not there", properties: vec![reached] }]
            }
        }
    }

    fn traffic(&self) -> Vec<Traffic> {
        self.store().map(|store| store.traffic()).unwrap_or_default()
    }

    fn buffers(&self) -> Vec<Buffered> {
        self.store().map(|store| store.buffers()).unwrap_or_default()
    }

    fn is_buffered(&self, at: &Place) -> bool {
        self.store().is_ok_and(|store| store.is_buffered(at))
    }

    /// Those of the store, from when it is there.
    fn workers(&self) -> Vec<Box<dyn Worker>> {
        match self.store() {
            Ok(store) => store.workers(),
            Err(_) => vec![Box::new(LateWorker::of(self.shared.clone()))],
        }
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.store()?.put(to, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.store()?.get(at, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.store()?.head(at).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        self.store()?.copy(from, get, to, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.store()?.publish(from, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.store()?.delete(at, only).await
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        self.store()?.harden(moved).await
    }

    async fn release(&self, staged: &Place) {
        if let Ok(store) = self.store() {
            store.release(staged).await;
        }
    }

    /// Done before anybody reaches the store, where it is not there yet.
    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let mut later = self.shared.keep.lock().await;
        match self.store() {
            Ok(store) => store.recover(keep).await,
            Err(_) => {
                *later = Some(keep.to_vec());
                Ok(())
            }
        }
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: Attributes) -> Result<String> {
        self.store()?.start_upload(to, write, attributes).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.store()?.put_part(upload, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.store()?.assemble(upload, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.store()?.end_upload(upload).await
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        match self.store() {
            Ok(store) => store.list(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        match self.store() {
            Ok(store) => store.list_own(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    fn list_own_below<'a>(
        &'a self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'a, Result<FoundOwn>> {
        match self.store() {
            Ok(store) => store.list_own_below(bucket, prefix, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        self.store()?.versioning(bucket).await
    }

    fn list_versions<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        match self.store() {
            Ok(store) => store.list_versions(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    fn versions_of<'a>(&'a self, object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        match self.store() {
            Ok(store) => store.versions_of(object),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.store()?.create_bucket(bucket).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.store()?.delete_bucket(bucket).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        self.store()?.list_buckets().await
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.store()?.strangers(bucket).await
    }

    async fn tell_strangers(&self) -> Result<()> {
        self.store()?.tell_strangers().await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store()?.write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.store()?.read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.store()?.list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.store()?.remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        self.store()?.check().await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::backend::memory::Memory;
    use crate::model::Location;

    /// A store that is away until somebody turns it on.
    #[derive(Clone)]
    pub(in crate::backend) struct Switch {
        pub store: Arc<Memory>,
        is_on: Arc<AtomicBool>,
    }

    impl Switch {
        pub fn off(store: Arc<Memory>) -> Self {
            Self { store, is_on: Arc::default() }
        }

        pub fn on(&self) {
            self.is_on.store(true, Ordering::Relaxed);
        }

        pub fn awaited(&self) -> Awaited {
            let switch = self.clone();
            let open: Opener = Arc::new(move || {
                let (is_on, store) = (switch.is_on.load(Ordering::Relaxed), switch.store.clone());
                Box::pin(async move { if is_on { Ok(store as Arc<dyn Backend>) } else { Err("nobody answers".to_owned()) } })
            });
            Awaited::new("cloud".to_owned(), "it is raining".to_owned(), open, 7)
        }
    }

    fn bucket() -> BucketName {
        BucketName::new("bucket").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_refuses_with_the_reason_until_it_is_there() {
        let switch = Switch::off(Arc::default());
        let awaited = switch.awaited();
        let refused = awaited.create_bucket(&bucket()).await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(text) if text.contains("the store cloud") && text.contains("raining")));
        sleep(PAUSE_MAX).await;
        assert_eq!(awaited.fault(), Some("nobody answers".to_owned()));
        assert!(matches!(awaited.list(&bucket(), None).next().await, Some(Err(Error::Unavailable(_)))));
        switch.on();
        awaited.came().await;
        assert_eq!(awaited.fault(), None);
        awaited.create_bucket(&bucket()).await.unwrap();
        assert_eq!(switch.store.list_buckets().await.unwrap(), [bucket()]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_start_asks_of_it_is_done_before_anybody_reaches_it() {
        let store: Arc<Memory> = Arc::default();
        store.create_bucket(&bucket()).await.unwrap();
        let object = |key: &str| ObjectId { bucket: bucket(), key: Key::new(key).unwrap() };
        let mut staged = Vec::new();
        for key in ["kept", "given-up"] {
            let kept = store.put(&object(key), Bytes::from("1").into(), PutOptions::any()).await.unwrap();
            staged.push(Place { object: object(key), location: kept.location });
        }
        let switch = Switch::off(store);
        let awaited = switch.awaited();
        awaited.recover(&staged[..1]).await.unwrap();
        switch.on();
        awaited.came().await;
        awaited.head(&staged[0]).await.unwrap();
        assert!(matches!(awaited.head(&staged[1]).await, Err(Error::NotFound)));
        assert!(matches!(staged[0].location, Location::Staged(_)));
    }

    mod conformance {
        use super::*;

        async fn there() -> (Arc<Awaited>, ()) {
            let switch = Switch::off(Arc::default());
            switch.on();
            let awaited = Arc::new(switch.awaited());
            awaited.came().await;
            (awaited, ())
        }

        crate::backend::conformance::passes_conformance!(there().await);
    }
}
