//! Every crash in a history of writes, at every call: whatever was committed is there, whatever was deleted is not.
//!
//! The site is played by [`Site`], whose rows survive (protocol §4): what is tested is the order of moves and syncs here.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::*;
use crate::backend::fs::shim::Shim;
use crate::backend::{Error, Found};
use crate::model::BucketName;

/// What is left to do after a commit.
#[derive(Clone, Debug)]
enum Settling {
    Publish { key: String, kept: Kept },
    Remove { key: String, binding: Binding },
    Release { key: String, location: Location },
}

impl Settling {
    fn key(&self) -> &str {
        match self {
            Self::Publish { key, .. } | Self::Remove { key, .. } | Self::Release { key, .. } => key,
        }
    }

    fn staged(&self) -> Option<Location> {
        match self {
            Self::Publish { kept, .. } => Some(kept.location.clone()),
            Self::Release { location, .. } => Some(location.clone()),
            Self::Remove { .. } => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Row {
    location: Location,
    binding: Binding,
    bytes: Vec<u8>,
}

/// What a site's status store would hold.
#[derive(Clone, Debug, Default)]
struct Rows {
    objects: BTreeMap<String, Row>,
    settle: Vec<Settling>,
}

impl Rows {
    /// Replaces a record; a publication that was still open becomes garbage.
    fn commit(&mut self, key: &str, row: Option<Row>) -> Option<Row> {
        for row in &mut self.settle {
            if let Settling::Publish { key: other, kept } = row
                && other == key
            {
                *row = Settling::Release { key: key.to_owned(), location: kept.location.clone() };
            }
        }
        match row {
            Some(row) => self.objects.insert(key.to_owned(), row),
            None => self.objects.remove(key),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, usize),
    Delete(&'static str),
    Copy(&'static str, &'static str),
    Settle,
}

struct Site {
    fs: Fs,
    rows: Rows,
    writes: u8,
}

impl Site {
    async fn run(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::Put(key, size) => {
                self.writes += 1;
                let bytes = vec![self.writes; size];
                let kept = stage(&self.fs, key, &bytes).await?;
                self.install(key, kept, bytes).await
            }
            Step::Copy(from, to) => {
                let Some(row) = self.rows.objects.get(from).cloned() else { return Ok(()) };
                let from = Place { object: object(from), location: row.location };
                let get = GetOptions { range: None, expect: Some(row.binding) };
                let kept = self.fs.copy(&from, get, &object(to), PutOptions::default()).await?;
                self.install(to, kept, row.bytes).await
            }
            Step::Delete(key) => {
                let Some(row) = self.rows.commit(key, None) else { return Ok(()) };
                self.rows.settle.push(Settling::Remove { key: key.to_owned(), binding: row.binding.clone() });
                self.fs.delete(&plain(key), &row.binding).await
            }
            Step::Settle => self.settle().await,
        }
    }

    async fn install(&mut self, key: &str, kept: Kept, bytes: Vec<u8>) -> Result<()> {
        self.rows.commit(key, Some(Row { location: kept.location.clone(), binding: kept.binding.clone(), bytes }));
        self.rows.settle.push(Settling::Publish { key: key.to_owned(), kept: kept.clone() });
        assert_eq!(publish(&self.fs, key, &kept).await?, Published::Done);
        Ok(())
    }

    /// Makes what was moved durable, drops the rows, gives the files back: in this order.
    async fn settle(&mut self) -> Result<()> {
        let moved: Vec<_> = self.rows.settle.iter().map(|row| object(row.key())).collect();
        self.fs.harden(&moved).await?;
        let done = std::mem::take(&mut self.rows.settle);
        for row in &done {
            if let Settling::Publish { key, .. } = row
                && let Some(row) = self.rows.objects.get_mut(key)
            {
                row.location = Location::Plain;
            }
        }
        for location in done.iter().filter_map(Settling::staged) {
            self.fs.release(location).await;
        }
        Ok(())
    }

    /// What a start does before the first request.
    async fn restart(shim: &Shim, rows: Rows, writes: u8) -> Result<Self> {
        let fs = Fs::on_shim(shim)?;
        let keep: Vec<_> = rows.settle.iter().filter_map(Settling::staged).collect();
        fs.recover(&keep).await?;
        let site = Self { fs, rows, writes };
        for row in &site.rows.settle {
            match row {
                Settling::Publish { key, kept } => {
                    assert_eq!(publish(&site.fs, key, kept).await?, Published::Done, "an acknowledged write is lost: {key}");
                }
                Settling::Remove { key, binding } => site.fs.delete(&plain(key), binding).await?,
                Settling::Release { .. } => {}
            }
        }
        Ok(site)
    }

    async fn check(&self) {
        for (key, row) in &self.rows.objects {
            let place = Place { object: object(key), location: row.location.clone() };
            let bytes = read(&self.fs, &place, Some(&row.binding)).await;
            assert_eq!(bytes.unwrap_or_else(|err| panic!("{key} is lost: {err}")), row.bytes, "{key} has other bytes");
        }
        let bucket = BucketName::new("bucket").unwrap();
        let listed: Vec<Found> = self.fs.list(&bucket, None).try_collect().await.unwrap();
        let listed: Vec<_> = listed.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(listed, self.rows.objects.keys().collect::<Vec<_>>(), "what is listed");
    }
}

fn histories() -> Vec<Vec<Step>> {
    use Step::{Copy, Delete, Put, Settle};
    vec![
        vec![Put("a", 10), Settle, Put("a", 10), Settle, Put("a", 7), Settle, Put("a", 10), Put("b", 10), Put("c", 10)],
        vec![Put("a", 10), Put("a", 10), Put("a", 10), Settle, Put("b", 10), Put("a", 10), Settle, Put("b", 10), Put("c", 10)],
        vec![Put("a", 9), Settle, Delete("a"), Settle, Put("b", 9), Put("c", 9), Delete("b"), Put("b", 9), Settle, Put("d", 9)],
        vec![Put("d/a", 9), Settle, Delete("d/a"), Put("d/b", 9), Settle, Put("d/a", 9), Delete("d/b"), Delete("d/a"), Settle],
        vec![
            Put("d/e/f", 5),
            Settle,
            Put("d/e/f", 5),
            Put("d/e", 5),
            Put("d", 5),
            Settle,
            Delete("d/e/f"),
            Put("d/e/g", 5),
            Settle,
        ],
        vec![Put("n", 5), Put("n/n", 5), Settle, Delete("n"), Settle, Put("n/m", 5), Put("n", 5), Settle, Delete("n/n"), Settle],
        vec![
            Put("a", 70_000),
            Settle,
            Put("a", 8),
            Settle,
            Put("b", 70_000),
            Copy("a", "b"),
            Copy("b", "c/d"),
            Settle,
            Put("a", 9),
        ],
        vec![
            Put("a", 9),
            Delete("a"),
            Put("a", 9),
            Settle,
            Delete("a"),
            Put("b", 9),
            Put("a", 9),
            Settle,
            Put("c", 9),
            Put("c", 9),
        ],
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// A store with a bucket, before anything happens.
async fn prepared() -> (Shim, Site) {
    let shim = Shim::new();
    let site = Site::restart(&shim, Rows::default(), 0).await.unwrap();
    site.fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    (shim, site)
}

/// Runs steps until the crash; answers how many were begun.
async fn run(site: &mut Site, steps: &[Step]) -> usize {
    for (n, step) in steps.iter().enumerate() {
        match site.run(step).await {
            Ok(()) => {}
            Err(Error::Io { .. }) => return n + 1,
            Err(err) => panic!("{step:?}: {err}"),
        }
    }
    steps.len()
}

#[test]
fn every_crash_leaves_what_was_committed() {
    runtime().block_on(async {
        let mut states = 0;
        for steps in histories() {
            let (shim, mut site) = prepared().await;
            let first = shim.calls() + 1;
            run(&mut site, &steps).await;
            site.check().await;
            for call in first..=shim.calls() {
                states += crash_at(call, &steps).await + kill_at(call, &steps).await;
            }
        }
        assert!(states > 4_000, "only {states} states");
    });
}

/// Crashes at this call, goes on after each way it may have left things, and crashes again.
async fn crash_at(call: u64, steps: &[Step]) -> usize {
    let (shim, mut site) = prepared().await;
    shim.crash_at(call);
    let begun = run(&mut site, steps).await;
    assert!(shim.crashed());
    let (rows, writes) = (site.rows.clone(), site.writes);
    drop(site);
    for seed in 0..6 {
        let after = shim.crash(seed);
        let mut site = Site::restart(&after, rows.clone(), writes).await.unwrap();
        site.check().await;
        after.crash_at(after.calls() + 1 + (call * 7 + seed * 3) % 40);
        run(&mut site, &[Step::Settle]).await;
        run(&mut site, &steps[begun..]).await;
        run(&mut site, &[Step::Put("z", 10), Step::Settle]).await;
        let (rows, writes) = (site.rows.clone(), site.writes);
        drop(site);
        let last = after.crash(seed + 100);
        let mut site = Site::restart(&last, rows, writes).await.unwrap();
        site.check().await;
        // Every spare file is written once more: none of them may be anybody's.
        let puts = ["z/1", "z/2", "z/3", "z/4", "z/5", "z/6"].map(|key| Step::Put(key, 10));
        run(&mut site, &puts).await;
        site.check().await;
    }
    12
}

/// Only the process is killed at this call; the power goes later, and takes what neither process synced.
async fn kill_at(call: u64, steps: &[Step]) -> usize {
    for seed in 0..4 {
        let (shim, mut site) = prepared().await;
        shim.crash_at(call);
        let begun = run(&mut site, steps).await;
        let (rows, writes) = (site.rows.clone(), site.writes);
        drop(site);
        shim.restart();
        let mut site = Site::restart(&shim, rows, writes).await.unwrap();
        site.check().await;
        shim.crash_at(shim.calls() + 5 + (call * 5 + seed * 11) % 40);
        let puts = ["z/1", "y", "x", "w"].map(|key| Step::Put(key, 10));
        run(&mut site, &puts).await;
        run(&mut site, &steps[begun..]).await;
        let (rows, writes) = (site.rows.clone(), site.writes);
        drop(site);
        Site::restart(&shim.crash(seed), rows, writes).await.unwrap().check().await;
    }
    4
}
