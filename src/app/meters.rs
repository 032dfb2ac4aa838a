//! Which states the metrics show, read when somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::admin::{Census, KeptCensus, SiteView};
use crate::backend::{Buffered, Traffic};
use crate::journal::Archive;
use crate::model::BucketName;
use crate::site::{Counters, ImportProgress, Site};
use crate::status::Stats;
use crate::tasks::{Phase, Workers};
use crate::telemetry::{Kind, Metrics, Sample};

/// Adds the states of a site and its workers.
pub fn attach(metrics: &Metrics, site: &Site, workers: &Workers, census: &Arc<KeptCensus>) {
    attach_process(metrics, site);
    attach_site(metrics, site);
    attach_status(metrics, site);
    attach_workers(metrics, workers);
    attach_stores(metrics, site);
    attach_buffers(metrics, site);
    attach_neighbours(metrics, census);
    attach_backlog(metrics, census);
}

fn attach_process(metrics: &Metrics, site: &Site) {
    let name = site.id().name.clone();
    metrics.sample("build", "Version and site of this process", Kind::Gauge, move || {
        vec![Sample { labels: vec![("version", env!("CARGO_PKG_VERSION").into()), ("site", name.clone())], value: 1.0 }]
    });
}

/// A counter of the site: name, help, where it is.
type SiteCounter = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

const SITE_COUNTERS: [SiteCounter; 6] = [
    ("site_conflicts", "Commits that began again because another write came first", |counters| &counters.conflicts),
    ("conflicts", "Writes that lost against one from another site that had not seen them", |counters| &counters.lost_conflicts),
    ("site_adopted", "Objects changed behind the site's back and taken over", |counters| &counters.adopted),
    ("site_suspects", "Objects changed behind the site's back and fetched again from another site", |counters| {
        &counters.suspects
    }),
    ("site_lost", "Objects whose bytes were found missing", |counters| &counters.lost),
    ("site_rotten", "Reads whose bytes did not have their checksum", |counters| &counters.rotten),
];

/// A number of a bucket that is being imported: name, help, where it is.
type ImportNumber = (&'static str, &'static str, fn(&ImportProgress) -> u64);

const IMPORT_NUMBERS: [ImportNumber; 4] = [
    ("import_objects", "Files found in a bucket that is being imported", |progress| progress.objects),
    ("import_read_objects", "Of those, the ones known to have been read", |progress| progress.read),
    ("import_skipped", "Files and folders there that no key can name", |progress| progress.skipped),
    ("import_unreadable", "Files there that could not be read in the last pass", |progress| progress.unreadable),
];

fn attach_site(metrics: &Metrics, site: &Site) {
    let unsettled = site.clone();
    let help = "Writes whose last steps at the store are to be made or made durable";
    metrics.sample("unsettled", help, Kind::Gauge, move || vec![Sample::of(unsettled.unsettled() as f64)]);
    let rebuilding = site.clone();
    let help = "Whether the status store was lost and the store is looked through for what it knew";
    metrics.sample("rebuilding", help, Kind::Gauge, move || vec![Sample::of(f64::from(u8::from(rebuilding.is_rebuilding())))]);
    for (name, help, number) in IMPORT_NUMBERS {
        let site = site.clone();
        metrics.sample(name, help, Kind::Gauge, move || {
            let sample =
                |(bucket, progress): (_, _)| Sample::labelled("bucket", BucketName::to_string(&bucket), number(&progress) as f64);
            site.imports().into_iter().map(sample).collect()
        });
    }
    for (name, help, counter) in SITE_COUNTERS {
        let site = site.clone();
        metrics
            .sample(name, help, Kind::Counter, move || vec![Sample::of(counter(site.counters()).load(Ordering::Relaxed) as f64)]);
    }
}

/// A number of the status store: name, help, kind, where it is.
type StatusNumber = (&'static str, &'static str, Kind, fn(&Stats) -> u64);

