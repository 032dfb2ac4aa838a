//! Whatever a client claims of its bytes is checked, and nothing is stored when it does not hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::testing::{Call, Chain, Reply, Server, server};
use crate::model::ChecksumAlgorithm;
use crate::s3::digest;

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A chunked PUT of `bucket/k` whose body is made from the chain of signatures.
async fn chunked(
    server: &Server,
    payload: &str,
    length: usize,
    trailer: Option<&str>,
    body: impl FnOnce(&mut Chain) -> Vec<u8>,
) -> Reply {
    let mut call = Call::new("PUT", "/bucket/k").payload(payload).header("x-amz-decoded-content-length", &length.to_string());
    call = call.header("content-encoding", "aws-chunked");
    if let Some(name) = trailer {
        call = call.header("x-amz-trailer", name);
    }
    let (headers, mut chain) = call.sign();
    call.body = body(&mut chain);
    server.raw(&call.bytes_with(headers)).await
}

async fn nothing_is_stored(server: &Server) {
    assert_eq!(server.get("k").await.told(), (404, "NoSuchKey"));
}

fn crc32(bytes: &[u8]) -> String {
    BASE64.encode(digest::checksum(ChecksumAlgorithm::Crc32, bytes))
}

fn unsigned_body(chunks: &[&[u8]], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    body
}

#[tokio::test]
async fn signed_chunks_are_taken() {
    let server = server().await;
    let reply =
        chunked(&server, SIGNED, 11, None, |chain| [chain.chunk(b"hello "), chain.chunk(b"world"), chain.chunk(b"")].concat())
            .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let stored = server.get("k").await;
    assert_eq!(stored.body, "hello world");
    assert_eq!(stored.header("content-encoding"), None);
}

/// It is signed as one.
#[tokio::test]
async fn an_encoding_may_come_in_two_lines() {
    let server = server().await;
    let mut call = Call::new("PUT", "/bucket/k").header("content-encoding", "gzip,aws-chunked");
    call.body = b"zipped".to_vec();
    let (mut headers, _) = call.sign();
    headers.retain(|(name, _)| name != "content-encoding");
    headers.extend(["gzip", "aws-chunked"].map(|line| ("content-encoding".to_owned(), line.to_owned())));
    assert_eq!(server.raw(&call.bytes_with(headers)).await.status, 200);
    let stored = server.get("k").await;
    assert_eq!((stored.header("content-encoding"), stored.body.as_str()), (Some("gzip"), "zipped"));
}

