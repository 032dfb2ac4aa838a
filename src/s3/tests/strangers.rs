//! Who comes without a grant: strangers without a signature, and keys of other owners. Access control lists let them in.

use super::super::testing::{Call, LIMITED_KEY, OTHER_KEY, Reply, Server, server};

async fn anybody(server: &Server, call: Call) -> Reply {
    server.raw(&call.anonymous()).await
}

async fn ok(server: &Server, call: Call) -> Reply {
    let reply = server.send(call.clone()).await;
    assert!((200..300).contains(&reply.status), "{call:?} {reply:?}");
    reply
}

fn get(target: &str) -> Call {
    Call::new("GET", target)
}

fn put(target: &str) -> Call {
    Call::new("PUT", target).body("x")
}

async fn acl(server: &Server, target: &str, canned: &str) {
    ok(server, Call::new("PUT", &format!("{target}?acl")).header("x-amz-acl", canned)).await;
}

/// Everything but what is said, for a bucket whose list is this.
async fn open(server: &Server, calls: &[Call]) -> Vec<u16> {
    let mut told = Vec::new();
    for call in calls {
        let reply = anybody(server, call.clone()).await;
        assert!(reply.status < 400 || reply.told() == (403, "AccessDenied") || reply.status == 404, "{call:?} {reply:?}");
        told.push(reply.status);
    }
    told
}

