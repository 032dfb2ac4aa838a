//! What comes in the middle of a longer change: another call, at every step that the change takes at the status store.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use ::redb::backends::InMemoryBackend;
use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use super::{keys, named, uploaded};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Body, Place, PutOptions};
use crate::model::{BucketName, Replica, Unit};
use crate::site::testing::{object, open, put, upload, with_bucket};
use crate::site::{CompleteUpload, Error, Site, StartUpload, WriteConditions};
use crate::status::redb::{Pace, Touched};
use crate::status::tables::{Buckets, UploadParts, Uploads};
use crate::status::{Commit, Options, Status};

/// Lets a call in when the status store takes the step that it waits for.
#[derive(Default)]
struct Interrupt(Mutex<Call>);

#[derive(Default)]
enum Call {
    #[default]
    None,
    Waits(usize, BoxFuture<'static, bool>),
    Runs(JoinHandle<bool>),
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

impl Interrupt {
    /// Lets the call in at a step, counted from 0 on; it answers whether it succeeded.
    fn at(&self, step: usize, call: impl Future<Output = bool> + Send + 'static) {
        *self.0.lock().unwrap() = Call::Waits(step, Box::pin(call));
    }

    /// Whether the call begins with this step.
    fn begins(&self) -> bool {
        let mut call = self.0.lock().unwrap();
        let (now, begins) = match std::mem::take(&mut *call) {
            Call::Waits(0, due) => (Call::Runs(tokio::spawn(due)), true),
            Call::Waits(steps, due) => (Call::Waits(steps - 1, due), false),
            other => (other, false),
        };
        *call = now;
        begins
    }

    /// Whether the call succeeded; `None` where the change was over before that step.
    async fn outcome(&self) -> Option<bool> {
        let call = std::mem::take(&mut *self.0.lock().unwrap());
        match call {
            Call::Runs(call) => Some(call.await.unwrap()),
            _ => None,
        }
    }
}

#[async_trait]
impl Pace for Interrupt {
    async fn step(&self) {
        if !self.begins() {
            return;
        }
        // It comes as far as it can: what it interrupted may hold what it waits for.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    fn committed(&self, _: &Status, _: &Touched) {}
}

struct World {
    site: Site,
    store: Arc<Memory>,
    interrupt: Arc<Interrupt>,
}

async fn world() -> World {
    let (store, interrupt) = (Arc::new(Memory::new()), Arc::new(Interrupt::default()));
    let status = Status::open_paced(InMemoryBackend::new(), &Options::default(), Some(interrupt.clone())).unwrap();
    let site = with_bucket(open(store.clone(), status).await.0).await;
    World { site, store, interrupt }
}

fn bucket() -> BucketName {
    object("-").bucket
}

/// Rows of uploads and of parts, and staged bytes.
async fn left_over(site: &Site, store: &Memory) -> (usize, usize, usize) {
    let (mut uploads, mut parts) = (0, 0);
    site.each_row::<Uploads>(|_, _| uploads += 1).await.unwrap();
    site.each_row::<UploadParts>(|_, _| parts += 1).await.unwrap();
    (uploads, parts, store.staged())
}

async fn started(site: &Site, key: &str) -> (String, CompleteUpload) {
    let (upload_id, parts) = uploaded(site, key, StartUpload::default(), &["part".into()]).await;
    (upload_id, CompleteUpload { parts: named(&parts), ..Default::default() })
}

/// The bucket as another site tells that it was deleted.
async fn deleted_elsewhere(site: &Site) -> Replica {
    let mut there = site.status().get::<Buckets>(&bucket()).await.unwrap().unwrap().row;
    there.deleted = Some(site.clock().tick(Some(there.created)));
    Replica::Bucket(there)
}

#[tokio::test]
async fn a_put_acknowledged_while_the_bucket_is_deleted_elsewhere_is_kept() {
    for step in 0.. {
        let World { site, interrupt, .. } = world().await;
        let there = deleted_elsewhere(&site).await;
        let client = site.clone();
        interrupt.at(step, async move {
            client.put(&object("a"), upload("kept"), Default::default(), WriteConditions::default()).await.is_ok()
        });
        site.apply(&Unit::Bucket(bucket()), there, None).await.unwrap();
        match interrupt.outcome().await {
            Some(true) => assert_eq!(keys(&site).await, ["a"], "step {step}"),
            Some(false) => {}
            None => return assert!(step > 3),
        }
    }
}

#[tokio::test]
async fn a_part_that_comes_while_its_upload_is_aborted_leaves_nothing() {
    for step in 0.. {
        let World { site, store, interrupt } = world().await;
        let (upload_id, _) = started(&site, "a").await;
        let (client, id) = (site.clone(), upload_id.clone());
        interrupt.at(step, async move { client.put_part(&object("a"), &id, 2, upload("late")).await.is_ok() });
        site.abort_upload(&object("a"), &upload_id).await.unwrap();
        if interrupt.outcome().await.is_none() {
            return assert!(step > 3);
        }
        assert_eq!(left_over(&site, &store).await, (0, 0, 0), "step {step}");
    }
}

#[tokio::test]
async fn a_bucket_is_deleted_with_its_uploads_or_keeps_them_all() {
    for step in 0.. {
        let World { site, store, interrupt } = world().await;
        let (first, complete) = started(&site, "a").await;
        let (other, _) = started(&site, "b").await;
        let client = site.clone();
        interrupt.at(step, async move { client.complete_upload(&object("a"), &first, complete).await.is_ok() });
        let deleted = site.delete_bucket(&bucket()).await;
        let Some(completed) = interrupt.outcome().await else {
            return assert!(step > 3);
        };
        match deleted {
            Ok(()) => {
                assert!(!completed, "step {step}");
                assert_eq!(left_over(&site, &store).await, (0, 0, 0), "step {step}");
            }
            Err(Error::BucketNotEmpty(_)) => {
                assert!(completed, "step {step}");
                assert_eq!(site.list_parts(&object("b"), &other, 0, 10).await.unwrap().parts.len(), 1, "step {step}");
            }
            Err(err) => panic!("{err} at step {step}"),
        }
    }
}

#[tokio::test]
async fn a_bucket_that_the_store_keeps_has_its_uploads_still() {
    let World { site, store, .. } = world().await;
    let (done, complete) = started(&site, "done").await;
    site.complete_upload(&object("done"), &done, complete.clone()).await.unwrap();
    site.delete(&object("done"), WriteConditions::default()).await.unwrap();
    let (open, _) = started(&site, "open").await;
    let foreign = object("foreign");
    let kept = store.put(&foreign, Body::from(bytes::Bytes::from_static(b"x")), PutOptions::any()).await.unwrap();
    store.publish(&Place { object: foreign, location: kept.location }, &kept.binding).await.unwrap();
    assert!(matches!(site.delete_bucket(&bucket()).await, Err(Error::BucketNotEmpty(_))));
    assert_eq!(site.list_parts(&object("open"), &open, 0, 10).await.unwrap().parts.len(), 1);
    site.complete_upload(&object("done"), &done, complete).await.unwrap();
}

#[tokio::test]
async fn uploads_go_with_a_bucket_that_is_deleted_elsewhere() {
    let World { site, store, .. } = world().await;
    started(&site, "a").await;
    let there = deleted_elsewhere(&site).await;
    site.apply(&Unit::Bucket(bucket()), there, None).await.unwrap();
    assert_eq!(left_over(&site, &store).await, (0, 0, 0));
}

#[tokio::test]
async fn uploads_of_a_bucket_that_died_before_a_crash_go_at_the_next_start() {
    let World { site, store, .. } = world().await;
    started(&site, "a").await;
    let Replica::Bucket(dead) = deleted_elsewhere(&site).await else { unreachable!() };
    site.status().commit(Commit::new().put::<Buckets>(&bucket(), &dead)).await.unwrap();
    let (site, _) = open(store.clone(), site.status().clone()).await;
    assert_eq!(left_over(&site, &store).await, (0, 0, 0));
}

#[tokio::test]
async fn an_upload_can_be_completed_when_little_room_is_left() {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let status = Status::open_with_room(free.clone());
    let site = with_bucket(open(Arc::new(Memory::new()), status).await.0).await;
    let (upload_id, complete) = started(&site, "a").await;
    free.store(32 << 20, std::sync::atomic::Ordering::Relaxed);
    let refused = site.put(&object("b"), upload("x"), Default::default(), WriteConditions::default()).await;
    assert!(matches!(refused, Err(Error::StoreFull)));
    site.complete_upload(&object("a"), &upload_id, complete).await.unwrap();
    free.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    put(&site, "b", "x").await;
}
