//! Which states the metrics show, read when somebody looks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::site::{Counters, Site};
use crate::status::Stats;
use crate::tasks::{Phase, Workers};
use crate::telemetry::{Kind, Metrics, Sample};

/// Adds the states of a site and its workers.
pub fn attach(metrics: &Metrics, site: &Site, workers: &Workers) {
    attach_process(metrics, site);
    attach_site(metrics, site);
    attach_status(metrics, site);
    attach_workers(metrics, workers);
}

fn attach_process(metrics: &Metrics, site: &Site) {
    let name = site.id().name.clone();
    metrics.sample("build", "Version and site of this process", Kind::Gauge, move || {
        vec![Sample { labels: vec![("version", env!("CARGO_PKG_VERSION").into()), ("site", name.clone())], value: 1.0 }]
    });
}

/// A counter of the site: name, help, where it is.
type SiteCounter = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

const SITE_COUNTERS: [SiteCounter; 5] = [
    ("site_conflicts", "Commits that began again because another write came first", |counters| &counters.conflicts),
    ("site_adopted", "Objects changed behind the site's back and taken over", |counters| &counters.adopted),
    ("site_suspects", "Objects changed behind the site's back and fetched again from another site", |counters| {
        &counters.suspects
    }),
    ("site_lost", "Objects whose bytes were found missing", |counters| &counters.lost),
    ("site_rotten", "Reads whose bytes did not have their checksum", |counters| &counters.rotten),
];

fn attach_site(metrics: &Metrics, site: &Site) {
    let unsettled = site.clone();
    let help = "Writes whose last steps at the store are to be made or made durable";
    metrics.sample("unsettled", help, Kind::Gauge, move || vec![Sample::of(unsettled.unsettled() as f64)]);
    for (name, help, counter) in SITE_COUNTERS {
        let site = site.clone();
        metrics
            .sample(name, help, Kind::Counter, move || vec![Sample::of(counter(site.counters()).load(Ordering::Relaxed) as f64)]);
    }
}

/// A number of the status store: name, help, kind, where it is.
type StatusNumber = (&'static str, &'static str, Kind, fn(&Stats) -> u64);

const STATUS_NUMBERS: [StatusNumber; 10] = [
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
];

fn attach_status(metrics: &Metrics, site: &Site) {
    for (name, help, kind, number) in STATUS_NUMBERS {
        let status = site.status().clone();
        metrics.sample(name, help, kind, move || vec![Sample::of(number(&status.stats()) as f64)]);
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
