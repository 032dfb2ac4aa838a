//! Writes that wait for their store: nothing is wrong with them, and they come to their names when it takes them.

use std::time::Duration;

use tokio::time::sleep;

use super::super::settle::SettleWorker;
use super::super::testing::{get, object, open, put, with_bucket};
use super::super::*;
use crate::backend::service::Late;
use crate::model::{Location, Slot};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};
use crate::tasks::{Step, Worker};

async fn location(site: &Site) -> Location {
    site.status().unit(&object("a"), Slot::Null).await.unwrap().unwrap().row.location.clone()
}

async fn work(workers: &mut [Box<dyn Worker>]) {
    for worker in workers {
        while worker.step().await.unwrap() == Step::Worked {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_its_store_is_no_failure_and_comes_to_its_name_later() {
    let (service, dir) = (Late::new(1, false), tempfile::tempdir().unwrap());
    let store = service.open_buffered(dir.path()).await;
    let status = Status::open_inline(Forgetful::new(Power::on()), &Options::default()).unwrap();
    let (site, mut workers) = open(store.clone(), status).await;
    let site = with_bucket(site).await;
    workers.extend(store.workers());
    service.set_busy(true);
    assert!(put(&site, "a", "bytes").await.is_buffered);
    let waiting = site.inner.settler.copies().take(2);
    assert_eq!(waiting.len(), 1);
    assert_eq!(SettleWorker::fresh(site.clone()).settle(waiting).await, Ok(()));
    assert_eq!((get(&site, "a").await.unwrap(), site.unsettled()), ("bytes".into(), 1));
    assert!(matches!(location(&site).await, Location::Moving(_)));

    service.set_busy(false);
    for _ in 0..10 {
        sleep(Duration::from_secs(20)).await;
        work(&mut workers).await;
    }
    assert_eq!((location(&site).await, site.unsettled()), (Location::Plain, 0));
    assert_eq!(service.names("bucket").into_iter().collect::<Vec<_>>(), [("a".to_owned(), "bytes".into())]);
    assert_eq!(get(&site, "a").await.unwrap(), "bytes");
}
