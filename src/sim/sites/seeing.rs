//! What people see and have done, asked of the admin face of sites that follow each other.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::run;
use super::world::World;
use crate::admin::{self, KeptCensus, Readiness};
use crate::model::{Event, News, SiteNumber, Token, Unit, Vector};
use crate::reconcile::Reconciler;
use crate::replicate::Bell;
use crate::site::Site;
use crate::site::testing::{get, object, put, with_bucket};
use crate::status::Commit;
use crate::status::tables::{Due, Hint, Work};
use crate::tasks::Workers;
use crate::telemetry::Metrics;

const SOON: Duration = Duration::from_secs(5);
const TWO: SiteNumber = SiteNumber(2);

/// The admin face of a site.
struct Face(axum::Router);

impl Face {
    fn of(site: &Site) -> Self {
        let (workers, bell) = (Workers::default(), Bell::default());
        Self(admin::router(Arc::new(admin::Parts {
            site_id: site.id().clone(),
            site: site.clone(),
            readiness: Readiness::new(Vec::new(), workers.clone()),
            workers,
            reconciler: Reconciler::new(site, &bell),
            bell,
            census: Arc::new(KeptCensus::default()),
            keys: Arc::new(()),
            metrics: Metrics::new(),
            started: Instant::now(),
            token: Token::new("token"),
            hosts: Vec::new(),
            open_metrics: false,
            day: crate::model::Day(24 * 3_600_000),
        })))
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("authorization", "Bearer token").header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = TowerToHyperService::new(self.0.clone()).call(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert_described("get", path, &answer);
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert_described("post", path, &answer);
        answer
    }

    async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> String {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status, 400, "{path}: {answer}");
        answer["error"]["message"].as_str().unwrap().into()
    }
}

/// Whether an answer has exactly the fields that the description promises, deep down.
fn assert_described(method: &str, path: &str, answer: &Value) {
    let described: Value = serde_json::from_str(include_str!("../../admin/openapi.json")).unwrap();
    let mut path = path.split('?').next().unwrap();
    if path.starts_with("/v1/object/") {
        path = "/v1/object/{bucket}/{key}";
    }
    let schema = &described["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_fits(&described, schema, answer, path);
}

fn assert_fits(described: &Value, schema: &Value, answer: &Value, at: &str) {
    let schema = match schema["$ref"].as_str().or_else(|| schema["anyOf"][0]["$ref"].as_str()) {
        Some(name) => &described["components"]["schemas"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    match answer {
        Value::Object(fields) => {
            let known: Vec<&String> = schema["properties"].as_object().unwrap_or_else(|| panic!("{at}")).keys().collect();
            let mut found: Vec<&String> = fields.keys().collect();
            found.sort();
            assert_eq!(found, known, "{at}");
            fields.iter().for_each(|(name, value)| {
                assert_fits(described, &schema["properties"][name], value, &format!("{at}.{name}"));
            });
        }
        Value::Array(items) => items.iter().for_each(|item| assert_fits(described, &schema["items"], item, at)),
        _ => {}
    }
}

#[test]
fn status_tells_who_lags_and_what_is_owed() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        let face = Face::of(&one);
        let level = face.get("/v1/sites").await;
        assert_eq!((level[0]["name"].as_str(), level[0]["standing"].as_str()), (Some("site-2"), Some("caught_up")));
        assert_eq!((level[0]["lag_seq"].as_u64(), level[0]["lag_seconds"].as_f64()), (Some(0), Some(0.0)));
        world.network.cut(SiteNumber(1), TWO, true);
        put(&one, "a", "1").await;
        put(&one, "b", "2").await;
        world.pass(Duration::from_secs(20)).await;
        let status = face.get("/v1/status").await;
        let two = &status["sites"][0];
        assert_eq!((two["standing"].as_str(), two["pending"].as_u64()), (Some("unreachable"), Some(2)));
        assert!((20.0..21.0).contains(&two["oldest_pending_seconds"].as_f64().unwrap()), "{two}");
        assert!(
            two["lag_seconds"].as_f64().unwrap() >= 20.0 && two["last_error"] == "the site cannot be reached: cut off",
            "{two}"
        );
        world.network.join_all();
        world.pass(SOON).await;
        let two = &face.get("/v1/status").await["sites"][0];
        assert_eq!((two["pending"].as_u64(), two["oldest_pending_seconds"].as_f64()), (Some(0), None));
    });
}