#[tokio::test]
async fn a_tampered_chunk_is_refused() {
    let server = server().await;
    let reply = chunked(&server, SIGNED, 11, None, |chain| {
        let mut second = chain.chunk(b"hello ");
        let at = second.len() - 4;
        second[at] ^= 1;
        [second, chain.chunk(b"world"), chain.chunk(b"")].concat()
    });
    assert_eq!(reply.await.told(), (403, "SignatureDoesNotMatch"));
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_signed_stream_cut_at_a_chunk_is_refused() {
    let server = server().await;
    let reply = chunked(&server, SIGNED, 11, None, |chain| chain.chunk(b"hello ")).await;
    assert_eq!(reply.told(), (400, "IncompleteBody"));
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_decoded_length_that_is_not_the_length_is_refused() {
    let server = server().await;
    for said in [10, 12] {
        let reply = chunked(&server, SIGNED, said, None, |chain| [chain.chunk(b"hello world"), chain.chunk(b"")].concat()).await;
        assert_eq!(reply.told(), (400, "IncompleteBody"), "{said}");
        nothing_is_stored(&server).await;
    }
}

#[tokio::test]
async fn a_stream_without_its_final_chunk_is_refused_although_the_length_is_right() {
    let server = server().await;
    let reply = chunked(&server, SIGNED, 5, None, |chain| chain.chunk(b"hello")).await;
    assert_eq!(reply.told(), (400, "IncompleteBody"));
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_trailing_checksum_is_verified_signed_or_not() {
    let server = server().await;
    let name = "x-amz-checksum-crc32";
    let (right, wrong) = (crc32(b"hello"), crc32(b"other"));
    let signed = async |value: &str| {
        let body = |chain: &mut Chain| [chain.chunk(b"hello"), chain.end_with_trailer(name, value)].concat();
        chunked(&server, SIGNED_TRAILER, 5, Some(name), body).await
    };
    let unsigned = async |value: &str| {
        let body = |_: &mut Chain| unsigned_body(&[b"hel", b"lo"], &format!("{name}:{value}\r\n"));
        chunked(&server, UNSIGNED_TRAILER, 5, Some(name), body).await
    };
    assert_eq!(signed(&wrong).await.told(), (400, "BadDigest"));
    assert_eq!(unsigned(&wrong).await.told(), (400, "BadDigest"));
    nothing_is_stored(&server).await;
    for reply in [signed(&right).await, unsigned(&right).await] {
        assert_eq!((reply.status, reply.header(name)), (200, Some(right.as_str())), "{reply:?}");
    }
}

#[tokio::test]
async fn a_trailer_is_what_was_promised() {
    let server = server().await;
    let promised = Some("x-amz-checksum-crc32");
    let missing = chunked(&server, UNSIGNED_TRAILER, 5, promised, |_| unsigned_body(&[b"hello"], "")).await;
    assert_eq!(missing.told(), (400, "MalformedTrailerError"));
    let sha = "x-amz-checksum-sha1:qvTGHdzF6KLavt4PO0gs2a6pQ00=\r\n";
    let other = chunked(&server, UNSIGNED_TRAILER, 5, promised, |_| unsigned_body(&[b"hello"], sha)).await;
    assert_eq!(other.told(), (400, "MalformedTrailerError"));
    let unsigned = chunked(&server, SIGNED_TRAILER, 5, promised, |chain| {
        let trailer = format!("0;chunk-signature={}\r\nx-amz-checksum-crc32:{}\r\n\r\n", "0".repeat(64), crc32(b"hello"));
        [chain.chunk(b"hello"), trailer.into_bytes()].concat()
    });
    assert!((400..500).contains(&unsigned.await.status));
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_checksum_header_is_verified_and_shown() {
    let server = server().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let name = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
        let of = |bytes: &[u8]| BASE64.encode(digest::checksum(algorithm, bytes));
        let wrong = Call::new("PUT", "/bucket/k").body("hello").header(&name, &of(b"other"));
        assert_eq!(server.send(wrong).await.told(), (400, "BadDigest"), "{name}");
        nothing_is_stored(&server).await;
        let right = Call::new("PUT", "/bucket/k").body("hello").header(&name, &of(b"hello"));
        let reply = server.send(right).await;
        assert_eq!((reply.status, reply.header(&name)), (200, Some(of(b"hello").as_str())));
        assert_eq!(reply.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        let shown = server.send(Call::new("HEAD", "/bucket/k").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!(shown.header(&name), Some(of(b"hello").as_str()));
        assert_eq!(server.get("k").await.header(&name), None);
        server.send(Call::new("DELETE", "/bucket/k")).await;
    }
}

#[tokio::test]
async fn checksums_that_nobody_knows_are_refused() {
    let server = server().await;
    for name in ["x-amz-checksum-rot13", "x-amz-checksum-sha384"] {
        let reply = server.send(Call::new("PUT", "/bucket/k").body("x").header(name, "AAAA")).await;
        assert_eq!(reply.told(), (400, "InvalidRequest"), "{name}");
    }
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn content_md5_is_verified() {
    let server = server().await;
    let put = |md5: &str| Call::new("PUT", "/bucket/k").body("hello").header("content-md5", md5);
    assert_eq!(server.send(put("1B2M2Y8AsgTpgAmY7PhCfg==")).await.told(), (400, "BadDigest"));
    assert_eq!(server.send(put("nonsense")).await.told(), (400, "InvalidDigest"));
    assert_eq!(server.send(put("")).await.told(), (400, "InvalidDigest"));
    nothing_is_stored(&server).await;
    assert_eq!(server.send(put("XUFAKrxLKna5cZ2REBfFkg==")).await.status, 200);
}

#[tokio::test]
async fn a_signed_hash_is_verified_on_objects_and_documents() {
    let server = server().await;
    let other = digest::checksum(ChecksumAlgorithm::Sha256, b"other");
    let other = crate::model::hex(&other);
    let put = Call::new("PUT", "/bucket/k").body("hello").payload(&other);
    assert_eq!(server.send(put).await.told(), (400, "XAmzContentSHA256Mismatch"));
    nothing_is_stored(&server).await;
    let delete =
        Call::new("POST", "/bucket?delete").body("<Delete><Object><Key>k</Key></Object></Delete>").with_md5().payload(&other);
    assert_eq!(server.send(delete).await.told(), (400, "XAmzContentSHA256Mismatch"));
}

#[tokio::test]
async fn a_connection_that_ends_early_stores_nothing() {
    let server = server().await;
    let mut bytes = Call::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").body("hello world").to_bytes();
    bytes.truncate(bytes.len() - 3);
    server.exchange(&bytes, true).await;
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_put_has_a_length() {
    let server = server().await;
    for call in [Call::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD"), Call::new("PUT", "/bucket/k").presigned(60)] {
        let call = call.unsigned("transfer-encoding", "chunked").body("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(server.send(call).await.told(), (411, "MissingContentLength"));
    }
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_small_signed_body_may_come_without_a_length() {
    let server = server().await;
    let send = async |body: &[u8]| {
        let mut call = Call::new("PUT", "/bucket/k").body(body).unsigned("transfer-encoding", "chunked");
        let (headers, _) = call.sign();
        call.body = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
        server.raw(&call.bytes_with(headers)).await
    };
    assert_eq!(send(b"hello").await.status, 200);
    assert_eq!(server.get("k").await.body, "hello");
    assert_eq!(send(&vec![b'x'; 100 << 10]).await.told(), (411, "MissingContentLength"));
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_before_it_is_read() {
    let server = server().await;
    let call =
        Call::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").unsigned("content-length", &((5_u64 << 30) + 1).to_string());
    assert_eq!(server.send(call).await.told(), (400, "EntityTooLarge"));
    let huge = "ffffffff;chunk-signature=".to_owned() + &"0".repeat(64) + "\r\n";
    let reply = chunked(&server, SIGNED, 1 << 20, None, |_| huge.into_bytes()).await;
    assert_eq!(reply.told(), (400, "EntityTooLarge"));
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn delete_objects_needs_a_digest_and_it_must_match() {
    let server = server().await;
    server.put("k", "x").await;
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    let call = || Call::new("POST", "/bucket?delete").body(body);
    assert_eq!(server.send(call()).await.told(), (400, "InvalidRequest"));
    assert_eq!(server.send(call().header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")).await.told(), (400, "BadDigest"));
    assert_eq!(server.send(call().header("x-amz-checksum-crc32", &crc32(b"x"))).await.told(), (400, "BadDigest"));
    assert_eq!(server.get("k").await.status, 200);
    let reply = server.send(call().header("x-amz-checksum-crc32", &crc32(body.as_bytes()))).await;
    assert_eq!(reply.elements("Deleted").len(), 1, "{reply:?}");
    assert_eq!(server.get("k").await.status, 404);
}

#[tokio::test]
async fn delete_objects_may_come_in_chunks() {
    let server = server().await;
    server.put("k", "x").await;
    let body = b"<Delete><Object><Key>k</Key></Object></Delete>";
    let name = "x-amz-checksum-crc32";
    let send = async |value: String| {
        let mut call = Call::new("POST", "/bucket?delete").payload(UNSIGNED_TRAILER).header("x-amz-trailer", name);
        call = call.header("x-amz-decoded-content-length", &body.len().to_string());
        call.body = unsigned_body(&[body], &format!("{name}:{value}\r\n"));
        server.send(call).await
    };
    assert_eq!(send(crc32(b"x")).await.told(), (400, "BadDigest"));
    assert_eq!(send(crc32(body)).await.elements("Key"), ["k"]);
    assert_eq!(server.get("k").await.status, 404);
}

#[tokio::test]
async fn a_document_past_the_limit_is_refused() {
    let server = server().await;
    let body = vec![b' '; 9 << 20];
    let reply = server.send(Call::new("POST", "/bucket?delete").body(body).with_md5()).await;
    assert_eq!(reply.told(), (400, "MaxMessageLengthExceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up() {
    let server = server().await;
    for call in [Call::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD"), Call::new("POST", "/bucket?delete").with_md5()] {
        let half = call.header("content-length", "10").body("half").to_bytes();
        assert_eq!(server.raw(&half).await.told(), (400, "RequestTimeout"));
    }
    nothing_is_stored(&server).await;
}

#[tokio::test]
async fn a_signed_chunk_larger_than_any_client_sends_is_refused_before_it_is_held() {
    let server = server().await;
    let signed = async |size: usize| {
        let body = move |chain: &mut Chain| [chain.chunk(&vec![b'x'; size]), chain.chunk(b"")].concat();
        chunked(&server, SIGNED, size, None, body).await
    };
    assert_eq!(signed((1 << 20) + 1).await.told(), (400, "EntityTooLarge"));
    nothing_is_stored(&server).await;
    assert_eq!(signed(1 << 20).await.status, 200);
}
