//! What the tests share, and answers from a script that no emulator gives.

mod azurite;

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::backend::service::{Fault, Listed, Metadata};
use crate::backend::{Body, BodyError};
use crate::model::Binding;

const ACCOUNT: &str = "devstoreaccount1";
/// Everybody's: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn shared_key(key: &str) -> ReadKeys<Credentials> {
    let keys = Credentials::SharedKey { account: ACCOUNT.to_owned(), key: key.to_owned() };
    Arc::new(move || Ok(keys.clone()))
}

fn account_at(port: u16, keys: ReadKeys<Credentials>) -> Azure {
    Azure::new(&Settings::at(format!("http://127.0.0.1:{port}/{ACCOUNT}"), "home"), keys).unwrap()
}

fn target(bucket: &str, name: &str, write: &str) -> Target {
    let metadata =
        Metadata::from([("anybucket-write", write), ("anybucket-modified", "5")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    Target::new(Spot::new(bucket.to_owned(), name.to_owned()), metadata)
}

fn written_by(told: &Told) -> &str {
    let Binding::Tag(write) = &told.binding else { panic!("{told:?}") };
    write
}

fn bytes(size: usize, seed: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251 + seed) as u8).collect::<Vec<_>>().into()
}

/// A body as clients bring it, and how it ends.
fn outgoing(whole: &Bytes, end: Option<BodyError>) -> Outgoing {
    let chunks: Vec<_> = whole.chunks(60_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).chain(end.map(Err)).collect();
    Outgoing::new(Body::new(None, stream::iter(chunks)), whole.len() as u64).0
}

async fn read(azure: &Azure, at: &Spot, range: Option<Range<u64>>) -> Answer<Bytes> {
    let opened = azure.open(at, range.as_ref()).await?;
    assert_eq!(opened.first, range.map_or(0, |range| range.start));
    Ok(opened.stream.try_fold(Vec::new(), async |all, chunk| Ok([all, chunk.to_vec()].concat())).await.unwrap().into())
}

async fn names(azure: &Azure, bucket: &str, prefix: &str, from: Cursor) -> Vec<String> {
    let names = try_names(azure, bucket, prefix, from.clone()).await;
    names.unwrap_or_else(|fault| panic!("{prefix:?} {from:?}: {fault:?}"))
}

async fn try_names(azure: &Azure, bucket: &str, prefix: &str, mut from: Cursor) -> Answer<Vec<String>> {
    let mut names = Vec::new();
    loop {
        let page = azure.page(bucket, prefix, &from).await?;
        assert!(page.listed.len() <= azure.page_names_max as usize);
        names.extend(page.listed.into_iter().map(|Listed { name, .. }| name));
        let Some(next) = page.next else { return Ok(names) };
        from = Cursor::Next(next);
    }
}

/// Answers each request with the next of a script, and tells the requests.
async fn scripted(answers: Vec<String>) -> (Azure, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            asked.push(String::from_utf8(head).unwrap());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (account_at(port, shared_key(KEY)), asked)
}

