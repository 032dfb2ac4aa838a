//! The XML side: multipart uploads, which know no conditions.

use bytes::Bytes;

use super::Trick;
use super::ask::Ask;
use super::reply::Reply;
use super::world::{Said, Upload, World};
use crate::backend::gcs::put::crc32c;
use crate::backend::gcs::uploads::List;

/// All parts but the last have as many bytes.
pub(in crate::backend::gcs) const PART_BYTES_MIN: usize = 5 << 20;

/// `/BUCKET/NAME?uploads` and `/BUCKET/NAME?uploadId=…`
pub(super) fn answer(world: &mut World, ask: &Ask) -> Reply {
    if ask.headers.keys().any(|name| name.as_str().starts_with("x-goog-if-")) {
        return Reply::xml_error(400, "NotImplemented");
    }
    let answered = match (ask.method.as_str(), ask.query("uploads"), ask.query("uploadId")) {
        ("POST", Some(_), None) => start(world, ask),
        ("PUT", None, Some(id)) => store(world, ask, id),
        ("POST", None, Some(id)) => complete(world, ask, id),
        ("DELETE", None, Some(id)) => open(world, ask, id).map(drop).map(|()| {
            world.uploads.remove(id);
            Reply::bytes(204, "")
        }),
        _ => Err(Reply::xml_error(501, "NotImplemented")),
    };
    answered.unwrap_or_else(|refused| refused)
}

fn start(world: &mut World, ask: &Ask) -> Result<Reply, Reply> {
    let (bucket, name) = (ask.path[0].clone(), ask.path[1].clone());
    if !world.buckets.contains_key(&bucket) {
        return Err(Reply::xml_error(404, "NoSuchBucket"));
    }
    let id = format!("upload/{}+&", world.count());
    let escaped = id.replace('&', "&amp;");
    world.uploads.insert(id, Upload { bucket, name, said: Said::in_headers(ask), parts: Default::default() });
    Ok(Reply::bytes(
        200,
        format!(
            "<?xml version='1.0' encoding='UTF-8'?><InitiateMultipartUploadResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\
             <Bucket>b</Bucket><Key>k</Key><UploadId>{escaped}</UploadId></InitiateMultipartUploadResult>"
        ),
    ))
}

fn open<'a>(world: &'a mut World, ask: &Ask, id: &str) -> Result<&'a mut Upload, Reply> {
    let upload = world.uploads.get_mut(id).filter(|upload| upload.bucket == ask.path[0] && upload.name == ask.path[1]);
    upload.ok_or_else(|| Reply::xml_error(404, "NoSuchUpload"))
}

fn store(world: &mut World, ask: &Ask, id: &str) -> Result<Reply, Reply> {
    let etag = format!("\"{:x}\"", world.count());
    let upload = open(world, ask, id)?;
    if ask.header("x-goog-hash").is_some_and(|sum| sum != format!("crc32c={}", crc32c(&ask.body))) {
        return Err(Reply::xml_error(400, "BadDigest"));
    }
    upload.parts.insert(ask.query("partNumber").unwrap().parse().unwrap(), (etag.clone(), ask.body.clone()));
    Ok(Reply::bytes(200, "").with("etag", etag))
}

fn complete(world: &mut World, ask: &Ask, id: &str) -> Result<Reply, Reply> {
    let trick = world.plays(|trick| matches!(trick, Trick::LateError | Trick::LateSilence).then_some(*trick));
    let whole = assembled(open(world, ask, id)?, &ask.body)?;
    match trick {
        // White space comes first, so that the connection lives.
        Some(Trick::LateError) => return Err(Reply::bytes(200, "  <Error><Code>InternalError</Code></Error>")),
        Some(_) => return Err(Reply::bytes(200, "<CompleteMultipartUploadResult/>")),
        None => {}
    }
    let Upload { bucket, name, said, .. } = world.uploads.remove(id).unwrap();
    world.put(&bucket, &name, whole, said, true)?;
    Ok(Reply::bytes(
        200,
        "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>\"x\"</ETag></CompleteMultipartUploadResult>",
    ))
}

/// Exactly the parts of the list.
fn assembled(upload: &Upload, list: &[u8]) -> Result<Bytes, Reply> {
    let text = std::str::from_utf8(list).unwrap();
    // Others take care not to send it: <https://github.com/apache/arrow-rs-object-store/blob/main/src/gcp/client.rs>.
    if text.contains("&quot;") {
        return Err(Reply::xml_error(400, "InvalidPart"));
    }
    let List { parts } = quick_xml::de::from_str(text).map_err(|_| Reply::xml_error(400, "MalformedXML"))?;
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Reply::xml_error(400, "InvalidPartOrder"));
    }
    let mut whole = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let held = upload.parts.get(&part.number).filter(|(etag, _)| *etag == part.etag);
        let (_, bytes) = held.ok_or_else(|| Reply::xml_error(400, "InvalidPart"))?;
        if bytes.len() < PART_BYTES_MIN && at + 1 < parts.len() {
            return Err(Reply::xml_error(400, "EntityTooSmall"));
        }
        whole.extend_from_slice(bytes);
    }
    Ok(whole.into())
}
