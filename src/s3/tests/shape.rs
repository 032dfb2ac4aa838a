//! What every answer has, and what is refused because it is not built.

use super::super::testing::{Call, server};

#[tokio::test]
async fn every_answer_has_request_ids_and_tells_no_version() {
    let server = server().await;
    server.put("k", "x").await;
    let calls = [
        Call::new("GET", "/").to_bytes(),
        Call::new("GET", "/bucket/k").to_bytes(),
        Call::new("HEAD", "/bucket/none").to_bytes(),
        Call::new("GET", "/bucket/none").to_bytes(),
        Call::new("GET", "/bucket").anonymous(),
        Call::new("GET", "/bucket").header("x-amz-security-token", "t").anonymous(),
        Call::new("GET", "/b%ff%/x").to_bytes(),
    ];
    let mut ids = std::collections::HashSet::new();
    for call in calls {
        let reply = server.raw(&call).await;
        assert!(ids.insert(reply.header("x-amz-request-id").unwrap().to_owned()), "{reply:?}");
        assert!(!reply.header("x-amz-id-2").unwrap().is_empty());
        assert_eq!(reply.header("server"), Some("anybucket"));
        assert!(reply.status < 500, "{reply:?}");
    }
}

#[tokio::test]
async fn an_error_is_the_document_that_s3_sends() {
    let server = server().await;
    let reply = server.get("no%20such&key").await;
    assert_eq!(reply.told(), (404, "NoSuchKey"));
    assert_eq!(reply.header("content-type"), Some("application/xml"));
    assert_eq!(reply.element("Resource"), Some("/bucket/no%20such&amp;key"));
    assert_eq!(reply.element("RequestId"), reply.header("x-amz-request-id"));
    assert_eq!(reply.element("HostId"), reply.header("x-amz-id-2"));
    assert!(!reply.element("Message").unwrap().is_empty());
    assert!(reply.body.starts_with("<?xml") && reply.body.ends_with("</Error>"));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
}

#[tokio::test]
async fn a_head_has_no_body_whatever_happened() {
    let server = server().await;
    for target in ["/bucket/none", "/none", "/Bad_Name"] {
        let reply = server.send(Call::new("HEAD", target)).await;
        assert!((400..500).contains(&reply.status) && reply.body.is_empty(), "{reply:?}");
    }
}

#[tokio::test]
async fn what_is_not_built_answers_501() {
    let server = server().await;
    server.put("k", "x").await;
    for (method, target) in [
        ("GET", "/bucket?metrics"),
        ("PUT", "/bucket?policy"),
        ("PUT", "/bucket?website"),
        ("PUT", "/bucket?notification"),
        ("POST", "/bucket/k?restore"),
        ("POST", "/bucket/k?select&select-type=2"),
    ] {
        let document = "<x/>";
        let call = Call::new(method, target);
        let call = if method == "GET" { call } else { call.body(document).with_md5() };
        let reply = server.send(call).await;
        assert!(reply.told() == (501, "NotImplemented") || reply.told() == (400, "MalformedXML"), "{method} {target} {reply:?}");
    }
    assert_eq!(server.send(Call::new("GET", "/bucket?metrics")).await.told(), (501, "NotImplemented"));
}

#[tokio::test]
async fn headers_that_ask_for_more_than_there_is_store_nothing() {
    let server = server().await;
    for (name, value, status) in [
        ("x-amz-acl", "aws-exec-read", 501),
        ("x-amz-acl", "everybody", 400),
        ("x-amz-grant-read", "id=abc", 400),
        ("x-amz-server-side-encryption", "AES256", 501),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", 501),
        ("x-amz-object-lock-mode", "GOVERNANCE", 400),
        ("x-amz-object-lock-legal-hold", "ON", 400),
        ("x-amz-storage-class", "FAST", 400),
        ("x-anybucket-wait", "1", 400),
        ("x-anybucket-site", "berlin", 501),
    ] {
        let reply = server.send(Call::new("PUT", "/bucket/k").body("x").header(name, value)).await;
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        assert_eq!(server.get("k").await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn what_sites_say_to_each_other_means_nothing_from_a_client() {
    let server = server().await;
    for call in [Call::new("PUT", "/bucket/k").body("x"), Call::new("GET", "/bucket/k")] {
        assert_eq!(server.send(call.header("x-anybucket-hop", "2")).await.status, 200);
    }
}

#[tokio::test]
async fn the_observer_hears_of_every_request() {
    let server = server().await;
    server.observed.0.lock().unwrap().clear();
    server.put("k", "hello").await;
    server.get("k").await;
    server.raw(&Call::new("GET", "/bucket").anonymous()).await;
    let seen = server.observed.0.lock().unwrap().clone();
    assert_eq!(seen[0], ("PutObject".into(), 200, 5, 0));
    assert_eq!(seen[1], ("GetObject".into(), 200, 0, 5));
    assert_eq!((seen[2].0.as_str(), seen[2].1), ("ListObjects", 403));
}

#[tokio::test]
async fn hostile_shapes_are_refused_and_do_no_harm() {
    let server = server().await;
    let deep = format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000));
    let bomb =
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
    for body in ["", "<", "<Delete>", "<Delete/>", "<Delete><Object/></Delete>", &deep, bomb, "\u{1}"] {
        let reply = server.send(Call::new("POST", "/bucket?delete").body(body).with_md5()).await;
        assert!((400..500).contains(&reply.status), "{body:.40} {reply:?}");
    }
    for target in [
        "/bucket?max-keys=%01",
        "/bucket?max-keys=x",
        "/bucket?list-type=2&max-keys=-1",
        "/bucket/k?partNumber=abc",
        "/bucket?prefix=%ff",
    ] {
        let reply = server.send(Call::new("GET", target)).await;
        assert!((400..500).contains(&reply.status), "{target} {reply:?}");
    }
    let long = format!("/bucket/{}", "k".repeat(1025));
    assert_eq!(server.send(Call::new("PUT", &long).body("x")).await.told(), (400, "KeyTooLongError"));
    server.put("alive", "x").await;
}
