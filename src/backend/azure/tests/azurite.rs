//! The calls against Azurite, Microsoft's emulator.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Weak};

use azure_storage_blob::models::BlockBlobClientUploadOptions;

use super::*;
use crate::model::{ContentHeaders, Described, Incarnation, Tags, WriteId};

/// One server for all tests that run at once, ended by the last.
struct Server {
    child: Child,
    port: u16,
    buckets: Mutex<u32>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that `make conformance` names.
fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let main = std::env::var_os("ANYBUCKET_AZURITE").expect("ANYBUCKET_AZURITE names main.js of Azurite's blob service");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let accounts: Vec<_> = (0..ACCOUNTS).map(|n| format!("account{n}:{KEY}")).collect();
    let mut run = Command::new("node");
    run.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY};{}", accounts.join(";")));
    run.arg(main).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    run.args(["--disableTelemetry", "--inMemoryPersistence", "--silent"]).stdout(Stdio::null());
    let server = Arc::new(Server { child: run.spawn().unwrap(), port, buckets: Mutex::default() });
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    *shared = Arc::downgrade(&server);
    server
}

/// Accounts of tests that want one for themselves.
const ACCOUNTS: u32 = 100;

mod conformance {
    use super::*;
    use crate::backend::service::Store;

    /// A store over an account of its own.
    async fn store() -> (Arc<Store<Azure>>, Arc<Server>) {
        let server = server();
        let settings = Settings::at(format!("http://127.0.0.1:{}/account{}", server.port, server.next()), "anybucket-home");
        let account = settings.account();
        let keys: ReadKeys<Credentials> =
            Arc::new(move || Ok(Credentials::SharedKey { account: account.clone(), key: KEY.to_owned() }));
        let azure = Azure::new(&settings, keys).unwrap();
        (Arc::new(Store::open(azure, &settings.common).await.unwrap()), server)
    }

    crate::backend::conformance::passes_service_conformance! {
        [#[ignore = "needs Azurite: make conformance"]] store().await
    }
}

impl Server {
    fn next(&self) -> u32 {
        let mut buckets = self.buckets.lock().unwrap();
        *buckets += 1;
        *buckets
    }

    fn account(&self) -> Azure {
        account_at(self.port, shared_key(KEY))
    }

