//! Listings by every kind of page: what they show, and that they end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::super::testing::{Call, Reply};
use super::{World, encoded, key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    V1,
    V2,
    Versions,
}

/// A listing from its first page to its last.
#[derive(Clone, Debug)]
pub struct Asked {
    kind: Kind,
    prefix: String,
    delimiter: String,
    after: String,
    max_keys: usize,
    /// Whether names are to be encoded.
    url: bool,
}

pub fn asked() -> impl Strategy<Value = Asked> {
    let kind = prop_oneof![Just(Kind::V1), Just(Kind::V2), Just(Kind::Versions)];
    let text = || prop_oneof![1 => Just(String::new()), 1 => key()];
    let delimiter = prop_oneof![1 => Just(String::new()), 3 => Just("/".to_owned()), 1 => key()];
    (kind, text(), delimiter, text(), 1..5_usize, any::<bool>())
        .prop_map(|(kind, prefix, delimiter, after, max_keys, url)| Asked { kind, prefix, delimiter, after, max_keys, url })
}

/// The whole bucket, in each way.
pub fn everything() -> impl Iterator<Item = Asked> {
    let plain = |(kind, delimiter): (Kind, &str)| Asked {
        kind,
        prefix: String::new(),
        delimiter: delimiter.into(),
        after: String::new(),
        max_keys: 3,
        url: false,
    };
    [(Kind::V1, ""), (Kind::V2, "/"), (Kind::Versions, "")].into_iter().map(plain)
}

/// What one page showed.
struct Page {
    entries: BTreeSet<String>,
    more: bool,
    next: Option<String>,
}

impl World {
    pub async fn list(&self, asked: &Asked) {
        let expected = self.expected(asked);
        let mut left = expected.as_slice();
        let mut marker = None;
        for _ in 0..=expected.len() {
            let page = self.page(asked, marker.as_deref()).await;
            let shown = &left[..left.len().min(asked.max_keys)];
            assert_eq!(page.entries.iter().collect::<Vec<_>>(), shown.iter().collect::<Vec<_>>(), "{asked:?} after {marker:?}");
            left = &left[shown.len()..];
            assert_eq!(page.more, !left.is_empty(), "{asked:?} after {marker:?}");
            if !page.more {
                return;
            }
            marker = page.next;
        }
        panic!("{asked:?} does not end");
    }

    /// Keys and common prefixes, in order.
    fn expected(&self, asked: &Asked) -> Vec<String> {
        let entry = |key: &String| {
            let rest = key.strip_prefix(&asked.prefix)?;
            let cut = rest.find(&asked.delimiter).filter(|_| !asked.delimiter.is_empty());
            Some(cut.map_or(key.clone(), |cut| key[..asked.prefix.len() + cut + asked.delimiter.len()].to_owned()))
        };
        let entries: BTreeSet<String> = self.objects.keys().filter_map(entry).filter(|entry| *entry > asked.after).collect();
        entries.into_iter().collect()
    }

    async fn page(&self, asked: &Asked, marker: Option<&str>) -> Page {
        let mut query = match asked.kind {
            Kind::V1 => "max-keys=".to_owned(),
            Kind::V2 => "list-type=2&max-keys=".to_owned(),
            Kind::Versions => "versions&max-keys=".to_owned(),
        };
        query += &asked.max_keys.to_string();
        let (first, next) = match asked.kind {
            Kind::V1 => ("marker", "marker"),
            Kind::V2 => ("start-after", "continuation-token"),
            Kind::Versions => ("key-marker", "key-marker"),
        };
        let parameters = [("prefix", asked.prefix.as_str()), ("delimiter", &asked.delimiter), (first, &asked.after)];
        let parameters = parameters.into_iter().filter(|(name, _)| marker.is_none() || *name != next);
        for (name, value) in parameters.chain(marker.map(|marker| (next, marker))).filter(|(_, value)| !value.is_empty()) {
            query += &format!("&{name}={}", encoded(value, false));
        }
        if asked.url {
            query += "&encoding-type=url";
        }
        let reply = self.server.send(Call::new("GET", &format!("/bucket?{query}"))).await;
        assert_eq!(reply.status, 200, "{asked:?}: {reply:?}");
        self.read_page(asked, &reply)
    }

    fn read_page(&self, asked: &Asked, reply: &Reply) -> Page {
        let shown = |text: &str| if asked.url { decoded(text) } else { text.to_owned() };
        let keys: Vec<_> = reply.elements("Key").into_iter().map(shown).collect();
        for (key, (etag, size)) in keys.iter().zip(reply.elements("ETag").into_iter().zip(reply.elements("Size"))) {
            let object = &self.objects[key];
            let told = (etag.replace("&quot;", "\""), size.to_owned());
            assert_eq!(told, (object.etag.clone(), object.body.len().to_string()), "{key:?} as listed");
        }
        assert_eq!(keys.len(), reply.elements("ETag").len());
        let inner = |text: &&str| text.strip_prefix("<Prefix>").and_then(|text| text.strip_suffix("</Prefix>")).map(shown);
        let prefixes = reply.elements("CommonPrefixes").iter().map(|text| inner(text).unwrap()).collect::<Vec<_>>();
        let count = keys.len() + prefixes.len();
        let entries: BTreeSet<_> = keys.into_iter().chain(prefixes).collect();
        assert_eq!(entries.len(), count, "nothing is shown twice");
        let next = match asked.kind {
            // Without a delimiter version 1 names no marker: the last key is one.
            Kind::V1 if asked.delimiter.is_empty() => entries.last().cloned(),
            Kind::V1 => reply.element("NextMarker").map(shown),
            Kind::V2 => reply.element("NextContinuationToken").map(str::to_owned),
            Kind::Versions => reply.element("NextKeyMarker").map(shown),
        };
        Page { entries, more: reply.element("IsTruncated") == Some("true"), next }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