#[test]
fn rows_come_in_pages_that_leave_nothing_out() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), TWO, true);
        for key in ["a", "b", "c", "d", "e"] {
            put(&one, key, key).await;
        }
        let face = Face::of(&one);
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let page = face.get(&format!("/v1/pending?site=site-2&limit=2{after}")).await;
            keys.extend(page["rows"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(keys, ["a", "b", "c", "d", "e"]);
        let some = face.get("/v1/pending?bucket=bucket&prefix=c").await;
        assert_eq!(some["rows"].as_array().unwrap().len(), 1);
        for (bad, told) in [
            ("site=nowhere", "allowed: site-2"),
            ("limit=0", "allowed: 1 to 1000"),
            ("after=x", "after"),
            ("colour=red", "colour"),
            ("prefix=a", "needs a bucket"),
            ("bucket=X", "bucket"),
        ] {
            let message = face.refused("GET", &format!("/v1/pending?{bad}"), None).await;
            assert!(message.contains(told), "{bad}: {message}");
        }
    });
}

#[test]
fn a_paused_site_is_neither_followed_nor_fed_and_a_restart_changes_nothing() {
    run(async {
        let mut world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        let paused = Face::of(&one).post("/v1/pause", json!({ "site": "site-2" })).await;
        assert_eq!((paused["standing"].as_str(), paused["paused_seconds"].as_f64()), (Some("paused"), None));
        put(&one, "here", "1").await;
        put(world.site(2), "there", "2").await;
        world.pass(Duration::from_secs(60)).await;
        assert!(get(&one, "there").await.is_err() && get(world.site(2), "here").await.is_err());
        drop(one);
        world.kill(SiteNumber(1));
        world.start(SiteNumber(1)).await;
        world.pass(Duration::from_secs(60)).await;
        assert!(get(world.site(1), "there").await.is_err() && get(world.site(2), "here").await.is_err());
        let explained = Face::of(world.site(1)).get("/v1/explain?bucket=bucket&key=here").await;
        assert!(explained["next"][1].as_str().unwrap().contains("anybucket resume site-2"), "{explained}");
        Face::of(world.site(1)).post("/v1/resume", json!({ "site": "site-2" })).await;
        world.pass(SOON * 2).await;
        assert_eq!(get(world.site(1), "there").await.unwrap(), "2");
        assert_eq!(get(world.site(2), "here").await.unwrap(), "1");
    });
}

#[test]
fn a_pause_with_an_end_ends_by_itself() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        let face = Face::of(&one);
        let paused = face.post("/v1/pause", json!({ "site": "site-2", "for": "10m" })).await;
        assert_eq!(paused["paused_seconds"].as_f64(), Some(600.0));
        put(&one, "a", "1").await;
        world.pass(Duration::from_secs(590)).await;
        assert!(get(world.site(2), "a").await.is_err());
        world.pass(Duration::from_secs(20)).await;
        assert_eq!(get(world.site(2), "a").await.unwrap(), "1");
        assert_eq!(face.get("/v1/sites").await[0]["paused"], false);
        let message = face.refused("POST", "/v1/pause", Some(json!({ "site": "site-2", "for": "soon" }))).await;
        assert!(message.contains("6h"), "{message}");
        assert!(face.refused("POST", "/v1/pause", Some(json!({ "site": "mars" }))).await.contains("site-2"));
    });
}

