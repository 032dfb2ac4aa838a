//! The whole of it in one process, asked over its own listeners.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::{Flag, Sources};

/// A running proxy on free ports, with its data in a directory of its own.
struct Running {
    app: App,
    dir: tempfile::TempDir,
}

fn config(dir: &tempfile::TempDir, more: &[(&str, &str)]) -> Config {
    let data = dir.path().join("data").display().to_string();
    let always =
        [("data", data.as_str()), ("s3.listen", "127.0.0.1:0"), ("admin.listen", "127.0.0.1:0"), ("backend.main.kind", "memory")];
    let flag = |(path, value): &(&str, &str)| Flag { name: path.to_string(), path: path.to_string(), value: value.to_string() };
    let flags = always.iter().chain(more).map(flag).collect();
    Sources { flags, ..Sources::default() }.load().unwrap()
}

async fn start(more: &[(&str, &str)]) -> Running {
    let dir = tempfile::tempdir().unwrap();
    Running { app: App::start(&config(&dir, more)).await.unwrap(), dir }
}

impl Running {
    fn token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("data/admin-token")).unwrap().trim().into()
    }

    /// Status and body of a GET at the admin listener.
    async fn get(&self, path: &str, token: &str) -> (u16, String) {
        self.get_as("127.0.0.1", path, token).await
    }

    async fn get_as(&self, host: &str, path: &str, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.app.admin_address()).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.into())
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path, &self.token()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_before_it_touches_anything() {
    let running = start(&[]).await;
    let err = App::start(&config(&running.dir, &[])).await.unwrap_err();
    assert!(err.to_string().contains("in use by process"), "{err:#}");
    running.app.stop().await;
    App::start(&config(&running.dir, &[])).await.unwrap().stop().await;
}

