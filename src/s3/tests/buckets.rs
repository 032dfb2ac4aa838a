//! Buckets.

use super::super::Settings;
use super::super::testing::{Call, server, server_with};

#[tokio::test]
async fn buckets_come_and_go() {
    let server = server().await;
    let made = server.send(Call::new("PUT", "/one")).await;
    assert_eq!((made.status, made.header("location")), (200, Some("/one")));
    assert_eq!(server.send(Call::new("PUT", "/one")).await.status, 200);
    let head = server.send(Call::new("HEAD", "/one")).await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("us-east-1")));
    server.send(Call::new("PUT", "/one/k").body("x")).await;
    assert_eq!(server.send(Call::new("DELETE", "/one")).await.told(), (409, "BucketNotEmpty"));
    server.send(Call::new("DELETE", "/one/k")).await;
    assert_eq!(server.send(Call::new("DELETE", "/one")).await.status, 204);
    assert_eq!(server.send(Call::new("HEAD", "/one")).await.status, 404);
    assert_eq!(server.send(Call::new("DELETE", "/one")).await.told(), (404, "NoSuchBucket"));
    assert_eq!(server.send(Call::new("PUT", "/Bad_Name")).await.told(), (400, "InvalidBucketName"));
}

#[tokio::test]
async fn a_location_is_echoed_or_refused() {
    let server = server().await;
    let body = |region: &str| {
        format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    let elsewhere = server.send(Call::new("PUT", "/one").body(body("eu-west-1"))).await;
    assert_eq!(elsewhere.told(), (400, "IllegalLocationConstraintException"));
    assert_eq!(server.send(Call::new("PUT", "/one").body(body("us-east-1"))).await.status, 200);
    let location = server.send(Call::new("GET", "/one?location")).await;
    assert!(
        location.body.contains("<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>"),
        "{location:?}"
    );
    assert_eq!(server.send(Call::new("PUT", "/two").body("<nonsense>")).await.told(), (400, "MalformedXML"));
}

#[tokio::test]
async fn a_bucket_is_made_at_a_location_that_routes_name() {
    let server = server_with(Settings { locations: vec!["cold".into()], ..Settings::default() }).await;
    let made = |bucket: &str, location: &str| {
        let body = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
        );
        server.send(Call::new("PUT", bucket).body(body))
    };
    assert_eq!(made("/one", "cold").await.status, 200);
    let told = server.send(Call::new("GET", "/one?location")).await;
    assert!(told.body.contains(">cold</LocationConstraint>"), "{told:?}");
    let head = server.send(Call::new("HEAD", "/one")).await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("cold")));
    assert_eq!(made("/one", "cold").await.told(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(server.send(Call::new("PUT", "/one")).await.told(), (409, "BucketAlreadyOwnedByYou"));
    let unknown = made("/two", "warm").await;
    assert_eq!(unknown.told(), (400, "IllegalLocationConstraintException"));
    assert!(unknown.body.contains("There are: us-east-1, cold."), "{unknown:?}");
    let signed_for = |region: &str| Call { region: region.into(), ..Call::new("GET", "/one?list-type=2") };
    assert_eq!(server.send(signed_for("cold")).await.status, 200, "as clients sign that asked where it is");
    assert_eq!(server.send(Call::new("PUT", "/two")).await.status, 200);
    assert_eq!(server.send(Call::new("PUT", "/two")).await.status, 200, "in us-east-1 that is no error");
}

#[tokio::test]
async fn the_list_of_buckets_is_paged() {
    let server = server().await;
    for name in ["aaa", "aab", "ccc"] {
        server.send(Call::new("PUT", &format!("/{name}"))).await;
    }
    let first = server.send(Call::new("GET", "/?max-buckets=2")).await;
    assert_eq!(first.elements("Name"), ["aaa", "aab"]);
    let token = first.element("ContinuationToken").unwrap();
    let second = server.send(Call::new("GET", &format!("/?max-buckets=2&continuation-token={token}"))).await;
    assert_eq!(second.elements("Name"), ["bucket", "ccc"]);
    assert_eq!(second.element("ContinuationToken"), None);
    assert_eq!(server.send(Call::new("GET", "/?prefix=aa")).await.elements("Name"), ["aaa", "aab"]);
    assert_eq!(server.send(Call::new("GET", "/?continuation-token=%21")).await.told(), (400, "InvalidArgument"));
    assert_eq!(server.send(Call::new("GET", "/?max-buckets=0")).await.told(), (400, "InvalidArgument"));
    assert_eq!(first.element("DisplayName"), Some("tester"));
}

#[tokio::test]
async fn a_bucket_without_versions_says_so() {
    let server = server().await;
    let reply = server.send(Call::new("GET", "/bucket?versioning")).await;
    assert_eq!((reply.status, reply.element("Status")), (200, None));
    assert_eq!(server.send(Call::new("GET", "/none?versioning")).await.told(), (404, "NoSuchBucket"));
}
