//! What the S3 face says of other sites and does about them, over whole worlds.

use std::time::Duration;

use tokio::time::Instant;

use super::world::World;
use crate::model::{SiteNumber, Unit};
use crate::s3::Settings;
use crate::s3::testing::{Call, Reply, Server, server, server_over};
use crate::site::testing::object;
use crate::status::Commit;
use crate::status::tables::{Failed, Failure};

const SOON: Duration = Duration::from_secs(5);

/// Faces of the sites of a world whose bucket is known everywhere.
async fn faces(world: &World) -> Vec<Server> {
    let mut faces = Vec::new();
    for number in world.numbers() {
        faces.push(server_over(world.site(number.0).clone(), Settings::default()).await);
        world.pass(SOON).await;
    }
    faces
}

fn put(key: &str, body: &str) -> Call {
    Call::new("PUT", &format!("/bucket/{key}")).body(body)
}

fn call(method: &str, key: &str) -> Call {
    Call::new(method, &format!("/bucket/{key}"))
}

/// Status for all, and by site.
fn replication(reply: &Reply) -> (Option<&str>, Option<&str>) {
    (reply.header("x-amz-replication-status"), reply.header("x-anybucket-replication"))
}

async fn timed(face: &Server, call: Call) -> (Reply, u128) {
    let began = Instant::now();
    let reply = face.send(call).await;
    (reply, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn an_object_says_which_sites_have_it() {
    let world = World::new(3).await;
    let faces = faces(&world).await;
    world.network.cut(SiteNumber(1), SiteNumber(2), true);
    world.network.cut(SiteNumber(1), SiteNumber(3), true);
    faces[0].put("k", "x").await;
    for method in ["GET", "HEAD"] {
        let reply = faces[0].send(call(method, "k")).await;
        assert_eq!(replication(&reply), (Some("PENDING"), Some("site-2=PENDING, site-3=PENDING")), "{method}");
    }
    world.network.cut(SiteNumber(1), SiteNumber(3), false);
    world.pass(SOON).await;
    let some = faces[0].get("k").await;
    assert_eq!(replication(&some), (Some("PROCESSING"), Some("site-2=PENDING, site-3=COMPLETED")));
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(replication(&faces[0].get("k").await), (Some("COMPLETED"), Some("site-2=COMPLETED, site-3=COMPLETED")));
    assert_eq!(replication(&faces[1].get("k").await), (Some("REPLICA"), None));
}

#[tokio::test(start_paused = true)]
async fn what_a_site_refused_is_failed_until_it_is_written_anew() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    faces[0].put("k", "x").await;
    world.pass(SOON).await;
    let unit = Unit::null(&object("k"));
    let vector = faces[0].site.replica(&unit).await.unwrap().vector().unwrap();
    let failure = Failure { vector, reason: "its disk is full".into() };
    let commit = Commit::new().put::<Failed>(&(SiteNumber(2), unit), &failure);
    faces[0].site.status().commit(commit).await.unwrap();
    assert_eq!(replication(&faces[0].get("k").await), (Some("FAILED"), Some("site-2=FAILED")));
    world.network.cut(SiteNumber(1), SiteNumber(2), true);
    faces[0].put("k", "y").await;
    assert_eq!(replication(&faces[0].get("k").await), (Some("PENDING"), Some("site-2=PENDING")));
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(replication(&faces[0].get("k").await), (Some("COMPLETED"), Some("site-2=COMPLETED")));
    assert_eq!(faces[0].site.status().troubled(SiteNumber(2)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lone_site_speaks_of_no_others() {
    let face = server().await;
    face.put("k", "x").await;
    let reply = face.send(put("k", "y").header("if-match", "*")).await;
    assert_eq!((reply.status, reply.header("x-anybucket-scope")), (200, None));
    assert_eq!(replication(&face.get("k").await), (None, None));
    assert_eq!(face.send(put("k", "z").header("x-anybucket-wait", "1")).await.told(), (400, "InvalidArgument"));
    let stamp = reply.header("x-anybucket-stamp").unwrap();
    assert_eq!(face.send(call("GET", "k").header("x-anybucket-min-stamp", stamp)).await.body, "y");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_is_answered_once_others_have_it() {
    let world = World::new(3).await;
    let faces = faces(&world).await;
    for wait in ["2; timeout=5s", "site-3; timeout=5s"] {
        let (reply, millis) = timed(&faces[0], put("k", wait).header("x-anybucket-wait", wait)).await;
        assert_eq!(reply.status, 200);
        assert!(millis < 2_000, "{wait}: {millis}");
        assert!(reply.header("x-anybucket-replication").unwrap().contains("site-3=COMPLETED"), "{reply:?}");
        assert_eq!(faces[2].get("k").await.body, wait);
    }
    let copy = put("copy", "").header("x-amz-copy-source", "/bucket/k").header("x-anybucket-wait", "2");
    let delete = call("DELETE", "k").header("x-anybucket-wait", "2");
    for call in [copy, delete] {
        let reply = faces[0].send(call).await;
        assert_eq!(reply.header("x-anybucket-replication"), Some("site-2=COMPLETED, site-3=COMPLETED"), "{reply:?}");
    }
    assert_eq!((faces[1].get("copy").await.status, faces[1].get("k").await.status), (200, 404));
}

#[tokio::test(start_paused = true)]
async fn a_complete_waits_too() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    let started = faces[0].send(Call::new("POST", "/bucket/k?uploads")).await;
    let id = started.element("UploadId").unwrap();
    let part = faces[0].send(Call::new("PUT", &format!("/bucket/k?partNumber=1&uploadId={id}")).body("part")).await;
    let etag = part.header("etag").unwrap();
    let list =
        format!("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>");
    let complete = Call::new("POST", &format!("/bucket/k?uploadId={id}")).body(list).header("x-anybucket-wait", "1");
    let reply = faces[0].send(complete).await;
    assert_eq!((reply.status, reply.header("x-anybucket-replication")), (200, Some("site-2=COMPLETED")), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn past_its_timeout_a_write_stands_and_says_who_has_it() {
    let world = World::new(3).await;
    let faces = faces(&world).await;
    world.network.cut(SiteNumber(1), SiteNumber(2), true);
    let (reply, millis) = timed(&faces[0], put("k", "x").header("x-anybucket-wait", "2; timeout=1500ms")).await;
    assert_eq!((reply.status, millis), (200, 1_500));
    assert_eq!(reply.header("x-anybucket-replication"), Some("site-2=PENDING, site-3=COMPLETED"));
    assert_eq!(faces[0].get("k").await.body, "x");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_well_stores_nothing() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    for wait in ["2", "rome", "1; timeout=soon", "0"] {
        let reply = faces[0].send(put("k", "x").header("x-anybucket-wait", wait)).await;
        assert_eq!(reply.told(), (400, "InvalidArgument"), "{wait}");
    }
    assert_eq!(faces[0].get("k").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_says_how_far_its_condition_reached() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    for status in [200, 412] {
        let reply = faces[0].send(put("k", "x").header("if-none-match", "*")).await;
        assert_eq!((reply.status, reply.header("x-anybucket-scope")), (status, Some("site")));
    }
    let delete = call("DELETE", "k").header("x-amz-if-match-size", "9");
    let reply = faces[0].send(delete).await;
    assert_eq!((reply.status, reply.header("x-anybucket-scope")), (412, Some("site")));
    for plain in [put("k", "x"), call("GET", "k").header("if-none-match", "\"other\"")] {
        assert_eq!(faces[0].send(plain).await.header("x-anybucket-scope"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_404_names_who_could_not_be_asked_and_waits_for_nobody() {
    let world = World::new(3).await;
    let faces = faces(&world).await;
    let (reply, millis) = timed(&faces[0], call("GET", "none")).await;
    assert_eq!((reply.told(), reply.header("x-anybucket-uncertain"), millis), ((404, "NoSuchKey"), None, 0));
    world.network.cut(SiteNumber(1), SiteNumber(2), true);
    world.network.cut(SiteNumber(1), SiteNumber(3), true);
    world.pass(SOON).await;
    for method in ["GET", "HEAD"] {
        let (reply, millis) = timed(&faces[0], call(method, "none")).await;
        assert_eq!((reply.status, reply.header("x-anybucket-uncertain"), millis), (404, Some("site-2, site-3"), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_not_less_than_the_stamp_it_names() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    faces[0].put("k", "one").await;
    world.pass(SOON).await;
    let stamp = faces[0].put("k", "two").await.header("x-anybucket-stamp").unwrap().to_owned();
    let (reply, millis) = timed(&faces[1], call("GET", "k").header("x-anybucket-min-stamp", &stamp)).await;
    assert_eq!(reply.body, "two");
    assert!(millis < 1_000, "{millis}");
    let newer = faces[0].put("listed", "x").await.header("x-anybucket-stamp").unwrap().to_owned();
    let list = Call::new("GET", "/bucket?list-type=2").header("x-anybucket-min-stamp", &newer);
    assert_eq!(faces[1].send(list).await.elements("Key"), ["k", "listed"]);
    // Of another key: everything told up to it is known, and so what is here is not less.
    let (reply, millis) = timed(&faces[1], call("GET", "k").header("x-anybucket-min-stamp", &newer)).await;
    assert_eq!(reply.body, "two");
    assert!(millis < 1_000, "{millis}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_would_be_less_is_put_off() {
    let world = World::new(2).await;
    let faces = faces(&world).await;
    faces[0].put("k", "one").await;
    world.pass(SOON).await;
    world.network.cut(SiteNumber(1), SiteNumber(2), true);
    let stamp = faces[0].put("k", "two").await.header("x-anybucket-stamp").unwrap().to_owned();
    let get = call("GET", "k").header("x-anybucket-min-stamp", &stamp);
    let list = Call::new("GET", "/bucket").header("x-anybucket-min-stamp", &stamp);
    for call in [get.clone(), list] {
        let (reply, millis) = timed(&faces[1], call).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!((5_000..6_500).contains(&millis), "{millis}");
    }
    assert_eq!(faces[1].get("k").await.body, "one");
    world.network.join_all();
    world.pass(SOON).await;
    assert_eq!(faces[1].send(get).await.body, "two");
    let odd = call("GET", "k").header("x-anybucket-min-stamp", "yesterday");
    assert_eq!(faces[1].send(odd).await.told(), (400, "InvalidArgument"));
}
