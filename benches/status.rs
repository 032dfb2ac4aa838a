//! Hot paths of the status store, on disk: group commit, look-ups, listing pages in a bucket of a million keys, and how long
//! opening takes after a kill. The rows are made by a child process that is killed before it can close its store.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anybucket::model::{
    Binding, BucketName, ContentHeaders, ETag, Event, Identity, Incarnation, Location, ObjectId, Parts, Record, SiteNumber, Slot,
    StagingFile, Stamp, StampParts, State, Unit, Vector, WriteId,
};
use anybucket::status::tables::{Objects, Settle, Settling};
use anybucket::status::{Commit, ListQuery, Options, Status};
use criterion::{BenchmarkId, Criterion, Throughput};
use tokio::runtime::Runtime;

/// Set in the child: where to make its store.
const CHILD: &str = "ANYBUCKET_BENCH_FILL";

/// Rows of the listed bucket. As many as we promise to open within two seconds.
const ROWS: u64 = 1_000_000;

fn main() {
    if let Some(path) = std::env::var_os(CHILD) {
        return fill_and_die(Path::new(&path));
    }
    // `cargo test --benches` only wants to know that this compiles and starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut criterion = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(4)).configure_from_args();
    group_commit(&mut criterion);
    reads(&mut criterion);
    criterion.final_summary();
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder in target/")
}

fn options(path: PathBuf) -> Options {
    Options { path: Some(path), now_s: 1_790_000_000, ..Options::default() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A thousand folders of a thousand keys.
fn object(n: u64) -> ObjectId {
    ObjectId::parse("bucket", &format!("folder-{:04}/file-{:07}.bin", n / 1_000, n)).expect("a good name")
}

fn record(n: u64) -> Record {
    let stamp = Stamp::new(StampParts {
        ms: 1_790_000_000_000 + n,
        tick: 0,
        site: SiteNumber(1),
        incarnation: Incarnation(1_790_000_000),
        rank: 0,
    });
    let headers = ContentHeaders { content_type: Some("application/octet-stream".into()), ..ContentHeaders::default() };
    Record {
        vector: Vector::of(stamp),
        state: State::Present,
        identity: Identity {
            size: n,
            etag: ETag::of_md5(u128::from(n).to_be_bytes()),
            parts: Parts::Single,
            crc64: n,
            checksum: None,
            headers,
            metadata: vec![("mtime".into(), "1790000000.123456789".into())],
            tags: vec![],
        },
        location: Location::Plain,
        binding: Binding::File { inode: n, size: n, mtime_ns: 1_790_000_000_123_456_789 },
        write: WriteId::new(Incarnation(1_790_000_000), 1, n),
        base: None,
        versioned: false,
        registers: Default::default(),
    }
}

/// What a PUT commits: its record, its settle row, its event.
fn put(n: u64) -> Commit {
    let (id, record) = (object(n), record(n));
    let settling = Settling::Publish {
        object: id.clone(),
        slot: Slot::Null,
        from: StagingFile(n),
        binding: record.binding.clone(),
        over: None,
    };
    let event = Event { unit: Unit::Object { object: id.clone(), slot: Slot::Null }, vector: record.vector };
    Commit::new().expect::<Objects>(&id, None).put_unit(&id, &record).put::<Settle>(&record.write, &settling).tell(event)
}

fn group_commit(criterion: &mut Criterion) {
    let (runtime, folder) = (runtime(), folder());
    let status = Status::open(options(folder.path().join("status.redb"))).expect("it opens");
    let next = Arc::new(AtomicU64::new(0));
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    for producers in [1, 64] {
        group.bench_function(BenchmarkId::new("producers", producers), |bencher| {
            bencher.iter_custom(|commits| runtime.block_on(produce(&status, &next, producers, commits)));
        });
    }
    group.finish();
    println!("{:?}", status.stats());
}

async fn produce(status: &Status, next: &Arc<AtomicU64>, producers: u64, commits: u64) -> Duration {
    let begun = Instant::now();
    let end = next.load(Ordering::SeqCst) + commits;
    let producers: Vec<_> = (0..producers)
        .map(|_| {
            let (status, next) = (status.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= end {
                        return;
                    }
                    status.commit(put(n)).await.expect("it commits");
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("no panic");
    }
    begun.elapsed()
}

fn reads(criterion: &mut Criterion) {
    let (runtime, folder) = (runtime(), folder());
    let path = folder.path().join("status.redb");
    let status = open_after_kill(&path);
    let mut group = criterion.benchmark_group("look-up");
    let hot: Vec<_> = (0..1_000).map(|n| object(n * 997)).collect();
    for id in &hot {
        runtime.block_on(status.object(id)).expect("it reads");
    }
    let mut turn = 0;
    group.bench_function("cached", |bencher| {
        bencher.iter(|| {
            turn += 1;
            black_box(status.cached(&hot[turn % hot.len()])).expect("it is there")
        });
    });
    let mut n = 0;
    group.bench_function("uncached", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            n = (n + 7_368_787) % ROWS;
            let id = object(n);
            let status = &status;
            async move { status.object(&id).await.expect("it reads").expect("it is there") }
        });
    });
    group.finish();
    lists(criterion, &runtime, &status);
    println!("{:?}, {}", status.stats(), memory());
}

fn lists(criterion: &mut Criterion, runtime: &Runtime, status: &Status) {
    let mut group = criterion.benchmark_group("list 1,000");
    let query = |delimiter: Option<&str>, after: Option<u64>| ListQuery {
        bucket: BucketName::new("bucket").expect("a good name"),
        prefix: String::new(),
        delimiter: delimiter.map(str::to_owned),
        after: after.map(|n| object(n).key.as_str().to_owned()),
        entries_max: 1_000,
    };
    for (name, query) in [("at 90 % depth", query(None, Some(ROWS / 10 * 9 - 500))), ("folders", query(Some("/"), None))] {
        group.bench_function(name, |bencher| {
            bencher.to_async(runtime).iter(|| async {
                let page = status.list(query.clone()).await.expect("it lists");
                assert_eq!(page.entries.len(), 1_000);
                page
            });
        });
    }
    group.finish();
}

/// Opens what a killed process left.
fn open_after_kill(path: &Path) -> Status {
    let begun = Instant::now();
    let child = std::env::current_exe().expect("our own path");
    let exit = Command::new(child).env(CHILD, path).status().expect("it starts");
    assert!(!exit.success(), "the child was to die");
    println!("{ROWS} rows in {:?}, file {} MiB", begun.elapsed(), path.metadata().expect("a file").len() >> 20);
    let begun = Instant::now();
    let status = Status::open(options(path.to_owned())).expect("it opens");
    println!("opened after a kill in {:?}, {}", begun.elapsed(), memory());
    assert!(begun.elapsed() < Duration::from_secs(1), "opening repaired the whole file");
    status
}

fn fill_and_die(path: &Path) {
    let runtime = runtime();
    runtime.block_on(async {
        let status = Status::open(options(path.to_owned())).expect("it opens");
        for chunk in 0..ROWS / 1_000 {
            let rows = (chunk * 1_000..(chunk + 1) * 1_000).fold(Commit::new(), |commit, n| {
                // Not in their order: real keys do not come sorted.
                let n = n * 7_368_787 % ROWS;
                commit.put_unit(&object(n), &record(n))
            });
            status.commit(rows).await.expect("it commits");
        }
        println!("{:?}, {}", status.stats(), memory());
        // Work that is under way when it dies.
        for n in 0..64 {
            let status = status.clone();
            tokio::spawn(async move { status.commit(put(ROWS + n)).await });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::process::abort();
    });
}

/// Resident memory, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}
