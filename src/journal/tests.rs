//! A site whose status store is lost, or comes back from a snapshot, while its directory stays.

mod naming;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::backend::Backend;
use crate::backend::fs::{Fs, Settings};
use crate::backend::memory::Memory;
use crate::clock::{Clock, ManualClock};
use crate::model::{BucketName, Identity, Incarnation, SiteId, SiteNumber};
use crate::replicate::{Error as OpenError, Opening, open_status};
use crate::site::testing::{get, object, put, upload, with_bucket};
use crate::site::{
    CompleteUpload, Description, Error, NamedPart, Neighbours, Parts, ReadConditions, Selection, Site, StartUpload,
    WriteConditions,
};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{ListEntry, ListQuery, Options, Status};
use crate::tasks::{Step, Worker};

/// Long before any file of a test is made: whatever is not archived may be a write.
const LONG_AGO_MS: u64 = 1_000_000_000_000;
/// Long after: whatever has no row is older than the archive.
const FAR_MS: u64 = 4_000_000_000_000;

/// A directory, and the disk that the status store is on.
struct Machine {
    dir: tempfile::TempDir,
    /// What objects lie in instead of the directory.
    store: Option<Arc<Memory>>,
    disk: Forgetful,
    clock: Arc<ManualClock>,
    number: u16,
}

/// A running site.
struct Process {
    site: Site,
    workers: Vec<Box<dyn Worker>>,
    archive: Archive,
}

impl Machine {
    fn new(now_ms: u64) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Forgetful::new(Power::on()));
        Self { dir, store: None, disk, clock: Arc::new(ManualClock::at(now_ms)), number: 1 }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        match &self.store {
            Some(store) => store.clone(),
            None => Arc::new(Fs::open(Settings::at(self.path().join("objects"))).unwrap()),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tick(&self, ms: u64) {
        use crate::clock::WallClock;
        self.clock.set(self.clock.millis() + ms);
    }

    async fn start(&self) -> Process {
        self.try_start().await.expect("it starts")
    }

    async fn try_start(&self) -> Result<Process, OpenError> {
        use crate::clock::WallClock;
        self.tick(1_000);
        let (now_ms, number) = (self.clock.millis(), SiteNumber(self.number));
        let id = SiteId { name: "test".into(), number };
        let backend = self.backend();
        let neighbours = Neighbours::default();
        let opening = Opening { id: &id, backend: &*backend, neighbours: &neighbours, now_ms };
        let options = Options { now_s: u32::try_from(now_ms / 1_000).unwrap(), ..Options::default() };
        let status = open_status(opening, options, |options| Status::open_on(self.disk.clone(), &options)).await?;
        let facts = status.facts();
        let clock = Clock::new(self.clock.clone(), number, facts.incarnation, facts.clock_ms);
        let (site, workers) =
            Site::open(Parts { id, backend, status, clock, neighbours, custody: Default::default() }).await.unwrap();
        let archive = Archive::begin(&site).await.unwrap();
        Ok(Process { site, workers, archive })
    }

    /// Takes the status store away.
    fn lose_status(&mut self) {
        self.disk = Forgetful::new(Power::on());
    }

    /// What the disk of the status store holds now.
    fn copy_of_status(&self) -> Forgetful {
        self.disk.crash(1)
    }

    fn notes(&self) -> Vec<std::path::PathBuf> {
        let listed = std::fs::read_dir(self.path().join("objects/.anybucket/journal")).unwrap();
        let mut notes: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        notes.sort();
        notes
    }

    fn rows_notes(&self) -> Vec<std::path::PathBuf> {
        self.notes().into_iter().filter(|path| !path.ends_with("owner") && !path.ends_with("import")).collect()
    }
}

impl Process {
    async fn work(&mut self, name: &str) {
        for worker in self.workers.iter_mut().filter(|worker| worker.name() == name) {
            while worker.step().await.unwrap() == Step::Worked {}
        }
    }

    /// What the workers do sooner or later.
    async fn settle(&mut self) {
        self.work("settle").await;
        self.work("rebuild").await;
    }

    /// The orderly end.
    async fn stop(mut self) {
        self.settle().await;
        self.archive.complete_now().await;
        self.archive.flush().await.unwrap();
    }

    fn life(&self) -> Incarnation {
        self.site.status().facts().incarnation
    }
}

