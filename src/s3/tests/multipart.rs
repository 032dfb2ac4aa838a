//! Multipart uploads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::testing::{Call, Reply, Server, server};
use crate::model::ChecksumAlgorithm;
use crate::s3::digest;

const MIB5: usize = 5 << 20;

async fn start(server: &Server, headers: &[(&str, &str)]) -> String {
    let call = headers.iter().fold(Call::new("POST", "/bucket/m?uploads"), |call, (name, value)| call.header(name, value));
    let reply = server.send(call).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.element("UploadId").unwrap().to_owned()
}

fn part_call(upload: &str, number: u32, body: &[u8]) -> Call {
    Call::new("PUT", &format!("/bucket/m?partNumber={number}&uploadId={upload}")).payload("UNSIGNED-PAYLOAD").body(body)
}

async fn part(server: &Server, upload: &str, number: u32, body: &[u8]) -> String {
    let reply = server.send(part_call(upload, number, body)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("etag").unwrap().to_owned()
}

fn complete_call(upload: &str, parts: &[(u32, String)]) -> Call {
    let parts: String =
        parts.iter().map(|(number, more)| format!("<Part><PartNumber>{number}</PartNumber>{more}</Part>")).collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    Call::new("POST", &format!("/bucket/m?uploadId={upload}")).body(body)
}

fn etag(etag: &str) -> String {
    format!("<ETag>{}</ETag>", etag.replace('"', "&quot;"))
}

async fn two_parts(server: &Server) -> Reply {
    let upload = start(server, &[("content-type", "text/x"), ("x-amz-meta-m", "1"), ("x-amz-tagging", "a=1")]).await;
    let first = part(server, &upload, 3, &vec![b'a'; MIB5]).await;
    let second = part(server, &upload, 7, b"tail").await;
    let parts = [(3, etag(&first)), (7, etag(second.trim_matches('"')))];
    server.send(complete_call(&upload, &parts)).await
}

#[tokio::test]
async fn parts_become_one_object() {
    let server = server().await;
    let reply = two_parts(&server).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!((reply.element("Bucket"), reply.element("Key")), (Some("bucket"), Some("m")));
    assert_eq!(reply.element("Location"), Some("http://127.0.0.1:9000/bucket/m"));
    let shown = reply.element("ETag").unwrap();
    assert!(shown.ends_with("-2\""), "{shown}");
    assert!(reply.header("x-anybucket-stamp").is_some());
    let head = server.send(Call::new("HEAD", "/bucket/m")).await;
    assert_eq!(head.header("content-length"), Some((MIB5 + 4).to_string().as_str()));
    assert_eq!(
        (head.header("content-type"), head.header("x-amz-meta-m"), head.header("x-amz-tagging-count")),
        (Some("text/x"), Some("1"), Some("1"))
    );
    assert_eq!(head.header("x-amz-mp-parts-count"), None);
    assert_eq!(server.send(Call::new("GET", "/bucket?uploads")).await.elements("UploadId").len(), 0);
}

#[tokio::test]
async fn a_part_can_be_read_by_its_number() {
    let server = server().await;
    two_parts(&server).await;
    let read = async |method: &str, number: u32| server.send(Call::new(method, &format!("/bucket/m?partNumber={number}"))).await;
    let last = read("GET", 7).await;
    assert_eq!((last.status, last.body.as_str(), last.header("x-amz-mp-parts-count")), (206, "tail", Some("2")));
    assert_eq!(read("HEAD", 99).await.status, 400);
    assert_eq!(read("GET", 0).await.told(), (400, "InvalidArgument"));
    server.put("single", "hello").await;
    let single = server.send(Call::new("GET", "/bucket/single?partNumber=1")).await;
    assert_eq!((single.status, single.body.as_str(), single.header("x-amz-mp-parts-count")), (206, "hello", None));
    assert_eq!(server.send(Call::new("GET", "/bucket/single?partNumber=2")).await.told(), (400, "InvalidPart"));
}

#[tokio::test]
async fn a_complete_is_checked() {
    let server = server().await;
    let upload = start(&server, &[]).await;
    let small = part(&server, &upload, 1, b"small").await;
    let last = part(&server, &upload, 2, b"last").await;
    let told = async |parts: &[(u32, String)]| {
        let reply = server.send(complete_call(&upload, parts)).await;
        (reply.status, reply.code().to_owned())
    };
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(told(&[(1, etag(&small)), (2, etag(&last))]).await, refused("EntityTooSmall"));
    assert_eq!(told(&[(2, etag(&last)), (1, etag(&small))]).await, refused("InvalidPartOrder"));
    assert_eq!(told(&[(1, etag("\"abc\""))]).await, refused("InvalidPart"));
    assert_eq!(told(&[(9, etag(&small))]).await, refused("InvalidPart"));
    assert_eq!(told(&[]).await, refused("MalformedXML"));
    let twice = complete_call(&upload, &[(1, etag(&small))]).header("if-none-match", "*");
    assert_eq!(server.send(twice).await.status, 200);
    let none = complete_call("nonsense", &[(1, etag(&small))]);
    assert_eq!(server.send(none).await.told(), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn a_conditional_complete_is_decided_before_it_answers() {
    let server = server().await;
    server.put("m", "there already").await;
    let upload = start(&server, &[]).await;
    let only = part(&server, &upload, 1, b"x").await;
    let call = complete_call(&upload, &[(1, etag(&only))]).header("if-none-match", "*");
    assert_eq!(server.send(call).await.told(), (412, "PreconditionFailed"));
    assert_eq!(server.get("m").await.body, "there already");
}

#[tokio::test]
async fn parts_and_uploads_are_listed_in_pages() {
    let server = server().await;
    let upload = start(&server, &[("x-amz-checksum-algorithm", "CRC32")]).await;
    for number in [1, 2, 5] {
        part(&server, &upload, number, b"x").await;
    }
    let list = async |more: &str| server.send(Call::new("GET", &format!("/bucket/m?uploadId={upload}{more}"))).await;
    let all = list("").await;
    assert_eq!((all.elements("PartNumber"), all.element("IsTruncated")), (vec!["1", "2", "5"], Some("false")), "{all:?}");
    assert_eq!((all.element("ChecksumAlgorithm"), all.element("ChecksumType")), (Some("CRC32"), Some("COMPOSITE")));
    assert_eq!(all.elements("ChecksumCRC32").len(), 3);
    let page = list("&max-parts=2").await;
    assert_eq!((page.elements("PartNumber"), page.element("NextPartNumberMarker")), (vec!["1", "2"], Some("2")));
    assert_eq!(list("&part-number-marker=2").await.elements("PartNumber"), ["5"]);
    assert_eq!(list("&max-parts=-1").await.told(), (400, "InvalidArgument"));
    start(&server, &[]).await;
    let uploads = server.send(Call::new("GET", "/bucket?uploads&max-uploads=1")).await;
    assert_eq!((uploads.elements("UploadId").len(), uploads.element("IsTruncated")), (1, Some("true")));
    let (key, id) = (uploads.element("NextKeyMarker").unwrap(), uploads.element("NextUploadIdMarker").unwrap());
    let next = server.send(Call::new("GET", &format!("/bucket?uploads&key-marker={key}&upload-id-marker={id}"))).await;
    assert_eq!((next.elements("UploadId").len(), next.element("IsTruncated")), (1, Some("false")));
    assert_eq!(server.send(Call::new("GET", "/bucket?uploads&prefix=x")).await.elements("Upload").len(), 0);
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let server = server().await;
    let upload = start(&server, &[]).await;
    part(&server, &upload, 1, b"x").await;
    let abort = || Call::new("DELETE", &format!("/bucket/m?uploadId={upload}"));
    assert_eq!(server.send(abort()).await.status, 204);
    assert_eq!(server.send(abort()).await.told(), (404, "NoSuchUpload"));
    assert_eq!(server.send(part_call(&upload, 2, b"x")).await.told(), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn parts_are_copied_with_ranges() {
    let server = server().await;
    server.put("s", "0123456789").await;
    let upload = start(&server, &[]).await;
    let copy = |range: &str| {
        let call = part_call(&upload, 1, b"").header("x-amz-copy-source", "/bucket/s");
        if range.is_empty() { call } else { call.header("x-amz-copy-source-range", range) }
    };
    assert_eq!(server.send(copy("bytes=2-4")).await.element("ETag"), Some("\"289dff07669d7a23de0ef88d2f7129e7\""));
    assert_eq!(server.send(copy("bytes=2-")).await.told(), (400, "InvalidArgument"));
    assert_eq!(server.send(copy("bytes=2-10")).await.told(), (416, "InvalidRange"));
    let whole = server.send(copy("")).await;
    assert_eq!(whole.status, 200, "{whole:?}");
    let etag = etag(whole.element("ETag").unwrap());
    server.send(complete_call(&upload, &[(1, etag)])).await;
    assert_eq!(server.get("m").await.body, "0123456789");
}

#[tokio::test]
async fn part_checksums_and_the_objects_are_verified() {
    let server = server().await;
    let upload = start(&server, &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let sha = |bytes: &[u8]| BASE64.encode(digest::checksum(ChecksumAlgorithm::Sha256, bytes));
    let bad = part_call(&upload, 1, b"x").header("x-amz-checksum-sha256", &sha(b"y"));
    assert_eq!(server.send(bad).await.told(), (400, "BadDigest"));
    let good = server.send(part_call(&upload, 1, b"x").header("x-amz-checksum-sha256", &sha(b"x"))).await;
    assert_eq!(good.header("x-amz-checksum-sha256"), Some(sha(b"x").as_str()));
    let named = |sum: String| etag(good.header("etag").unwrap()) + &format!("<ChecksumSHA256>{sum}</ChecksumSHA256>");
    let wrong = complete_call(&upload, &[(1, named(sha(b"y")))]);
    assert_eq!(server.send(wrong).await.told(), (400, "InvalidPart"));
    let done = server.send(complete_call(&upload, &[(1, named(sha(b"x")))])).await;
    let inner = digest::checksum(ChecksumAlgorithm::Sha256, b"x");
    let composite = format!("{}-1", sha(&inner));
    assert_eq!(
        (done.element("ChecksumSHA256"), done.element("ChecksumType")),
        (Some(composite.as_str()), Some("COMPOSITE")),
        "{done:?}"
    );
    let head = server.send(Call::new("HEAD", "/bucket/m").header("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!(head.header("x-amz-checksum-sha256"), Some(composite.as_str()));
    let attributes = Call::new("GET", "/bucket/m?attributes").header("x-amz-object-attributes", "Checksum,ObjectParts");
    let attributes = server.send(attributes).await;
    assert_eq!((attributes.element("PartsCount"), attributes.elements("PartNumber")), (Some("1"), vec!["1"]), "{attributes:?}");
}

#[tokio::test]
async fn part_numbers_have_bounds() {
    let server = server().await;
    let upload = start(&server, &[]).await;
    for number in [0, 10_001] {
        assert_eq!(server.send(part_call(&upload, number, b"x")).await.told(), (400, "InvalidArgument"));
    }
}
