//! A bucket that is made while it is deleted: whatever clients are told exists takes objects to the store.

use std::collections::BTreeSet;

use super::check::{honest, tidy};
use super::machine::Machine;
use super::player::{Known, Player};
use super::world::Op;
use crate::site::Error;
use crate::site::testing::object;

/// Makes the bucket again as soon as that is possible.
async fn make_while_deleted(base: &Machine) {
    let mut player = Player::start(&base.after_crash(1), Known::default()).await.unwrap();
    player.play(&[vec![Op::CreateBucket]]).await.unwrap();
    let (site, bucket) = (player.process.site.clone(), object("-").bucket);
    let deleted = tokio::spawn({
        let (site, bucket) = (site.clone(), bucket.clone());
        async move { site.delete_bucket(&bucket).await }
    });
    while let Err(err) = site.create_bucket(&bucket, "owner", "us-east-1").await {
        assert!(matches!(err, Error::BucketAlreadyOwnedByYou), "{err}");
    }
    deleted.await.unwrap().unwrap();
    player.play(&[vec![Op::Put("a", 20)]]).await.unwrap();
    player.settle().await;
    let world = honest(&player, &BTreeSet::from(["a".to_owned()])).await;
    tidy(&player.process, &world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_made_while_it_is_deleted_takes_objects() {
    let base = Machine::new().await;
    for _ in 0..200 {
        make_while_deleted(&base).await;
    }
}
