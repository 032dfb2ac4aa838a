//! Uploads by forms, as browsers send them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::super::testing::{ACCESS_KEY, Call, Chain, LIMITED_KEY, Reply, SECRET_KEY, Server, amz_date, server, server_with};
use crate::s3::Settings;

const BOUNDARY: &str = "----form";

/// A form whose policy allows it; a test changes one thing.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    conditions: Vec<String>,
    expiration: String,
    file: String,
    file_name: String,
    access_key: String,
    target: String,
    /// What stands behind the file.
    rest: String,
}

impl Form {
    fn new(key: &str) -> Self {
        Self {
            fields: vec![("key".into(), key.into())],
            conditions: vec![r#"{"bucket": "bucket"}"#.into(), r#"["starts-with", "$key", ""]"#.into()],
            expiration: "2999-01-01T00:00:00Z".into(),
            file: "hello".into(),
            file_name: "notes.txt".into(),
            access_key: ACCESS_KEY.into(),
            target: "/bucket".into(),
            rest: String::new(),
        }
    }

    /// A field that the policy allows with any value.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.conditions.push(format!(r#"["starts-with", "${name}", ""]"#));
        self.fields.push((name.into(), value.into()));
        self
    }

    fn only_if(mut self, condition: &str) -> Self {
        self.conditions.push(condition.into());
        self
    }

