//! Listings of versions: the two tables as one, in the order S3 asks for.

use super::{marker, object, record, slot, store, version};
use crate::model::{BucketName, Record, Slot};
use crate::status::{Commit, ListQuery, Status, VersionEntry, VersionsPage, VersionsQuery};

fn all() -> VersionsQuery {
    let bucket = BucketName::new("bucket").unwrap();
    let keys = ListQuery { bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    VersionsQuery { keys, after_version: None }
}

fn under(prefix: &str, delimiter: &str) -> VersionsQuery {
    let mut query = all();
    (query.keys.prefix, query.keys.delimiter) = (prefix.into(), Some(delimiter.into()));
    query
}

fn after(key: &str, version: Option<Slot>) -> VersionsQuery {
    let mut query = all();
    (query.keys.after, query.after_version) = (Some(key.into()), version);
    query
}

async fn put(status: &Status, key: &str, records: &[Record]) {
    let commit = records.iter().fold(Commit::new(), |commit, record| commit.put_unit(&object(key), record));
    status.commit(commit).await.unwrap();
}

/// Key and number of each version, the latest marked by a star, and common prefixes.
fn texts(page: &VersionsPage) -> Vec<String> {
    let text = |entry: &VersionEntry| match entry {
        VersionEntry::Version { key, record, is_latest } => {
            format!("{key}@{}{}", record.row.identity.size, if *is_latest { "*" } else { "" })
        }
        VersionEntry::CommonPrefix(prefix) => prefix.clone(),
    };
    page.entries.iter().map(text).collect()
}

async fn list(status: &Status, query: VersionsQuery) -> Vec<String> {
    let page = status.list_versions(query).await.unwrap();
    assert!(!page.more);
    texts(&page)
}

/// Page by page, as a client does.
async fn walk(status: &Status, mut query: VersionsQuery) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = status.list_versions(query.clone()).await.unwrap();
        assert!(page.entries.len() <= query.keys.entries_max);
        found.extend(texts(&page));
        let Some(last) = page.entries.last().filter(|_| page.more) else { return found };
        (query.keys.after, query.after_version) = match last {
            VersionEntry::Version { key, record, .. } => (Some(key.clone()), Some(record.row.slot())),
            VersionEntry::CommonPrefix(prefix) => (Some(prefix.clone()), None),
        };
    }
}

#[tokio::test]
async fn keys_come_in_byte_order_and_their_versions_newest_first() {
    let status = store();
    // The null version's row stands before those of the others, and lies between them by its stamp.
    put(&status, "a", &[version(1), record(2), version(3), version(4)]).await;
    put(&status, "a/", &[marker(5)]).await;
    put(&status, "a-", &[version(6), marker(7)]).await;
    put(&status, "a\0", &[record(8), version(9)]).await;
    put(&status, "a\0b", &[version(10)]).await;
    put(&status, "b", &[record(11), marker(12), version(13)]).await;
    let expected =
        ["a@4*", "a@3", "a@2", "a@1", "a\0@9*", "a\0@8", "a\0b@10*", "a-@7*", "a-@6", "a/@5*", "b@13*", "b@12", "b@11"];
    assert_eq!(list(&status, all()).await, expected);
    for entries_max in 1..=expected.len() + 1 {
        let mut query = all();
        query.keys.entries_max = entries_max;
        assert_eq!(walk(&status, query).await, expected, "{entries_max} a page");
    }
    let mut nothing = all();
    nothing.keys.entries_max = 0;
    assert!(list(&status, nothing).await.is_empty());
}

