//! Objects that come in one request, and their bytes going out.

use bytes::Bytes;
use serde_json::Value;

use super::ask::Ask;
use super::json::only_fields;
use super::reply::Reply;
use super::world::{Object, Said, World};
use crate::backend::gcs::put::crc32c;

/// `POST /upload/storage/v1/b/BUCKET/o?uploadType=multipart`
pub(super) fn store(world: &mut World, ask: &Ask) -> Reply {
    try_store(world, ask).unwrap_or_else(|refused| refused)
}

fn try_store(world: &mut World, ask: &Ask) -> Result<Reply, Reply> {
    let invalid = |what: &str| Reply::refused(400, "invalid", what);
    let bucket = ask.path[4].as_str();
    let (about, content_type, media) = parts(ask).ok_or_else(|| invalid("Malformed multipart body."))?;
    let name = about["name"].as_str().ok_or_else(|| invalid("Required"))?;
    if about.get("crc32c").is_some_and(|sum| *sum != crc32c(&media)) {
        return Err(invalid("Provided CRC32C doesn't match calculated CRC32C."));
    }
    world.check(bucket, name, ask.generation("ifGenerationMatch"))?;
    if content_type != about["contentType"].as_str().unwrap_or_default() {
        return Err(invalid("Content-Type specified in the upload does not match Content-Type specified in metadata."));
    }
    world.put(bucket, name, media, Said::in_json(&about), false)?;
    Ok(Reply::json(&only_fields(world.object(bucket, name)?.resource(name), ask.query("fields"))))
}

/// What is said of the object, and once more its type, and its bytes.
fn parts(ask: &Ask) -> Option<(Value, String, Bytes)> {
    let boundary = ask.header("content-type")?.strip_prefix("multipart/related; boundary=")?;
    let (open, close) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    let whole = &ask.body;
    let inner = whole.slice(open.len()..whole.len().checked_sub(close.len())?);
    if !whole.starts_with(open.as_bytes()) || !whole.ends_with(close.as_bytes()) {
        return None;
    }
    let (_, rest) = split(&inner, b"\r\n\r\n")?;
    let (about, rest) = split(&rest, format!("\r\n{open}").as_bytes())?;
    let (head, media) = split(&rest, b"\r\n\r\n")?;
    let content_type = std::str::from_utf8(&head).ok()?.strip_prefix("Content-Type: ")?.to_owned();
    Some((serde_json::from_slice(&about).ok()?, content_type, media))
}

fn split(bytes: &Bytes, at: &[u8]) -> Option<(Bytes, Bytes)> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.slice(..found), bytes.slice(found + at.len()..)))
}

/// `GET /storage/v1/b/BUCKET/o/NAME?alt=media`
pub(super) fn bring(object: &Object, ask: &Ask) -> Result<Reply, Reply> {
    if ask.generation("generation").is_some_and(|wanted| wanted != object.generation) {
        return Err(Reply::bytes(404, "No such object: it"));
    }
    // What others stored compressed would come as something else.
    if ask.header("accept-encoding") != Some("gzip") {
        return Err(Reply::refused(400, "invalid", "it may be transcoded"));
    }
    let size = object.bytes.len();
    let reply = match ask.header("range").map(|range| within(range, size)) {
        None => Reply::bytes(200, object.bytes.clone()),
        Some(None) => return Err(Reply::bytes(416, "Request range not satisfiable")),
        Some(Some((first, last))) => {
            Reply::bytes(206, object.bytes.slice(first..=last)).with("content-range", format!("bytes {first}-{last}/{size}"))
        }
    };
    let reply = reply.with("x-goog-generation", object.generation.to_string());
    Ok(reply
        .with("x-goog-stored-content-length", size.to_string())
        .with("x-goog-hash", "crc32c=".to_owned() + &crc32c(&object.bytes)))
}

/// First and last byte of `bytes=5-9`; `None` behind the end.
fn within(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < size).then(|| (first, last.min(size - 1)))
}
