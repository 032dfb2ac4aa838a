//! Multipart uploads, whose steps mix with everything else.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use proptest::prelude::*;

use super::super::super::testing::Call;
use super::{Object, Upload, World, etag, key, to};
use crate::model::hex;

#[derive(Clone, Debug)]
pub enum Step {
    Start(String),
    /// One of the unfinished uploads, part number, bytes.
    Part(usize, u16, usize),
    /// Completes one with every part it has.
    Complete(usize),
    /// Completes one with the part of this number only.
    CompleteOne(usize, u16),
    Abort(usize),
    List,
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => key().prop_map(Step::Start),
        3 => (0..4_usize, 1..4_u16, 0..40_usize).prop_map(|(upload, number, size)| Step::Part(upload, number, size)),
        1 => (0..4_usize).prop_map(Step::Complete),
        2 => (0..4_usize, 1..4_u16).prop_map(|(upload, number)| Step::CompleteOne(upload, number)),
        1 => (0..4_usize).prop_map(Step::Abort),
        1 => Just(Step::List),
    ]
}

impl World {
    pub async fn on_upload(&mut self, step: &Step) {
        match step {
            Step::Start(key) => {
                let reply = self.call("POST", key, "uploads").await;
                assert_eq!(reply.status, 200, "{reply:?}");
                let id = reply.element("UploadId").unwrap().to_owned();
                self.uploads.push(Upload { key: key.clone(), id, parts: BTreeMap::new() });
            }
            Step::Part(upload, number, size) => self.part(*upload, *number, *size).await,
            Step::Complete(at) => self.complete(*at, |_| true).await,
            Step::CompleteOne(at, only) => self.complete(*at, |number| number == *only).await,
            Step::Abort(at) => self.abort(*at).await,
            Step::List => self.list_uploads().await,
        }
    }

    async fn part(&mut self, at: usize, number: u16, size: usize) {
        let body = self.body(size);
        let Some(upload) = self.uploads.get_mut(at) else { return };
        let query = format!("partNumber={number}&uploadId={}", upload.id);
        let reply = self.server.send(to("PUT", &upload.key, &query).body(body.clone())).await;
        assert_eq!((reply.status, reply.header("etag")), (200, Some(etag(&body).as_str())), "{reply:?}");
        upload.parts.insert(number, body);
    }

    async fn complete(&mut self, at: usize, chosen: impl Fn(u16) -> bool) {
        let Some(upload) = self.uploads.get(at).cloned() else { return };
        let parts: Vec<_> = upload.parts.iter().filter(|(number, _)| chosen(**number)).collect();
        let part = |(number, body): &(&u16, &String)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", etag(body).replace('"', "&quot;"))
        };
        let list: String = parts.iter().map(part).collect();
        let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let call = || to("POST", &upload.key, &format!("uploadId={}", upload.id)).body(document.clone());
        let reply = self.server.send(call()).await;
        match parts.as_slice() {
            [] => assert_eq!(reply.told(), (400, "MalformedXML")),
            [(_, body)] => {
                let etag = format!("\"{}-1\"", hex(&Md5::digest(Md5::digest(body))));
                let shown = reply.element("ETag").map(|etag| etag.replace("&quot;", "\""));
                assert_eq!((reply.status, shown.as_ref()), (200, Some(&etag)), "{reply:?}");
                let again = self.server.send(call()).await;
                assert_eq!((again.status, again.code()), (200, ""), "a repeated Complete: {again:?}");
                self.objects.insert(upload.key, Object { body: (*body).clone(), etag, tags: Vec::new() });
                self.uploads.remove(at);
            }
            _ => assert_eq!(reply.told(), (400, "EntityTooSmall")),
        }
    }

    async fn abort(&mut self, at: usize) {
        if at >= self.uploads.len() {
            return;
        }
        let Upload { key, id, .. } = self.uploads.remove(at);
        assert_eq!(self.call("DELETE", &key, &format!("uploadId={id}")).await.status, 204);
        assert_eq!(self.call("GET", &key, &format!("uploadId={id}")).await.told(), (404, "NoSuchUpload"));
    }

    /// All uploads, two to a page, and the parts of each.
    pub async fn list_uploads(&self) {
        let mut expected: Vec<_> = self.uploads.iter().map(|upload| (upload.key.clone(), upload.id.clone())).collect();
        expected.sort();
        let (mut seen, mut markers) = (Vec::new(), String::new());
        loop {
            let reply = self.server.send(Call::new("GET", &format!("/bucket?uploads&max-uploads=2{markers}"))).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            let ids = reply.elements("UploadId").into_iter().map(str::to_owned);
            seen.extend(reply.elements("Key").into_iter().map(str::to_owned).zip(ids));
            if reply.element("IsTruncated") != Some("true") {
                break;
            }
            let key = super::encoded(reply.element("NextKeyMarker").unwrap(), false);
            markers = format!("&key-marker={key}&upload-id-marker={}", reply.element("NextUploadIdMarker").unwrap());
            assert!(seen.len() <= expected.len(), "the listing does not end: {seen:?}");
        }
        assert_eq!(seen, expected);
        for upload in &self.uploads {
            let reply = self.call("GET", &upload.key, &format!("uploadId={}", upload.id)).await;
            let told: Vec<_> = reply.elements("ETag").iter().map(|etag| etag.replace("&quot;", "\"")).collect();
            assert_eq!(told, upload.parts.values().map(|body| etag(body)).collect::<Vec<_>>(), "{reply:?}");
        }
    }
}