#[tokio::test]
async fn an_object_that_everybody_may_read_is_all_that_is_open() {
    let server = server().await;
    ok(&server, put("/bucket/open").header("x-amz-acl", "public-read")).await;
    ok(&server, put("/bucket/shut")).await;
    assert_eq!(anybody(&server, get("/bucket/open")).await.body, "x");
    assert_eq!(anybody(&server, Call::new("HEAD", "/bucket/open")).await.status, 200);
    let rest = [
        get("/"),
        get("/bucket"),
        get("/bucket?versions"),
        get("/bucket?acl"),
        get("/bucket?cors"),
        get("/bucket?location"),
        get("/bucket/shut"),
        get("/bucket/none"),
        get("/bucket/open?acl"),
        get("/bucket/open?tagging"),
        get("/bucket/open?attributes").header("x-amz-object-attributes", "ETag"),
        put("/bucket/open"),
        put("/bucket/open").header("x-amz-copy-source", "/bucket/open"),
        put("/bucket/open?acl").header("x-amz-acl", "private"),
        put("/bucket/open?tagging"),
        put("/other-bucket"),
        Call::new("DELETE", "/bucket/open"),
        Call::new("DELETE", "/bucket"),
        Call::new("POST", "/bucket/open?uploads"),
        Call::new("POST", "/bucket?delete").body("<Delete><Object><Key>open</Key></Object></Delete>").with_md5(),
    ];
    assert_eq!(open(&server, &rest).await, vec![403; rest.len()]);
    assert_eq!(anybody(&server, get("/nowhere/k")).await.told(), (404, "NoSuchBucket"));
    acl(&server, "/bucket/open", "private").await;
    assert_eq!(anybody(&server, get("/bucket/open")).await.told(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_bucket_that_everybody_may_read_is_listed_and_its_objects_are_not_read() {
    let server = server().await;
    ok(&server, put("/bucket/k")).await;
    acl(&server, "/bucket", "public-read").await;
    let calls = [
        get("/bucket"),
        get("/bucket?list-type=2"),
        get("/bucket?versions"),
        Call::new("HEAD", "/bucket"),
        get("/bucket/k"),
        put("/bucket/k"),
    ];
    assert_eq!(open(&server, &calls).await, [200, 200, 200, 200, 403, 403]);
    assert_eq!(anybody(&server, get("/bucket/none")).await.told(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn where_everybody_may_write_they_write_and_delete_and_destroy_no_version() {
    let server = server().await;
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ok(&server, Call::new("PUT", "/bucket?versioning").body(versioning)).await;
    let first = ok(&server, put("/bucket/k")).await.header("x-amz-version-id").unwrap().to_owned();
    acl(&server, "/bucket", "public-read-write").await;
    let written = anybody(&server, put("/bucket/new")).await;
    assert_eq!(written.status, 200, "{written:?}");
    // Whoever it was is nobody: it cannot be read back, and is not its writer's to open.
    let calls = [get("/bucket/new"), get("/bucket/new?acl"), put("/bucket/new?acl").header("x-amz-acl", "public-read")];
    assert_eq!(open(&server, &calls).await, [403, 403, 403]);
    assert_eq!(server.get("new").await.body, "x");
    for target in [format!("/bucket/k?versionId={first}"), format!("/bucket/k?ver%73ionId={first}")] {
        assert_eq!(anybody(&server, Call::new("DELETE", &target)).await.told(), (403, "AccessDenied"), "{target}");
    }
    let locked = put("/bucket/k").header("x-amz-object-lock-legal-hold", "ON");
    assert_eq!(anybody(&server, locked).await.told(), (403, "AccessDenied"));
    assert_eq!(anybody(&server, Call::new("DELETE", "/bucket/k")).await.status, 204);
    assert_eq!(ok(&server, get(&format!("/bucket/k?versionId={first}"))).await.body, "x");
    assert_eq!(server.get("k").await.status, 404);
    let begun = anybody(&server, Call::new("POST", "/bucket/k?uploads")).await;
    assert_eq!(begun.told(), (403, "AccessDenied"));
}

#[tokio::test]
async fn each_version_has_a_list_of_its_own() {
    let server = server().await;
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ok(&server, Call::new("PUT", "/bucket?versioning").body(versioning)).await;
    let first = ok(&server, put("/bucket/k")).await.header("x-amz-version-id").unwrap().to_owned();
    ok(&server, put("/bucket/k").header("x-amz-acl", "public-read")).await;
    let named = format!("/bucket/k?versionId={first}");
    assert_eq!(
        open(&server, &[get("/bucket/k"), get(&named), get(&format!("/bucket/k?ver%73ionId={first}"))]).await,
        [200, 403, 403]
    );
    let opened = Call::new("PUT", &format!("/bucket/k?acl&versionId={first}")).header("x-amz-acl", "public-read");
    ok(&server, opened).await;
    acl(&server, "/bucket/k", "private").await;
    assert_eq!(open(&server, &[get("/bucket/k"), get(&named)]).await, [403, 200]);
}

#[tokio::test]
async fn another_owner_gets_what_a_list_gives_and_no_more() {
    let server = server().await;
    ok(&server, put("/bucket/k")).await;
    assert_eq!(server.send(get("/bucket/k").by(OTHER_KEY)).await.told(), (403, "AccessDenied"));
    ok(&server, Call::new("PUT", "/bucket/k?acl").header("x-amz-grant-read", "id=other")).await;
    assert_eq!(ok(&server, get("/bucket/k").by(OTHER_KEY)).await.body, "x");
    assert_eq!(server.send(get("/bucket/k?acl").by(OTHER_KEY)).await.told(), (403, "AccessDenied"));
    assert_eq!(server.send(put("/bucket/k").by(OTHER_KEY)).await.told(), (403, "AccessDenied"));
    assert_eq!(anybody(&server, get("/bucket/k")).await.told(), (403, "AccessDenied"));
    acl(&server, "/bucket/k", "authenticated-read").await;
    assert_eq!(ok(&server, get("/bucket/k").by(OTHER_KEY)).await.status, 200);
    assert_eq!(anybody(&server, get("/bucket/k")).await.told(), (403, "AccessDenied"));
    let unknown = Call::new("PUT", "/bucket/k?acl").header("x-amz-grant-read", "id=nobody");
    assert_eq!(server.send(unknown).await.told(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn a_list_gives_a_key_no_more_than_its_grants_name() {
    let server = server().await;
    // Of the bucket's own owner, whom every list names: its grants bound it all the same.
    ok(&server, put("/bucket/q/k")).await;
    assert_eq!(server.send(get("/bucket/q/k").by(LIMITED_KEY)).await.told(), (403, "AccessDenied"));
    ok(&server, Call::new("PUT", "/theirs").by(OTHER_KEY)).await;
    for key in ["p/k", "q/k"] {
        let given = put(&format!("/theirs/{key}")).by(OTHER_KEY).header("x-amz-grant-read", "id=tester");
        ok(&server, given).await;
        // Its grants name no bucket but `bucket*`.
        assert_eq!(server.send(get(&format!("/theirs/{key}")).by(LIMITED_KEY)).await.told(), (403, "AccessDenied"));
    }
    // What is everybody's is its too.
    ok(&server, put("/theirs/q/k").by(OTHER_KEY).header("x-amz-acl", "public-read")).await;
    assert_eq!(ok(&server, get("/theirs/q/k").by(LIMITED_KEY)).await.body, "x");
}

#[tokio::test]
async fn who_writes_into_anothers_bucket_owns_what_was_written() {
    let server = server().await;
    acl(&server, "/bucket", "public-read-write").await;
    ok(&server, put("/bucket/k").by(OTHER_KEY)).await;
    let shown = ok(&server, get("/bucket/k?acl").by(OTHER_KEY)).await;
    assert_eq!(shown.elements("ID"), ["other", "other"]);
    assert_eq!(shown.elements("Permission"), ["FULL_CONTROL"]);
    assert_eq!(ok(&server, get("/bucket/k").by(OTHER_KEY)).await.body, "x");
    assert_eq!(ok(&server, get("/bucket")).await.elements("ID"), ["other"]);
    assert_eq!(ok(&server, get("/bucket?versions")).await.elements("ID"), ["other"]);
    let begun = ok(&server, Call::new("POST", "/bucket/m?uploads").by(OTHER_KEY)).await;
    let upload = begun.element("UploadId").unwrap().to_owned();
    let part = put(&format!("/bucket/m?partNumber=1&uploadId={upload}"));
    assert_eq!(ok(&server, part.by(OTHER_KEY)).await.status, 200);
    let theirs = ok(&server, Call::new("POST", "/bucket/m?uploads")).await.element("UploadId").unwrap().to_owned();
    let part = put(&format!("/bucket/m?partNumber=1&uploadId={theirs}"));
    assert_eq!(server.send(part.by(OTHER_KEY)).await.told(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_copy_reads_what_its_caller_may_read() {
    let server = server().await;
    ok(&server, put("/bucket/open").header("x-amz-acl", "public-read")).await;
    ok(&server, put("/bucket/shut")).await;
    ok(&server, Call::new("PUT", "/theirs").by(OTHER_KEY)).await;
    let copy = |key: &str| Call::new("PUT", "/theirs/copy").by(OTHER_KEY).header("x-amz-copy-source", &format!("/bucket/{key}"));
    assert_eq!(ok(&server, copy("open")).await.status, 200);
    assert_eq!(server.send(copy("shut")).await.told(), (403, "AccessDenied"));
    // The list stays where it was.
    assert_eq!(anybody(&server, get("/theirs/copy")).await.told(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_document_is_kept_and_shown() {
    let server = server().await;
    ok(&server, put("/bucket/k")).await;
    let grant = |who: &str, permission: &str| format!("<Grant>{who}<Permission>{permission}</Permission></Grant>");
    let user =
        "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>other</ID></Grantee>";
    let document = |owner: &str| {
        let grants = [grant(user, "READ_ACP"), grant(user, "WRITE")].concat();
        format!(
            "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
        )
    };
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        ok(&server, Call::new("PUT", target).body(document("tester")).with_md5()).await;
        let shown = ok(&server, get(target)).await;
        let mut ids = shown.elements("ID");
        ids.sort_unstable();
        assert_eq!((ids, shown.elements("Permission")), (vec!["other", "other", "tester"], vec!["READ_ACP", "WRITE"]));
        assert_eq!(server.send(get(target).by(OTHER_KEY)).await.status, 200);
        let stolen = Call::new("PUT", target).body(document("other")).with_md5();
        assert_eq!(server.send(stolen).await.told(), (403, "AccessDenied"));
        assert_eq!(server.send(Call::new("PUT", target)).await.told(), (400, "MissingSecurityHeader"));
        let twice = Call::new("PUT", target).body(document("tester")).with_md5().header("x-amz-acl", "private");
        assert_eq!(server.send(twice).await.told(), (400, "UnexpectedContent"));
    }
}

#[tokio::test]
async fn what_is_kept_from_strangers_is_kept_whatever_lists_say() {
    let server = server().await;
    acl(&server, "/bucket", "public-read").await;
    ok(&server, put("/bucket/k").header("x-amz-acl", "public-read")).await;
    let block = |switch: &str| {
        let document = format!("<PublicAccessBlockConfiguration><{switch}>true</{switch}></PublicAccessBlockConfiguration>");
        Call::new("PUT", "/bucket?publicAccessBlock").body(document).with_md5()
    };
    ok(&server, block("BlockPublicAcls")).await;
    assert_eq!(open(&server, &[get("/bucket"), get("/bucket/k")]).await, [200, 200]);
    for call in [put("/bucket/new"), Call::new("PUT", "/bucket/k?acl"), Call::new("PUT", "/bucket?acl")] {
        for canned in ["public-read", "public-read-write", "authenticated-read"] {
            assert_eq!(server.send(call.clone().header("x-amz-acl", canned)).await.told(), (403, "AccessDenied"), "{call:?}");
        }
    }
    assert_eq!(server.get("new").await.status, 404);
    ok(&server, block("IgnorePublicAcls")).await;
    assert_eq!(open(&server, &[get("/bucket"), get("/bucket/k")]).await, [403, 403]);
    ok(&server, Call::new("DELETE", "/bucket?publicAccessBlock")).await;
    assert_eq!(open(&server, &[get("/bucket"), get("/bucket/k")]).await, [200, 200]);
}

#[tokio::test]
async fn where_the_buckets_owner_owns_everything_there_are_no_lists() {
    let server = server().await;
    let enforced = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    let enforce = Call::new("PUT", "/bucket?ownershipControls").body(enforced).with_md5();
    ok(&server, put("/bucket/k").header("x-amz-acl", "public-read")).await;
    acl(&server, "/bucket", "public-read").await;
    assert_eq!(server.send(enforce.clone()).await.told(), (400, "InvalidBucketAclWithObjectOwnership"));
    acl(&server, "/bucket", "private").await;
    ok(&server, enforce).await;
    assert_eq!(anybody(&server, get("/bucket/k")).await.told(), (403, "AccessDenied"));
    assert_eq!(ok(&server, get("/bucket/k?acl")).await.elements("Permission"), ["FULL_CONTROL"]);
    for call in [put("/bucket/k"), Call::new("PUT", "/bucket/k?acl"), Call::new("PUT", "/bucket?acl")] {
        let refused = server.send(call.header("x-amz-acl", "private")).await;
        assert_eq!(refused.told(), (400, "AccessControlListNotSupported"));
    }
    ok(&server, put("/bucket/k").header("x-amz-acl", "bucket-owner-full-control")).await;
    ok(&server, Call::new("DELETE", "/bucket?ownershipControls")).await;
    assert_eq!(server.send(get("/bucket?ownershipControls")).await.told(), (404, "OwnershipControlsNotFoundError"));
}

#[tokio::test]
async fn a_bucket_is_made_with_its_list_and_its_ownership() {
    let server = server().await;
    let make = |name: &str| Call::new("PUT", &format!("/{name}"));
    ok(&server, make("open").header("x-amz-acl", "public-read")).await;
    assert_eq!(anybody(&server, get("/open")).await.status, 200);
    assert_eq!(server.send(make("open")).await.status, 200);
    assert_eq!(server.send(make("open").header("x-amz-acl", "private")).await.status, 200);
    assert_eq!(server.send(make("open").header("x-amz-acl", "public-read-write")).await.told(), (409, "BucketAlreadyOwnedByYou"));
    ok(&server, make("owned").header("x-amz-object-ownership", "BucketOwnerPreferred")).await;
    assert_eq!(ok(&server, get("/owned?ownershipControls")).await.element("ObjectOwnership"), Some("BucketOwnerPreferred"));
    let both = make("both").header("x-amz-object-ownership", "BucketOwnerEnforced").header("x-amz-acl", "public-read");
    assert_eq!(server.send(both).await.told(), (400, "InvalidBucketAclWithObjectOwnership"));
    assert_eq!(server.send(make("odd").header("x-amz-object-ownership", "Mine")).await.told(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn a_signature_that_is_broken_is_not_taken_for_none() {
    let server = server().await;
    ok(&server, put("/bucket/k").header("x-amz-acl", "public-read")).await;
    for call in [
        get("/bucket/k?X-Amz-Credential=x"),
        get("/bucket/k").header("authorization", "x").header("authorization", "y"),
        get("/bucket/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z"),
    ] {
        let reply = anybody(&server, call.clone()).await;
        assert!(reply.status == 403 || reply.status == 400, "{call:?} {reply:?}");
    }
    let overriding = anybody(&server, get("/bucket/k?response-content-type=text%2Fhtml")).await;
    assert_eq!(overriding.told(), (400, "InvalidRequest"));
    let hop = anybody(&server, get("/bucket/k").header("x-anybucket-hop", "2").header("x-anybucket-min-stamp", "x")).await;
    assert_eq!((hop.status, hop.body.as_str()), (200, "x"));
}

#[tokio::test]
async fn a_body_that_nobody_signed_is_what_it_claims_to_be() {
    let server = server().await;
    acl(&server, "/bucket", "public-read-write").await;
    let claimed = |hash: &str| put("/bucket/k").header("x-amz-content-sha256", hash);
    let wrong = anybody(&server, claimed(&"0".repeat(64))).await;
    assert_eq!(wrong.told(), (400, "XAmzContentSHA256Mismatch"));
    let right = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert_eq!(anybody(&server, claimed(right)).await.status, 200);
    let chunked = claimed("STREAMING-UNSIGNED-PAYLOAD-TRAILER").header("x-amz-decoded-content-length", "1");
    assert_eq!(anybody(&server, chunked).await.told(), (501, "NotImplemented"));
    assert_eq!(server.get("k").await.body, "x");
}