const STATUS_NUMBERS: [StatusNumber; 12] = [
    ("status_commits", "Commits that became durable", Kind::Counter, |stats| stats.commits),
    ("status_conflicts", "Commits that were answered with a conflict", Kind::Counter, |stats| stats.conflicts),
    ("status_batches", "Engine transactions that those commits shared", Kind::Counter, |stats| stats.batches),
    ("status_queued", "Commits that wait for the writer", Kind::Gauge, |stats| stats.queued as u64),
    ("status_cached_rows", "Rows in the row cache", Kind::Gauge, |stats| stats.cached_rows as u64),
    ("status_cached_bytes", "Bytes in the row cache", Kind::Gauge, |stats| stats.cached_bytes as u64),
    ("status_cache_hits", "Look-ups that the row cache answered", Kind::Counter, |stats| stats.cache_hits),
    ("status_cache_misses", "Look-ups that the row cache did not answer", Kind::Counter, |stats| stats.cache_misses),
    ("status_file_bytes", "Length of the status store's file", Kind::Gauge, |stats| stats.file_bytes),
    ("status_seq", "The last event told", Kind::Counter, |stats| stats.seq),
    ("journal_waiting_bytes", "Bytes of rows that wait to be archived", Kind::Gauge, |stats| stats.journal_bytes as u64),
    ("journal_dropped", "Batches of rows that found no room to wait and are looked for in the tables", Kind::Counter, |stats| {
        stats.journal_dropped
    }),
];

/// A number of how this site stands with another: name, help, where it is. None is not shown.
type SiteNumber = (&'static str, &'static str, fn(&SiteView) -> Option<f64>);

const SITE_NUMBERS: [SiteNumber; 9] = [
    ("pending_objects", "Units that a site is owed", |site| Some(site.pending as f64)),
    ("oldest_pending_seconds", "Age of the oldest unit that a site is owed; 0 where it is owed none", |site| {
        Some(site.oldest_pending_seconds.unwrap_or(0.0))
    }),
    ("failed_objects", "Units that a site could not take; 10,000 stands for that many or more", |site| Some(site.failed as f64)),
    ("dirty_buckets", "Buckets of which a site may lack something that only reconciliation finds", |site| {
        Some(site.dirty as f64)
    }),
    ("lag_seq", "What a site has told that is not known here", |site| site.lag_seq.map(|lag| lag as f64)),
    ("lag_seconds", "Since all that a site had told was known here; 0 while it is", |site| site.lag_seconds),
    ("clock_offset_seconds", "Clock of a site less the clock here", |site| site.clock_offset_ms.map(|ms| ms as f64 / 1000.0)),
    ("site_reachable", "Whether a site answers", |site| Some(f64::from(u8::from(site.reachable)))),
    ("site_paused", "Whether the traffic with a site is paused", |site| Some(f64::from(u8::from(site.paused)))),
];

/// Labelled by the names of sites, of which the settings name few.
fn attach_neighbours(metrics: &Metrics, census: &Arc<KeptCensus>) {
    for (name, help, number) in SITE_NUMBERS {
        let census = census.clone();
        metrics.sample(name, help, Kind::Gauge, move || {
            let last = census.last();
            let sample = |site: &SiteView| Some(Sample::labelled("site", site.name.clone(), number(site)?));
            last.sites.iter().filter_map(sample).collect()
        });
    }
}

/// A number of the census: name, help, where it is.
type CensusNumber = (&'static str, &'static str, fn(&Census) -> u64);

const CENSUS_NUMBERS: [CensusNumber; 4] = [
    ("work_due", "Units to be fetched from other sites now; 10,000 stands for that many or more", |census| census.backlog.due),
    ("work_waiting", "Units to be fetched from other sites later", |census| census.backlog.waiting),
    ("conflicted_objects", "Objects of which a write lost against one that had not seen it", |census| census.conflicts),
    ("graves", "Deletes that are remembered", |census| census.graves),
];

fn attach_backlog(metrics: &Metrics, census: &Arc<KeptCensus>) {
    for (name, help, number) in CENSUS_NUMBERS {
        let census = census.clone();
        metrics.sample(name, help, Kind::Gauge, move || vec![Sample::of(number(&census.last()) as f64)]);
    }
}

/// A number of what became of calls to a store's service: name, help, where it is.
type TrafficNumber = (&'static str, &'static str, fn(&Traffic) -> f64);

