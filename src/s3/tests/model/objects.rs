//! Calls on one key.

use proptest::prelude::*;

use super::super::super::testing::{Call, Reply};
use super::{Object, World, encoded, etag, key, to};

#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes, on this condition.
    Put(usize, Condition),
    Get(Option<Range>),
    /// With If-None-Match on the ETag that the map has.
    GetUnlessSame,
    Head,
    Delete(Condition),
    CopyTo(String, Condition),
    Tag(Vec<u8>),
    Untag,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    None,
    Absent,
    Present,
    /// If-Match on the ETag that the map has.
    Same,
    /// If-Match on an ETag that nothing has.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub enum Range {
    Within(usize, usize),
    From(usize),
    Last(usize),
}

pub fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![3 => 0..40_usize, 1 => Just(70_000_usize)];
    let write = prop_oneof![
        3 => Just(Condition::None),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        1 => Just(Condition::Same),
        1 => Just(Condition::Other),
    ];
    let range = prop_oneof![
        (0..50_usize, 0..50_usize).prop_map(|(first, more)| Range::Within(first, first + more)),
        (0..50_usize).prop_map(Range::From),
        (0..50_usize).prop_map(Range::Last),
    ];
    let delete = prop_oneof![3 => Just(Condition::None), 1 => Just(Condition::Same), 1 => Just(Condition::Other)];
    prop_oneof![
        4 => (size(), write.clone()).prop_map(|(size, condition)| Step::Put(size, condition)),
        3 => proptest::option::of(range).prop_map(Step::Get),
        1 => Just(Step::GetUnlessSame),
        1 => Just(Step::Head),
        2 => delete.prop_map(Step::Delete),
        2 => (key(), write).prop_map(|(to, condition)| Step::CopyTo(to, condition)),
        1 => proptest::collection::vec(0..3_u8, 0..3).prop_map(Step::Tag),
        1 => Just(Step::Untag),
    ]
}

const OTHER: &str = "\"00000000000000000000000000000000\"";

impl Condition {
    fn on(self, call: Call, current: Option<&Object>) -> Call {
        match self {
            Self::None => call,
            Self::Absent => call.header("if-none-match", "*"),
            Self::Present => call.header("if-match", "*"),
            Self::Same => call.header("if-match", current.map_or(OTHER, |object| &object.etag)),
            Self::Other => call.header("if-match", OTHER),
        }
    }

    /// What the call is refused with.
    fn refusal(self, current: Option<&Object>) -> Option<u16> {
        match (self, current) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present | Self::Same, Some(_)) => None,
            (Self::Absent, Some(_)) | (Self::Other, Some(_)) => Some(412),
            (Self::Present | Self::Same | Self::Other, None) => Some(404),
        }
    }
}

impl Range {
    fn header(self) -> String {
        match self {
            Self::Within(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(count) => format!("bytes=-{count}"),
        }
    }

    fn of(self, body: &str) -> Option<std::ops::Range<usize>> {
        let size = body.len();
        match self {
            Self::Within(first, last) => (first < size).then(|| first..size.min(last + 1)),
            Self::From(first) => (first < size).then_some(first..size),
            Self::Last(count) => (count > 0 && size > 0).then(|| size - count.min(size)..size),
        }
    }
}

impl World {
    pub async fn on_object(&mut self, key: &str, step: &Step) {
        match step {
            Step::Put(size, condition) => self.put(key, *size, *condition).await,
            Step::Get(range) => self.get(key, *range).await,
            Step::GetUnlessSame => self.get_unless_same(key).await,
            Step::Head => self.head(key).await,
            Step::Delete(condition) => self.delete(key, *condition).await,
            Step::CopyTo(target, condition) => self.copy(key, target, *condition).await,
            Step::Tag(numbers) => self.tag(key, numbers).await,
            Step::Untag => self.untag(key).await,
        }
    }

    async fn put(&mut self, key: &str, size: usize, condition: Condition) {
        let body = self.body(size);
        let call = condition.on(to("PUT", key, "").body(body.clone()), self.objects.get(key));
        let reply = self.server.send(call).await;
        match condition.refusal(self.objects.get(key)) {
            Some(status) => assert_eq!(reply.status, status, "PUT {key:?}: {reply:?}"),
            None => {
                assert_eq!((reply.status, reply.header("etag")), (200, Some(etag(&body).as_str())), "PUT {key:?}: {reply:?}");
                let object = Object { etag: etag(&body), body, tags: Vec::new() };
                self.objects.insert(key.into(), object);
            }
        }
    }

    pub async fn get(&self, key: &str, range: Option<Range>) {
        let call = to("GET", key, "");
        let call = range.iter().fold(call, |call, range| call.header("range", &range.header()));
        let reply = self.server.send(call).await;
        let Some(object) = self.objects.get(key) else {
            return assert_eq!(reply.told(), (404, "NoSuchKey"), "GET {key:?}");
        };
        match range.map(|range| range.of(&object.body)) {
            None => assert_eq!((reply.status, &reply.body), (200, &object.body), "GET {key:?}"),
            Some(None) => return assert_eq!(reply.told(), (416, "InvalidRange"), "GET {key:?} {range:?}"),
            Some(Some(range)) => {
                let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, object.body.len());
                assert_eq!((reply.status, reply.header("content-range")), (206, Some(shown.as_str())), "GET {key:?}");
                assert_eq!(reply.body, object.body[range], "GET {key:?}");
            }
        }
        self.shows(key, object, &reply);
    }