#[test]
fn explain_says_where_an_object_is_and_why_not() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a b/ü", "hello").await;
        world.pass(SOON).await;
        let (here, there) = (Face::of(&one), Face::of(world.site(2)));
        let path = "/v1/explain?bucket=bucket&key=a%20b%2F%C3%BC";
        let explained = here.get(path).await;
        assert_eq!((explained["state"].as_str(), explained["written_by"].as_str()), (Some("present"), Some("site-1")));
        assert_eq!((explained["size"].as_u64(), explained["location"].as_str()), (Some(5), Some("plain")));
        assert_eq!(explained["sites"], json!([{ "site": "site-2", "status": "COMPLETED", "reason": null, "dirty": false }]));
        let replica = there.get(path).await;
        assert_eq!((&replica["stamp"], &replica["sites"]), (&explained["stamp"], &json!([])));
        world.network.cut(SiteNumber(1), TWO, true);
        one.delete(&object("a b/ü"), Default::default()).await.unwrap();
        world.pass(SOON * 2).await;
        let explained = here.get(path).await;
        assert_eq!((explained["state"].as_str(), explained["sites"][0]["status"].as_str()), (Some("deleted"), Some("PENDING")));
        assert!(explained["next"][1].as_str().unwrap().contains("site-2 does not answer"), "{explained}");
        let unknown = there.get("/v1/explain?bucket=bucket&key=nothing").await;
        assert!(unknown["next"][0].as_str().unwrap().contains("site-1 cannot be reached and may know better"), "{unknown}");
        let bucket = here.get("/v1/explain?bucket=bucket").await;
        assert_eq!((bucket["state"].as_str(), bucket["key"].as_str()), (Some("present"), None));
    });
}

/// What a site refuses for good: as if its store could not hold the name.
async fn refuse(world: &World, key: &str, reason: &str) {
    let (one, two) = (world.site(1), world.site(2));
    let unit = Unit::null(&object(key));
    let vector = one.replica(&unit).await.unwrap().vector().unwrap();
    let event = Event { unit, vector };
    two.status().commit(Commit::new().answer(SiteNumber(1), event, News::Refused(reason.into()))).await.unwrap();
}

/// Work at a site that is not tried again for hours.
async fn give_up(site: &Site, key: &str, want: Vector) {
    let unit = Unit::null(&object(key));
    let due_ms = site.clock().wall_ms() + 6 * 3_600_000;
    let hint = Hint { want, sources: vec![SiteNumber(1)], due_ms, tries: 15, error: Some("no room".into()) };
    let commit = Commit::new().put::<Work>(&unit, &hint).put::<Due>(&(due_ms, unit), &());
    site.status().commit(commit).await.unwrap();
}

#[test]
fn what_a_site_refused_is_shown_with_its_reason_and_tried_again_at_once_on_demand() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), TWO, true);
        let written = put(&one, "a", "1").await;
        // It has heard of it, tried long enough and said so.
        let told = (one.status().facts().incarnation, *one.status().told().borrow());
        world.site(2).neighbours().get(SiteNumber(1)).unwrap().received(told.0, told.1);
        give_up(world.site(2), "a", Vector::of(written.stamp)).await;
        refuse(&world, "a", "no room").await;
        world.network.join_all();
        world.pass(Duration::from_secs(600)).await;
        let face = Face::of(&one);
        let failed = face.get("/v1/failed?site=site-2").await;
        assert_eq!((failed["rows"][0]["key"].as_str(), failed["rows"][0]["reason"].as_str()), (Some("a"), Some("no room")));
        assert_eq!(face.get("/v1/sites").await[0]["failed"], 1);
        let explained = face.get("/v1/explain?bucket=bucket&key=a").await;
        assert_eq!(explained["sites"][0]["status"], "FAILED");
        let work = Face::of(world.site(2)).get("/v1/work").await;
        assert_eq!((work["rows"][0]["tries"].as_u64(), work["rows"][0]["last_error"].as_str()), (Some(15), Some("no room")));
        assert!(world.site(2).status().object(&object("a")).await.unwrap().is_none());
        let mut after = Value::Null;
        let mut told_again = 0;
        loop {
            let answer = face.post("/v1/retry", json!({ "site": "site-2", "bucket": "bucket", "after": after })).await;
            told_again += answer["told_again"].as_u64().unwrap();
            after = answer["next"].clone();
            if after.is_null() {
                break;
            }
        }
        assert_eq!(told_again, 1);
        world.pass(SOON).await;
        assert_eq!(get(world.site(2), "a").await.unwrap(), "1");
        let two = &face.get("/v1/sites").await[0];
        assert_eq!((two["failed"].as_u64(), two["pending"].as_u64()), (Some(0), Some(0)));
    });
}

