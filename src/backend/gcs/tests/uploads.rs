//! Multipart uploads.

use super::*;
use crate::backend::gcs::fake::{PART_BYTES_MIN, Trick};

async fn begun(gcs: &Gcs, name: &str, write: u64) -> UploadAt {
    let target = target(name, write);
    let id = gcs.start_upload(&target).await.unwrap();
    UploadAt { target, id }
}

async fn part(gcs: &Gcs, upload: &UploadAt, number: u16, whole: &Bytes) -> PartAt {
    let tag = gcs.put_part(upload, number, whole.clone()).await.unwrap();
    PartAt { number, tag }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_becomes_one_object_of_exactly_its_parts() {
    let (gcs, fake) = over_fake().await;
    let upload = begun(&gcs, "a/b c&é", 3).await;
    let (long, short) = (bytes(PART_BYTES_MIN), bytes(10));
    let size = long.len() as u64;
    let tag = gcs.put_part_streamed(&upload, 2, outgoing(&long, size, None)).await.unwrap();
    let first = PartAt { number: 2, tag };
    part(&gcs, &upload, 3, &long).await;
    let last = part(&gcs, &upload, 10_000, &short).await;
    assert!(gcs.look(&upload.target.spot).await.unwrap_err().is_missing());
    assert_eq!(names(&gcs, "", Cursor::Start).await, [""; 0]);
    gcs.complete_upload(&upload, &[first.clone(), last.clone()]).await.unwrap();
    let opened = gcs.open(&upload.target.spot, None).await.unwrap();
    assert_eq!((format!("{:?}", opened.told.binding), opened.told.size), ("Tag(\"3\")".to_owned(), size + 10));
    assert!(read(opened).await.unwrap() == [long, short].concat());
    assert!(fake.world().buckets[BUCKET]["a/b c&é"].is_composite);
    let again = gcs.complete_upload(&upload, &[first, last]).await.unwrap_err();
    assert!(again.is_missing() && !again.is_bucket_missing(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_not_that_of_the_upload_makes_nothing() {
    let (gcs, _fake) = over_fake().await;
    let upload = begun(&gcs, "a", 1).await;
    let old = part(&gcs, &upload, 1, &bytes(10)).await;
    let new = part(&gcs, &upload, 1, &bytes(10)).await;
    let two = part(&gcs, &upload, 2, &bytes(10)).await;
    let nowhere = PartAt { number: 7, ..two.clone() };
    for list in [vec![old.clone()], vec![two.clone(), new.clone()], vec![nowhere], vec![new.clone(), two]] {
        let bad = gcs.complete_upload(&upload, &list).await.unwrap_err();
        assert!(bad.is_bad_list() && !bad.is_open(), "{bad:?}");
    }
    assert!(gcs.look(&at("a")).await.unwrap_err().is_missing());
    gcs.complete_upload(&upload, &[new]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_ends_badly_is_none() {
    let (gcs, fake) = over_fake().await;
    let upload = begun(&gcs, "a", 1).await;
    let whole = bytes(300_000);
    for (size, end) in [(300_000, Some(BodyError::Refused)), (300_001, None), (299_999, None)] {
        assert!(gcs.put_part_streamed(&upload, 1, outgoing(&whole, size, end)).await.is_err());
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(fake.world().uploads[&upload.id].parts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_one_name_do_not_mix_and_one_that_is_given_up_is_gone() {
    let (gcs, fake) = over_fake().await;
    let (one, two) = (begun(&gcs, "a", 1).await, begun(&gcs, "a", 2).await);
    let (part_one, part_two) = (part(&gcs, &one, 1, &bytes(10)).await, part(&gcs, &two, 1, &bytes(20)).await);
    gcs.abort_upload(&one).await.unwrap();
    gcs.abort_upload(&one).await.unwrap();
    assert!(gcs.put_part(&one, 1, bytes(10)).await.is_err_and(|fault| fault.is_missing()));
    assert!(gcs.complete_upload(&one, &[part_one]).await.is_err_and(|fault| fault.is_missing()));
    gcs.complete_upload(&two, &[part_two]).await.unwrap();
    assert_eq!(written(&gcs, "a").await, "Tag(\"2\")");
    assert!(fake.world().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_begins_well_and_fails_is_open() {
    let (gcs, fake) = over_fake().await;
    let upload = begun(&gcs, "a", 1).await;
    let parts = [part(&gcs, &upload, 1, &bytes(10)).await];
    for (trick, code) in [(Trick::LateError, "InternalError"), (Trick::LateSilence, "")] {
        fake.play(&[trick]);
        let late = gcs.complete_upload(&upload, &parts).await.unwrap_err();
        assert!(late.is_open() && late.code == code, "{late:?}");
    }
    gcs.complete_upload(&upload, &parts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_needs_its_bucket() {
    let (gcs, _fake) = over_fake().await;
    let spot = Spot::new("no-bucket".to_owned(), "a".to_owned());
    let target = Target::new(spot, mark(1));
    assert!(gcs.start_upload(&target).await.unwrap_err().is_bucket_missing());
    gcs.abort_upload(&UploadAt { target, id: "x".to_owned() }).await.unwrap();
}
