//! Listings.

use super::super::testing::{Call, Reply, Server, server};

async fn with_keys(keys: &[&str]) -> Server {
    let server = server().await;
    for key in keys {
        server.put(key, "x").await;
    }
    server
}

async fn list(server: &Server, query: &str) -> Reply {
    server.send(Call::new("GET", &format!("/bucket?{query}"))).await
}

#[tokio::test]
async fn keys_are_in_byte_order_and_rolled_up() {
    let server = with_keys(&["b", "a/x", "a/y", "B", "%C3%A9", "%F0%9F%98%80", "%EF%BD%81"]).await;
    let all = list(&server, "").await;
    assert_eq!(all.elements("Key"), ["B", "a/x", "a/y", "b", "é", "ａ", "😀"]);
    assert_eq!(all.element("IsTruncated"), Some("false"));
    assert_eq!(all.element("MaxKeys"), Some("1000"));
    let rolled = list(&server, "delimiter=%2F").await;
    assert_eq!(rolled.elements("Key"), ["B", "b", "é", "ａ", "😀"]);
    assert_eq!(rolled.elements("Prefix"), ["", "a/"]);
    let within = list(&server, "prefix=a%2F&delimiter=%2F").await;
    assert_eq!(within.elements("Key"), ["a/x", "a/y"]);
}

#[tokio::test]
async fn version_1_pages_by_marker() {
    let server = with_keys(&["a", "b/1", "b/2", "c", "d"]).await;
    let plain = list(&server, "max-keys=2").await;
    assert_eq!((plain.elements("Key"), plain.element("IsTruncated")), (vec!["a", "b/1"], Some("true")));
    assert_eq!(plain.element("NextMarker"), None);
    assert_eq!(plain.element("ID"), Some("tester"));
    let rolled = list(&server, "max-keys=2&delimiter=%2F").await;
    assert_eq!(rolled.element("NextMarker"), Some("b/"));
    let next = list(&server, "max-keys=2&delimiter=%2F&marker=b%2F").await;
    assert_eq!((next.elements("Key"), next.element("IsTruncated")), (vec!["c", "d"], Some("false")));
    assert_eq!(next.element("Marker"), Some("b/"));
}

#[tokio::test]
async fn version_2_pages_by_token() {
    let server = with_keys(&["a", "b/1", "b/2", "c", "d"]).await;
    let first = list(&server, "list-type=2&max-keys=2&delimiter=%2F").await;
    assert_eq!((first.element("KeyCount"), first.element("IsTruncated")), (Some("2"), Some("true")));
    assert_eq!(first.element("Owner"), None);
    let token = first.element("NextContinuationToken").unwrap();
    let second =
        list(&server, &format!("list-type=2&delimiter=%2F&continuation-token={token}&start-after=z&fetch-owner=true")).await;
    assert_eq!(second.elements("Key"), ["c", "d"]);
    assert_eq!((second.element("ContinuationToken"), second.element("ID")), (Some(token), Some("tester")));
    let after = list(&server, "list-type=2&start-after=b%2F1").await;
    assert_eq!((after.elements("Key"), after.element("StartAfter")), (vec!["b/2", "c", "d"], Some("b/1")));
    assert_eq!(list(&server, "list-type=2&continuation-token=").await.elements("Key").len(), 5);
    for bad in ["nonsense", "%00"] {
        let reply = list(&server, &format!("list-type=2&continuation-token={bad}")).await;
        assert_eq!(reply.told(), (400, "InvalidArgument"), "{bad}");
    }
}

#[tokio::test]
async fn limits_of_a_page() {
    let server = with_keys(&["a", "b"]).await;
    for kind in ["", "list-type=2&"] {
        let none = list(&server, &format!("{kind}max-keys=0")).await;
        assert_eq!(
            (none.elements("Key").len(), none.element("IsTruncated"), none.element("MaxKeys")),
            (0, Some("false"), Some("0"))
        );
        assert_eq!(list(&server, &format!("{kind}max-keys=5000")).await.element("MaxKeys"), Some("1000"));
        assert_eq!(list(&server, &format!("{kind}max-keys=-1")).await.told(), (400, "InvalidArgument"));
        assert_eq!(list(&server, &format!("{kind}max-keys=x")).await.told(), (400, "InvalidArgument"));
        assert_eq!(list(&server, &format!("{kind}encoding-type=base64")).await.told(), (400, "InvalidArgument"));
        let nowhere = server.send(Call::new("GET", &format!("/none?{kind}max-keys=0"))).await;
        assert_eq!(nowhere.told(), (404, "NoSuchBucket"));
    }
}

#[tokio::test]
async fn url_encoding_covers_keys_prefixes_and_markers() {
    let server = with_keys(&["foo%2B1/bar", "foo/bar", "quux%20ab/thud", "asdf%2Bb", "%01odd"]).await;
    let listed = list(&server, "encoding-type=url&delimiter=%2F").await;
    assert_eq!(listed.elements("Key"), ["%01odd", "asdf%2Bb"]);
    assert_eq!(listed.elements("Prefix")[1..], ["foo%2B1/", "foo/", "quux%20ab/"]);
    assert_eq!((listed.element("EncodingType"), listed.element("Delimiter")), (Some("url"), Some("/")));
    let marked = list(&server, "encoding-type=url&marker=a%20b&prefix=foo%2B").await;
    assert_eq!((marked.element("Marker"), marked.element("Prefix")), (Some("a%20b"), Some("foo%2B")));
}

#[tokio::test]
async fn characters_that_xml_cannot_hold_become_references() {
    let server = with_keys(&["a%01b", "a%0Dc"]).await;
    for query in ["", "list-type=2", "versions"] {
        let reply = list(&server, query).await;
        assert_eq!((reply.status, reply.elements("Key")), (200, vec!["a&#x1;b", "a&#13;c"]), "{query}");
        assert_eq!(reply.header("content-type"), Some("application/xml"));
    }
    let body = "<Delete><Object><Key>a&#1;b</Key></Object></Delete>";
    let deleted = server.send(Call::new("POST", "/bucket?delete").body(body).with_md5()).await;
    assert!(deleted.status == 200 || deleted.status == 400, "{deleted:?}");
}

#[tokio::test]
async fn objects_are_listed_as_they_are() {
    let server = server().await;
    let put = server.send(Call::new("PUT", "/bucket/k").body("hello").header("x-amz-storage-class", "STANDARD_IA")).await;
    let listed = list(&server, "").await;
    assert_eq!(listed.element("ETag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(put.header("etag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!((listed.element("Size"), listed.element("StorageClass")), (Some("5"), Some("STANDARD_IA")));
    assert!(listed.element("LastModified").unwrap().ends_with(".000Z"));
}

#[tokio::test]
async fn versions_are_null_versions() {
    let server = with_keys(&["a", "b", "c/1"]).await;
    let all = list(&server, "versions").await;
    assert_eq!(all.elements("Key"), ["a", "b", "c/1"]);
    assert_eq!(all.elements("VersionId"), ["null"; 3]);
    assert_eq!(all.elements("IsLatest"), ["true"; 3]);
    let first = list(&server, "versions&max-keys=1").await;
    assert_eq!((first.element("NextKeyMarker"), first.element("NextVersionIdMarker")), (Some("a"), Some("null")));
    let next = list(&server, "versions&key-marker=a&version-id-marker=null&delimiter=%2F").await;
    assert_eq!((next.elements("Key"), next.elements("Prefix")), (vec!["b"], vec!["c/", ""]));
    assert_eq!(list(&server, "versions&version-id-marker=null").await.told(), (400, "InvalidArgument"));
}
