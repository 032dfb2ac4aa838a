//! `POST /v1/replicate`: objects are told to other sites again, one, many, or all under a prefix.

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Document};
use super::error::Error;
use crate::model::{BucketName, SiteNumber, Unit};
use crate::site::{Site, ToldAgain};
use crate::status::ListQuery;

/// Objects of one request.
const OBJECTS_MAX: usize = 1_000;
/// Their commits meet in few transactions.
const SIDE_BY_SIDE: usize = 64;

/// What is to be told again, and to whom. One of `objects`, `key` or `prefix`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    pub objects: Option<Vec<Named>>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    /// Every object whose key begins so; empty is the whole bucket, and the bucket itself.
    pub prefix: Option<String>,
    /// Sites by name; none is every site the buckets are replicated to.
    #[serde(default)]
    pub to: Vec<String>,
    /// With a prefix: the `next` of the answer before.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub bucket: String,
    pub key: String,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplicateAnswer {
    /// One for each object named; with a prefix those that could not be queued.
    pub results: Vec<Outcome>,
    pub queued: u64,
    /// With a prefix: ask again with this as `after`; none at the end.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub bucket: String,
    pub key: String,
    /// `queued`, `not_found`, or `skipped` where the bytes are missing at this site too.
    pub answer: String,
}

pub async fn replicate(
    State(parts): State<Shared>,
    Document(asked): Document<Replicate>,
) -> Result<Json<ReplicateAnswer>, Error> {
    let site = &parts.site;
    let to = targets(site, &asked.to)?;
    parts.census.forget();
    let bucket = || asked.bucket.as_deref().ok_or_else(|| Error::Bad("bucket: is needed with a key or a prefix".into()));
    match (&asked.objects, &asked.key, &asked.prefix) {
        (Some(objects), None, None) if asked.bucket.is_none() => named(site, objects, &to).await,
        (None, Some(key), None) => named(site, &[Named { bucket: bucket()?.into(), key: key.clone() }], &to).await,
        (None, None, Some(prefix)) => under(site, &ask::bucket(bucket()?)?, prefix, asked.after.clone(), &to).await,
        _ => Err(Error::Bad("one of `objects`, `bucket` with `key`, and `bucket` with `prefix` is needed".into())),
    }
}

fn targets(site: &Site, names: &[String]) -> Result<Vec<SiteNumber>, Error> {
    let named = names.iter().map(|name| Ok(ask::neighbour(site.neighbours(), name)?.id.number));
    let to: Vec<SiteNumber> =
        if names.is_empty() { site.neighbours().in_scope() } else { named.collect::<Result<_, Error>>()? };
    if to.is_empty() {
        return Err(Error::Bad("to: nothing is replicated to any site by the settings; name one that is known".into()));
    }
    Ok(to)
}

async fn named(site: &Site, objects: &[Named], to: &[SiteNumber]) -> Result<Json<ReplicateAnswer>, Error> {
    if objects.len() > OBJECTS_MAX {
        return Err(Error::Bad(format!("objects: found {}; allowed: {OBJECTS_MAX} in one request", objects.len())));
    }
    let units: Vec<Unit> =
        objects.iter().map(|named| Ok(Unit::null(&ask::object(&named.bucket, &named.key)?))).collect::<Result<_, Error>>()?;
    let mut results = Vec::new();
    for (named, unit) in objects.iter().zip(&units) {
        let answer = word(site.tell_again(unit, to).await?).into();
        results.push(Outcome { bucket: named.bucket.clone(), key: named.key.clone(), answer });
    }
    let queued = results.iter().filter(|outcome| outcome.answer == word(ToldAgain::Queued)).count() as u64;
    Ok(Json(ReplicateAnswer { results, queued, next: None }))
}

/// A page of what is under a prefix. The bucket goes first, so that its objects find it.
async fn under(
    site: &Site,
    bucket: &BucketName,
    prefix: &str,
    after: Option<String>,
    to: &[SiteNumber],
) -> Result<Json<ReplicateAnswer>, Error> {
    let query = ListQuery {
        bucket: bucket.clone(),
        prefix: prefix.into(),
        delimiter: None,
        after: after.clone(),
        entries_max: OBJECTS_MAX,
    };
    let page = site.list(query).await?;
    if after.is_none() && prefix.is_empty() {
        site.tell_again(&Unit::Bucket(bucket.clone()), to).await?;
    }
    let keys = page.entries.iter().map(|entry| entry.text().to_owned());
    let tellings: Vec<_> = keys.map(|key| told_again(site.clone(), bucket.clone(), key, to.to_vec())).collect();
    let told: Vec<_> = futures::stream::iter(tellings).buffered(SIDE_BY_SIDE).try_collect().await?;
    let queued = told.iter().filter(|(_, told)| *told == ToldAgain::Queued).count() as u64;
    let left = told.iter().filter(|(_, told)| *told != ToldAgain::Queued);
    let outcome =
        |(key, told): &(String, ToldAgain)| Outcome { bucket: bucket.to_string(), key: key.clone(), answer: word(*told).into() };
    let results = left.map(outcome).collect();
    let next = page.entries.last().filter(|_| page.more).map(|last| last.text().to_owned());
    Ok(Json(ReplicateAnswer { results, queued, next }))
}

async fn told_again(site: Site, bucket: BucketName, key: String, to: Vec<SiteNumber>) -> Result<(String, ToldAgain), Error> {
    let unit = Unit::null(&ask::object(bucket.as_str(), &key)?);
    Ok((key, site.tell_again(&unit, &to).await?))
}

fn word(told: ToldAgain) -> &'static str {
    match told {
        ToldAgain::Queued => "queued",
        ToldAgain::Unknown => "not_found",
        ToldAgain::NoBytes => "skipped",
    }
}