    fn policy(&self) -> String {
        BASE64.encode(format!(r#"{{"expiration": "{}", "conditions": [{}]}}"#, self.expiration, self.conditions.join(", ")))
    }

    /// With everything that SigV4 adds.
    fn signed(mut self) -> Self {
        let date = amz_date(0);
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", self.access_key, &date[..8]);
        self = self.with("x-amz-algorithm", "AWS4-HMAC-SHA256").with("x-amz-credential", &credential).with("x-amz-date", &date);
        let policy = self.policy();
        let signature = Chain::new(SECRET_KEY, &date, "us-east-1", "").sign_text(&policy);
        self.fields.extend([("policy".into(), policy), ("x-amz-signature".into(), signature)]);
        self
    }

    fn signed_v2(mut self) -> Self {
        let policy = self.policy();
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET_KEY.as_bytes()).unwrap();
        mac.update(policy.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        let fields = [("AWSAccessKeyId", self.access_key.clone()), ("signature", signature), ("pOLICy", policy)];
        self.fields.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        self
    }

    fn body(&self) -> String {
        let mut body = String::new();
        for (name, value) in &self.fields {
            body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        let file_name = &self.file_name;
        body += &format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\nContent-Type: text/html\r\n\r\n"
        );
        body += &format!("{}\r\n{}--{BOUNDARY}--\r\n", self.file, self.rest);
        body
    }

    fn call(&self) -> Call {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        Call::new("POST", &self.target).header("content-type", &content_type).body(self.body())
    }

    async fn send(&self, server: &Server) -> Reply {
        server.raw(&self.call().anonymous()).await
    }
}

#[tokio::test]
async fn a_signed_form_is_stored_as_a_put_would_be() {
    let server = server().await;
    let form = Form::new("user/${filename}")
        .with("Content-Type", "text/plain")
        .with("x-amz-meta-colour", "blue")
        .with("acl", "private")
        .with("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>")
        .with("Cache-Control", "no-store");
    let reply = form.signed().send(&server).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{reply:?}");
    assert_eq!(reply.header("location"), Some("http://127.0.0.1:9000/bucket/user/notes.txt"));
    let stored = server.get("user/notes.txt").await;
    assert_eq!(stored.body, "hello");
    assert_eq!(stored.header("etag"), reply.header("etag"));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("x-amz-meta-colour", "blue"),
        ("cache-control", "no-store"),
        ("x-amz-tagging-count", "1"),
    ] {
        assert_eq!(stored.header(name), Some(value), "{name}");
    }
    assert!(server.observed.0.lock().unwrap().iter().any(|(op, status, ..)| op == "PostObject" && *status == 204));
}

#[tokio::test]
async fn a_large_file_streams_and_what_stands_behind_it_means_nothing() {
    let server = server().await;
    let button = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload\r\n");
    let form = Form { file: "x\r\n".repeat(1 << 20), rest: button, ..Form::new("large") };
    let form = form.with("success_action_status", "201").signed();
    let reply = form.send(&server).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!((reply.element("Key"), reply.element("Bucket")), (Some("large"), Some("bucket")));
    assert_eq!(server.get("large").await.body.len(), 3 << 20);
}

#[tokio::test]
async fn what_its_policy_does_not_allow_is_refused_and_nothing_stored() {
    let server = server().await;
    let form = || Form::new("k");
    let late = Form { expiration: "2020-01-01T00:00:00Z".into(), ..form() };
    let elsewhere = Form { conditions: vec![r#"{"bucket": "other"}"#.into(), r#"["eq", "$key", "k"]"#.into()], ..form() };
    let mut unnamed = form().signed();
    unnamed.fields.insert(0, ("x-amz-meta-a".into(), "1".into()));
    let mut altered = form().signed();
    altered.fields.iter_mut().filter(|(name, _)| name == "policy").for_each(|(_, policy)| policy.insert(0, 'e'));
    let mut unsigned = form().signed();
    unsigned.fields.retain(|(name, _)| name != "x-amz-signature");
    let no_key = Form { fields: Vec::new(), ..form() };
    let no_file_in_range = |range: &str| form().only_if(&format!(r#"["content-length-range", {range}]"#)).signed();
    let cases = [
        (late.signed(), 403, "AccessDenied"),
        (elsewhere.signed(), 403, "AccessDenied"),
        (form().only_if(r#"["eq", "$x-amz-meta-a", "1"]"#).signed(), 403, "AccessDenied"),
        (unnamed, 403, "AccessDenied"),
        (altered, 403, "SignatureDoesNotMatch"),
        (unsigned, 400, "InvalidArgument"),
        (no_key.signed(), 400, "InvalidArgument"),
        (no_file_in_range("0, 4"), 400, "EntityTooLarge"),
        (no_file_in_range("6, 9"), 400, "EntityTooSmall"),
        (no_file_in_range("0"), 400, "InvalidPolicyDocument"),
        (Form { access_key: "ABNOBODY".into(), ..form() }.signed(), 403, "InvalidAccessKeyId"),
        (Form { access_key: LIMITED_KEY.into(), ..form() }.signed(), 403, "AccessDenied"),
        (form(), 403, "AccessDenied"),
        (form().with("x-amz-security-token", "t").signed(), 400, "InvalidToken"),
        (form().with("x-amz-copy-source", "/bucket/secret").signed(), 501, "NotImplemented"),
        (form().with("acl", "public").signed(), 400, "InvalidArgument"),
        (form().with("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==").signed(), 400, "BadDigest"),
        (form().with("x-ignore-much", &"x".repeat(30 << 10)).signed(), 400, "MaxPostPreDataLengthExceededError"),
        (Form { target: "/bucket/k".into(), ..form() }.signed(), 405, "MethodNotAllowed"),
        (Form { target: "/".into(), ..form() }.signed(), 405, "MethodNotAllowed"),
        (form().signed_v2(), 400, "InvalidRequest"),
    ];
    for (number, (form, status, code)) in cases.into_iter().enumerate() {
        let reply = form.send(&server).await;
        assert_eq!(reply.told(), (status, code), "{number}: {reply:?}");
    }
    assert_eq!(server.get("k").await.status, 404);
}

#[tokio::test]
async fn a_file_within_the_range_of_its_policy_is_taken() {
    let server = server().await;
    for range in ["0, 5", "5, 5", "5, 1000"] {
        let form = Form::new("k").only_if(&format!(r#"["content-length-range", {range}]"#));
        assert_eq!(form.signed().send(&server).await.status, 204, "{range}");
    }
    let limited = Form { access_key: LIMITED_KEY.into(), ..Form::new("p/mine") };
    assert_eq!(limited.signed().send(&server).await.status, 204);
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let server = server().await;
    let good = Form::new("k").signed();
    let whole = good.body();
    let bodies = [
        String::new(),
        "--".into(),
        format!("--{BOUNDARY}--\r\n"),
        whole.replace(BOUNDARY, "other"),
        whole.replace("name=\"file\"", "name=\"fil\""),
        whole.replace("form-data; name=\"key\"", "attachment"),
        whole.replacen("\r\n\r\nk\r\n", "\r\n\r\nk", 1),
        whole[..whole.len() - BOUNDARY.len() - 10].to_owned(),
        whole.replace("name=\"key\"\r\n", &format!("name=\"key\"\r\nX: {}\r\n", "x".repeat(9 << 10))),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let reply = server.raw(&good.call().body(body).anonymous()).await;
        assert!((400..500).contains(&reply.status), "{number}: {reply:?}");
    }
    for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=a; boundary=b"] {
        let call = Call::new("POST", "/bucket").header("content-type", content_type).body(whole.clone());
        assert_eq!(server.raw(&call.anonymous()).await.told(), (400, "MalformedPOSTRequest"), "{content_type}");
    }
    assert_eq!(server.get("k").await.status, 404);
    assert_eq!(good.send(&server).await.status, 204);
}

#[tokio::test]
async fn a_form_may_be_sent_to_a_host_name_and_signed_by_version_2_where_that_is_on() {
    let settings = Settings { domains: vec!["s3.test".into()], form_signature_v2: true, ..Settings::default() };
    let server = server_with(settings).await;
    let form = Form { target: "/".into(), ..Form::new("at host") }.signed_v2();
    let mut call = form.call();
    call.host = "bucket.s3.test:9000".into();
    let reply = server.raw(&call.anonymous()).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    assert_eq!(server.get("at%20host").await.body, "hello");
    let forged = Form { fields: vec![("key".into(), "k".into())], ..Form::new("k") }.signed_v2();
    let forged = Form {
        fields: forged
            .fields
            .into_iter()
            .map(|(n, v)| if n == "signature" { (n, v.replace(['a', 'b', 'c'], "d")) } else { (n, v) })
            .collect(),
        ..Form::new("k")
    };
    assert_eq!(forged.send(&server).await.told(), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn encryption_is_said_where_the_operator_vouches_for_it() {
    let settings = Settings { vouch_encryption: true, ..Settings::default() };
    let server = server_with(settings).await;
    let name = "x-amz-server-side-encryption";
    let reply = server.send(Call::new("PUT", "/bucket/k").body("x").header(name, "AES256")).await;
    assert_eq!((reply.status, reply.header(name)), (200, Some("AES256")));
    for method in ["GET", "HEAD"] {
        assert_eq!(server.send(Call::new(method, "/bucket/k")).await.header(name), Some("AES256"), "{method}");
    }
    assert_eq!(server.send(Call::new("GET", "/bucket")).await.header(name), None);
    assert_eq!(server.get("none").await.header(name), None);
    assert_eq!(Form::new("f").with(name, "AES256").signed().send(&server).await.header(name), Some("AES256"));
    for (more, value) in [("", "aws:kms"), ("-customer-algorithm", "AES256")] {
        let call = Call::new("PUT", "/bucket/x").body("x").header(&format!("{name}{more}"), value);
        assert_eq!(server.send(call).await.told(), (501, "NotImplemented"));
    }
}