#[tokio::test]
async fn health_is_open_and_everything_else_needs_the_token() {
    let running = start(&[]).await;
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(running.get(path, "").await.0, 200, "{path}");
    }
    for path in ["/metrics", "/v1/status", "/v1/workers", "/v1/buckets", "/v1/openapi.json", "/v1/nothing"] {
        for token in ["", "wrong"] {
            let (status, body) = running.get(path, token).await;
            assert_eq!(status, 401, "{path}");
            assert!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["error"]["message"].is_string());
        }
    }
    assert_eq!(running.get("/v1/nothing", &running.token()).await.0, 404);
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_even_with_the_token() {
    let running = start(&[("admin.hosts", r#"["admin.example.com"]"#)]).await;
    let token = running.token();
    assert_eq!(running.get_as("evil.example.com", "/v1/status", &token).await.0, 421);
    assert_eq!(running.get_as("admin.example.com", "/v1/status", &token).await.0, 200);
    assert_eq!(running.get_as("any.name", "/health/ready", "").await.0, 200);
}

#[tokio::test]
async fn metrics_can_be_opened_by_a_setting() {
    let running = start(&[("admin.open_metrics", "true")]).await;
    let (status, text) = running.get("/metrics", "").await;
    assert_eq!(status, 200);
    for name in ["anybucket_build{", "anybucket_unsettled 0", "anybucket_status_commits_total", "anybucket_worker_steps_total{"] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert_eq!(running.get("/v1/status", "").await.0, 401);
}

#[tokio::test]
async fn the_api_tells_who_it_is_and_what_it_does() {
    let running = start(&[("site.name", "paris"), ("site.number", "7")]).await;
    let bucket = crate::model::BucketName::new("photos").unwrap();
    running.app.parts.site.create_bucket(&bucket, "me", "us-east-1").await.unwrap();
    let status = running.json("/v1/status").await;
    assert_eq!(status["site"], serde_json::json!({ "name": "paris", "number": 7, "state": "active" }));
    assert_eq!((status["ready"].as_bool(), status["store"].as_str()), (Some(true), Some("memory")));
    let durability = serde_json::json!({
        "name": "durability", "support": "refused", "detail": "everything is gone when the process ends"
    });
    let store = serde_json::json!({ "store": "", "kind": "memory", "properties": [durability] });
    assert_eq!(running.json("/v1/stores").await, serde_json::json!([store]));
    assert_eq!(running.json("/v1/workers").await[0]["name"], "settle");
    assert_eq!(running.json("/v1/buckets").await[0]["name"], "photos");
}

#[tokio::test]
async fn a_process_that_is_going_says_so_to_whoever_asks_whether_it_is_ready() {
    let running = start(&[]).await;
    running.app.parts.readiness.drain();
    assert_eq!(running.get("/health/ready", "").await, (503, "not ready: shutting down\n".into()));
    assert_eq!(running.get("/health/live", "").await.0, 200);
    let (status, body) = running.get("/health", "").await;
    assert_eq!((status, body.as_str()), (503, r#"{"ready":false,"reasons":["shutting down"]}"#));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let err = App::start(&config(&dir, &[("s3.listen", &address)])).await.unwrap_err();
    assert!(err.to_string().contains(&format!("cannot listen on {address} (s3.listen)")), "{err:#}");
}

/// A port that nobody has now: two sites name each other's before either is there. It is none that the kernel gives to
/// connections, of which other tests open many meanwhile.
fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut candidates = std::iter::from_fn(|| {
        let tried = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        Some(format!("127.0.0.1:{}", 20_000 + tried % 12_000))
    });
    candidates.find(|address| std::net::TcpListener::bind(address).is_ok()).unwrap()
}

/// A site of a pair, and how the other one sees it.
struct Side {
    name: &'static str,
    number: &'static str,
    feed: String,
    /// What the other one must present.
    accept: &'static str,
}

fn sides() -> [Side; 2] {
    let side = |name, number, accept| Side { name, number, feed: free_address(), accept };
    [side("paris", "1", "berlin-presents"), side("berlin", "2", "paris-presents")]
}

/// Starts `own`, which follows `other`; `more` wins.
async fn start_side(own: &Side, other: &Side, more: &[(&str, &str)]) -> Running {
    let scheme = if more.iter().any(|(path, _)| path.starts_with("feed.tls")) { "https" } else { "http" };
    let feed = format!("{scheme}://{}", other.feed);
    let settings = [
        ("site.name", own.name),
        ("site.number", own.number),
        ("feed.listen", own.feed.as_str()),
        ("peer.0.site", other.name),
        ("peer.0.number", other.number),
        ("peer.0.feed", &feed),
        ("peer.0.token", other.accept),
        ("peer.0.accept", own.accept),
        ("events.bus", "poll"),
        ("replication.sites", "*"),
    ];
    start(&[&settings[..], more].concat()).await
}

/// Waits until `done` answers something, for as long as a write may take to reach another site.
async fn within_seconds<T, F: Future<Output = Option<T>>>(mut done: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = done().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come about");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_sites_follow_each_other_over_http() {
    use crate::site::testing::{get, object, put, with_bucket};
    let [one, other] = sides();
    let paris = start_side(&one, &other, &[]).await;
    let berlin = start_side(&other, &one, &[]).await;
    let (here, there) = (with_bucket(paris.app.parts.site.clone()).await, berlin.app.parts.site.clone());
    put(&here, "small", "hello").await;
    put(&here, "large", vec![7; 3_000_000]).await;
    assert_eq!(within_seconds(|| async { get(&there, "small").await.ok() }).await, "hello");
    assert_eq!(within_seconds(|| async { get(&there, "large").await.ok() }).await, vec![7; 3_000_000]);
    put(&there, "back", "again").await;
    assert_eq!(within_seconds(|| async { get(&here, "back").await.ok() }).await, "again");
    there.delete(&object("small"), Default::default()).await.unwrap();
    within_seconds(|| async { get(&here, "small").await.err() }).await;
    let workers = paris.json("/v1/workers").await.to_string();
    assert!(workers.contains("follow-berlin") && workers.contains("\"fetch\""), "{workers}");
    let began = Instant::now();
    drop((here, there));
    tokio::join!(paris.app.stop(), berlin.app.stop());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn two_sites_follow_each_other_over_tls_and_only_with_their_certificates() {
    use crate::site::testing::{get, put, with_bucket};
    use crate::tls::testing::{file, member, server, stranger};
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (cert, key, ca) = (path(server().cert), path(server().key), path(file("ca.pem")));
    let listener = [("feed.tls.cert", cert.as_str()), ("feed.tls.key", &key), ("feed.tls.client_ca", &ca)];
    let (shown, its_key) = (path(member().cert), path(member().key));
    let good = [("peer.0.tls_ca", ca.as_str()), ("peer.0.tls_cert", &shown), ("peer.0.tls_key", &its_key)];
    let [one, other] = sides();
    let paris = start_side(&one, &other, &[&listener[..], &good].concat()).await;
    let berlin = start_side(&other, &one, &[&listener[..], &good].concat()).await;
    let (here, there) = (with_bucket(paris.app.parts.site.clone()).await, berlin.app.parts.site.clone());
    put(&here, "large", vec![7; 300_000]).await;
    assert_eq!(within_seconds(|| async { get(&there, "large").await.ok() }).await, vec![7; 300_000]);
    drop((here, there));
    tokio::join!(paris.app.stop(), berlin.app.stop());

    let (shown, its_key) = (path(stranger().cert), path(stranger().key));
    let strange = [("peer.0.tls_ca", ca.as_str()), ("peer.0.tls_cert", &shown), ("peer.0.tls_key", &its_key)];
    for more in [&strange[..], &[("peer.0.tls_ca", ca.as_str())]] {
        let [one, other] = sides();
        let paris = start_side(&one, &other, &[&listener[..], more].concat()).await;
        let _berlin = start_side(&other, &one, &[&listener[..], &good].concat()).await;
        let refusal = || async { paris.app.parts.site.neighbours().iter().next().unwrap().seen().error };
        let told = within_seconds(refusal).await;
        assert!(told.contains("UnknownCA") || told.contains("ertificate"), "{told}");
    }
}

#[tokio::test]
async fn a_listener_with_tls_is_asked_over_tls_by_commands() {
    use crate::cli::client::{AdminArgs, Client};
    use crate::tls::testing::server;
    let (cert, key) = (server().cert.display().to_string(), server().key.display().to_string());
    let dir = tempfile::tempdir().unwrap();
    let tls = [("admin.tls.cert", cert.as_str()), ("admin.tls.key", key.as_str())];
    let app = App::start(&config(&dir, &tls)).await.unwrap();
    let data = dir.path().join("data").display().to_string();
    let address = app.admin_address().to_string();
    let settings = [("data", data.as_str()), ("admin.listen", &address)];
    let flags = settings.iter().chain(&tls);
    let flag = |(path, value): &(&str, &str)| Flag { name: path.to_string(), path: path.to_string(), value: value.to_string() };
    let sources = Sources { flags: flags.map(flag).collect(), ..Sources::default() };
    let client = Client::new(&AdminArgs::default(), &sources).unwrap();
    let status: serde_json::Value = client.get("/v1/status", &[]).await.unwrap();
    assert_eq!(status["ready"], true);
    let stranger = AdminArgs { admin: Some(format!("https://{address}")), ..AdminArgs::default() };
    let refused = Client::new(&stranger, &sources).unwrap().get::<serde_json::Value>("/v1/status", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("ertificate"), "{refused}");
}

/// What paris says of berlin once it knows that something is wrong between them.
async fn told_at_paris(of_berlin: &[(&str, &str)]) -> String {
    let [one, other] = sides();
    let paris = start_side(&one, &other, &[]).await;
    let berlin = start_side(&other, &one, of_berlin).await;
    let refusal = || async {
        let seen = paris.app.parts.site.neighbours().iter().next().unwrap().seen();
        seen.error.filter(|error| error.contains("refuses"))
    };
    let told = within_seconds(refusal).await;
    drop(berlin);
    told
}

#[tokio::test]
async fn a_wrong_token_name_or_number_is_told_clearly() {
    let told = told_at_paris(&[("peer.0.accept", "another")]).await;
    assert!(told.contains("does not take the token of this site") && told.contains("[[peer]].token"), "{told}");
    let told = told_at_paris(&[("site.name", "rome")]).await;
    assert!(told.contains("it is \"rome\", number 2, and the settings say \"berlin\", number 2: mend [[peer]]"), "{told}");
    let told = told_at_paris(&[("site.number", "3")]).await;
    assert!(told.contains("it is \"berlin\", number 3, and the settings say \"berlin\", number 2"), "{told}");
}

#[tokio::test]
async fn a_token_that_proves_nothing_or_cannot_be_presented_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let peers: Vec<(String, String)> = ["berlin", "rome"]
        .iter()
        .enumerate()
        .flat_map(|(at, name)| {
            let setting = |key: &str, value: String| (format!("peer.{at}.{key}"), value);
            [
                setting("site", (*name).into()),
                setting("number", (at + 2).to_string()),
                setting("feed", format!("http://{name}:1")),
                setting("token", "x".into()),
                setting("accept", "same".into()),
            ]
        })
        .collect();
    let peers: Vec<(&str, &str)> = peers.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    let err = App::start(&config(&dir, &peers)).await.unwrap_err();
    assert!(err.to_string().contains("peer[1].accept: is another's token too"), "{err:#}");
    let spaced: Vec<_> =
        peers.iter().map(|(path, value)| (*path, if *path == "peer.0.accept" { "a b" } else { value })).collect();
    let err = App::start(&config(&dir, &spaced)).await.unwrap_err();
    assert!(err.to_string().contains("peer[0].accept: a token travels in a header"), "{err:#}");
}

#[tokio::test]
async fn keys_come_and_go_while_the_process_runs() {
    use crate::admin::AddKey;
    let running = start(&[]).await;
    let grant = serde_json::json!({ "buckets": "*", "rights": ["READ"], "networks": ["127.0.0.0/8"] });
    let asked =
        AddKey { access_key: Some("added".into()), secret_key: None, owner: "team".into(), expires: None, grants: vec![grant] };
    running.app.parts.keys.add(asked).unwrap();
    let shown = running.json("/v1/keys").await.to_string();
    assert!(shown.contains("\"added\"") && shown.contains("127.0.0.0/8") && !shown.contains("secret"), "{shown}");
    let ring = running.app.keys.ring().clone();
    assert!(ring.usable("added").is_some());
    let file = running.dir.path().join("data/keys.toml");
    std::fs::write(&file, "[[key]]\naccess_key = \"byhand\"\nsecret_key = \"12345678\"\nowner = \"team\"\n").unwrap();
    within_seconds(|| async { ring.usable("byhand") }).await;
    assert!(ring.usable("added").is_none());
    std::fs::write(&file, "[[key]]\naccess_key =").unwrap();
    let told = || async {
        let workers = running.json("/v1/workers").await.to_string();
        workers.contains("the access keys stay as they were").then_some(())
    };
    within_seconds(told).await;
    assert!(ring.usable("byhand").is_some());
    assert!(running.app.parts.keys.remove("byhand").is_err(), "a file with a fault is nobody's to overwrite");
}

#[tokio::test]
async fn requests_know_where_they_come_from() {
    let seen = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let source = request.extensions().get::<crate::model::Source>().map(|source| source.address.to_string());
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from(
            source.unwrap_or_default(),
        ))))
    });
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let _server = Server::start(listener, None, seen, ADMIN_CONNECTIONS).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\n127.0.0.1"), "{answer}");
}

