//! Telling and hearing over a bus that does what a bad one does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::model::{SiteId, SiteNumber};
use crate::site::testing::{get, put, with_bucket};
use crate::status::Page;
use crate::status::tables::{Outbox, Poison};

/// Everything published, once for each listener.
#[derive(Debug, Default)]
struct Held {
    messages: Mutex<VecDeque<Message>>,
    down: AtomicBool,
}

struct Got(Message);

#[async_trait]
impl Delivery for Got {
    fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    async fn ack(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl Bus for Held {
    async fn publish(&self, messages: &[Message]) -> Result<usize, Error> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::Unreachable("down".into()));
        }
        // It takes half, at least one.
        let taken = messages.len().div_ceil(2);
        self.messages.lock().unwrap().extend(messages[..taken].iter().cloned());
        Ok(taken)
    }

    async fn hear(&self, _: &str) -> Result<Vec<Box<dyn Delivery>>, Error> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let heard = self.messages.lock().unwrap().drain(..).collect::<Vec<_>>();
        Ok(heard.into_iter().map(|message| Box::new(Got(message)) as Box<dyn Delivery>).collect())
    }
}

async fn rows<T: crate::status::Table>(site: &Site) -> usize {
    let page: Page<T> = site.status().page(&(), None, 1_000).await.unwrap();
    page.rows.len()
}