    /// A container of the test's own.
    async fn bucket(&self, azure: &Azure) -> String {
        let bucket = format!("bucket-{}", self.next());
        azure.make_bucket(&bucket).await.unwrap();
        bucket
    }
}

async fn account() -> (Azure, String, Arc<Server>) {
    let server = server();
    let azure = server.account();
    let bucket = server.bucket(&azure).await;
    (azure, bucket, server)
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn what_is_stored_is_read_and_known() {
    let (azure, bucket, _server) = account().await;
    let (to, whole) = (target(&bucket, "a b/é", "w1"), bytes(1000, 1));
    azure.put(&to, whole.clone()).await.unwrap();
    let told = azure.look(&to.spot).await.unwrap();
    assert_eq!((written_by(&told), told.size, told.modified_ms), ("w1", 1000, 5));
    assert!(told.changed_ms.is_some() && told.etag.as_ref().is_some_and(|etag| !etag.contains('"')), "{told:?}");
    assert_eq!(read(&azure, &to.spot, None).await.unwrap(), whole);
    for range in [0..1, 10..20, 990..1000, 0..1000] {
        let opened = azure.open(&to.spot, Some(&range)).await.unwrap();
        assert_eq!((opened.told.size, opened.told.etag.clone(), written_by(&opened.told)), (1000, told.etag.clone(), "w1"));
        let part = read(&azure, &to.spot, Some(range.clone())).await.unwrap();
        assert_eq!(part, whole.slice(range.start as usize..range.end as usize));
    }
    assert!(azure.open(&to.spot, Some(&(1001..1002))).await.err().unwrap().is_beyond_end());
    azure.put(&to, Bytes::new()).await.unwrap();
    assert_eq!(read(&azure, &to.spot, None).await.unwrap(), "");
    let missing = target(&bucket, "b", "").spot;
    assert!(azure.look(&missing).await.unwrap_err().is_missing());
    assert!(azure.open(&missing, None).await.err().unwrap().is_missing());
    let nowhere = target("nowhere", "b", "");
    let unstored = azure.put(&nowhere, whole).await.unwrap_err();
    assert!(unstored.is_bucket_missing() && !unstored.is_open(), "{unstored:?}");
    assert!(azure.open(&nowhere.spot, None).await.err().unwrap().is_bucket_missing());
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_body_that_ends_badly_stores_nothing() {
    let (azure, bucket, _server) = account().await;
    let (to, whole) = (target(&bucket, "a", "w1"), bytes(5 << 20, 1));
    let broken = |size: usize, end| outgoing(&whole.slice(..size), Some(end));
    let ends = [
        (5 << 20, BodyError::Refused),
        (1, BodyError::Refused),
        (0, BodyError::Refused),
        (3 << 20, BodyError::Truncated("x".to_owned())),
    ];
    for (size, end) in ends {
        assert!(azure.put_streamed(&to, broken(size, end)).await.is_err(), "{size}");
    }
    let short = Outgoing::new(Body::new(None, stream::iter([Ok(whole.clone())])), (5 << 20) + 1).0;
    assert!(azure.put_streamed(&to, short).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(azure.look(&to.spot).await.unwrap_err().is_missing());
    for size in [5 << 20, 1, 0] {
        azure.put_streamed(&to, outgoing(&whole.slice(..size), None)).await.unwrap();
        assert!(read(&azure, &to.spot, None).await.unwrap() == whole.slice(..size), "{size}");
    }
    assert!(azure.put_streamed(&to, broken(5 << 20, BodyError::Refused)).await.is_err());
    assert_eq!(azure.look(&to.spot).await.unwrap().size, 0, "what was there stays");
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn only_what_was_seen_is_removed() {
    let (azure, bucket, _server) = account().await;
    let to = target(&bucket, "a", "w1");
    azure.put(&to, bytes(10, 1)).await.unwrap();
    let old = azure.look(&to.spot).await.unwrap();
    azure.put(&to, bytes(10, 2)).await.unwrap();
    let new = azure.look(&to.spot).await.unwrap();
    assert!(azure.remove(&to.spot, Only::Seen(&old)).await.unwrap_err().is_refused_by_condition());
    azure.remove(&to.spot, Only::Seen(&new)).await.unwrap();
    let gone = azure.remove(&to.spot, Only::Seen(&new)).await.unwrap_err();
    assert!(gone.is_missing() || gone.is_refused_by_condition(), "{gone:?}");
    assert!(azure.remove(&to.spot, Only::Any).await.unwrap_err().is_missing());
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_copy_is_of_what_was_seen_to_where_it_may_go() {
    let (azure, bucket, server) = account().await;
    let other = server.bucket(&azure).await;
    let (from, whole) = (target(&bucket, "a b+c%41?d#e&f=g/é", "w1"), bytes(100_000, 1));
    azure.put(&from, whole.clone()).await.unwrap();
    let seen = azure.look(&from.spot).await.unwrap();
    for to in [target(&bucket, "é?%/x", "w2"), target(&other, "a b+c%41?d#e&f=g/é", "w3")] {
        azure.copy(&from.spot, &seen, &to, Only::Nothing).await.unwrap();
        let told = azure.look(&to.spot).await.unwrap();
        assert_eq!((written_by(&told), told.size), (written_by(&Told::new(Some(&to.metadata), None, None, 0)), 100_000));
        assert!(read(&azure, &to.spot, None).await.unwrap() == whole);
        assert!(azure.copy(&from.spot, &seen, &to, Only::Nothing).await.unwrap_err().is_refused_by_condition());
        azure.copy(&from.spot, &seen, &to, Only::Seen(&told)).await.unwrap();
        assert!(azure.copy(&from.spot, &seen, &to, Only::Seen(&told)).await.unwrap_err().is_refused_by_condition());
        azure.copy(&from.spot, &seen, &to, Only::Any).await.unwrap();
    }
    let new = target(&bucket, "new", "w4");
    assert!(azure.copy(&from.spot, &seen, &new, Only::Seen(&seen)).await.unwrap_err().is_refused_by_condition());
    azure.put(&from, bytes(3, 2)).await.unwrap();
    let changed = azure.copy(&from.spot, &seen, &new, Only::Nothing).await.unwrap_err();
    assert!(changed.is_refused_by_condition(), "{changed:?}");
    azure.remove(&from.spot, Only::Any).await.unwrap();
    let gone = azure.copy(&from.spot, &seen, &new, Only::Nothing).await.unwrap_err();
    assert!(gone.is_missing(), "{gone:?}");
    assert!(azure.look(&new.spot).await.unwrap_err().is_missing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Azurite: make conformance"]
async fn of_copies_that_race_one_wins() {
    let (azure, bucket, _server) = account().await;
    let azure = &azure;
    for round in 0..5 {
        let name = format!("to-{round}");
        let mut there = None;
        for step in 0..2 {
            let copies = (0..10).map(|n| {
                let (name, bucket, there) = (&name, &bucket, there.as_ref());
                async move {
                    let (from, to) = (target(bucket, &format!("from-{n}"), ""), target(bucket, name, &format!("w{step}-{n}")));
                    azure.put(&from, bytes(1000 + n, n)).await.unwrap();
                    let seen = azure.look(&from.spot).await.unwrap();
                    let only = there.map_or(Only::Nothing, Only::Seen);
                    azure.copy(&from.spot, &seen, &to, only).await.map(|()| n)
                }
            });
            let (won, lost): (Vec<_>, Vec<_>) = futures::future::join_all(copies).await.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1, "{won:?}");
            let lost: Vec<Fault> = lost.into_iter().filter_map(Result::err).collect();
            assert!(lost.iter().all(Fault::is_refused_by_condition), "{lost:?}");
            let n = *won[0].as_ref().unwrap();
            let told = azure.look(&target(&bucket, &name, "").spot).await.unwrap();
            assert_eq!((written_by(&told), told.size), (format!("w{step}-{n}").as_str(), 1000 + n as u64));
            there = Some(told);
        }
    }
}

/// An upload with three parts, of which the second came twice and the third has no bytes.
async fn with_parts(azure: &Azure, to: &Target) -> (UploadAt, Vec<PartAt>, Bytes) {
    let upload = UploadAt { target: to.clone(), id: azure.start_upload(to).await.unwrap() };
    let (one, two) = (bytes(200_000, 1), bytes(300_000, 2));
    let first = azure.put_part_streamed(&upload, 1, outgoing(&one, None)).await.unwrap();
    let lost = azure.put_part(&upload, 2, bytes(5, 9)).await.unwrap();
    let second = azure.put_part(&upload, 2, two.clone()).await.unwrap();
    assert_ne!(lost, second);
    let third = azure.put_part_streamed(&upload, 3, outgoing(&Bytes::new(), None)).await.unwrap();
    let sizes = [200_000, 300_000, 0];
    let parts = [first, second, third].into_iter().zip(sizes).zip(1..);
    let parts = parts.map(|((tag, _), number)| PartAt { number, tag }).collect();
    (upload, parts, [one, two].concat().into())
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn parts_become_what_was_listed_and_nothing_before() {
    let (mut azure, bucket, _server) = account().await;
    for block_bytes_max in [BLOCK_BYTES_MAX, 60_000, 1 << 17] {
        azure.block_bytes_max = block_bytes_max;
        let to = target(&bucket, &format!("a/{block_bytes_max}"), "w1");
        let (upload, parts, whole) = with_parts(&azure, &to).await;
        assert!(azure.look(&to.spot).await.unwrap_err().is_missing());
        assert_eq!(names(&azure, &bucket, &to.spot.name, Cursor::Start).await, [""; 0]);
        let unknown = PartAt { tag: "AAAAAAAAAAAAAAAAAAAAAA.1".to_owned(), ..parts[0].clone() };
        for bad in [unknown, PartAt { tag: "x".to_owned(), ..parts[0].clone() }] {
            let refused = azure.complete_upload(&upload, &[bad, parts[1].clone()]).await.unwrap_err();
            assert!(refused.is_bad_list(), "{refused:?}");
        }
        // Once more, for whoever did not hear the answer.
        for _ in 0..2 {
            azure.complete_upload(&upload, &parts).await.unwrap();
            let told = azure.look(&to.spot).await.unwrap();
            assert_eq!((written_by(&told), told.modified_ms), ("w1", 5));
            assert!(read(&azure, &to.spot, None).await.unwrap() == whole);
        }
        azure.abort_upload(&upload).await.unwrap();
        assert!(read(&azure, &to.spot, None).await.unwrap() == whole, "what was completed stays");
    }
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn an_upload_of_no_bytes_is_an_empty_blob() {
    let (azure, bucket, _server) = account().await;
    let to = target(&bucket, "a", "w1");
    let upload = UploadAt { target: to.clone(), id: azure.start_upload(&to).await.unwrap() };
    let tag = azure.put_part(&upload, 1, Bytes::new()).await.unwrap();
    azure.complete_upload(&upload, &[PartAt { number: 1, tag }]).await.unwrap();
    let told = azure.look(&to.spot).await.unwrap();
    assert_eq!((written_by(&told), told.size), ("w1", 0));
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn an_upload_that_was_given_up_is_not_there() {
    let (azure, bucket, _server) = account().await;
    let to = target(&bucket, "a", "w1");
    let (upload, parts, _) = with_parts(&azure, &to).await;
    for _ in 0..2 {
        azure.abort_upload(&upload).await.unwrap();
        assert!(azure.look(&to.spot).await.unwrap_err().is_missing());
    }
    let never = UploadAt { target: target(&bucket, "b", "w2"), id: "blocks".to_owned() };
    let missing = azure.complete_upload(&never, &parts).await.unwrap_err();
    assert!(missing.is_missing(), "{missing:?}");
    azure.abort_upload(&never).await.unwrap();
    azure.remove_bucket(&bucket).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_part_that_ends_badly_is_no_part() {
    let (mut azure, bucket, _server) = account().await;
    azure.block_bytes_max = 100_000;
    let to = target(&bucket, "a", "w1");
    let (upload, parts, whole) = with_parts(&azure, &to).await;
    for size in [250_000, 200_000, 0] {
        let broken = outgoing(&bytes(size, 7), Some(BodyError::Refused));
        assert!(azure.put_part_streamed(&upload, 1, broken).await.is_err(), "{size}");
    }
    azure.complete_upload(&upload, &parts).await.unwrap();
    assert!(read(&azure, &to.spot, None).await.unwrap() == whole);
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn pages_go_on_in_order_behind_any_name() {
    let (mut azure, bucket, _server) = account().await;
    azure.page_names_max = 3;
    let mut all: Vec<String> =
        ["A", "a", "a-b", "a/1", "a/2", "a/é", "a0", "b c", "b+", "b/x", "é", "\u{D7FF}"].map(str::to_owned).into();
    for (n, name) in all.iter().enumerate() {
        azure.put(&target(&bucket, name, &format!("w{n}")), bytes(n, 0)).await.unwrap();
    }
    all.sort();
    assert_eq!(names(&azure, &bucket, "", Cursor::Start).await, all);
    for behind in ["", "A", "a/1", "a/11", "a/é", "b+", "zz", "\u{D7FF}", "a\u{10FFFF}"].into_iter().map(str::to_owned) {
        let expected: Vec<_> = all.iter().filter(|name| **name > behind).cloned().collect();
        assert_eq!(names(&azure, &bucket, "", Cursor::Behind(behind.clone())).await, expected, "{behind}");
    }
    assert_eq!(names(&azure, &bucket, "a/", Cursor::Start).await, ["a/1", "a/2", "a/é"]);
    assert_eq!(names(&azure, &bucket, "a/", Cursor::Behind("a/1".to_owned())).await, ["a/2", "a/é"]);
    assert_eq!(names(&azure, &bucket, "c", Cursor::Start).await, [""; 0]);
    let page = azure.page(&bucket, "a/", &Cursor::Start).await.unwrap();
    for Listed { name, told, size, stored_ms } in page.listed {
        let looked = azure.look(&Spot::new(bucket.clone(), name)).await.unwrap();
        let told = told.unwrap();
        assert_eq!((&told.binding, &told.etag, told.size), (&looked.binding, &looked.etag, size));
        assert_eq!((told.changed_ms, told.modified_ms), (looked.changed_ms, 5));
        assert!(stored_ms.is_some());
    }
    assert!(azure.page("nowhere", "", &Cursor::Start).await.unwrap_err().is_bucket_missing());
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn what_others_said_of_their_blobs_is_known() {
    let (azure, bucket, _server) = account().await;
    let spot = Spot::new(bucket.clone(), "a");
    let text = |text: &str| Some(text.to_owned());
    let options = BlockBlobClientUploadOptions {
        blob_content_type: text("text/plain"),
        blob_cache_control: text("no-store"),
        blob_content_disposition: text("inline"),
        blob_content_language: text("de"),
        metadata: Some([("made_by".to_owned(), "others".to_owned())].into()),
        ..BlockBlobClientUploadOptions::default()
    };
    azure.client.blob(&spot).unwrap().upload(bytes(10, 0).into(), Some(options)).await.unwrap();
    azure.put(&target(&bucket, "ours", &WriteId::new(Incarnation(7), 1, 2).to_string()), bytes(10, 0)).await.unwrap();
    let headers = ContentHeaders {
        content_type: text("text/plain"),
        cache_control: text("no-store"),
        content_disposition: text("inline"),
        content_language: text("de"),
        ..ContentHeaders::default()
    };
    let metadata = vec![("made_by".to_owned(), "others".to_owned())];
    let described = Some(Box::new(Described { headers, metadata, tags: Tags::new() }));
    assert_eq!(azure.look(&spot).await.unwrap().described, described);
    let listed = azure.page(&bucket, "", &Cursor::Start).await.unwrap().listed;
    let said: Vec<_> = listed.into_iter().map(|listed| listed.told.unwrap().described).collect();
    let ours = Some(Box::new(Described::unordered(
        ContentHeaders { content_type: text("application/octet-stream"), ..ContentHeaders::default() },
        [],
    )));
    assert_eq!(said, [described, ours]);
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn names_that_are_not_odd_come_back_as_they_were() {
    let (azure, bucket, _server) = account().await;
    let tried = [
        "a",
        " a",
        "a ",
        "a  b",
        "%",
        "%41",
        "%2F",
        "a?b",
        "a#b",
        "a&b=c",
        "a+b",
        "a<b>c",
        "a\"b'c",
        "a;b",
        "a:b",
        "@",
        "~",
        "a,b",
        "[a]",
        "{a}",
        "a|b",
        "^",
        "`",
        "*",
        "&amp;",
        "é",
        "e\u{301}",
        "日本",
        "\u{7F}",
        "\u{1}",
        "\t",
        "a\nb",
        "a\rb",
        "\u{85}",
        "\u{2028}",
        "\u{FEFF}",
        "\u{FFFE}",
        "\u{1F600}",
        "a//b",
        "/a",
        "a/",
        "./a",
        "a/./b",
        "a/../b",
        "...",
        "a.",
        "a./b",
        "a\\b",
        "\u{A0}",
        "-",
        "_",
        "$",
        "!",
        "(a)",
        "a.b/c.d",
    ];
    let mut broken = Vec::new();
    for name in tried {
        let to = target(&bucket, name, "w1");
        let stored = azure.put(&to, bytes(3, 0)).await;
        let seen = try_names(&azure, &bucket, "", Cursor::Start).await.unwrap_or_default();
        let behind = try_names(&azure, &bucket, "", Cursor::Behind(name.to_owned())).await;
        let read = read(&azure, &to.spot, None).await;
        let removed = azure.remove(&to.spot, Only::Any).await;
        if stored.is_err() || seen != [name] || read.is_err() || removed.is_err() || behind.is_ok_and(|behind| !behind.is_empty())
        {
            broken.push((name, seen));
        }
    }
    broken.retain(|(name, _)| !azure.is_odd(name));
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn only_a_container_without_blobs_goes() {
    let (azure, bucket, _server) = account().await;
    azure.make_bucket(&bucket).await.unwrap();
    azure.look_at_bucket(&bucket).await.unwrap();
    assert!(azure.buckets().await.unwrap().contains(&bucket));
    let to = target(&bucket, "a", "w1");
    azure.put(&to, Bytes::new()).await.unwrap();
    let refused = azure.remove_bucket(&bucket).await.unwrap_err();
    assert!(matches!(Error::from(refused), Error::NotEmpty(_)));
    azure.remove(&to.spot, Only::Any).await.unwrap();
    azure.remove_bucket(&bucket).await.unwrap();
    assert!(azure.remove_bucket(&bucket).await.unwrap_err().is_bucket_missing());
    let missing = azure.look_at_bucket(&bucket).await.unwrap_err();
    assert!(missing.is_bucket_missing(), "{missing:?}");
    assert!(matches!(Error::from(azure.make_bucket("a.b").await.unwrap_err()), Error::Name(_)));
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_wrong_key_is_denied_and_not_told() {
    let (_, bucket, server) = account().await;
    let azure = account_at(server.port, shared_key("aHVudGVyMg=="));
    let denied = azure.look_at_bucket(&bucket).await.unwrap_err();
    assert!(denied.is_denied(), "{denied:?}");
    let told = format!("{azure:?} {denied:?}");
    let text = format!("{told} {}", Error::from(denied));
    assert!(!text.contains("aHVudGVy"), "{text}");
    let unread = account_at(server.port, shared_key("not base64")).look_at_bucket(&bucket).await.unwrap_err();
    assert!(unread.is_denied() && unread.detail.contains("base64"), "{unread:?}");
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_shared_access_signature_is_enough() {
    let (_, bucket, server) = account().await;
    let (start, end, version) = ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2024-11-04");
    let text = format!("{ACCOUNT}\nrwdlacx\nb\nsco\n{start}\n{end}\n\nhttps,http\n{version}\n\n");
    let signature = azure_core::hmac::hmac_sha256(&text, &azure_core::credentials::Secret::new(KEY)).unwrap();
    let mut query = azure_core::http::Url::parse("http://x").unwrap();
    let pairs =
        [("sv", version), ("ss", "b"), ("srt", "sco"), ("sp", "rwdlacx"), ("st", start), ("se", end), ("spr", "https,http")];
    query.query_pairs_mut().extend_pairs(pairs).append_pair("sig", &signature);
    let sas = format!("?{}", query.query().unwrap());
    let azure = account_at(server.port, Arc::new(move || Ok(Credentials::Sas(sas.clone()))));
    let (from, to) = (target(&bucket, "a b?%41", "w1"), target(&bucket, "b", "w2"));
    azure.put(&from, bytes(9, 0)).await.unwrap();
    let seen = azure.look(&from.spot).await.unwrap();
    azure.copy(&from.spot, &seen, &to, Only::Nothing).await.unwrap();
    let (upload, parts, whole) = with_parts(&azure, &target(&bucket, "c", "w3")).await;
    azure.complete_upload(&upload, &parts).await.unwrap();
    assert!(read(&azure, &upload.target.spot, None).await.unwrap() == whole);
    assert_eq!(names(&azure, &bucket, "", Cursor::Behind("a".to_owned())).await, ["a b?%41", "b", "c"]);
    assert!(azure.buckets().await.unwrap().contains(&bucket));
}

#[tokio::test]
#[ignore = "needs Azurite: make conformance"]
async fn a_removal_that_comes_late_leaves_a_container_that_was_made_again() {
    let (azure, bucket, _server) = account().await;
    let lease = azure.lease_container(&bucket).await.unwrap();
    assert!(azure.remove_container(&bucket).await.unwrap_err().is_passing(), "another removal has it");
    azure.remove_leased(&bucket, &lease).await.unwrap();
    azure.make_bucket(&bucket).await.unwrap();
    azure.put(&target(&bucket, "a", "w1"), bytes(1, 1)).await.unwrap();
    azure.remove_blob(&target(&bucket, "a", "w1").spot, Only::Any).await.unwrap();
    let late = azure.remove_leased(&bucket, &lease).await.unwrap_err();
    assert!(!late.is_bucket_missing(), "{late:?}");
    azure.look_at_container(&bucket).await.unwrap();
    azure.put(&target(&bucket, "a", "w1"), bytes(1, 1)).await.unwrap();
    assert!(azure.remove_container(&bucket).await.unwrap_err().is_not_empty());
    azure.remove_blob(&target(&bucket, "a", "w1").spot, Only::Any).await.unwrap();
    azure.remove_container(&bucket).await.expect("the lease of a removal that was refused was given back");
}
