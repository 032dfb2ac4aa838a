//! Writing objects: PUT, copy, delete, tags.

use super::super::testing::{Call, server};

#[tokio::test]
async fn what_is_put_comes_back_as_it_was() {
    let server = server().await;
    let headers = [
        ("content-type", "text/x-test; charset=utf-8"),
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-language", "de"),
        ("cache-control", "no-store"),
        ("expires", "not a date"),
        ("x-amz-meta-one", "1"),
        ("x-amz-meta-caf", "caf\u{e9}"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    let put = headers.iter().fold(Call::new("PUT", "/bucket/k").body("hello"), |call, (name, value)| call.header(name, value));
    let put = server.send(put).await;
    assert_eq!(put.status, 200, "{put:?}");
    let stamp = put.header("x-anybucket-stamp").unwrap();
    for reply in [server.get("k").await, server.send(Call::new("HEAD", "/bucket/k")).await] {
        for (name, value) in &headers {
            assert_eq!(reply.header(name), Some(*value), "{name}");
        }
        assert_eq!(reply.header("etag"), put.header("etag"));
        assert_eq!(reply.header("content-length"), Some("5"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert_eq!(reply.header("x-anybucket-stamp"), Some(stamp));
        assert!(reply.header("last-modified").unwrap().ends_with("GMT"));
    }
    server.put("plain", "").await;
    let plain = server.get("plain").await;
    assert_eq!((plain.header("content-type"), plain.header("content-length")), (Some("binary/octet-stream"), Some("0")));
}

#[tokio::test]
async fn metadata_has_a_limit_and_a_redirect_a_form() {
    let server = server().await;
    let put = |name: &str, value: &str| Call::new("PUT", "/bucket/k").body("x").header(name, value);
    assert_eq!(server.send(put("x-amz-meta-a", &"v".repeat(2048))).await.told(), (400, "MetadataTooLarge"));
    assert_eq!(server.send(put("x-amz-meta-a", &"v".repeat(2047))).await.status, 200);
    assert_eq!(server.send(put("x-amz-website-redirect-location", "nowhere")).await.told(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn conditional_writes_are_decided() {
    let server = server().await;
    let put = |name: &str, value: &str| Call::new("PUT", "/bucket/k").body("x").header(name, value);
    assert_eq!(server.send(put("if-match", "\"abc\"")).await.told(), (404, "NoSuchKey"));
    assert_eq!(server.send(put("if-none-match", "*")).await.status, 200);
    assert_eq!(server.send(put("if-none-match", "*")).await.told(), (412, "PreconditionFailed"));
    assert_eq!(server.send(put("if-match", "\"abc\"")).await.told(), (412, "PreconditionFailed"));
    let etag = server.get("k").await.header("etag").unwrap().to_owned();
    assert_eq!(server.send(put("if-match", &etag)).await.status, 200);
    assert_eq!(server.send(put("if-match", etag.trim_matches('"'))).await.status, 200);
    assert_eq!(server.send(put("if-none-match", &etag)).await.told(), (412, "PreconditionFailed"));
    assert_eq!(server.send(put("if-none-match", "\"abc\"")).await.status, 200);
    let delete = |name: &str, value: &str| Call::new("DELETE", "/bucket/k").header(name, value);
    assert_eq!(server.send(delete("if-match", "\"abc\"")).await.told(), (412, "PreconditionFailed"));
    assert_eq!(server.send(delete("x-amz-if-match-size", "7")).await.told(), (412, "PreconditionFailed"));
    assert_eq!(server.send(delete("if-match", &etag)).await.status, 204);
}

#[tokio::test]
async fn deletes_succeed_whether_or_not_there_was_anything() {
    let server = server().await;
    server.put("k", "x").await;
    assert_eq!(server.send(Call::new("DELETE", "/bucket/k?versionId=null")).await.status, 204);
    assert_eq!(server.send(Call::new("DELETE", "/bucket/k")).await.status, 204);
    assert_eq!(server.send(Call::new("DELETE", "/none/k")).await.told(), (404, "NoSuchBucket"));
    assert_eq!(server.send(Call::new("DELETE", "/bucket/k?versionId=bogus")).await.told(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn delete_objects_tells_each_outcome() {
    let server = server().await;
    server.put("a", "x").await;
    server.put("b", "x").await;
    let long = "k".repeat(1025);
    let named = |key: &str, more: &str| format!("<Object><Key>{key}</Key>{more}</Object>");
    let objects = [
        named("a", "<VersionId>null</VersionId>"),
        named("none", ""),
        named(&long, ""),
        named("b", "<ETag>abc</ETag>"),
        named("b", "<VersionId>bogus</VersionId>"),
    ];
    let send = async |quiet: bool| {
        let body = format!("<Delete>{}<Quiet>{quiet}</Quiet></Delete>", objects.concat());
        server.send(Call::new("POST", "/bucket?delete").body(body).with_md5()).await
    };
    let reply = send(false).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.elements("Deleted").len(), 2);
    assert_eq!(reply.elements("Code"), ["KeyTooLongError", "PreconditionFailed", "InvalidArgument"]);
    assert_eq!((server.get("a").await.status, server.get("b").await.status), (404, 200));
    let quiet = send(true).await;
    assert_eq!((quiet.elements("Deleted").len(), quiet.elements("Error").len()), (0, 3));
    let many: String = (0..1001).map(|n| named(&format!("k{n}"), "")).collect();
    let reply = server.send(Call::new("POST", "/bucket?delete").body(format!("<Delete>{many}</Delete>")).with_md5()).await;
    assert_eq!(reply.told(), (400, "MalformedXML"));
}

#[tokio::test]
async fn tags_are_kept_counted_and_checked() {
    let server = server().await;
    let put = |tags: &str| Call::new("PUT", "/bucket/k").body("x").header("x-amz-tagging", tags);
    assert_eq!(server.send(put("a=1&b=c%20d")).await.status, 200);
    let tags = async || server.send(Call::new("GET", "/bucket/k?tagging")).await;
    assert_eq!((tags().await.elements("Key"), tags().await.elements("Value")), (vec!["a", "b"], vec!["1", "c d"]));
    assert_eq!(server.get("k").await.header("x-amz-tagging-count"), Some("2"));
    assert_eq!(server.send(put("a=1&a=2")).await.told(), (400, "InvalidTag"));
    let document = "<Tagging><TagSet><Tag><Key>x</Key><Value>y</Value></Tag></TagSet></Tagging>";
    let set = Call::new("PUT", "/bucket/k?tagging").body(document).with_md5();
    assert_eq!(server.send(set).await.status, 200);
    assert_eq!(tags().await.elements("Key"), ["x"]);
    assert_eq!(server.send(Call::new("PUT", "/bucket/k?tagging").body("<Tagging>")).await.told(), (400, "MalformedXML"));
    assert_eq!(server.send(Call::new("DELETE", "/bucket/k?tagging")).await.status, 204);
    assert_eq!((tags().await.elements("Key").len(), server.get("k").await.header("x-amz-tagging-count")), (0, None));
    assert_eq!(server.send(Call::new("GET", "/bucket/none?tagging")).await.told(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn copies_take_or_replace_what_belongs_to_the_source() {
    let server = server().await;
    let source = Call::new("PUT", "/bucket/dir/s%20%C3%A9").body("hello").header("content-type", "text/a");
    server.send(source.header("x-amz-meta-m", "1").header("x-amz-tagging", "t=1")).await;
    let copy = |to: &str| Call::new("PUT", &format!("/bucket/{to}")).header("x-amz-copy-source", "bucket/dir/s%20%C3%A9");
    let reply = server.send(copy("plain")).await;
    assert_eq!((reply.status, reply.element("ETag")), (200, Some("\"5d41402abc4b2a76b9719d911017c592\"")), "{reply:?}");
    assert!(reply.element("LastModified").is_some() && reply.header("x-anybucket-stamp").is_some());
    let plain = server.get("plain").await;
    assert_eq!(
        (plain.body.as_str(), plain.header("content-type"), plain.header("x-amz-meta-m")),
        ("hello", Some("text/a"), Some("1"))
    );
    assert_eq!(plain.header("x-amz-tagging-count"), Some("1"));
    let replaced = copy("replaced")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("content-type", "text/b")
        .header("x-amz-meta-n", "2");
    server.send(replaced.header("x-amz-tagging-directive", "REPLACE").header("x-amz-tagging", "u=1&v=2")).await;
    let replaced = server.get("replaced").await;
    assert_eq!(
        (replaced.header("content-type"), replaced.header("x-amz-meta-m"), replaced.header("x-amz-meta-n")),
        (Some("text/b"), None, Some("2"))
    );
    assert_eq!(replaced.header("x-amz-tagging-count"), Some("2"));
    assert_eq!(server.send(copy("x").header("x-amz-metadata-directive", "MAYBE")).await.told(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn copies_obey_their_conditions_and_sources() {
    let server = server().await;
    server.put("s", "hello").await;
    let copy = |source: &str| Call::new("PUT", "/bucket/t").header("x-amz-copy-source", source);
    assert_eq!(server.send(copy("/bucket/s?versionId=null")).await.status, 200);
    assert_eq!(server.send(copy("/bucket/none")).await.told(), (404, "NoSuchKey"));
    assert_eq!(server.send(copy("/none/s")).await.told(), (404, "NoSuchBucket"));
    assert_eq!(server.send(copy("nonsense")).await.told(), (400, "InvalidArgument"));
    assert_eq!(
        server.send(copy("/bucket/s").header("x-amz-copy-source-if-match", "\"abc\"")).await.told(),
        (412, "PreconditionFailed")
    );
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(
        server.send(copy("/bucket/s").header("x-amz-copy-source-if-none-match", etag)).await.told(),
        (412, "PreconditionFailed")
    );
    assert_eq!(server.send(copy("/bucket/s").header("x-amz-copy-source-if-match", etag)).await.status, 200);
    assert_eq!(server.send(copy("/bucket/s").header("if-none-match", "*")).await.told(), (412, "PreconditionFailed"));
    let onto_itself = Call::new("PUT", "/bucket/s").header("x-amz-copy-source", "/bucket/s");
    assert_eq!(server.send(onto_itself.clone()).await.told(), (400, "InvalidRequest"));
    assert_eq!(server.send(onto_itself.header("x-amz-metadata-directive", "REPLACE")).await.status, 200);
}