    async fn get_unless_same(&self, key: &str) {
        let Some(object) = self.objects.get(key) else { return };
        let same = self.server.send(to("GET", key, "").header("if-none-match", &object.etag)).await;
        assert_eq!((same.status, same.body.as_str()), (304, ""), "GET {key:?}");
        let other = self.server.send(to("GET", key, "").header("if-none-match", OTHER)).await;
        assert_eq!((other.status, &other.body), (200, &object.body), "GET {key:?}");
    }

    async fn head(&self, key: &str) {
        let reply = self.call("HEAD", key, "").await;
        match self.objects.get(key) {
            None => assert_eq!(reply.status, 404, "HEAD {key:?}"),
            Some(object) => {
                let size = object.body.len().to_string();
                assert_eq!((reply.status, reply.header("content-length")), (200, Some(size.as_str())), "HEAD {key:?}");
                self.shows(key, object, &reply);
            }
        }
    }

    fn shows(&self, key: &str, object: &Object, reply: &Reply) {
        assert_eq!(reply.header("etag"), Some(object.etag.as_str()), "the ETag of {key:?}");
        let tags = (!object.tags.is_empty()).then(|| object.tags.len().to_string());
        assert_eq!(reply.header("x-amz-tagging-count"), tags.as_deref(), "the tags of {key:?}");
    }

    async fn delete(&mut self, key: &str, condition: Condition) {
        let current = self.objects.get(key);
        let reply = self.server.send(condition.on(to("DELETE", key, ""), current)).await;
        let status = condition.refusal(current).unwrap_or(204);
        assert_eq!(reply.status, status, "DELETE {key:?} {condition:?}: {reply:?}");
        if status == 204 {
            self.objects.remove(key);
        }
    }

    async fn copy(&mut self, from: &str, target: &str, condition: Condition) {
        let source = format!("/bucket/{}", encoded(from, true));
        let current = self.objects.get(target);
        let call = to("PUT", target, "").header("x-amz-copy-source", &source);
        let reply = self.server.send(condition.on(call, current)).await;
        let refusal = condition.refusal(current);
        match self.objects.get(from).cloned() {
            None => assert!(reply.status == 404 || Some(reply.status) == refusal, "copy {from:?} {target:?}: {reply:?}"),
            Some(_) if from == target => {
                assert!(reply.status == 400 || Some(reply.status) == refusal, "copy {from:?} onto itself: {reply:?}");
            }
            Some(object) => {
                assert_eq!(reply.status, refusal.unwrap_or(200), "copy {from:?} to {target:?} {condition:?}: {reply:?}");
                if refusal.is_none() {
                    self.objects.insert(target.into(), object);
                }
            }
        }
    }

    async fn tag(&mut self, key: &str, numbers: &[u8]) {
        let mut tags: Vec<_> = numbers.iter().map(|number| (format!("t{number}"), format!("{}", self.writes))).collect();
        tags.dedup();
        let tag = |(key, value): &(String, String)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        let set: String = tags.iter().map(tag).collect();
        let call = to("PUT", key, "tagging").body(format!("<Tagging><TagSet>{set}</TagSet></Tagging>")).with_md5();
        let reply = self.server.send(call).await;
        let twice = tags.len() == 2 && tags[0].0 == tags[1].0;
        match self.objects.get_mut(key) {
            _ if twice => assert_eq!(reply.status, 400, "{reply:?}"),
            None => assert_eq!(reply.told(), (404, "NoSuchKey"), "tags of {key:?}"),
            Some(object) => {
                assert_eq!(reply.status, 200, "tags of {key:?}: {reply:?}");
                object.tags = tags;
            }
        }
        self.check_tags(key).await;
    }

    async fn untag(&mut self, key: &str) {
        let reply = self.call("DELETE", key, "tagging").await;
        match self.objects.get_mut(key) {
            None => assert_eq!(reply.told(), (404, "NoSuchKey"), "tags of {key:?}"),
            Some(object) => {
                assert_eq!(reply.status, 204, "{reply:?}");
                object.tags.clear();
            }
        }
        self.check_tags(key).await;
    }

    async fn check_tags(&self, key: &str) {
        let Some(object) = self.objects.get(key) else { return };
        let reply = self.call("GET", key, "tagging").await;
        let told: Vec<_> = reply.elements("Key").into_iter().zip(reply.elements("Value")).collect();
        let kept: Vec<_> = object.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(told, kept, "tags of {key:?}");
    }

    pub async fn delete_many(&mut self, keys: &[String]) {
        let objects: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        let call = Call::new("POST", "/bucket?delete").body(format!("<Delete>{objects}</Delete>")).with_md5();
        let reply = self.server.send(call).await;
        assert_eq!((reply.status, reply.elements("Key")), (200, keys.iter().map(String::as_str).collect()), "{reply:?}");
        keys.iter().for_each(|key| drop(self.objects.remove(key)));
    }
}
