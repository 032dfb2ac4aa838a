//! What the service holds, and what it promises of that: every write of a name is a new generation, conditions hold
//! at the moment of the write, and listings are in the order of bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde_json::{Value, json};

use super::Trick;
use super::ask::Ask;
use super::reply::Reply;
use crate::backend::gcs::put::crc32c;
use crate::backend::service::Metadata;
use crate::clock::{SystemClock, WallClock};

/// Google's generations are as long.
const FIRST_GENERATION: u64 = 1_700_000_000_000_000;

/// What an object is stored with.
#[derive(Clone, Default)]
pub(in crate::backend::gcs) struct Said {
    pub metadata: Metadata,
    /// As JSON calls them.
    pub headers: BTreeMap<&'static str, String>,
}

/// As JSON calls them, and XML.
const HEADERS: [(&str, &str); 5] = [
    ("contentType", "content-type"),
    ("contentEncoding", "content-encoding"),
    ("contentDisposition", "content-disposition"),
    ("contentLanguage", "content-language"),
    ("cacheControl", "cache-control"),
];

impl Said {
    pub(super) fn in_json(about: &Value) -> Self {
        let headers = HEADERS.into_iter().filter_map(|(name, _)| Some((name, about[name].as_str()?.to_owned())));
        Self { metadata: serde_json::from_value(about["metadata"].clone()).unwrap_or_default(), headers: headers.collect() }
    }

    pub(super) fn in_headers(ask: &Ask) -> Self {
        let headers = HEADERS.into_iter().filter_map(|(name, header)| Some((name, ask.header(header)?.to_owned())));
        Self { metadata: ask.metadata(), headers: headers.collect() }
    }
}

#[derive(Clone)]
pub(in crate::backend::gcs) struct Object {
    pub bytes: Bytes,
    pub said: Said,
    pub generation: u64,
    /// Milliseconds since 1970.
    created_ms: u64,
    /// Of an upload: nobody has an MD5 of it.
    pub is_composite: bool,
}

pub(in crate::backend::gcs) struct Upload {
    pub bucket: String,
    pub name: String,
    pub said: Said,
    /// By number, with their ETags.
    pub parts: BTreeMap<u16, (String, Bytes)>,
}

pub(in crate::backend::gcs) struct World {
    pub buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// Buckets of others.
    pub foreign: BTreeSet<String>,
    pub uploads: BTreeMap<String, Upload>,
    /// The token of the one copy that is not done.
    pub copying: Option<String>,
    pub tricks: VecDeque<Trick>,
    /// Names on a page at the most.
    pub page_max: usize,
    /// Whose bearer may do anything; `None`: everybody.
    pub token: Option<String>,
    /// Tokens that were given out.
    pub grants: usize,
    counted: u64,
}

impl Default for World {
    fn default() -> Self {
        let (buckets, foreign, uploads, tricks) = Default::default();
        Self {
            buckets,
            foreign,
            uploads,
            copying: None,
            tricks,
            page_max: 1000,
            token: None,
            grants: 0,
            counted: FIRST_GENERATION,
        }
    }
}

impl World {
    /// Fresh each time.
    pub(super) fn count(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    /// The next trick, if it is of this kind.
    pub(super) fn plays<T>(&mut self, kind: impl FnOnce(&Trick) -> Option<T>) -> Option<T> {
        let played = self.tricks.front().and_then(kind);
        if played.is_some() {
            self.tricks.pop_front();
        }
        played
    }

    pub(super) fn grant(&mut self) -> Reply {
        self.grants += 1;
        Reply::json(&json!({ "access_token": self.token, "expires_in": 3600, "token_type": "Bearer" }))
    }

    pub(super) fn object(&self, bucket: &str, name: &str) -> Result<&Object, Reply> {
        self.buckets.get(bucket).ok_or_else(Reply::no_bucket)?.get(name).ok_or_else(Reply::no_object)
    }

    /// Whether what is at a name is of this generation; 0 is nothing.
    pub(super) fn check(&self, bucket: &str, name: &str, only: Option<u64>) -> Result<(), Reply> {
        let is = self.buckets.get(bucket).ok_or_else(Reply::no_bucket)?.get(name).map_or(0, |object| object.generation);
        if only.is_none_or(|only| only == is) { Ok(()) } else { Err(Reply::condition()) }
    }

    pub(super) fn put(&mut self, bucket: &str, name: &str, bytes: Bytes, said: Said, is_composite: bool) -> Result<(), Reply> {
        let generation = self.count();
        let objects = self.buckets.get_mut(bucket).ok_or_else(Reply::no_bucket)?;
        let created_ms = SystemClock.millis();
        objects.insert(name.to_owned(), Object { bytes, said, generation, created_ms, is_composite });
        Ok(())
    }
}

/// A time of day as the service writes it.
fn rfc3339(ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp((ms / 1_000).cast_signed()).unwrap();
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", u8::from(month), ms % 1_000)
}

impl Object {
    pub fn resource(&self, name: &str) -> Value {
        let created = rfc3339(self.created_ms);
        let mut resource = json!({
            "kind": "storage#object", "name": name, "size": self.bytes.len().to_string(),
            "generation": self.generation.to_string(), "metageneration": "1", "timeCreated": created, "updated": created,
            "crc32c": crc32c(&self.bytes), "metadata": self.said.metadata,
        });
        let (key, value) = if self.is_composite { ("componentCount", json!(1)) } else { ("md5Hash", json!("some")) };
        resource[key] = value;
        for (name, value) in &self.said.headers {
            resource[*name] = value.as_str().into();
        }
        resource
    }
}