/// Settings of a site with its notes on one directory, and a second one beside it.
fn two_directories(dir: &tempfile::TempDir) -> Vec<(String, String)> {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let settings = [
        ("backend.main.kind", "fs".to_owned()),
        ("backend.main.path", path("main")),
        ("backend.other.kind", "fs".to_owned()),
        ("backend.other.path", path("other")),
        ("route.0.buckets", "other-*".to_owned()),
        ("route.0.backend", "other".to_owned()),
        ("route.1.buckets", "*".to_owned()),
        ("route.1.backend", "main".to_owned()),
    ];
    settings.map(|(path, value)| (path.to_owned(), value)).to_vec()
}

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn a_store_that_is_away_at_start_keeps_nobody_from_the_others_and_comes_back_by_itself() {
    use crate::model::ObjectId;
    use crate::site::testing::{get_at, put_at};
    let dir = tempfile::tempdir().unwrap();
    let settings = two_directories(&dir);
    // The home comes first, so that routes have to be changed for it to be asked for.
    let app = App::start(&config(&dir, &pairs(&settings))).await.unwrap();
    let [near, far] = [("near", "a"), ("other-far", "a")].map(|(bucket, key)| ObjectId::parse(bucket, key).unwrap());
    for object in [&near, &far] {
        app.parts.site.create_bucket(&object.bucket, "me", "us-east-1").await.unwrap();
        put_at(&app.parts.site, object, "hello").await;
    }
    app.stop().await;
    assert!(dir.path().join("other/.anybucket/journal/owner").exists(), "notes are begun where routes first lead");

    let mut settings = settings;
    settings[4].1 = "elsewhere-*".to_owned();
    let (main, hidden) = (dir.path().join("main"), dir.path().join("hidden"));
    std::fs::rename(&main, &hidden).unwrap();
    std::fs::write(&main, "no directory").unwrap();
    let running = Running { app: App::start(&config(&dir, &pairs(&settings))).await.unwrap(), dir };
    let site = running.app.parts.site.clone();
    assert_eq!(get_at(&site, &far).await.unwrap(), "hello");
    let refused = get_at(&site, &near).await.unwrap_err();
    assert!(matches!(refused, crate::site::Error::Unavailable { .. }), "{refused:?}");
    let (status, text) = running.get("/health/ready", "").await;
    assert!(
        status == 200 && text.starts_with("ready, but store main: the store is unavailable: the store main cannot be used yet"),
        "{text}"
    );

    std::fs::remove_file(&main).unwrap();
    std::fs::rename(&hidden, &main).unwrap();
    assert_eq!(within_seconds(|| async { get_at(&site, &near).await.ok() }).await, "hello");
    running.app.stop().await;
}