/// The requests, once there are as many as answers.
async fn all(asked: tokio::task::JoinHandle<Vec<String>>) -> Vec<String> {
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("as many requests as answers").unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

/// Of a copy that the service does not make at once.
fn copying(status: &str, state: &str) -> String {
    answer(status, &format!("x-ms-copy-id: c1\r\nx-ms-copy-status: {state}\r\netag: \"0x1\"\r\n"), "")
}

fn seen() -> Told {
    Told::new(None, Some("0x7"), Some(1), 1)
}

#[tokio::test]
async fn a_copy_that_takes_its_time_is_awaited() {
    let script = vec![copying("202 Accepted", "pending"), copying("200 OK", "pending"), copying("200 OK", "success")];
    let (azure, asked) = scripted(script).await;
    azure.copy(&target("bucket", "a/é", "").spot, &seen(), &target("bucket", "b", "w1"), Only::Nothing).await.unwrap();
    let asked = all(asked).await;
    for header in ["if-none-match: *", "x-ms-source-if-match: \"0x7\"", "x-ms-meta-anybucket_write: w1", "bucket/a%2F%C3%A9\r\n"]
    {
        assert!(asked[0].contains(header), "{header}: {}", asked[0]);
    }
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing_empty_behind() {
    let script = vec![copying("202 Accepted", "pending"), copying("200 OK", "failed"), answer("202 Accepted", "", "")];
    let (azure, asked) = scripted(script).await;
    let failed = azure.copy(&target("bucket", "a", "").spot, &seen(), &target("bucket", "b", "w1"), Only::Any).await.unwrap_err();
    assert!(failed.is_passing() && !failed.is_open(), "{failed:?}");
    let asked = all(asked).await;
    assert!(asked[2].starts_with("DELETE ") && asked[2].contains("if-match: \"0x1\""), "{}", asked[2]);
}

#[tokio::test]
async fn a_copy_that_is_given_up_leaves_nothing_either() {
    let script = vec![answer("204 No Content", "", ""), copying("200 OK", "aborted"), answer("202 Accepted", "", "")];
    let (azure, asked) = scripted(script).await;
    assert!(azure.abort_copy(&target("bucket", "b", "w1").spot, "c1").await.is_err());
    let asked = all(asked).await;
    assert!(asked[0].contains("copyid=c1") && asked[2].starts_with("DELETE "), "{asked:?}");
}

#[tokio::test]
async fn a_name_that_somebody_else_took_meanwhile_is_of_unknown_outcome() {
    let other = copying("200 OK", "success").replace("c1", "c2");
    let (azure, _asked) = scripted(vec![copying("202 Accepted", "pending"), other]).await;
    let lost = azure.copy(&target("bucket", "a", "").spot, &seen(), &target("bucket", "b", "w1"), Only::Any).await.unwrap_err();
    assert!(lost.is_open(), "{lost:?}");
}

fn listing(names: &[&str], next: &str) -> String {
    let blob =
        |name: &&str| format!("<Blob><Name>{name}</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>");
    let blobs: String = names.iter().map(blob).collect();
    let xml = format!(
        "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
    );
    answer("200 OK", "content-type: application/xml\r\n", &xml)
}

#[tokio::test]
async fn a_service_that_begins_anywhere_is_read_until_behind_the_name() {
    let (azure, asked) = scripted(vec![listing(&["a", "b"], "m1"), listing(&[], "m2"), listing(&["b1", "c"], "m3")]).await;
    let page = azure.page("bucket", "", &Cursor::Behind("b".to_owned())).await.unwrap();
    assert_eq!(page.listed.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(), ["b1", "c"]);
    assert_eq!(page.next.as_deref(), Some("m3"));
    let asked = all(asked).await;
    assert!(asked[0].contains("startFrom=b") && !asked[1].contains("startFrom"), "{asked:?}");
}

#[tokio::test]
async fn what_cannot_be_written_in_xml_is_decoded_and_folders_are_passed_over() {
    let body = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>\
                <Blob><Name Encoded=\"true\">a%EF%BF%BEb%25</Name><Properties><Etag>0x1</Etag></Properties></Blob>\
                <Blob><Name> b&amp;%41 </Name><Properties/><Metadata><Anybucket_Write>w1</Anybucket_Write></Metadata></Blob>\
                <Blob><Name>folder</Name><Properties/><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob>\
                </Blobs><NextMarker/></EnumerationResults>";
    let (azure, _asked) = scripted(vec![answer("200 OK", "", body)]).await;
    let page = azure.page("bucket", "", &Cursor::Start).await.unwrap();
    let listed: Vec<_> =
        page.listed.iter().map(|listed| (listed.name.as_str(), written_by(listed.told.as_ref().unwrap()))).collect();
    assert_eq!(listed, [("a\u{FFFE}b%", "etag:0x1:0"), (" b&%41 ", "w1")]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let short = answer("200 OK", "etag: \"0x1\"\r\n", "abc").replace("length: 3", "length: 9");
    let (azure, _asked) = scripted(vec![short]).await;
    let opened = azure.open(&target("bucket", "a", "").spot, None).await.unwrap();
    let chunks: Vec<_> = opened.stream.collect().await;
    assert!(chunks.last().unwrap().is_err() && opened.told.size == 9, "{chunks:?}");
}

#[tokio::test]
async fn what_is_no_name_of_a_blob_is_never_asked_for() {
    let (azure, asked) = scripted(Vec::new()).await;
    for name in ["", ".", ".."] {
        let refused = azure.remove(&target("bucket", name, "").spot, Only::Any).await.unwrap_err();
        assert!(matches!(Error::from(refused), Error::Name(_)), "{name:?}");
    }
    all(asked).await;
    let silent = azure.look(&target("bucket", "a", "").spot).await.unwrap_err();
    assert!(silent.is_silence() && !silent.detail.is_empty(), "{silent:?}");
}

#[derive(Debug)]
struct Issuer;

#[async_trait]
impl azure_core::credentials::TokenCredential for Issuer {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<azure_core::credentials::TokenRequestOptions<'_>>,
    ) -> azure_core::Result<azure_core::credentials::AccessToken> {
        panic!("no token is needed for what is not sent")
    }
}

#[tokio::test]
async fn a_token_stays_here_where_everybody_could_read_it() {
    let issuer: Arc<dyn azure_core::credentials::TokenCredential> = Arc::new(Issuer);
    let token = Token::from(issuer);
    let azure = account_at(1, Arc::new(move || Ok(Credentials::Token(token.clone()))));
    let refused = azure.look_at_bucket("bucket").await.unwrap_err();
    assert!(refused.is_denied() && refused.detail.contains("https"), "{refused:?}");
}
