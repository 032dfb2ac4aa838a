//! The JSON side: objects, copies, listings and buckets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::Trick;
use super::ask::Ask;
use super::media::bring;
use super::reply::Reply;
use super::world::{Said, World};

/// Begins what a page token holds.
const BEHIND: &str = "behind ";

/// Everything under `/storage/v1/b`.
pub(super) fn answer(world: &mut World, ask: &Ask) -> Reply {
    let path: Vec<&str> = ask.path[3..].iter().map(String::as_str).collect();
    let answered = match (ask.method.as_str(), path.as_slice()) {
        ("GET", []) => Ok(list_buckets(world, ask)),
        ("POST", []) => insert_bucket(world, ask),
        ("GET", [bucket]) => get_bucket(world, bucket),
        ("DELETE", [bucket]) => delete_bucket(world, bucket),
        ("GET", [bucket, "o"]) => list(world, ask, bucket),
        ("GET" | "DELETE", [bucket, "o", name]) => one(world, ask, bucket, name),
        ("POST", [from_bucket, "o", from, "rewriteTo", "b", bucket, "o", name]) => {
            rewrite(world, ask, (from_bucket, from), (bucket, name))
        }
        _ => Err(Reply::refused(404, "notFound", "Not Found")),
    };
    answered.unwrap_or_else(|refused| refused)
}

fn one(world: &mut World, ask: &Ask, bucket: &str, name: &str) -> Result<Reply, Reply> {
    let object = world.object(bucket, name)?.clone();
    if ask.method == Method::DELETE {
        world.check(bucket, name, ask.generation("ifGenerationMatch"))?;
        world.buckets.get_mut(bucket).unwrap().remove(name);
        return Ok(Reply::bytes(204, ""));
    }
    if ask.query("alt") == Some("media") {
        return bring(&object, ask);
    }
    let reply = Reply::json(&only_fields(object.resource(name), ask.query("fields")));
    if world.plays(|trick| (*trick == Trick::Replace).then_some(())).is_some() {
        world.put(bucket, name, "another".into(), object.said, false)?;
    }
    Ok(reply)
}

fn rewrite(world: &mut World, ask: &Ask, from: (&str, &str), to: (&str, &str)) -> Result<Reply, Reply> {
    let source = world.object(from.0, from.1)?.clone();
    world.check(from.0, from.1, ask.generation("ifSourceGenerationMatch"))?;
    world.check(to.0, to.1, ask.generation("ifGenerationMatch"))?;
    if ask.query("rewriteToken") != world.copying.as_deref() {
        return Err(Reply::refused(400, "invalid", "Invalid rewrite token"));
    }
    let is_step = world.plays(|trick| (*trick == Trick::Step).then_some(())).is_some();
    world.copying = is_step.then(|| world.count().to_string());
    if is_step {
        return Ok(Reply::json(&only_fields(json!({ "done": false, "rewriteToken": world.copying }), ask.query("fields"))));
    }
    let about: Value = serde_json::from_slice(&ask.body).unwrap();
    world.put(to.0, to.1, source.bytes, Said::in_json(&about), source.is_composite)?;
    Ok(Reply::json(&only_fields(json!({ "done": true, "resource": {} }), ask.query("fields"))))
}

fn list(world: &mut World, ask: &Ask, bucket: &str) -> Result<Reply, Reply> {
    let is_empty = world.plays(|trick| (*trick == Trick::EmptyPage).then_some(())).is_some();
    let objects = world.buckets.get(bucket).ok_or_else(Reply::no_bucket)?;
    let prefix = ask.query("prefix").unwrap_or_default();
    let start = ask.query("startOffset").unwrap_or_default();
    let after = ask.query("pageToken").map(|token| String::from_utf8(STANDARD.decode(token).unwrap()).unwrap());
    let after = after.map(|token| token.strip_prefix(BEHIND).unwrap().to_owned());
    let max = if is_empty { 0 } else { ask.query("maxResults").map_or(1000, |max| max.parse().unwrap()).min(world.page_max) };
    let is_meant = |name: &str| name.starts_with(prefix) && name >= start && after.as_deref().is_none_or(|after| name > after);
    let mut names = objects.iter().filter(|(name, _)| is_meant(name));
    let page: Vec<_> = names.by_ref().take(max).collect();
    let last = page.last().map_or(after.clone().unwrap_or_default(), |(name, _)| (*name).clone());
    let items: Vec<Value> = page.iter().map(|(name, object)| object.resource(name)).collect();
    let mut answer = json!({ "kind": "storage#objects" });
    // Nothing is left out, not said to be nothing.
    if !items.is_empty() {
        answer["items"] = items.into();
    }
    if names.next().is_some() {
        answer["nextPageToken"] = STANDARD.encode(format!("{BEHIND}{last}")).into();
    }
    Ok(Reply::json(&only_fields(answer, ask.query("fields"))))
}

fn insert_bucket(world: &mut World, ask: &Ask) -> Result<Reply, Reply> {
    let about: Value = serde_json::from_slice(&ask.body).unwrap();
    let name = about["name"].as_str().unwrap().to_owned();
    assert!(ask.query("project").is_some());
    if world.buckets.contains_key(&name) || world.foreign.contains(&name) {
        return Err(Reply::refused(409, "conflict", "The requested bucket name is not available."));
    }
    world.buckets.insert(name, Default::default());
    Ok(Reply::json(&about))
}

fn get_bucket(world: &World, name: &str) -> Result<Reply, Reply> {
    if world.foreign.contains(name) {
        return Err(Reply::refused(403, "forbidden", "no storage.buckets.get access"));
    }
    world.buckets.get(name).map(|_| Reply::json(&json!({ "name": name }))).ok_or_else(Reply::no_bucket)
}

fn delete_bucket(world: &mut World, name: &str) -> Result<Reply, Reply> {
    if !world.buckets.get(name).ok_or_else(Reply::no_bucket)?.is_empty() {
        return Err(Reply::refused(409, "conflict", "The bucket you tried to delete is not empty."));
    }
    world.buckets.remove(name);
    Ok(Reply::bytes(204, ""))
}

fn list_buckets(world: &World, ask: &Ask) -> Reply {
    let after = ask.query("pageToken").unwrap_or_default();
    let mut names = world.buckets.keys().filter(|name| name.as_str() > after);
    let page: Vec<&String> = names.by_ref().take(world.page_max).collect();
    let items: Vec<Value> = page.iter().map(|name| json!({ "name": name })).collect();
    let mut answer = json!({ "items": items });
    if let (Some(_), Some(last)) = (names.next(), page.last()) {
        answer["nextPageToken"] = (*last).as_str().into();
    }
    Reply::json(&only_fields(answer, ask.query("fields")))
}

/// What is asked for, as in `items(name,size),nextPageToken`.
pub(super) fn only_fields(mut value: Value, fields: Option<&str>) -> Value {
    let Some(fields) = fields else { return value };
    let (of_items, rest) = match fields.strip_prefix("items(").and_then(|rest| rest.split_once(')')) {
        Some((inner, rest)) => (Some(inner), rest),
        None => (None, fields),
    };
    let retain = |value: &mut Value, fields: &str, and: &str| {
        let wanted: Vec<&str> = fields.split(',').chain([and]).collect();
        value.as_object_mut().unwrap().retain(|key, _| wanted.contains(&key.as_str()));
    };
    retain(&mut value, rest, if of_items.is_some() { "items" } else { "" });
    if let (Some(inner), Some(items)) = (of_items, value.get_mut("items").and_then(Value::as_array_mut)) {
        items.iter_mut().for_each(|item| retain(item, inner, ""));
    }
    value
}
