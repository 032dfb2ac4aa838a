//! Every crash in a history of writes, at every call: whatever was committed is there, whatever was deleted is not.
//!
//! The site is played by [`Site`], whose rows survive (protocol §4): what is tested is the order of moves and syncs here.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::*;
use crate::backend::fs::shim::Shim;
use crate::backend::{Error, Found, FoundOwn};
use crate::model::{BucketName, Incarnation, WriteId};

/// What is left to do after a commit.
#[derive(Clone, Debug)]
enum Settling {
    Publish { from: Place, binding: Binding },
    Remove { at: Place, binding: Binding },
    Release { from: Place },
}

impl Settling {
    fn place(&self) -> &Place {
        match self {
            Self::Publish { from, .. } | Self::Release { from } => from,
            Self::Remove { at, .. } => at,
        }
    }

    fn staged(&self) -> Option<Location> {
        Some(self.place().location.clone()).filter(Location::is_staged)
    }
}

/// A key, and which write's bytes it is where they have their own name.
type Name = (String, Option<WriteId>);

fn name_of(place: &Place) -> Name {
    let write = match place.location.settled() {
        Location::Own(write) => Some(write),
        _ => None,
    };
    (place.object.key.to_string(), write)
}

#[derive(Clone, Debug)]
struct Row {
    place: Place,
    binding: Binding,
    bytes: Vec<u8>,
}

/// What a site's status store would hold.
#[derive(Clone, Debug, Default)]
struct Rows {
    objects: BTreeMap<Name, Row>,
    settle: Vec<Settling>,
}

impl Rows {
    /// Replaces a record; a publication that was still open becomes garbage.
    fn commit(&mut self, name: &Name, row: Option<Row>) -> Option<Row> {
        for row in &mut self.settle {
            if let Settling::Publish { from, .. } = row
                && name_of(from) == *name
            {
                *row = Settling::Release { from: from.clone() };
            }
        }
        match row {
            Some(row) => self.objects.insert(name.clone(), row),
            None => self.objects.remove(name),
        }
    }

    /// The oldest version of a key that has its own name.
    fn oldest(&self, key: &str) -> Option<Name> {
        self.objects.keys().find(|(other, write)| other == key && write.is_some()).cloned()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, usize),
    Delete(&'static str),
    /// A body under a name of its own.
    Version(&'static str, usize),
    /// The oldest of those goes.
    Purge(&'static str),
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
                self.install(Place { object: object(key), location: kept.location }, kept.binding, bytes).await
            }
            Step::Version(key, size) => {
                self.writes += 1;
                let bytes = vec![self.writes; size];
                let kept = stage(&self.fs, key, &bytes).await?;
                let write = WriteId::new(Incarnation(1), 1, self.writes.into());
                let location = Location::OwnStaged(kept.location.staged().unwrap(), write);
                self.install(Place { object: object(key), location }, kept.binding, bytes).await
            }
            Step::Copy(from, to) => {
                let Some(row) = self.rows.objects.get(&(from.to_owned(), None)).cloned() else { return Ok(()) };
                let get = GetOptions { range: None, expect: Some(row.binding) };
                let kept = self.fs.copy(&row.place, get, &object(to), PutOptions::any()).await?;
                self.install(Place { object: object(to), location: kept.location }, kept.binding, row.bytes).await
            }
            Step::Delete(key) => self.delete((key.to_owned(), None)).await,
            Step::Purge(key) => match self.rows.oldest(key) {
                Some(name) => self.delete(name).await,
                None => Ok(()),
            },
            Step::Settle => self.settle().await,
        }
    }

    async fn install(&mut self, from: Place, binding: Binding, bytes: Vec<u8>) -> Result<()> {
        self.rows.commit(&name_of(&from), Some(Row { place: from.clone(), binding: binding.clone(), bytes }));
        self.rows.settle.push(Settling::Publish { from: from.clone(), binding: binding.clone() });
        assert_eq!(self.fs.publish(&from, &binding).await?, Published::Done);
        Ok(())
    }

    async fn delete(&mut self, name: Name) -> Result<()> {
        let Some(row) = self.rows.commit(&name, None) else { return Ok(()) };
        let at = row.place.settled();
        self.rows.settle.push(Settling::Remove { at: at.clone(), binding: row.binding.clone() });
        self.fs.delete(&at, &row.binding).await
    }

    /// Makes what was moved durable, drops the rows, gives the files back: in this order.
    async fn settle(&mut self) -> Result<()> {
        let moved: Vec<_> = self.rows.settle.iter().map(|row| row.place().clone()).collect();
        self.fs.harden(&moved).await?;
        let done = std::mem::take(&mut self.rows.settle);
        for row in &done {
            if let Settling::Publish { from, .. } = row
                && let Some(row) = self.rows.objects.get_mut(&name_of(from))
            {
                row.place = from.settled();
            }
        }
        for location in done.iter().filter_map(Settling::staged) {
            self.fs.release(&Place { object: object("a"), location }).await;
        }
        Ok(())
    }

    /// What a start does before the first request.
    async fn restart(shim: &Shim, rows: Rows, writes: u8) -> Result<Self> {
        let fs = Fs::on_shim(shim)?;
        let at = |location| Place { object: object("a"), location };
        let keep: Vec<_> = rows.settle.iter().filter_map(Settling::staged).map(at).collect();
        fs.recover(&keep).await?;
        let site = Self { fs, rows, writes };
        for row in &site.rows.settle {
            match row {
                Settling::Publish { from, binding } => {
                    let published = site.fs.publish(from, binding).await?;
                    assert_eq!(published, Published::Done, "an acknowledged write is lost: {from:?}");
                }
                Settling::Remove { at, binding } => site.fs.delete(at, binding).await?,
                Settling::Release { .. } => {}
            }
        }
        Ok(site)
    }

    async fn check(&self) {
        for (name, row) in &self.rows.objects {
            let bytes = read(&self.fs, &row.place, Some(&row.binding)).await;
            assert_eq!(bytes.unwrap_or_else(|err| panic!("{name:?} is lost: {err}")), row.bytes, "{name:?} has other bytes");
        }
        let bucket = BucketName::new("bucket").unwrap();
        let listed: Vec<Found> = self.fs.list(&bucket, None).try_collect().await.unwrap();
        let plain = listed.into_iter().map(|found| (found.key.to_string(), None));
        let listed: Vec<FoundOwn> = self.fs.list_own(&bucket, None).try_collect().await.unwrap();
        let own = listed.into_iter().map(|own| (own.found.key.to_string(), Some(own.write)));
        let mut listed: Vec<Name> = plain.chain(own).collect();
        listed.sort();
        assert_eq!(listed, self.rows.objects.keys().cloned().collect::<Vec<_>>(), "what is listed");
    }
}

fn histories() -> Vec<Vec<Step>> {
    use Step::{Copy, Delete, Purge, Put, Settle, Version};
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
        vec![Version("a", 9), Version("a", 9), Settle, Put("a", 9), Purge("a"), Version("a", 9), Settle, Put("b", 9), Purge("a")],
        vec![
            Version("d/e", 9),
            Purge("d/e"),
            Version("d/e/f", 9),
            Settle,
            Version("d/e", 9),
            Put("d/e", 9),
            Purge("d/e/f"),
            Settle,
            Put("d/f", 9),
            Delete("d/e"),
            Version("d/e", 9),
            Settle,
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