#[tokio::test(start_paused = true)]
async fn the_outbox_empties_into_the_bus_and_waits_while_that_is_down() {
    let bus = Arc::new(Held::default());
    bus.down.store(true, Ordering::SeqCst);
    let site = with_bucket(crate::site::testing::site_with_neighbour("other", SiteNumber(2)).await).await;
    for key in ["a", "b", "c"] {
        put(&site, key, key).await;
    }
    let shared: Arc<dyn Bus> = bus.clone();
    let mut publisher = publish::Publisher::new(site.clone(), shared, publish::BEHIND_MAX);
    assert!(publisher.step().await.is_err());
    assert_eq!(rows::<Outbox>(&site).await, 4);
    bus.down.store(false, Ordering::SeqCst);
    while publisher.step().await.unwrap() == crate::tasks::Step::Worked {}
    assert_eq!(rows::<Outbox>(&site).await, 0);
    let told: Vec<_> = bus.messages.lock().unwrap().iter().map(|message| message.id.clone()).collect();
    assert_eq!(told.len(), 4, "each once: {told:?}");
    assert_eq!(get(&site, "a").await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn while_the_bus_is_down_the_outbox_stays_within_its_bound() {
    let bus = Arc::new(Held::default());
    bus.down.store(true, Ordering::SeqCst);
    let site = with_bucket(crate::site::testing::site_with_neighbour("other", SiteNumber(2)).await).await;
    for key in 0..700 {
        put(&site, &key.to_string(), "x").await;
    }
    let mut publisher = publish::Publisher::new(site.clone(), bus, 10);
    assert!(publisher.step().await.is_err());
    assert_eq!(rows::<Outbox>(&site).await, 11);
}

/// The other site says whether it tells this one what is written there, and how much it told so far, which is known here.
fn says_that_it_tells(site: &Site, tells: bool) {
    says_that_it_told(site, tells, 6);
    site.neighbours().get(SiteNumber(2)).unwrap().received(crate::model::Incarnation(1), crate::model::Seq(6));
}

fn says_that_it_told(site: &Site, tells: bool, seq: u64) {
    let heads = crate::peer::Heads {
        protocol: crate::peer::PROTOCOL,
        site: SiteNumber(2),
        name: "other".into(),
        incarnation: crate::model::Incarnation(1),
        state: crate::peer::SiteState::Active,
        seq: crate::model::Seq(seq),
        settled: crate::model::Seq(0),
        clock_ms: 0,
        stamped: (0, 0),
        received: None,
        tells,
        dirty: false,
    };
    site.neighbours().get(SiteNumber(2)).unwrap().heard(heads, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_site_does_not_tell_this_one_is_not_followed_though_the_bus_carries_it() {
    let bus = Arc::new(Held::default());
    let site = with_bucket(crate::site::testing::site_with_neighbour("other", SiteNumber(2)).await).await;
    let origin = SiteId { name: "other".into(), number: SiteNumber(2) };
    let event = crate::model::Event {
        unit: crate::model::Unit::null(&crate::site::testing::object("k")),
        vector: crate::model::Vector::of(crate::model::Stamp::from_bytes([0; 16])),
    };
    let payload = wire::Payload::of(&origin, crate::model::Incarnation(1), crate::model::Seq(7), &event).bytes();
    let mut listener = hear::Listener::new(site.clone(), bus.clone(), origin, Bell::default());
    for (tells, work) in [(false, 0), (true, 1)] {
        says_that_it_tells(&site, tells);
        bus.messages.lock().unwrap().push_back(Message { subject: "s".into(), id: "i".into(), payload: payload.clone().into() });
        listener.step().await.unwrap();
        assert_eq!(rows::<crate::status::tables::Work>(&site).await, work);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_becomes_work_and_what_cannot_be_read_is_put_aside() {
    let bus = Arc::new(Held::default());
    let site = with_bucket(crate::site::testing::site_with_neighbour("other", SiteNumber(2)).await).await;
    let origin = SiteId { name: "other".into(), number: SiteNumber(2) };
    let event = crate::model::Event {
        unit: crate::model::Unit::null(&crate::site::testing::object("k")),
        vector: crate::model::Vector::of(crate::model::Stamp::new(crate::model::StampParts {
            ms: 5,
            tick: 0,
            site: SiteNumber(2),
            incarnation: crate::model::Incarnation(1),
            rank: 0,
        })),
    };
    let good = wire::Payload::of(&origin, crate::model::Incarnation(1), crate::model::Seq(7), &event).bytes();
    for payload in [good.clone(), b"junk".to_vec(), good] {
        bus.messages.lock().unwrap().push_back(Message { subject: "s".into(), id: "i".into(), payload: payload.into() });
    }
    let shared: Arc<dyn Bus> = bus.clone();
    let mut listener = hear::Listener::new(site.clone(), shared, origin, Bell::default());
    says_that_it_tells(&site, true);
    listener.step().await.unwrap();
    let work = site.status().get::<crate::status::tables::Work>(&event.unit).await.unwrap().unwrap();
    assert_eq!((work.row.want, work.row.sources.clone()), (event.vector, vec![SiteNumber(2)]));
    assert_eq!(rows::<Poison>(&site).await, 1);
}

/// A stream goes back to before the data of a site that lost everything began: what it tells of may be gone everywhere.
#[tokio::test(start_paused = true)]
async fn nothing_is_heard_before_the_log_was_read_to_its_end_nor_what_the_log_told() {
    let bus = Arc::new(Held::default());
    let site = with_bucket(crate::site::testing::site_with_neighbour("other", SiteNumber(2)).await).await;
    let (origin, life) = (SiteId { name: "other".into(), number: SiteNumber(2) }, crate::model::Incarnation(1));
    let unit = crate::model::Unit::null(&crate::site::testing::object("k"));
    let event = crate::model::Event { unit, vector: crate::model::Vector::of(crate::model::Stamp::from_bytes([0; 16])) };
    let mut listener = hear::Listener::new(site.clone(), bus.clone(), origin.clone(), Bell::default());
    says_that_it_told(&site, true, 9);
    for (received, told, work) in [(0, 7, 0), (5, 7, 0), (9, 7, 0), (9, 10, 1)] {
        site.neighbours().get(SiteNumber(2)).unwrap().received(life, crate::model::Seq(received));
        let payload = wire::Payload::of(&origin, life, crate::model::Seq(told), &event).bytes();
        bus.messages.lock().unwrap().push_back(Message { subject: "s".into(), id: "i".into(), payload: payload.into() });
        listener.step().await.unwrap();
        assert_eq!(rows::<crate::status::tables::Work>(&site).await, work, "{told} after {received}");
    }
}