#[tokio::test]
async fn a_bucket_keeps_the_name_that_it_has_in_its_store() {
    use crate::model::{BucketName, ObjectId};
    use crate::site::testing::{get_at, put_at};
    let dir = tempfile::tempdir().unwrap();
    let mut settings = two_directories(&dir);
    settings[4].1 = "photos".to_owned();
    settings.push(("route.0.bucket".to_owned(), "corp-2019".to_owned()));
    let there = dir.path().join("other/corp-2019");
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("old"), "hello").unwrap();
    let [old, new, near] = [("photos", "old"), ("photos", "new"), ("near", "a")].map(|(b, k)| ObjectId::parse(b, k).unwrap());
    for is_first in [true, false] {
        let app = App::start(&config(&dir, &pairs(&settings))).await.unwrap();
        let site = &app.parts.site;
        assert_eq!(get_at(site, &old).await.unwrap(), "hello");
        put_at(site, &new, "world").await;
        assert_eq!(get_at(site, &new).await.unwrap(), "world");
        assert_eq!(site.create_bucket(&near.bucket, "me", "us-east-1").await.is_ok(), is_first);
        let taken = BucketName::new("corp-2019").unwrap();
        let refused = site.create_bucket(&taken, "me", "us-east-1").await.unwrap_err();
        assert!(matches!(refused, crate::site::Error::UnstorableName(_)), "{refused:?}");
        app.stop().await;
        assert_eq!(std::fs::read_to_string(there.join("new")).unwrap(), "world");
    }
    assert!(dir.path().join("main/near").is_dir() && !dir.path().join("main/photos").exists());

    let mut moved = settings.clone();
    moved.last_mut().unwrap().1 = "near".to_owned();
    let refused = format!("{:#}", App::start(&config(&dir, &pairs(&moved))).await.unwrap_err());
    assert!(refused.contains("the bucket photos lies in corp-2019"), "{refused}");
    let app = App::start(&config(&dir, &pairs(&settings))).await.unwrap();
    for object in [&old, &new] {
        app.parts.site.delete(object, crate::site::WriteConditions::default()).await.unwrap();
    }
    app.parts.site.delete_bucket(&old.bucket).await.unwrap();
    app.stop().await;
    let refused = App::start(&config(&dir, &pairs(&moved))).await.unwrap_err().to_string();
    assert!(refused.contains("the bucket near is one of this site's"), "{refused}");
}

