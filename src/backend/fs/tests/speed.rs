//! Rough figures, by hand: `cargo test --release speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::model::BucketName;

const WRITERS: usize = 64;
const WRITES: usize = 20_000;

/// Puts and publishes from many tasks; hardens and releases on the side, as a site does.
async fn puts(fs: &Arc<Fs>, name: &str, keys: usize) {
    let (settled, mut to_settle) = tokio::sync::mpsc::channel::<(Place, Location)>(WRITES);
    let settler = tokio::spawn({
        let fs = fs.clone();
        async move {
            let mut batch = Vec::new();
            while to_settle.recv_many(&mut batch, 1_000).await > 0 {
                let (moved, locations): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                fs.harden(&moved).await.unwrap();
                for location in locations {
                    fs.release(&Place { object: object("a"), location }).await;
                }
            }
        }
    });
    let start = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let (fs, settled) = (fs.clone(), settled.clone());
        tokio::spawn(async move {
            for n in 0..WRITES / WRITERS {
                let key = format!("d/{:06}", (n * WRITERS + writer) % keys);
                let kept = write(&fs, &key, &[n as u8; 4_096]).await;
                settled.send((plain(&key), kept.location)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let took = start.elapsed();
    drop(settled);
    settler.await.unwrap();
    println!("{name}: {:.0} PUT/s, settled after {:?} more", WRITES as f64 / took.as_secs_f64(), start.elapsed() - took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn small_puts_and_gets() {
    let (fs, _dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    puts(&fs, "new keys", WRITES).await;
    puts(&fs, "overwrites of 512 keys", 512).await;
    puts(&fs, "overwrites of 512 keys again", 512).await;
    let start = Instant::now();
    let reads = 200_000;
    for n in 0..reads {
        let bytes = read(&fs, &plain(&format!("d/{:06}", n % 512)), None).await.unwrap();
        assert_eq!(bytes.len(), 4_096);
    }
    println!("cached GET of 4 KiB, one task: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(reads as u32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn large_puts_and_gets() {
    let (fs, _dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let size = 64 << 20;
    for round in 0..3 {
        let chunk = Bytes::from(vec![round; 64 * 1024]);
        let chunks = (0..size / chunk.len()).map(move |_| Ok(chunk.clone()));
        let start = Instant::now();
        let body = Body::new(Some(size as u64), futures::stream::iter(chunks));
        let kept = fs.put(&object("a"), body, PutOptions::any()).await.unwrap();
        publish(&fs, "a", &kept).await.unwrap();
        let put = start.elapsed();
        let start = Instant::now();
        let mut body = fs.get(&plain("a"), GetOptions::default()).await.unwrap().body;
        let mut got = 0;
        while let Some(chunk) = futures::StreamExt::next(&mut body.stream).await {
            got += chunk.unwrap().len();
        }
        assert_eq!(got, size);
        println!("64 MiB: put {put:?}, get {:?}", start.elapsed());
    }
}

/// Peak resident memory of this process, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn memory_with_32_uploads_and_32_downloads() {
    let (fs, _dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let size = 32 << 20;
    let upload = |fs: Arc<Fs>, key: String| async move {
        let chunks = (0..size / 65_536).map(|_| Ok(Bytes::from(vec![7; 65_536])));
        let body = Body::new(Some(size), futures::stream::iter(chunks));
        let kept = fs.put(&object(&key), body, PutOptions::any()).await.unwrap();
        publish(&fs, &key, &kept).await.unwrap();
    };
    upload(fs.clone(), "down".to_owned()).await;
    let before = peak_kib();
    let mut tasks = Vec::new();
    for n in 0..32 {
        tasks.push(tokio::spawn(upload(fs.clone(), format!("up/{n}"))));
        let fs = fs.clone();
        tasks.push(tokio::spawn(async move {
            let mut body = fs.get(&plain("down"), GetOptions::default()).await.unwrap().body;
            let mut last = None;
            while let Some(chunk) = futures::StreamExt::next(&mut body.stream).await {
                // A slow client holds the chunk before while the next is read.
                last.replace(chunk.unwrap());
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    println!("32 uploads and 32 downloads: peak {} MiB, before them {} MiB", peak_kib() / 1024, before / 1024);
}