/// Everything that clients see.
async fn seen(site: &Site) -> BTreeMap<String, (Identity, u64, bytes::Bytes)> {
    let query = ListQuery { bucket: object("-").bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    let mut seen = BTreeMap::new();
    for entry in site.list(query).await.expect("it lists").entries {
        let ListEntry::Object { key, record } = entry else { panic!("no delimiter was asked for") };
        let ms = record.row.vector.data.ms();
        seen.insert(key.clone(), (record.row.identity.clone(), ms, get(site, &key).await.unwrap()));
    }
    seen
}

async fn keys(site: &Site) -> Vec<String> {
    seen(site).await.into_keys().collect()
}

async fn multipart(site: &Site, key: &str) {
    let upload_id = started(site, key).await;
    complete(site, key, &upload_id).await;
}

async fn started(site: &Site, key: &str) -> String {
    site.start_upload(&object(key), StartUpload { owner: "me".into(), ..Default::default() }).await.unwrap().upload_id
}

async fn complete(site: &Site, key: &str, upload_id: &str) {
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 << 20), (2, 100)] {
        let part = site.put_part(&object(key), upload_id, number, upload(vec![7; size])).await.unwrap();
        parts.push(NamedPart { number, etag: Some(part.etag), checksums: Vec::new() });
    }
    let complete = CompleteUpload { parts, ..Default::default() };
    site.complete_upload(&object(key), upload_id, complete).await.unwrap();
}

async fn described(site: &Site, key: &str) {
    let mut description = Description { metadata: vec![("Color".into(), "Red".into())], ..Default::default() };
    description.headers.content_type = Some("text/plain".into());
    description.tags = vec![("a".into(), "1".into())];
    site.put(&object(key), upload("described"), description, WriteConditions::default()).await.unwrap();
}

/// Objects of every kind, one deleted, one replaced.
async fn fill(process: &mut Process) {
    let site = with_bucket(process.site.clone()).await;
    for n in 0..40 {
        put(&site, &format!("dir/{n:02}"), vec![n; 100 + usize::from(n)]).await;
    }
    put(&site, "large", vec![9; 300_000]).await;
    put(&site, "replaced", "before").await;
    put(&site, "gone", "gone").await;
    multipart(&site, "parts").await;
    described(&site, "described").await;
    process.work("settle").await;
    put(&site, "replaced", "after").await;
    site.set_register(&object("dir/07"), None, crate::site::Register::Tags(vec![("tag".into(), "late".into())])).await.unwrap();
    site.delete(&object("gone"), WriteConditions::default()).await.unwrap();
}

