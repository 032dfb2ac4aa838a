//! aws-sdk-s3.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::{Client, Refused, Request, Said, variable};

pub struct Aws(aws_sdk_s3::Client);

pub fn connect() -> Aws {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(variable("AWS_ENDPOINT_URL"))
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(Credentials::new(
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "env",
        ))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .build();
    Aws(aws_sdk_s3::Client::from_conf(config))
}

impl<E: ProvideErrorMetadata + std::fmt::Debug> From<SdkError<E, HttpResponse>> for Refused {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        Self { code: error.code().unwrap_or("none").into(), status, message: format!("{error:?}") }
    }
}

impl Client for Aws {
    async fn perform(&self, asked: &Request) -> Said {
        let Aws(s3) = self;
        match asked.what.as_str() {
            "create_bucket" => s3.create_bucket().bucket(&asked.bucket).send().await.map(|_| json!({})).map_err(Refused::from),
            "delete_bucket" => s3.delete_bucket().bucket(&asked.bucket).send().await.map(|_| json!({})).map_err(Refused::from),
            "put" => self.put(asked).await,
            "get" => self.get(asked).await,
            "head" => self.head(asked).await,
            "list" => self.list(asked).await,
            "upload" => self.upload(asked).await,
            "copy" => self.copy(asked).await,
            "delete" => Ok(s3.delete_object().bucket(&asked.bucket).key(&asked.key).send().await.map(|_| json!({}))?),
            "delete_many" => self.delete_many(asked).await,
            "presign" => self.presign(asked).await,
            other => Err(Refused::here(other)),
        }
    }

    async fn read(&self, asked: &Request) -> Result<(String, String), Refused> {
        let got = self.0.get_object().bucket(&asked.bucket).key(&asked.key).send().await?;
        let etag = got.e_tag.unwrap_or_default();
        let body = got.body.collect().await.map_err(Refused::here)?;
        Ok((etag, String::from_utf8(body.to_vec()).map_err(Refused::here)?))
    }

    async fn write(&self, asked: &Request, body: String, if_match: Option<String>) -> Result<(), Refused> {
        let absent = if_match.is_none().then(|| "*".to_owned());
        let put = self.0.put_object().bucket(&asked.bucket).key(&asked.key).body(body.into_bytes().into());
        put.set_if_match(if_match).set_if_none_match(absent).send().await?;
        Ok(())
    }
}

impl Aws {
    async fn put(&self, asked: &Request) -> Said {
        let body = ByteStream::from_path(&asked.file).await.map_err(Refused::here)?;
        let put = self.0.put_object().bucket(&asked.bucket).key(&asked.key).body(body).content_type(&asked.r#type);
        let put = put.set_metadata(Some(asked.metadata.clone())).set_if_match(asked.if_match.clone());
        let done = put.set_if_none_match(asked.if_none_match.clone()).send().await?;
        Ok(json!({ "etag": done.e_tag }))
    }

    async fn get(&self, asked: &Request) -> Said {
        let mut got = self.0.get_object().bucket(&asked.bucket).key(&asked.key).set_range(asked.range.clone()).send().await?;
        let mut file = tokio::fs::File::create(&asked.file).await.map_err(Refused::here)?;
        while let Some(piece) = got.body.try_next().await.map_err(Refused::here)? {
            tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await.map_err(Refused::here)?;
        }
        file.sync_all().await.map_err(Refused::here)?;
        Ok(json!({ "etag": got.e_tag, "size": got.content_length, "type": got.content_type, "metadata": got.metadata }))
    }

    async fn head(&self, asked: &Request) -> Said {
        let got = self.0.head_object().bucket(&asked.bucket).key(&asked.key).send().await?;
        Ok(json!({ "etag": got.e_tag, "size": got.content_length, "type": got.content_type, "metadata": got.metadata }))
    }

    async fn list(&self, asked: &Request) -> Said {
        let list = self.0.list_objects_v2().bucket(&asked.bucket).prefix(&asked.prefix).set_delimiter(asked.delimiter.clone());
        let (mut keys, mut prefixes, mut pages) = (vec![], vec![], list.into_paginator().send());
        while let Some(page) = pages.next().await {
            let page = page?;
            keys.extend(page.contents().iter().map(|entry| Value::from(entry.key())));
            prefixes.extend(page.common_prefixes().iter().map(|entry| Value::from(entry.prefix())));
        }
        Ok(json!({ "keys": keys, "prefixes": prefixes }))
    }

    async fn upload(&self, asked: &Request) -> Said {
        let (bucket, key) = (&asked.bucket, &asked.key);
        let id = self.0.create_multipart_upload().bucket(bucket).key(key).send().await?.upload_id.unwrap_or_default();
        let mut file = tokio::fs::File::open(&asked.file).await.map_err(Refused::here)?;
        let mut parts = CompletedMultipartUpload::builder();
        for number in 1.. {
            let mut piece = Vec::with_capacity(asked.part);
            (&mut file).take(asked.part as u64).read_to_end(&mut piece).await.map_err(Refused::here)?;
            if piece.is_empty() {
                break;
            }
            let sent = self.0.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(number).body(piece.into());
            let sent = sent.send().await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32);
            parts = parts.parts(part.build());
        }
        let complete = self.0.complete_multipart_upload().bucket(bucket).key(key).upload_id(&id);
        let done = complete.multipart_upload(parts.build()).send().await?;
        Ok(json!({ "etag": done.e_tag }))
    }

    async fn copy(&self, asked: &Request) -> Said {
        let done = self.0.copy_object().bucket(&asked.bucket).key(&asked.key).copy_source(&asked.from).send().await?;
        Ok(json!({ "etag": done.copy_object_result.and_then(|copied| copied.e_tag) }))
    }

    async fn delete_many(&self, asked: &Request) -> Said {
        let named = asked.keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().map_err(Refused::here));
        let named = Delete::builder().set_objects(Some(named.collect::<Result<_, _>>()?)).build().map_err(Refused::here)?;
        let done = self.0.delete_objects().bucket(&asked.bucket).delete(named).send().await?;
        Ok(json!({ "deleted": done.deleted().len(), "errors": done.errors().len() }))
    }

    async fn presign(&self, asked: &Request) -> Said {
        let minute = PresigningConfig::expires_in(std::time::Duration::from_secs(60)).map_err(Refused::here)?;
        let signed = self.0.get_object().bucket(&asked.bucket).key(&asked.key).presigned(minute).await?;
        Ok(json!({ "url": signed.uri() }))
    }
}
