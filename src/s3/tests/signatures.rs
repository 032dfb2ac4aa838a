//! Who may speak: signatures, keys, rights.

use std::num::{NonZeroU32, NonZeroU64};

use super::super::testing::{ACCESS_KEY, Call, LIMITED_KEY, OTHER_KEY, SECRET_KEY, Server, server, server_with};
use crate::model::Source;
use crate::s3::{Face, Grant, Key, Keyring, Right, Settings, service};

#[tokio::test]
async fn a_signed_request_is_taken_and_a_wrong_secret_is_not() {
    let server = server().await;
    server.put("k", "hello").await;
    assert_eq!(server.get("k").await.body, "hello");
    let mut forged = Call::new("GET", "/bucket/k");
    forged.secret_key = format!("{SECRET_KEY}x");
    assert_eq!(server.send(forged).await.told(), (403, "SignatureDoesNotMatch"));
    let mut unknown = Call::new("GET", "/bucket/k");
    unknown.access_key = "ABNOBODY".into();
    assert_eq!(server.send(unknown).await.told(), (403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn nothing_is_open_to_those_who_do_not_sign() {
    let server = server().await;
    server.put("k", "hello").await;
    for call in
        [Call::new("GET", "/bucket/k"), Call::new("GET", "/"), Call::new("PUT", "/bucket/x"), Call::new("DELETE", "/bucket")]
    {
        let reply = server.raw(&call.anonymous()).await;
        assert_eq!(reply.told(), (403, "AccessDenied"), "{call:?}");
    }
}

#[tokio::test]
async fn a_header_added_behind_the_signers_back_is_refused() {
    let server = server().await;
    for (name, value) in [("x-amz-meta-injected", "1"), ("x-amz-acl", "private"), ("x-amz-copy-source", "/bucket/other")] {
        let reply = server.send(Call::new("PUT", "/bucket/k").body("x").unsigned(name, value)).await;
        assert_eq!(reply.told(), (403, "AccessDenied"), "{name}");
    }
    assert_eq!(server.get("k").await.status, 404);
}

#[tokio::test]
async fn a_session_token_is_refused_since_none_was_issued() {
    let server = server().await;
    server.put("k", "hello").await;
    let by_header = Call::new("GET", "/bucket/k").header("x-amz-security-token", "bogus");
    assert_eq!(server.send(by_header).await.told(), (400, "InvalidToken"));
    let by_query = Call::new("GET", "/bucket/k?X-Amz-Security-Token=bogus").presigned(60);
    assert_eq!(server.send(by_query).await.told(), (400, "InvalidToken"));
}

#[tokio::test]
async fn signature_version_2_is_refused_in_both_its_forms() {
    let server = server().await;
    let header = Call::new("GET", "/bucket/k").header("authorization", "AWS ABTESTACCESSKEY:c2lnbmF0dXJl").header("date", "x");
    assert_eq!(server.raw(&header.anonymous()).await.told(), (400, "InvalidRequest"));
    let query = Call::new("GET", "/bucket/k?AWSAccessKeyId=ABTESTACCESSKEY&Signature=x&Expires=9999999999");
    assert_eq!(server.raw(&query.anonymous()).await.told(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn presigned_urls_work_until_they_expire() {
    let server = server().await;
    let put = Call::new("PUT", "/bucket/k").presigned(60).body("presigned");
    assert_eq!(server.send(put).await.status, 200);
    assert_eq!(server.send(Call::new("GET", "/bucket/k").presigned(60)).await.body, "presigned");
    let mut old = Call::new("GET", "/bucket/k");
    old.late_s = -120;
    assert_eq!(server.send(old.clone().presigned(60)).await.told(), (403, "AccessDenied"));
    assert_eq!(server.send(old.presigned(600)).await.status, 200);
    let mut negative = Call::new("GET", "/bucket/k").presigned(60);
    negative.query.iter_mut().filter(|(name, _)| name == "X-Amz-Expires").for_each(|pair| pair.1 = "-1000".into());
    assert_eq!(server.send(negative).await.told(), (403, "AccessDenied"));
    let too_long = Call::new("GET", "/bucket/k").presigned(8 * 24 * 3600);
    assert_eq!(server.send(too_long).await.told(), (400, "AuthorizationQueryParametersError"));
    let mut altered = Call::new("GET", "/bucket/k").presigned(60);
    altered.path = "/bucket/other".into();
    assert_eq!(server.send(altered).await.told(), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn headers_carried_in_a_presigned_url_count() {
    let server = server().await;
    let public = Call::new("PUT", "/bucket/k?x-amz-acl=public-read").presigned(60).body("x");
    assert_eq!(server.send(public).await.status, 200);
    assert_eq!(server.raw(&Call::new("GET", "/bucket/k").anonymous()).await.body, "x");
    let tagged = Call::new("PUT", "/bucket/k?x-amz-tagging=a%3D1").presigned(60).body("x");
    assert_eq!(server.send(tagged).await.status, 200);
    assert_eq!(server.get("k").await.header("x-amz-tagging-count"), Some("1"));
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_refused() {
    let server = server().await;
    for late_s in [-1000, 1000] {
        let mut call = Call::new("GET", "/bucket");
        call.late_s = late_s;
        assert_eq!(server.send(call).await.told(), (403, "RequestTimeTooSkewed"));
    }
}

#[tokio::test]
async fn a_signature_for_another_region_is_refused() {
    let server = server().await;
    let mut call = Call::new("GET", "/bucket");
    call.region = "eu-west-1".into();
    let reply = server.send(call).await;
    assert_eq!(reply.told(), (400, "AuthorizationHeaderMalformed"));
    assert!(reply.body.contains("us-east-1"));
}

#[tokio::test]
async fn a_limited_key_stays_within_its_prefix_and_rights() {
    let server = server().await;
    server.put("p/a", "mine").await;
    server.put("q/a", "not mine").await;
    server.send(Call::new("PUT", "/elsewhere")).await;
    let told = async |call: Call| server.send(call.by(LIMITED_KEY)).await.status;
    assert_eq!(told(Call::new("GET", "/bucket/p/a")).await, 200);
    assert_eq!(told(Call::new("PUT", "/bucket/p/b").body("x")).await, 200);
    assert_eq!(told(Call::new("HEAD", "/bucket")).await, 200);
    assert_eq!(told(Call::new("GET", "/bucket?prefix=p%2F")).await, 200);
    assert_eq!(told(Call::new("GET", "/bucket/q/a")).await, 403);
    assert_eq!(told(Call::new("PUT", "/bucket/q/b").body("x")).await, 403);
    assert_eq!(told(Call::new("GET", "/bucket")).await, 403);
    assert_eq!(told(Call::new("GET", "/bucket?prefix=")).await, 403);
    assert_eq!(told(Call::new("DELETE", "/bucket/p/a")).await, 403);
    assert_eq!(told(Call::new("DELETE", "/bucket")).await, 403);
    assert_eq!(told(Call::new("PUT", "/bucket2")).await, 403);
    assert_eq!(told(Call::new("PUT", "/bucket/p/c").header("x-amz-copy-source", "/bucket/q/a")).await, 403);
    assert_eq!(told(Call::new("PUT", "/bucket/p/c").header("x-amz-copy-source", "/bucket/p/a")).await, 200);
    let delete = "<Delete><Object><Key>p/a</Key></Object></Delete>";
    let reply = server.send(Call::new("POST", "/bucket?delete").body(delete).with_md5().by(LIMITED_KEY)).await;
    assert_eq!(reply.code(), "AccessDenied");
    let seen = server.send(Call::new("GET", "/").by(LIMITED_KEY)).await;
    assert_eq!(seen.elements("Name"), ["bucket"]);
    assert_eq!(server.send(Call::new("GET", "/")).await.elements("Name"), ["bucket", "elsewhere"]);
}

#[tokio::test]
async fn a_grant_counts_from_its_networks_and_for_its_ends_of_keys_only() {
    let mut server = with_key(|key| {
        let inside = Grant { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Grant::on("bucket", &[Right::Read]) };
        let logs = Grant { suffixes: vec![".log".into()], ..Grant::on("bucket", &[Right::Write]) };
        Key { grants: vec![inside, logs], ..key }
    })
    .await;
    for (from, status, listed) in
        [(None, 403, &["bucket"][..]), (Some("11.0.0.1"), 403, &["bucket"]), (Some("10.1.1.1"), 200, &["bucket"])]
    {
        server.from = from.map(|from| Source::new(from.parse().unwrap(), false));
        assert_eq!(server.send(Call::new("GET", "/bucket")).await.status, status, "{from:?}");
        assert_eq!(server.send(Call::new("GET", "/")).await.elements("Name"), listed, "{from:?}");
        assert_eq!(server.send(Call::new("PUT", "/bucket/a.log").body("x")).await.status, 200);
        assert_eq!(server.send(Call::new("PUT", "/bucket/a.txt").body("x")).await.told(), (403, "AccessDenied"));
    }
}

#[tokio::test]
async fn a_bucket_is_listed_only_from_where_it_is_reached() {
    let mut server = with_key(|key| {
        let inside = Grant { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Grant::everything() };
        Key { grants: vec![inside], ..key }
    })
    .await;
    assert!(server.send(Call::new("GET", "/")).await.elements("Name").is_empty());
    server.from = Some(Source::new("10.0.0.1".parse().unwrap(), false));
    assert_eq!(server.send(Call::new("GET", "/")).await.elements("Name"), ["bucket"]);
}

#[tokio::test]
async fn a_key_goes_no_faster_than_it_may() {
    let server = with_key(|key| Key { requests_per_second_max: NonZeroU32::new(3), ..key }).await;
    let mut told = Vec::new();
    for _ in 0..9 {
        told.push(server.send(Call::new("GET", "/bucket")).await.status);
    }
    assert!(told[..3].iter().all(|status| *status == 200) && told.contains(&503), "{told:?}");
    let slow = server.send(Call::new("GET", "/bucket")).await;
    assert_eq!((slow.told(), slow.header("retry-after")), ((503, "SlowDown"), Some("1")));
    let server = with_key(|key| Key { bytes_per_second_max: NonZeroU64::new(200_000), ..key }).await;
    let began = tokio::time::Instant::now();
    server.send(Call::new("PUT", "/bucket/k").body(vec![0; 200_000])).await;
    for _ in 0..2 {
        assert_eq!(server.get("k").await.body.len(), 200_000);
    }
    assert!(began.elapsed().as_millis() > 500, "{:?}", began.elapsed());
}

#[tokio::test]
async fn headers_and_targets_have_their_limit() {
    let server = server().await;
    let large = "x".repeat(33 << 10);
    for call in
        [Call::new("GET", "/bucket/k").header("x-amz-date-of", &large), Call::new("GET", &format!("/bucket?prefix={large}"))]
    {
        assert_eq!(server.send(call).await.told(), (400, "RequestHeaderSectionTooLarge"));
    }
}

#[tokio::test]
async fn an_expired_key_is_refused_as_an_unknown_one() {
    let over = with_key(|key| Key { expires: Some("2001-01-01T00:00:00Z".parse().unwrap()), ..key }).await;
    assert_eq!(over.send(Call::new("GET", "/bucket")).await.told(), (403, "InvalidAccessKeyId"));
    assert_eq!(over.send(Call::new("GET", "/bucket/k").presigned(60)).await.told(), (403, "InvalidAccessKeyId"));
    let good = with_key(|key| Key { expires: Some("2901-01-01T00:00:00Z".parse().unwrap()), ..key }).await;
    assert_eq!(good.send(Call::new("GET", "/bucket")).await.status, 200);
}

#[tokio::test]
async fn accounts_do_not_see_one_another() {
    let server = server().await;
    server.put("k", "mine").await;
    let other = async |call: Call| server.send(call.by(OTHER_KEY)).await;
    assert_eq!(other(Call::new("PUT", "/bucket")).await.told(), (409, "BucketAlreadyExists"));
    assert_eq!(other(Call::new("PUT", "/theirs")).await.status, 200);
    assert_eq!(other(Call::new("GET", "/")).await.elements("Name"), ["theirs"]);
    assert_eq!(other(Call::new("GET", "/bucket/k")).await.told(), (403, "AccessDenied"));
    assert_eq!(other(Call::new("DELETE", "/bucket")).await.told(), (403, "AccessDenied"));
    let copy = Call::new("PUT", "/theirs/k").header("x-amz-copy-source", "/bucket/k");
    assert_eq!(other(copy).await.told(), (403, "AccessDenied"));
    assert_eq!(other(Call::new("PUT", "/theirs/k").body("x")).await.status, 200);
    assert_eq!(other(Call::new("GET", "/none/k")).await.told(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn an_expected_owner_must_be_the_owner() {
    let server = server().await;
    let call = |owner| Call::new("PUT", "/bucket/k").body("x").header("x-amz-expected-bucket-owner", owner);
    assert_eq!(server.send(call("somebody")).await.told(), (403, "AccessDenied"));
    assert_eq!(server.send(call("tester")).await.status, 200);
}

#[tokio::test]
async fn a_bucket_in_the_host_name_is_found_and_unknown_hosts_are_path_style() {
    let server = server().await;
    server.put("k", "hello").await;
    let at = |host: &str, path| {
        let mut call = Call::new("GET", path);
        call.host = host.into();
        call
    };
    assert_eq!(server.send(at("bucket.s3.test", "/k")).await.body, "hello");
    for host in ["s3.test", "localhost:9000", "lb.internal", "bucket.example.org"] {
        assert_eq!(server.send(at(host, "/bucket/k")).await.body, "hello", "{host}");
    }
    let mut put = Call::new("PUT", "/new").body("x");
    put.host = "bucket.s3.test".into();
    assert_eq!(server.send(put).await.status, 200);
    assert_eq!(server.get("new").await.body, "x");
}

#[tokio::test]
async fn another_region_has_its_own_rules() {
    let server = server_with_region("eu-west-1").await;
    let mut again = Call::new("PUT", "/mine");
    again.region = "eu-west-1".into();
    assert_eq!(server.send(again.clone()).await.status, 200);
    assert_eq!(server.send(again).await.told(), (409, "BucketAlreadyOwnedByYou"));
    let mut location = Call::new("GET", "/mine?location");
    location.region = "eu-west-1".into();
    assert!(server.send(location).await.body.contains(">eu-west-1</LocationConstraint>"));
}

/// A server whose one key is this one.
async fn with_key(key: impl FnOnce(Key) -> Key) -> Server {
    let first = server_with(Settings::default()).await;
    let keys = Keyring::new(vec![key(Key::with_every_right(ACCESS_KEY, SECRET_KEY, "tester"))]).unwrap();
    let layer = service(Face::new(first.site.clone(), Settings::default()), keys, first.observed.clone(), 2);
    Server { layer, ..first }
}

async fn server_with_region(region: &str) -> Server {
    let first = server_with(Settings::default()).await;
    let keys = Keyring::new(vec![Key::with_every_right(ACCESS_KEY, SECRET_KEY, "tester")]).unwrap();
    let settings = Settings { region: region.into(), ..Settings::default() };
    let face = Face::new(first.site.clone(), settings);
    let layer = service(face, keys, first.observed.clone(), 2);
    Server { layer, ..first }
}
