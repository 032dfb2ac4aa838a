//! What is in memory is answered on the spot.

use futures::{FutureExt, StreamExt};

use super::*;
use crate::model::BucketName;

#[tokio::test]
async fn a_cached_read_waits_for_no_thread() {
    let (fs, _dir) = fresh();
    if !["ext4", "xfs", "btrfs"].contains(&fs.core.nature.volume.name.as_str()) {
        // Elsewhere the kernel may not read without waiting.
        return;
    }
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    for size in [0, 4_096, 65_536, 1 << 20] {
        let bytes = vec![5; size];
        let kept = stage(&fs, "d/a", &bytes).await.unwrap();
        let staged = Place { object: object("d/a"), location: kept.location.clone() };
        let get = || GetOptions { range: None, expect: Some(kept.binding.clone()) };
        let before = fs.get(&staged, get()).now_or_never();
        assert!(before.expect("a staged file takes no thread").is_ok());
        publish(&fs, "d/a", &kept).await.unwrap();
        for place in [plain("d/a"), staged] {
            let fetched = fs.get(&place, get()).now_or_never().expect("a cached file takes no thread").unwrap();
            let chunks = fetched.body.stream.map(Result::unwrap).collect::<Vec<_>>().now_or_never();
            assert_eq!(chunks.expect("cached chunks take no thread").concat(), bytes);
        }
    }
}
