//! Settings that are good by themselves and wrong together, or that say something nobody would say on purpose.

use std::path::{Component, Path, PathBuf};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::section::{Problem, Report};
use super::{Backend, Config, Route, sites, stores};
use crate::backend::fs;
use crate::model::glob;

/// Adds what is wrong to `report`.
pub fn check(config: &Config, report: &mut Report) {
    let mut refuse = |path: &str, text: String| {
        let origin = report.overridden.get(path).cloned();
        report.problems.push(Problem { path: path.into(), origin, text });
    };
    check_names(config, &mut refuse);
    check_listeners(config, &mut refuse);
    check_routes(config, &mut refuse);
    sites::check(config, &mut refuse);
    stores::check_buffers(config, &mut refuse);
    for (name, backend) in &config.backends {
        let path = format!("backend.{name}");
        match backend {
            Backend::Fs(fs) => check_directory(config, &path, fs, &mut refuse),
            Backend::S3(store) => stores::check(&path, store.settings.refusal(), &mut refuse),
            Backend::Azure(store) => stores::check(&path, store.settings.refusal().or_else(|| store.leak()), &mut refuse),
            Backend::Gcs(settings, _) => stores::check(&path, settings.refusal(), &mut refuse),
            Backend::Memory => {}
        }
    }
    if !is_log_filter(&config.log.level) {
        let allowed = "allowed: error, warn, info, debug, trace, or such as \"info,anybucket::site=debug\"";
        refuse("log.level", format!("found {:?}; {allowed}", config.log.level));
    }
}

/// A word that is no level would be taken for a module's name, and nothing would be logged.
fn is_log_filter(filter: &str) -> bool {
    let is_level_or_directive = |part: &str| part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok();
    filter.split(',').all(is_level_or_directive) && EnvFilter::builder().parse(filter).is_ok()
}

pub(super) type Refuse<'a> = dyn FnMut(&str, String) + 'a;

