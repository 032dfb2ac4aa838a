//! What only the fake shows: conditions that hold in races, and what goes wrong.

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use crate::backend::gcs::fake::Trick;
use crate::backend::gcs::objects::LOOKS_MAX;

/// Calls by ten at once, ten times.
const ROUNDS: u64 = 10;
const AT_ONCE: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_copies_exactly_one_wins() {
    let (gcs, _fake) = over_fake().await;
    let gcs = Arc::new(gcs);
    let mut seen: Option<Told> = None;
    for round in 0..ROUNDS {
        let writes = round * AT_ONCE..(round + 1) * AT_ONCE;
        let copies = writes.map(|write| {
            let (gcs, seen) = (gcs.clone(), seen.clone());
            tokio::spawn(async move {
                let own = format!("own/{write}");
                let told = put(&gcs, &own, write, write.to_string()).await;
                let only = seen.as_ref().map_or(Only::Nothing, Only::Seen);
                gcs.copy(&at(&own), &told, &target("plain", write), only).await.map(|()| write)
            })
        });
        let (mut winners, mut losers) = (Vec::new(), 0);
        for copied in join_all(copies).await {
            match copied.unwrap() {
                Ok(write) => winners.push(write),
                Err(fault) => losers += u64::from(fault.is_refused_by_condition() && !fault.is_open()),
            }
        }
        assert_eq!((winners.len(), losers), (1, AT_ONCE - 1));
        let opened = gcs.open(&at("plain"), None).await.unwrap();
        assert_eq!(format!("{:?}", opened.told.binding), format!("Tag(\"{}\")", winners[0]));
        seen = Some(opened.told.clone());
        assert_eq!(read(opened).await.unwrap(), winners[0].to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_where_another_generation_is() {
    let (gcs, _fake) = over_fake().await;
    let (old, other) = (put(&gcs, "a", 1, "old").await, put(&gcs, "b", 1, "other").await);
    let new = put(&gcs, "a", 2, "new").await;
    let refused = gcs.remove(&at("a"), Only::Seen(&old)).await.unwrap_err();
    assert!(refused.is_refused_by_condition(), "{refused:?}");
    // The source is another, the target is there, the target is another.
    for (from, seen, to, only) in [
        ("a", &old, "c", Only::Any),
        ("b", &other, "a", Only::Nothing),
        ("b", &other, "a", Only::Seen(&old)),
        ("b", &other, "c", Only::Seen(&old)),
    ] {
        let refused = gcs.copy(&at(from), seen, &target(to, 3), only).await.unwrap_err();
        assert!(refused.is_refused_by_condition() && !refused.is_open(), "{refused:?}");
    }
    assert_eq!(written(&gcs, "a").await, "Tag(\"2\")");
    gcs.copy(&at("b"), &other, &target("a", 3), Only::Seen(&new)).await.unwrap();
    let now = gcs.look(&at("a")).await.unwrap();
    gcs.remove(&at("a"), Only::Seen(&now)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_goes_on_until_it_is_done() {
    let (gcs, fake) = over_fake().await;
    let told = put(&gcs, "a", 1, "a").await;
    fake.play(&[Trick::Step, Trick::Step, Trick::Step]);
    gcs.copy(&at("a"), &told, &target("b", 2), Only::Nothing).await.unwrap();
    assert!(fake.world().tricks.is_empty());
    assert_eq!(written(&gcs, "b").await, "Tag(\"2\")");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_those_that_were_looked_at() {
    let (gcs, fake) = over_fake().await;
    let old = put(&gcs, "a", 1, "old").await;
    fake.play(&[Trick::Replace]);
    let opened = gcs.open(&at("a"), None).await.unwrap();
    assert_ne!(opened.told.etag, old.etag);
    assert_eq!((opened.told.size, read(opened).await.unwrap()), (7, "another".into()));
    // Replaced again and again, it is neither missing nor some of each.
    fake.play(&[Trick::Replace; LOOKS_MAX]);
    assert!(gcs.open(&at("a"), None).await.is_err_and(|fault| fault.is_passing() && !fault.is_missing()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_page_is_not_the_last() {
    let (gcs, fake) = over_fake().await;
    for name in ["a", "b", "c", "d", "e"] {
        put(&gcs, name, 1, name).await;
    }
    fake.world().page_max = 2;
    fake.play(&[Trick::EmptyPage]);
    let first = gcs.page(BUCKET, "", &Cursor::Start).await.unwrap();
    assert!(first.listed.is_empty() && first.next.is_some());
    assert_eq!(names(&gcs, "", Cursor::Next(first.next.unwrap())).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&gcs, "", Cursor::Behind("b".to_owned())).await, ["c", "d", "e"]);
    for name in ["c-bucket", "d-bucket", "e-bucket"] {
        gcs.make_bucket(name).await.unwrap();
    }
    assert_eq!(gcs.buckets().await.unwrap(), [BUCKET, "c-bucket", "d-bucket", "e-bucket"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_others_is_not_made_and_one_with_something_in_it_stays() {
    let (gcs, fake) = over_fake().await;
    fake.world().foreign.insert("theirs".to_owned());
    let taken = gcs.make_bucket("theirs").await.unwrap_err();
    assert!(taken.is(&["BucketAlreadyExists"]) && taken.status == Some(409), "{taken:?}");
    put(&gcs, "a", 1, "a").await;
    assert!(gcs.remove_bucket(BUCKET).await.unwrap_err().is(&["BucketNotEmpty"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_closed_and_half_an_answer_is_open() {
    let (gcs, fake) = over_fake().await;
    for (status, reason) in [(429, "rateLimitExceeded"), (403, "userRateLimitExceeded")] {
        fake.play(&[Trick::Refuse(status, reason)]);
        let slow = gcs.put(&target("a", 1), "a".into()).await.unwrap_err();
        assert!(slow.is_passing() && !slow.is_open() && !slow.is_denied(), "{slow:?}");
    }
    assert!(gcs.look(&at("a")).await.unwrap_err().is_missing());
    fake.play(&[Trick::Refuse(503, "backendError")]);
    let unknown = gcs.put(&target("a", 1), "a".into()).await.unwrap_err();
    assert!(unknown.is_passing() && unknown.is_open(), "{unknown:?}");
    fake.play(&[Trick::Half]);
    let half = gcs.put(&target("a", 1), "a".into()).await.unwrap_err();
    assert!(half.is_open() && half.is_passing(), "{half:?}");
    let told = gcs.look(&at("a")).await.unwrap();
    fake.play(&[Trick::Half]);
    assert!(gcs.copy(&at("a"), &told, &target("b", 1), Only::Any).await.unwrap_err().is_open());
    // The look before it is answered well.
    let whole = bytes(100_000);
    put(&gcs, "c", 1, whole.clone()).await;
    let opening = async |trick| {
        fake.play(&[trick]);
        gcs.open(&at("c"), None).await
    };
    assert!(opening(Trick::Half).await.is_err_and(|fault| fault.is_passing()));
    assert!(read(opening(Trick::HalfMedia).await.unwrap()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address_is_silence() {
    let (gcs, fake) = over_fake().await;
    drop(fake);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let silent = gcs.look(&at("a")).await.unwrap_err();
    assert!(silent.is_silence() && silent.is_open() && !silent.detail.contains("/storage/"), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_carry_a_token_that_the_credentials_give() {
    let (gcs, fake) = over_fake().await;
    fake.world().token = Some("token-one".to_owned());
    assert!(gcs.look_at_bucket(BUCKET).await.unwrap_err().is_denied());
    let endpoint = format!("http://{}", fake.address);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let write = |secret: &str| {
        let json = serde_json::json!({
            "type": "authorized_user", "client_id": "me", "client_secret": secret, "refresh_token": "hunter2",
            "token_uri": format!("{endpoint}/token"),
        });
        std::fs::write(&path, json.to_string()).unwrap();
    };
    write("hunter3");
    let known = Gcs::new(Settings::at(Some(endpoint.clone()), "my-project", "a-home"), Keys::File(path.clone())).unwrap();
    for _ in 0..3 {
        known.look_at_bucket(BUCKET).await.unwrap();
    }
    assert_eq!(fake.world().grants, 1);
    let shown = format!("{known:?}");
    assert!(!shown.contains("hunter") && !shown.contains("token-one"), "{shown}");
    // Credentials that are quite new are not asked for again.
    known.forget_keys();
    fake.world().token = Some("token-two".to_owned());
    let refused = known.look_at_bucket(BUCKET).await.unwrap_err();
    assert!(refused.is_denied() && !refused.is_open(), "{refused:?}");
    known.client.auth.age();
    known.forget_keys();
    known.look_at_bucket(BUCKET).await.unwrap();
    assert_eq!(fake.world().grants, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_none_say_so_and_nothing_of_themselves() {
    let (_, fake) = over_fake().await;
    let dir = tempfile::tempdir().unwrap();
    for (n, text) in
        ["", "hunter2", r#"{"type":"hunter2"}"#, r#"{"type":"service_account","private_key":"hunter2"}"#].iter().enumerate()
    {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, text).unwrap();
        let settings = Settings::at(Some(format!("http://{}", fake.address)), "my-project", "a-home");
        let gcs = Gcs::new(settings, Keys::File(path)).unwrap();
        let fault = gcs.look_at_bucket(BUCKET).await.unwrap_err();
        assert!(fault.is_denied() && !fault.is_open() && !fault.detail.contains("hunter2"), "{fault:?}");
    }
}