#[test]
fn retry_at_the_site_that_lacks_it_makes_its_work_due() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), TWO, true);
        for key in ["logs/a", "else"] {
            let written = put(&one, key, key).await;
            give_up(world.site(2), key, Vector::of(written.stamp)).await;
        }
        let two = Face::of(world.site(2));
        let answer = two.post("/v1/retry", json!({ "bucket": "bucket", "prefix": "logs/" })).await;
        assert_eq!((answer["due"].as_u64(), answer["next"].as_str()), (Some(1), Some("f")));
        let backlog = &two.get("/v1/status").await["backlog"];
        assert_eq!((backlog["due"].as_u64(), backlog["waiting"].as_u64()), (Some(1), Some(1)));
    });
}

#[test]
fn what_is_told_again_is_owed_to_those_named_and_still_to_whoever_was_owed_it() {
    run(async {
        let world = World::new(3).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "a", "1").await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), TWO, true);
        world.network.cut(SiteNumber(1), SiteNumber(3), true);
        put(&one, "b", "2").await;
        let face = Face::of(&one);
        let asked = json!({ "objects": [{ "bucket": "bucket", "key": "a" }, { "bucket": "bucket", "key": "b" },
            { "bucket": "bucket", "key": "nothing" }], "to": ["site-2"] });
        let answer = face.post("/v1/replicate", asked).await;
        let answers: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| result["answer"].clone()).collect();
        assert_eq!(answers, ["queued", "queued", "not_found"]);
        let pending = |face: Value| [face[0]["pending"].as_u64().unwrap(), face[1]["pending"].as_u64().unwrap()];
        assert_eq!(pending(face.get("/v1/sites").await), [2, 1]);
        let all = face.post("/v1/replicate", json!({ "bucket": "bucket", "prefix": "" })).await;
        assert_eq!((all["queued"].as_u64(), all["next"].as_str()), (Some(2), None));
        assert_eq!(pending(face.get("/v1/sites").await), [3, 3]);
        world.network.join_all();
        world.pass(Duration::from_secs(20)).await;
        assert_eq!(pending(face.get("/v1/sites").await), [0, 0]);
        for bad in
            [json!({}), json!({ "bucket": "bucket" }), json!({ "key": "a" }), json!({ "bucket": "bucket", "key": "a", "x": 1 })]
        {
            face.refused("POST", "/v1/replicate", Some(bad)).await;
        }
    });
}

#[test]
fn objects_are_found_and_deleted_by_programs_that_do_not_speak_s3() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        put(&one, "deep/er key", "hello").await;
        let face = Face::of(&one);
        let path = "/v1/object/bucket/deep/er%20key";
        let found = face.get(path).await;
        assert_eq!((found["exists"].as_bool(), found["size"].as_u64()), (Some(true), Some(5)));
        assert_eq!(found["etag"], "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(face.ask("DELETE", path, None).await.0, 200);
        let gone = face.get(path).await;
        assert!(gone["exists"] == false && gone["stamp"].is_string(), "{gone}");
        assert_eq!(face.ask("DELETE", "/v1/object/nowhere/a", None).await.0, 404);
    });
}

#[test]
fn a_lost_conflict_is_listed_and_explained() {
    run(async {
        let world = World::new(2).await;
        let one = with_bucket(world.site(1).clone()).await;
        world.pass(SOON).await;
        world.network.cut(SiteNumber(1), TWO, true);
        let lost = put(world.site(2), "a", "older").await;
        world.pass(SOON).await;
        put(&one, "a", "newer").await;
        world.network.join_all();
        world.pass(SOON).await;
        let two = Face::of(world.site(2));
        let conflicts = two.get("/v1/conflicts?bucket=bucket").await;
        assert_eq!(
            conflicts["rows"],
            json!([{ "bucket": "bucket", "key": "a", "stamp": lost.stamp.to_string(), "site": "site-2" }])
        );
        assert_eq!(two.get("/v1/explain?bucket=bucket&key=a").await["lost_stamp"], lost.stamp.to_string());
        assert_eq!(two.get("/v1/status").await["conflicts"], 1);
    });
}
