//! A bucket's documents: CORS, tags, and what is asked of those that no bucket has here.

use super::super::testing::{Call, Reply, Server, server};

async fn anybody(server: &Server, call: Call) -> Reply {
    server.raw(&call.anonymous()).await
}

fn document(target: &str, body: &str) -> Call {
    Call::new("PUT", target).body(body).with_md5()
}

const RULE: &str = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
    <AllowedOrigin>https://*.example.org</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>etag</ExposeHeader>\
    <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";

#[tokio::test]
async fn cors_rules_come_and_go() {
    let server = server().await;
    let get = || Call::new("GET", "/bucket?cors");
    assert_eq!(server.send(get()).await.told(), (404, "NoSuchCORSConfiguration"));
    assert_eq!(server.send(document("/bucket?cors", RULE)).await.status, 200);
    let shown = server.send(get()).await;
    assert_eq!(shown.elements("AllowedMethod"), ["GET", "PUT"]);
    assert_eq!(shown.elements("AllowedOrigin"), ["https://*.example.org"]);
    assert_eq!((shown.element("ExposeHeader"), shown.element("MaxAgeSeconds")), (Some("etag"), Some("60")));
    let bad = RULE.replace("https://*", "*://*");
    assert_eq!(server.send(document("/bucket?cors", &bad)).await.told(), (400, "InvalidRequest"));
    assert_eq!(server.send(Call::new("DELETE", "/bucket?cors")).await.status, 204);
    assert_eq!(server.send(get()).await.told(), (404, "NoSuchCORSConfiguration"));
}

#[tokio::test]
async fn a_browser_asks_before_it_signs() {
    let server = server().await;
    let ask = |origin: &str, method: &str| {
        let call = Call::new("OPTIONS", "/bucket/k");
        let call = if origin.is_empty() { call } else { call.header("origin", origin) };
        if method.is_empty() { call } else { call.header("access-control-request-method", method) }
    };
    let page = "https://a.example.org";
    assert_eq!(anybody(&server, ask(page, "GET")).await.told(), (403, "AccessForbidden"));
    server.send(document("/bucket?cors", RULE)).await;
    assert_eq!(anybody(&server, ask("", "GET")).await.told(), (400, "BadRequest"));
    assert_eq!(anybody(&server, ask(page, "")).await.told(), (400, "BadRequest"));
    assert_eq!(anybody(&server, ask("https://example.com", "GET")).await.told(), (403, "AccessForbidden"));
    assert_eq!(anybody(&server, ask(page, "DELETE")).await.told(), (403, "AccessForbidden"));
    let answer = anybody(&server, ask(page, "PUT").header("access-control-request-headers", "X-Amz-Date, x-amz-acl")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", page),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-amz-date, x-amz-acl"),
        ("access-control-expose-headers", "etag"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let other = ask(page, "PUT").header("access-control-request-headers", "content-type");
    assert_eq!(anybody(&server, other).await.told(), (403, "AccessForbidden"));
}

#[tokio::test]
async fn every_answer_to_a_page_says_that_it_may_see_it() {
    let server = server().await;
    server.send(document("/bucket?cors", RULE)).await;
    server.put("k", "hello").await;
    let of = |reply: &Reply| reply.header("access-control-allow-origin").map(str::to_owned);
    let page = "https://a.example.org";
    let get = Call::new("GET", "/bucket/k");
    let signed = server.send(get.clone().header("origin", page)).await;
    assert_eq!((signed.status, of(&signed).as_deref()), (200, Some(page)));
    let presigned = server.send(get.clone().presigned(60).header("origin", page)).await;
    assert_eq!((presigned.status, of(&presigned).as_deref()), (200, Some(page)));
    let refused = anybody(&server, get.clone().header("origin", page)).await;
    assert_eq!((refused.status, of(&refused).as_deref()), (403, Some(page)));
    let mut forged = get.clone().header("origin", page);
    forged.secret_key = "x".repeat(20);
    assert_eq!(of(&server.send(forged).await).as_deref(), Some(page));
    let missing = server.send(Call::new("GET", "/bucket/none").header("origin", page)).await;
    assert_eq!((missing.status, of(&missing).as_deref()), (404, Some(page)));
    assert_eq!(of(&server.send(get.clone().header("origin", "https://example.com")).await), None);
    assert_eq!(of(&server.send(get).await), None);
}

#[tokio::test]
async fn a_bucket_has_tags_of_its_own() {
    let server = server().await;
    let tags = |pairs: &[(&str, &str)]| {
        let tag = |(name, value): &(&str, &str)| format!("<Tag><Key>{name}</Key><Value>{value}</Value></Tag>");
        let body: String = pairs.iter().map(tag).collect();
        document("/bucket?tagging", &format!("<Tagging><TagSet>{body}</TagSet></Tagging>"))
    };
    let get = || Call::new("GET", "/bucket?tagging");
    assert_eq!(server.send(get()).await.told(), (404, "NoSuchTagSet"));
    assert_eq!(server.send(tags(&[("team", "a b"), ("cost", "7")])).await.status, 204);
    assert_eq!(server.send(get()).await.elements("Key"), ["cost", "team"]);
    assert_eq!(server.send(tags(&[("team", "a"), ("team", "b")])).await.told(), (400, "InvalidTag"));
    assert_eq!(server.send(Call::new("DELETE", "/bucket?tagging")).await.status, 204);
    assert_eq!(server.send(get()).await.told(), (404, "NoSuchTagSet"));
}

#[tokio::test]
async fn a_bucket_without_a_document_says_so_as_s3_does() {
    let server = server().await;
    for (subresource, status, code) in [
        ("policy", 404, "NoSuchBucketPolicy"),
        ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
        ("website", 404, "NoSuchWebsiteConfiguration"),
        ("replication", 404, "ReplicationConfigurationNotFoundError"),
        ("publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", 404, "OwnershipControlsNotFoundError"),
        ("logging", 200, ""),
        ("notification", 200, ""),
        ("accelerate", 200, ""),
        ("requestPayment", 200, ""),
        ("policyStatus", 200, ""),
    ] {
        let told = server.send(Call::new("GET", &format!("/bucket?{subresource}"))).await;
        assert_eq!(told.told(), (status, code), "{subresource}");
        let nowhere = server.send(Call::new("GET", &format!("/nowhere?{subresource}"))).await;
        assert_eq!(nowhere.told(), (404, "NoSuchBucket"), "{subresource}");
    }
    assert_eq!(server.send(Call::new("GET", "/bucket?requestPayment")).await.element("Payer"), Some("BucketOwner"));
    assert_eq!(server.send(Call::new("GET", "/bucket?policyStatus")).await.element("IsPublic"), Some("false"));
    for subresource in ["policy", "encryption", "website", "replication"] {
        assert_eq!(server.send(Call::new("DELETE", &format!("/bucket?{subresource}"))).await.status, 204, "{subresource}");
    }
}