#[tokio::test]
async fn buckets_that_lie_in_one_outlive_the_status_store_and_need_their_route() {
    use crate::model::ObjectId;
    use crate::site::testing::{get_at, put_at};
    let dir = tempfile::tempdir().unwrap();
    let mut settings = two_directories(&dir);
    let place = [("route.0.bucket", "corp-all"), ("route.0.prefix", "teams/{bucket}/")];
    settings.extend(place.map(|(path, value)| (path.to_owned(), value.to_owned())));
    let there = dir.path().join("other/corp-all/teams");
    std::fs::create_dir_all(there.join("other-a")).unwrap();
    std::fs::write(there.join("other-a/old"), "before").unwrap();
    let [old, one, two] =
        [("other-a", "old"), ("other-a", "key"), ("other-b", "key")].map(|(b, k)| ObjectId::parse(b, k).unwrap());
    let app = App::start(&config(&dir, &pairs(&settings))).await.unwrap();
    for (object, text) in [(&one, "one"), (&two, "two")] {
        app.parts.site.create_bucket(&object.bucket, "me", "us-east-1").await.unwrap();
        put_at(&app.parts.site, object, text).await;
    }
    assert_eq!(within_seconds(|| async { get_at(&app.parts.site, &old).await.ok() }).await, "before");
    app.stop().await;
    assert_eq!(std::fs::read_to_string(there.join("other-b/key")).unwrap(), "two");

    std::fs::remove_file(config(&dir, &[]).data.join("status.redb")).unwrap();
    let app = App::start(&config(&dir, &pairs(&settings))).await.unwrap();
    for (object, text) in [(&old, "before"), (&one, "one"), (&two, "two")] {
        assert_eq!(within_seconds(|| async { get_at(&app.parts.site, object).await.ok() }).await, text);
    }
    let buckets = app.parts.site.buckets().await.unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket.name.as_str()).collect::<Vec<_>>(), ["other-a", "other-b"]);
    app.stop().await;

    settings.truncate(settings.len() - 2);
    let refused = format!("{:#}", App::start(&config(&dir, &pairs(&settings))).await.unwrap_err());
    assert!(refused.contains("lies in corp-all, below \"teams/other-"), "{refused}");
}