#[tokio::test]
async fn what_shares_a_delimiter_is_rolled_up_once_whichever_table_it_is_in() {
    let status = store();
    put(&status, "a", &[version(1)]).await;
    put(&status, "a/hidden", &[marker(2)]).await;
    put(&status, "a/shown", &[version(3)]).await;
    put(&status, "b/shown", &[version(4)]).await;
    put(&status, "c/hidden", &[version(5), marker(6)]).await;
    put(&status, "c\0x/y", &[version(7), version(8)]).await;
    put(&status, "d", &[marker(9)]).await;
    let expected = ["a@1*", "a/", "b/", "c\0x/", "c/", "d@9*"];
    assert_eq!(list(&status, under("", "/")).await, expected);
    assert_eq!(list(&status, under("c", "\0")).await, ["c\0", "c/hidden@6*", "c/hidden@5"]);
    assert_eq!(list(&status, under("a/", "/")).await, ["a/hidden@2*", "a/shown@3*"]);
    for entries_max in 1..=4 {
        let mut query = under("", "/");
        query.keys.entries_max = entries_max;
        assert_eq!(walk(&status, query).await, expected, "{entries_max} a page");
    }
    let inside = VersionsQuery { keys: ListQuery { after: Some("a/shown".into()), ..under("", "/").keys }, after_version: None };
    assert_eq!(list(&status, inside).await, expected[2..], "who was within what is rolled up is behind all of it");
}

#[tokio::test]
async fn a_page_that_ended_within_a_key_goes_on_with_what_is_older() {
    let status = store();
    put(&status, "a", &[version(1), record(3), version(5), marker(7)]).await;
    put(&status, "b", &[version(2)]).await;
    assert_eq!(list(&status, after("a", Some(slot(7)))).await, ["a@5", "a@3", "a@1", "b@2*"]);
    assert_eq!(list(&status, after("a", Some(Slot::Null))).await, ["a@1", "b@2*"]);
    assert_eq!(list(&status, after("a", Some(slot(4)))).await, ["a@3", "a@1", "b@2*"], "a version that is gone has its place");
    assert_eq!(list(&status, after("a", Some(slot(1)))).await, ["b@2*"]);
    assert_eq!(list(&status, after("a", None)).await, ["b@2*"]);
    assert_eq!(list(&status, after("aa", Some(slot(7)))).await, ["b@2*"], "it is of no other key");
    status.commit(Commit::new().delete_unit(&object("a"), slot(7))).await.unwrap();
    assert_eq!(list(&status, after("a", Some(slot(7)))).await, ["a@5*", "a@3", "a@1", "b@2*"]);
}

#[tokio::test]
async fn after_a_null_version_that_is_gone_things_are_listed_again_and_none_is_left_out() {
    let status = store();
    put(&status, "a", &[version(1), record(3), version(5)]).await;
    status.commit(Commit::new().delete_unit(&object("a"), Slot::Null)).await.unwrap();
    assert_eq!(list(&status, after("a", Some(Slot::Null))).await, ["a@5*", "a@1"]);
    put(&status, "a", &[record(9)]).await;
    assert_eq!(list(&status, after("a", Some(Slot::Null))).await, ["a@5", "a@1"], "it was written anew");
}

#[tokio::test]
async fn a_key_out_of_reach_ends_or_begins_a_listing_like_any_other_text() {
    let status = store();
    put(&status, "b/1", &[version(1)]).await;
    put(&status, "b/2", &[marker(2)]).await;
    let with = |prefix: &str, after: &str| {
        let mut query = all();
        (query.keys.prefix, query.keys.after, query.after_version) = (prefix.into(), Some(after.into()), Some(slot(9)));
        query
    };
    assert_eq!(list(&status, with("b/", "a")).await, ["b/1@1*", "b/2@2*"]);
    assert!(list(&status, with("b/", "c")).await.is_empty());
    assert_eq!(list(&status, with("", "")).await, ["b/1@1*", "b/2@2*"]);
    let long = "a".repeat(2_000);
    assert_eq!(list(&status, with("", &long)).await, ["b/1@1*", "b/2@2*"]);
    assert_eq!(list(&status, with("", "\u{10FFFF}")).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_of_large_versions_ends_early_and_says_so() {
    let status = store();
    for n in 0..100 {
        let mut large = version(n + 1);
        large.identity.metadata = vec![("n".into(), "v".repeat(60_000))];
        put(&status, &format!("{}", n / 50), &[large]).await;
    }
    assert!(status.list_versions(all()).await.unwrap().entries.len() < 100);
    let found = walk(&status, all()).await;
    let expected = (0..100).map(|n| (n / 50, n / 50 * 50 + 50 - n % 50, n % 50 == 0));
    let expected: Vec<_> = expected.map(|(key, n, latest)| format!("{key}@{n}{}", if latest { "*" } else { "" })).collect();
    assert_eq!(found, expected);
}
