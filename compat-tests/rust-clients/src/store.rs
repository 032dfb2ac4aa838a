//! object_store, as the data frames of this world use S3. It has no calls for buckets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UpdateVersion, WriteMultipart,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::{Client, Refused, Request, Said, variable};

/// One store is one bucket; each is opened once, as a program that uses it would.
#[derive(Default)]
pub struct Stores(Mutex<HashMap<String, AmazonS3>>);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let message = format!("{error:?}");
        // object_store has kinds of its own and keeps neither the code nor the status.
        let (code, status) = match error {
            Error::NotFound { .. } => ("NoSuchKey", 404),
            Error::AlreadyExists { .. } | Error::Precondition { .. } => ("PreconditionFailed", 412),
            _ => ("none", 0),
        };
        Self { code: code.into(), status, message }
    }
}

impl Stores {
    fn open(&self, asked: &Request) -> Result<AmazonS3, Error> {
        let mut stores = self.0.lock().expect("nobody panics while holding it");
        if let Some(store) = stores.get(&asked.bucket) {
            return Ok(store.clone());
        }
        let store = connect(&asked.bucket)?;
        stores.insert(asked.bucket.clone(), store.clone());
        Ok(store)
    }
}

fn connect(bucket: &str) -> Result<AmazonS3, Error> {
    AmazonS3Builder::new()
        .with_endpoint(variable("AWS_ENDPOINT_URL"))
        .with_region(variable("AWS_REGION"))
        .with_access_key_id(variable("AWS_ACCESS_KEY_ID"))
        .with_secret_access_key(variable("AWS_SECRET_ACCESS_KEY"))
        .with_bucket_name(bucket)
        .with_allow_http(true)
        .build()
}

fn path(key: &str) -> Result<Path, Refused> {
    Path::parse(key).map_err(Refused::here)
}

impl Client for Stores {
    async fn perform(&self, asked: &Request) -> Said {
        let store = self.open(asked)?;
        match asked.what.as_str() {
            "put" => put(&store, asked).await,
            "get" => get(&store, asked).await,
            "head" => {
                let options = GetOptions { head: true, ..GetOptions::default() };
                Ok(described(&store.get_opts(&path(&asked.key)?, options).await?))
            }
            "list" => list(&store, asked).await,
            "upload" => upload(&store, asked).await,
            "copy" => {
                let (_, from) = asked.from.split_once('/').ok_or_else(|| Refused::here("no bucket in the source"))?;
                store.copy(&path(from)?, &path(&asked.key)?).await?;
                Ok(json!({ "etag": store.head(&path(&asked.key)?).await?.e_tag }))
            }
            "delete" => Ok(store.delete(&path(&asked.key)?).await.map(|()| json!({}))?),
            "delete_many" => {
                let named: Result<Vec<_>, _> = asked.keys.iter().map(|key| path(key)).collect();
                let gone: Vec<_> = store.delete_stream(stream::iter(named?).map(Ok).boxed()).try_collect().await?;
                Ok(json!({ "deleted": gone.len(), "errors": 0 }))
            }
            "presign" => Ok(json!({ "url": store.signed_url(Method::GET, &path(&asked.key)?, Duration::from_secs(60)).await?.to_string() })),
            other => Err(Refused::here(other)),
        }
    }

    async fn read(&self, asked: &Request) -> Result<(String, String), Refused> {
        let got = self.open(asked)?.get(&path(&asked.key)?).await?;
        let etag = got.meta.e_tag.clone().unwrap_or_default();
        Ok((etag, String::from_utf8(got.bytes().await?.to_vec()).map_err(Refused::here)?))
    }

    async fn write(&self, asked: &Request, body: String, if_match: Option<String>) -> Result<(), Refused> {
        let options = PutOptions::from(mode(if_match, true));
        self.open(asked)?.put_opts(&path(&asked.key)?, body.into(), options).await?;
        Ok(())
    }
}

fn mode(if_match: Option<String>, create: bool) -> PutMode {
    match if_match {
        Some(etag) => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
        None if create => PutMode::Create,
        None => PutMode::Overwrite,
    }
}

async fn put(store: &AmazonS3, asked: &Request) -> Said {
    let body = tokio::fs::read(&asked.file).await.map_err(Refused::here)?;
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, asked.r#type.clone().into());
    for (name, value) in &asked.metadata {
        attributes.insert(Attribute::Metadata(Cow::Owned(name.clone())), value.clone().into());
    }
    let options =
        PutOptions { mode: mode(asked.if_match.clone(), asked.if_none_match.is_some()), attributes, ..PutOptions::default() };
    Ok(json!({ "etag": store.put_opts(&path(&asked.key)?, body.into(), options).await?.e_tag }))
}

async fn get(store: &AmazonS3, asked: &Request) -> Said {
    let range = asked.range.as_deref().map(parse_range).transpose()?;
    let got = store.get_opts(&path(&asked.key)?, GetOptions { range, ..GetOptions::default() }).await?;
    let said = described(&got);
    let (mut pieces, mut file) = (got.into_stream(), tokio::fs::File::create(&asked.file).await.map_err(Refused::here)?);
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).await.map_err(Refused::here)?;
    }
    file.sync_all().await.map_err(Refused::here)?;
    Ok(said)
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-last` as object_store says them.
fn parse_range(text: &str) -> Result<GetRange, Refused> {
    let (first, last) = text.trim_start_matches("bytes=").split_once('-').ok_or_else(|| Refused::here("no range"))?;
    let number = |text: &str| text.parse::<u64>().map_err(Refused::here);
    Ok(match (first, last) {
        ("", last) => GetRange::Suffix(number(last)?),
        (first, "") => GetRange::Offset(number(first)?),
        (first, last) => GetRange::Bounded(Range { start: number(first)?, end: number(last)? + 1 }),
    })
}

fn described(got: &GetResult) -> Value {
    let mut metadata = serde_json::Map::new();
    for (name, value) in &got.attributes {
        if let Attribute::Metadata(name) = name {
            metadata.insert(name.to_string(), value.as_ref().into());
        }
    }
    let kind = got.attributes.get(&Attribute::ContentType).map(|value| value.as_ref());
    json!({ "etag": got.meta.e_tag, "size": got.range.end - got.range.start, "type": kind, "metadata": metadata })
}

async fn list(store: &AmazonS3, asked: &Request) -> Said {
    let prefix = path(asked.prefix.trim_end_matches('/'))?;
    if asked.delimiter.is_some() {
        let found = store.list_with_delimiter(Some(&prefix)).await?;
        let keys: Vec<_> = found.objects.iter().map(|entry| entry.location.to_string()).collect();
        let prefixes: Vec<_> = found.common_prefixes.iter().map(|prefix| format!("{prefix}/")).collect();
        return Ok(json!({ "keys": keys, "prefixes": prefixes }));
    }
    let found: Vec<_> = store.list(Some(&prefix)).try_collect().await?;
    let keys: Vec<_> = found.iter().map(|entry| entry.location.to_string()).collect();
    Ok(json!({ "keys": keys, "prefixes": [] }))
}

async fn upload(store: &AmazonS3, asked: &Request) -> Said {
    let body = tokio::fs::read(&asked.file).await.map_err(Refused::here)?;
    let upload = store.put_multipart(&path(&asked.key)?).await?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, asked.part);
    writer.write(&body);
    Ok(json!({ "etag": writer.finish().await?.e_tag }))
}