#[tokio::test]
async fn a_site_whose_only_store_is_away_says_so_and_waits() {
    let (dir, s3, admin) = (tempfile::tempdir().unwrap(), free_address(), free_address());
    let nobody = format!("http://{}", free_address());
    let settings = [
        ("backend.main.kind", "s3"),
        ("backend.main.endpoint", &nobody),
        ("backend.main.access_key", "them"),
        ("backend.main.secret_key", "secret"),
        ("backend.main.home", "home"),
        ("s3.listen", &s3),
        ("admin.listen", &admin),
    ];
    let config = config(&dir, &settings);
    let asked = async {
        let waiting = || async {
            let answers = [get_from(&admin, "/health/ready").await?, get_from(&admin, "/health/live").await?];
            Some([get_from(&s3, "/bucket/key").await?, answers[0].clone(), answers[1].clone()])
        };
        within_seconds(waiting).await
    };
    let [client, ready, live] = tokio::select! {
        answers = asked => answers,
        started = App::start(&config) => panic!("it started: {started:?}"),
    };
    assert!(client.contains("503") && client.contains("<Code>SlowDown</Code>") && client.contains("retry-after: 5"), "{client}");
    assert!(ready.contains("503") && ready.contains("the store main, which may have this site's notes"), "{ready}");
    assert!(live.contains("200") && live.ends_with("live\n"), "{live}");
}

/// What is answered to a GET; `None` where nobody listens yet.
async fn get_from(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