fn check_names(config: &Config, refuse: &mut Refuse<'_>) {
    let site = &config.site.name;
    if !is_site_name(site) {
        refuse("site.name", format!("found {site:?}; allowed: 1 to 63 characters of a-z, 0-9, '-' and '_'"));
    }
    let region = &config.s3.region;
    if !is_name(region, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        refuse("s3.region", format!("found {region:?}; allowed: 1 to 63 characters of a-z, 0-9 and '-'"));
    }
    for domain in &config.s3.domains {
        if !domain.split('.').all(|label| is_name(label, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
            refuse("s3.domains", format!("found {domain:?}; allowed: host names in lower case, such as \"s3.example.com\""));
        }
    }
}

pub(super) fn is_site_name(name: &str) -> bool {
    is_name(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

fn is_name(name: &str, legal: impl Fn(char) -> bool) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(legal)
}

fn check_listeners(config: &Config, refuse: &mut Refuse<'_>) {
    let (s3, admin) = (config.s3.listen, config.admin.listen);
    if s3 == admin && s3.port() != 0 {
        refuse("admin.listen", format!("found {admin}, which is s3.listen too; give each a port of its own"));
    }
    if !admin.ip().is_loopback() && !config.admin.allow_remote && config.admin.tls.is_none() {
        let why = "which other machines can reach, and the token would travel unencrypted";
        let remedy = "give it admin.tls, use a loopback address, or say it aloud with admin.allow_remote = true";
        refuse("admin.listen", format!("found {admin}, {why}; {remedy}"));
    }
}

fn check_routes(config: &Config, refuse: &mut Refuse<'_>) {
    let known: Vec<&str> = config.backends.iter().map(|(name, _)| name.as_str()).collect();
    if config.routes.is_empty() {
        refuse("route", "found no route; every bucket needs one, or remove the setting".into());
    }
    for (at, route) in config.routes.iter().enumerate() {
        let path = format!("route[{at}]");
        if !known.contains(&route.backend.as_str()) {
            let text = format!("found {:?}, which is no [backend.…]; allowed: {}", route.backend, known.join(", "));
            refuse(&format!("{path}.backend"), text);
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '*');
        if !is_name(&route.buckets, legal) {
            let allowed = "allowed: the name of a bucket, or a pattern such as \"logs-*\"";
            refuse(&format!("{path}.buckets"), format!("found {:?}; {allowed}", route.buckets));
        }
        check_location(config, &path, route, refuse);
        check_place(&config.routes, at, refuse);
        let takes_all = |before: &Route| before.location == route.location && glob(&before.buckets, &route.buckets);
        if let Some(before) = config.routes[..at].iter().position(takes_all) {
            refuse(&path, format!("is never reached: route[{before}] leads every such bucket elsewhere; put this one before it"));
        }
    }
    if config.backends.len() > 1 {
        check_stores_beside_each_other(config, refuse);
    }
    for name in known.iter().filter(|name| !config.routes.iter().any(|route| route.backend == **name)) {
        let remedy = format!("add [[route]] with backend = {name:?}, or remove it");
        refuse(&format!("backend.{name}"), format!("no route leads to it; {remedy}"));
    }
}

/// Locations are regions to clients, and some of those know no other letters.
fn check_location(config: &Config, path: &str, route: &Route, refuse: &mut Refuse<'_>) {
    let Some(location) = &route.location else { return };
    if !is_name(location, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        refuse(&format!("{path}.location"), format!("found {location:?}; allowed: 1 to 63 characters of a-z, 0-9 and '-'"));
    }
    if *location == config.s3.region {
        let remedy = "leave the setting out: routes without it take what is made in the site's region";
        refuse(&format!("{path}.location"), format!("found {location:?}, which is s3.region; {remedy}"));
    }
}

/// Each bucket has one place in a store, whichever route leads to it, and no other bucket of ours lies there.
fn check_place(routes: &[Route], at: usize, refuse: &mut Refuse<'_>) {
    let (route, path) = (&routes[at], format!("route[{at}]"));
    let beside = || routes[..at].iter().filter(|other| other.backend == route.backend);
    if beside().any(|other| other.buckets == route.buckets && other.rule() != route.rule()) {
        let text = format!("another route has {} elsewhere in the same store; say it alike in both", route.buckets);
        refuse(&format!("{path}.bucket"), text);
        return;
    }
    let Some(rule) = route.rule() else {
        if route.prefix.is_some() {
            refuse(&format!("{path}.prefix"), "is a part of a bucket; say of which, with `bucket`".into());
        }
        return;
    };
    let path = format!("{path}.{}", if rule.prefix.is_empty() { "bucket" } else { "prefix" });
    if let Some(other) = beside().find(|other| other.rule().is_none() && may_share(&other.buckets, &route.buckets)) {
        let remedy = "put the route that says where they lie before the other, or give the other a store of its own";
        refuse(&path, format!("{} of the same store are led by an earlier route: {remedy}", other.buckets));
        return;
    }
    if let Some(refusal) = rule.refusal() {
        refuse(&path, refusal);
    } else if let Some(met) = beside().filter_map(Route::rule).find(|other| *other != rule && other.meets(&rule)) {
        let remedy = "one would be in the other; give each a place of its own";
        refuse(
            &path,
            format!("leads {} to {}, and {} are at {}: {remedy}", rule.buckets, rule.place(), met.buckets, met.place()),
        );
    }
    if let Some(other) = routes.iter().position(|other| other.buckets == rule.bucket.as_str()) {
        let remedy = "what holds other buckets can be none itself; take one of the two out";
        refuse(
            &path,
            format!("found {:?} as `bucket`, and route[{other}] leads a bucket of that name; {remedy}", rule.bucket.as_str()),
        );
    }
}

/// Whether some bucket may have a name of both patterns.
fn may_share(one: &str, other: &str) -> bool {
    let wild = |c: char| matches!(c, '*' | '?');
    match (one.find(wild), other.find(wild)) {
        (None, _) => glob(other, one),
        (_, None) => glob(one, other),
        (Some(end), Some(others)) => one[..end].starts_with(&other[..others]) || other[..others].starts_with(&one[..end]),
    }
}

/// What is known of objects in memory goes with the process, and each store is one store.
fn check_stores_beside_each_other(config: &Config, refuse: &mut Refuse<'_>) {
    for (at, (name, backend)) in config.backends.iter().enumerate() {
        let path = format!("backend.{name}");
        if matches!(backend, Backend::Memory) {
            refuse(&format!("{path}.kind"), "found \"memory\" beside other stores; it can only be the only one".into());
        }
        let same = config.backends[..at].iter().find(|(_, before)| is_same_store(before, backend));
        if let Some((before, _)) = same {
            refuse(&path, format!("is where backend.{before} is; give each a place of its own"));
        }
    }
}

fn is_same_store(one: &Backend, other: &Backend) -> bool {
    match (one, other) {
        (Backend::Fs(one), Backend::Fs(other)) => {
            let (one, other) = (absolute(&one.path), absolute(&other.path));
            one.starts_with(&other) || other.starts_with(&one)
        }
        (Backend::S3(one), Backend::S3(other)) => {
            (&one.settings.endpoint, &one.settings.common.home) == (&other.settings.endpoint, &other.settings.common.home)
        }
        (Backend::Azure(one), Backend::Azure(other)) => one.settings.endpoint == other.settings.endpoint,
        (Backend::Gcs(one, _), Backend::Gcs(other, _)) => {
            (&one.endpoint, &one.project, &one.common.home) == (&other.endpoint, &other.project, &other.common.home)
        }
        _ => false,
    }
}

fn check_directory(config: &Config, path: &str, fs: &fs::Settings, refuse: &mut Refuse<'_>) {
    if let Some(refusal) = fs.refusal() {
        refuse(&format!("{path}.reserved"), refusal);
    }
    if absolute(&config.data).starts_with(absolute(&fs.path)) {
        let why = format!("found {}, which holds `data` ({}) too", fs.path.display(), config.data.display());
        refuse(&format!("{path}.path"), format!("{why}: keys would lie among the buckets; name another directory"));
    }
}

/// The path as the working directory makes it, without `.` and `..`; links are not followed, since it need not be there yet.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.into()).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
}