const TRAFFIC_NUMBERS: [TrafficNumber; 2] = [
    ("store_calls", "Calls to the service of a store, by what was done and what came of it", |traffic| traffic.count as f64),
    ("store_call_seconds", "Time that those calls took", |traffic| traffic.seconds),
];

fn attach_stores(metrics: &Metrics, site: &Site) {
    for (name, help, number) in TRAFFIC_NUMBERS {
        let site = site.clone();
        metrics.sample(name, help, Kind::Counter, move || {
            let sample = |traffic: Traffic| {
                let labels = [("call", traffic.call.to_owned()), ("outcome", traffic.outcome.to_owned())];
                let store = (!traffic.store.is_empty()).then(|| ("store", traffic.store.clone()));
                Sample { labels: labels.into_iter().chain(store).collect(), value: number(&traffic) }
            };
            site.backend().traffic().into_iter().map(sample).collect()
        });
    }
}

/// A number of what waits in a buffer: name, help, kind, where it is.
type BufferNumber = (&'static str, &'static str, Kind, fn(&Buffered) -> Option<u64>);

const BUFFER_NUMBERS: [BufferNumber; 6] = [
    ("buffer_objects", "Writes that wait on the local disk for their store", Kind::Gauge, |buffered| Some(buffered.objects)),
    ("buffer_bytes", "Their bytes", Kind::Gauge, |buffered| Some(buffered.bytes)),
    ("buffer_oldest_ms", "When the oldest of them came, milliseconds since 1970", Kind::Gauge, |buffered| buffered.oldest_ms),
    ("buffer_refused", "Of them, those that the store refuses or that cannot be read", Kind::Gauge, |buffered| {
        Some(buffered.refused)
    }),
    ("buffer_taken", "Writes that were acknowledged from the local disk", Kind::Counter, |buffered| Some(buffered.taken)),
    ("buffer_carried", "Writes that their store has taken from there", Kind::Counter, |buffered| Some(buffered.carried)),
];

fn attach_buffers(metrics: &Metrics, site: &Site) {
    for (name, help, kind, number) in BUFFER_NUMBERS {
        let site = site.clone();
        metrics.sample(name, help, kind, move || {
            let sample = |buffered: Buffered| Some(Sample::labelled("store", buffered.store.clone(), number(&buffered)? as f64));
            site.backend().buffers().into_iter().filter_map(sample).collect()
        });
    }
}

fn attach_status(metrics: &Metrics, site: &Site) {
    for (name, help, kind, number) in STATUS_NUMBERS {
        let status = site.status().clone();
        metrics.sample(name, help, kind, move || vec![Sample::of(number(&status.stats()) as f64)]);
    }
}

/// A number of the archive: name, help, kind.
const ARCHIVE_NUMBERS: [(&str, &str, Kind); 3] = [
    ("journal_archived_ms", "Wall time up to which every row is archived in the store, milliseconds since 1970", Kind::Gauge),
    ("journal_bytes", "Bytes of rows archived in the store", Kind::Counter),
    ("journal_snapshots", "Times that every row was archived", Kind::Counter),
];

/// Adds the numbers of the archive, where there is one.
pub fn attach_archive(metrics: &Metrics, archive: &Archive) {
    for (at, (name, help, kind)) in ARCHIVE_NUMBERS.into_iter().enumerate() {
        let archive = archive.clone();
        metrics.sample(name, help, kind, move || vec![Sample::of(archive.numbers()[at] as f64)]);
    }
}

fn attach_workers(metrics: &Metrics, workers: &Workers) {
    let worked = workers.clone();
    metrics.sample("worker_steps", "Steps that did something", Kind::Counter, move || {
        worked.snapshots().into_iter().map(|worker| Sample::labelled("worker", worker.name, worker.worked as f64)).collect()
    });
    let failed = workers.clone();
    metrics.sample("worker_failures", "Steps that failed", Kind::Counter, move || {
        failed.snapshots().into_iter().map(|worker| Sample::labelled("worker", worker.name, worker.failed as f64)).collect()
    });
    let panicked = workers.clone();
    metrics.sample("workers_panicked", "Workers that stand still until a restart", Kind::Gauge, move || {
        let stands_still = panicked.snapshots().iter().filter(|worker| worker.phase == Phase::Panicked).count();
        vec![Sample::of(stands_still as f64)]
    });
}
