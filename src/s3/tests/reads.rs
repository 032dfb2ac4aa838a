//! Reading objects: ranges, conditions, overrides, attributes.

use super::super::testing::{Call, server};

#[tokio::test]
async fn one_range_is_served_and_anything_odd_is_everything() {
    let server = server().await;
    server.put("k", "0123456789").await;
    let get = async |range: &str| server.send(Call::new("GET", "/bucket/k").header("range", range)).await;
    for (range, body, shown) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-30", "0123456789", "bytes 0-9/10"),
        ("bytes=5-500", "56789", "bytes 5-9/10"),
    ] {
        let reply = get(range).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.header("content-range")), (206, body, Some(shown)), "{range}");
    }
    for range in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "nonsense"] {
        let reply = get(range).await;
        assert_eq!((reply.status, reply.body.len(), reply.header("content-range")), (200, 10, None), "{range}");
    }
    for range in ["bytes=10-", "bytes=-0"] {
        let reply = get(range).await;
        assert_eq!((reply.told(), reply.header("content-range")), ((416, "InvalidRange"), Some("bytes */10")), "{range}");
    }
    let head = server.send(Call::new("HEAD", "/bucket/k").header("range", "bytes=0-3")).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.header("content-range")),
        (206, Some("4"), Some("bytes 0-3/10"))
    );
}

#[tokio::test]
async fn conditional_reads_follow_http() {
    let server = server().await;
    server.put("k", "hello").await;
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    let told = async |method: &str, pairs: &[(&str, &str)]| {
        let call = pairs.iter().fold(Call::new(method, "/bucket/k"), |call, (name, value)| call.header(name, value));
        server.send(call).await
    };
    let (past, future) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT");
    for method in ["GET", "HEAD"] {
        let fresh = told(method, &[("if-none-match", etag)]).await;
        assert_eq!((fresh.status, fresh.header("etag"), fresh.body.as_str()), (304, Some(etag), ""));
        assert!(fresh.header("last-modified").is_some());
        assert_eq!(told(method, &[("if-none-match", "\"x\", \"5d41402abc4b2a76b9719d911017c592\"")]).await.status, 304);
        assert_eq!(told(method, &[("if-none-match", "\"x\"")]).await.status, 200);
        assert_eq!(told(method, &[("if-match", "\"x\"")]).await.status, 412);
        assert_eq!(told(method, &[("if-match", etag), ("if-unmodified-since", past)]).await.status, 200);
        assert_eq!(told(method, &[("if-unmodified-since", past)]).await.status, 412);
        assert_eq!(told(method, &[("if-modified-since", past)]).await.status, 200);
        assert_eq!(told(method, &[("if-none-match", "\"x\""), ("if-modified-since", future)]).await.status, 200);
        assert_eq!(told(method, &[("if-modified-since", "nonsense")]).await.status, 200);
    }
    let modified = server.get("k").await.header("last-modified").unwrap().to_owned();
    assert_eq!(told("GET", &[("if-modified-since", &modified)]).await.status, 304);
}

#[tokio::test]
async fn the_client_may_override_what_the_answer_says() {
    let server = server().await;
    server.put("k", "hello").await;
    let query = "response-content-type=image%2Fpng&response-content-disposition=inline&response-cache-control=no-cache&response-expires=Sun%2C%2006%20Nov%201994%2008%3A49%3A37%20GMT";
    for call in [
        Call::new("GET", &format!("/bucket/k?{query}")),
        Call::new("GET", &format!("/bucket/k?{query}")).presigned(60),
        Call::new("HEAD", &format!("/bucket/k?{query}")),
    ] {
        let reply = server.send(call).await;
        assert_eq!((reply.header("content-type"), reply.header("content-disposition")), (Some("image/png"), Some("inline")));
        assert_eq!(
            (reply.header("cache-control"), reply.header("expires")),
            (Some("no-cache"), Some("Sun, 06 Nov 1994 08:49:37 GMT"))
        );
    }
}

#[tokio::test]
async fn the_null_version_is_the_object_and_others_are_not_there() {
    let server = server().await;
    server.put("k", "hello").await;
    for method in ["GET", "HEAD"] {
        let reply = server.send(Call::new(method, "/bucket/k?versionId=null")).await;
        assert_eq!((reply.status, reply.header("x-amz-version-id")), (200, Some("null")));
        let stamp = "0".repeat(26);
        assert_eq!(server.send(Call::new(method, &format!("/bucket/k?versionId={stamp}"))).await.status, 404);
        assert_eq!(server.send(Call::new(method, "/bucket/k?versionId=bogus")).await.status, 400);
    }
}

#[tokio::test]
async fn attributes_are_those_asked_for() {
    let server = server().await;
    server.put("k", "hello").await;
    let ask = |names: &str| Call::new("GET", "/bucket/k?attributes").header("x-amz-object-attributes", names);
    let reply = server.send(ask("ETag,Checksum,ObjectParts,StorageClass,ObjectSize")).await;
    assert_eq!((reply.status, reply.element("ETag")), (200, Some("5d41402abc4b2a76b9719d911017c592")), "{reply:?}");
    assert_eq!((reply.element("ObjectSize"), reply.element("StorageClass")), (Some("5"), Some("STANDARD")));
    assert!(reply.element("ChecksumCRC64NVME").is_some() && reply.element("ObjectParts").is_none());
    assert!(reply.header("last-modified").is_some());
    let one = server.send(ask("ObjectSize")).await;
    assert_eq!((one.element("ObjectSize"), one.element("ETag")), (Some("5"), None));
    assert_eq!(server.send(ask("Colour")).await.told(), (400, "InvalidArgument"));
    assert_eq!(
        server.send(Call::new("GET", "/bucket/none?attributes").header("x-amz-object-attributes", "ETag")).await.told(),
        (404, "NoSuchKey")
    );
}

#[tokio::test]
async fn keys_of_every_shape_round_trip() {
    let server = server().await;
    let long = "k".repeat(1024);
    for key in [
        "a//b",
        "/leading",
        "trailing/",
        "..",
        ".",
        "a/../b",
        "%25",
        "sp%20ace",
        "%2B",
        "%F0%9F%98%80",
        "%00",
        "%0A",
        "a%3Fb%26c%3Dd%23e",
        &long,
    ] {
        server.put(key, key).await;
        let got = server.get(key).await;
        assert_eq!((got.status, got.body.as_str()), (200, key), "{key}");
    }
}