#[tokio::test]
async fn a_lost_status_store_comes_back_as_it_was() {
    let mut machine = Machine::new(FAR_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let (before, life) = (seen(&process.site).await, process.life());
    process.stop().await;
    for round in 0..3 {
        machine.lose_status();
        let mut process = machine.start().await;
        assert!(process.life() > life);
        assert!(matches!(get(&process.site, "gone").await, Err(Error::NoSuchKey)), "round {round}");
        process.settle().await;
        assert!(!process.site.is_rebuilding());
        assert_eq!(seen(&process.site).await, before, "round {round}");
        let record = process.site.head(&object("parts"), None, Selection::Part(2), &ReadConditions::default()).await.unwrap();
        assert_eq!(record.range, 5 << 20..(5 << 20) + 100);
        assert_eq!((process.site.unsettled(), process.site.buckets().await.unwrap()[0].owner.as_str()), (0, "owner"));
        process.stop().await;
    }
}

#[tokio::test]
async fn while_it_is_rebuilt_known_keys_are_served_and_absences_are_not_believed() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    process.archive.complete_now().await;
    put(&process.site, "late", "not archived").await;
    put(&process.site, "unwanted", "not archived").await;
    drop(process);
    machine.lose_status();
    let mut process = machine.start().await;
    let site = process.site.clone();
    assert_eq!(get(&site, "replaced").await.unwrap(), "after");
    assert!(matches!(get(&site, "gone").await, Err(Error::NoSuchKey)));
    assert!(matches!(get(&site, "late").await, Err(Error::Unavailable { .. })));
    let query = ListQuery { bucket: object("-").bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    assert!(matches!(site.list(query).await, Err(Error::Unavailable { .. })));
    let if_absent = WriteConditions { if_none_match: Some(crate::site::EtagCondition::Any), ..WriteConditions::default() };
    let refused = site.put(&object("late"), upload("mine"), Description::default(), if_absent).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
    site.delete(&object("unwanted"), WriteConditions::default()).await.unwrap();
    put(&site, "new", "written meanwhile").await;
    process.settle().await;
    assert_eq!(get(&site, "late").await.unwrap(), "not archived");
    assert_eq!(get(&site, "new").await.unwrap(), "written meanwhile");
    assert!(matches!(get(&site, "unwanted").await, Err(Error::NoSuchKey)));
    assert!(!machine.path().join("objects/bucket/unwanted").exists());
    assert!(keys(&site).await.contains(&"late".to_owned()));
}

#[tokio::test]
async fn a_write_that_was_not_archived_is_not_lost() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    process.archive.complete_now().await;
    machine.tick(5_000);
    let last = put(&process.site, "dir/03", "overwritten late").await;
    described(&process.site, "new/late").await;
    let late = BucketName::new("late-bucket").unwrap();
    process.site.create_bucket(&late, "owner", "us-east-1").await.unwrap();
    let before = seen(&process.site).await;
    drop(process);
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    let after = seen(&process.site).await;
    assert_eq!(after.len(), before.len());
    for (key, (identity, _, bytes)) in &before {
        assert_eq!((&after[key].2, &after[key].0.etag), (bytes, &identity.etag), "{key}");
    }
    assert_eq!(after["new/late"].0.headers.content_type.as_deref(), Some("application/octet-stream"));
    let record = process.site.head(&object("dir/03"), None, Selection::All, &ReadConditions::default()).await.unwrap().record;
    assert!(record.row.vector.data <= last.stamp, "not greater than the stamp that was lost");
    assert_eq!(process.site.bucket(&late).await.unwrap().owner, "owner");
    assert_eq!(process.site.counters().adopted.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_was_not_archived_is_found_however_often_the_status_store_is_lost() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let process = machine.start().await;
    let site = with_bucket(process.site.clone()).await;
    process.archive.complete_now().await;
    put(&site, "late", "not archived").await;
    drop((process, site));
    machine.lose_status();
    let process = machine.start().await;
    // What is archived from now on says nothing of the objects that were not looked for yet.
    machine.clock.set(FAR_MS);
    process.archive.complete_now().await;
    drop(process);
    let process = machine.start().await;
    assert!(process.site.is_rebuilding());
    drop(process);
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    assert_eq!(get(&process.site, "late").await.unwrap(), "not archived");
    process.stop().await;
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    assert_eq!(get(&process.site, "late").await.unwrap(), "not archived");
    assert_eq!(process.site.counters().adopted.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_status_store_from_a_snapshot_catches_up_and_gives_no_number_out_again() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let upload_id = {
        let start = StartUpload { owner: "me".into(), ..Default::default() };
        let started = process.site.start_upload(&object("unfinished"), start).await.unwrap();
        process.site.put_part(&object("unfinished"), &started.upload_id, 1, upload("part")).await.unwrap();
        started.upload_id
    };
    let old = machine.copy_of_status();
    process.settle().await;
    put(&process.site, "replaced", "later still").await;
    put(&process.site, "new", "after the snapshot").await;
    process.site.delete(&object("dir/11"), WriteConditions::default()).await.unwrap();
    for n in 20..30 {
        put(&process.site, &format!("dir/{n:02}"), vec![n; 50]).await;
        process.work("settle").await;
    }
    let (before, life, seq) = (seen(&process.site).await, process.life(), *process.site.status().told().borrow());
    process.stop().await;
    machine.disk = old;
    let mut process = machine.start().await;
    assert!(process.life() > life);
    assert!(process.site.abort_upload(&object("unfinished"), &upload_id).await.is_err());
    process.settle().await;
    assert_eq!(seen(&process.site).await, before);
    assert_eq!(process.site.unsettled(), 0);
    let written = put(&process.site, "again", "1").await;
    assert!(written.stamp.parts().incarnation > life && written.stamp > stamp_of(&process.site, "new").await);
    let told = *process.site.status().told().borrow();
    assert!(told > seq, "no seq is given out again, in another life neither");
}

async fn stamp_of(site: &Site, key: &str) -> crate::model::Stamp {
    site.head(&object(key), None, Selection::All, &ReadConditions::default()).await.unwrap().record.row.vector.data
}

#[tokio::test]
async fn a_damaged_archive_costs_metadata_and_no_byte() {
    let mut machine = Machine::new(FAR_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let before = seen(&process.site).await;
    process.stop().await;
    for note in machine.rows_notes() {
        let bytes = std::fs::read(&note).unwrap();
        std::fs::write(&note, &bytes[..bytes.len() / 3]).unwrap();
    }
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    let after = seen(&process.site).await;
    assert!(after.keys().eq(before.keys()));
    assert!(after.iter().all(|(key, (_, _, bytes))| *bytes == before[key].2));
}

#[tokio::test]
async fn a_rebuilding_that_is_killed_begins_again() {
    let mut machine = Machine::new(FAR_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let before = seen(&process.site).await;
    process.stop().await;
    machine.lose_status();
    drop(machine.start().await);
    let whole = machine.disk.power().calls();
    for cut in (0..whole).step_by(usize::try_from(whole / 12).unwrap().max(1)) {
        machine.disk = Forgetful::new(Power::on());
        // Only a status store that exists survives a crash on a bare disk.
        drop(Status::open_on(machine.disk.clone(), &Options { now_s: 1, ..Options::default() }).unwrap());
        machine.disk.power().fail_after(cut);
        machine.open_on_a_failing_disk().await;
        machine.disk = machine.disk.crash(cut);
        let mut process = machine.start().await;
        process.settle().await;
        assert_eq!(seen(&process.site).await, before, "cut at {cut} of {whole}");
        process.stop().await;
    }
}

impl Machine {
    /// A start on a disk that fails at some time.
    async fn open_on_a_failing_disk(&self) {
        use crate::clock::WallClock;
        let id = SiteId { name: "test".into(), number: SiteNumber(1) };
        let backend = Fs::open(Settings::at(self.path().join("objects"))).unwrap();
        let neighbours = Neighbours::default();
        let opening = Opening { id: &id, backend: &backend, neighbours: &neighbours, now_ms: self.clock.millis() };
        let options = Options { now_s: u32::try_from(self.clock.millis() / 1_000).unwrap(), ..Options::default() };
        open_status(opening, options, |options| Status::open_on(self.disk.clone(), &options)).await.map(drop).ok();
    }
}

#[tokio::test]
async fn bytes_that_belong_to_nobody_are_left_alone() {
    let mut machine = Machine::new(FAR_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let before = keys(&process.site).await;
    process.stop().await;
    std::fs::write(machine.path().join("objects/bucket/foreign"), "somebody's").unwrap();
    std::fs::write(machine.path().join("objects/bucket/gone"), "somebody's").unwrap();
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    assert_eq!(keys(&process.site).await, before);
    for name in ["foreign", "gone"] {
        assert_eq!(std::fs::read(machine.path().join("objects/bucket").join(name)).unwrap(), b"somebody's");
    }
}

#[tokio::test]
async fn the_store_of_another_site_is_refused() {
    let mut machine = Machine::new(LONG_AGO_MS);
    machine.start().await.stop().await;
    machine.lose_status();
    machine.number = 2;
    let refused = machine.try_start().await.err().map(|err| err.to_string()).unwrap();
    assert!(refused.contains("the store belongs to site 1 (\"test\"), and the settings say site 2"), "{refused}");
    machine.number = 1;
    machine.start().await;
}

#[tokio::test]
async fn a_copied_directory_keeps_every_etag() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let mut process = machine.start().await;
    fill(&mut process).await;
    let before = seen(&process.site).await;
    process.stop().await;
    let copy = machine.path().join("copy");
    assert!(
        std::process::Command::new("cp").args(["-a"]).arg(machine.path().join("objects")).arg(&copy).status().unwrap().success()
    );
    std::fs::remove_dir_all(machine.path().join("objects")).unwrap();
    std::fs::rename(&copy, machine.path().join("objects")).unwrap();
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    assert_eq!(seen(&process.site).await, before);
}

#[tokio::test]
async fn segments_give_way_to_a_snapshot_and_what_was_dropped_is_found() {
    let mut machine = Machine::new(LONG_AGO_MS);
    let process = machine.start().await;
    let site = with_bucket(process.site.clone()).await;
    process.archive.complete_now().await;
    let [_, _, snapshots] = process.archive.numbers();
    for round in 0..100 {
        put(&site, "a", vec![1; round % 50]).await;
        process.archive.complete_now().await;
        if process.archive.numbers()[2] > snapshots {
            break;
        }
    }
    assert!(process.archive.numbers()[2] > snapshots, "small notes are counted too");
    assert!(machine.rows_notes().len() <= 3, "{:?}", machine.rows_notes());
    let before = seen(&site).await;
    drop((process, site));
    machine.lose_status();
    let mut process = machine.start().await;
    process.settle().await;
    assert_eq!(seen(&process.site).await, before);
}

#[tokio::test]
async fn an_unclean_end_costs_nothing_while_the_status_store_is_there() {
    let machine = Machine::new(LONG_AGO_MS);
    let process = machine.start().await;
    let site = with_bucket(process.site.clone()).await;
    put(&site, "archived", "1").await;
    process.archive.complete_now().await;
    put(&site, "not archived", "2").await;
    let life = process.life();
    drop((process, site));
    let process = machine.start().await;
    assert_eq!(process.life(), life);
    assert!(!process.site.is_rebuilding());
    process.archive.complete_now().await;
    drop(process);
    let mut machine = machine;
    machine.lose_status();
    let mut process = machine.start().await;
    let site = process.site.clone();
    assert_eq!(get(&site, "not archived").await.unwrap(), "2");
    process.settle().await;
    assert_eq!(process.site.counters().adopted.load(std::sync::atomic::Ordering::Relaxed), 0);
}
