//! What is accepted, what is refused, and with what words.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

use super::section::{Report, Section};
use super::*;
use crate::backend::service::buffer;
use crate::backend::{azure, gcs, s3};
use crate::site::Ownership;

/// The file shown to users.
const SHOWN: &str = include_str!("../../config.toml");

/// Settings from a file with `text`, variables and flags `(path, value)`.
fn load(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let own = |(a, b): &(&str, &str)| (a.to_string(), b.to_string());
    let flag =
        |(path, value): &(&str, &str)| Flag { name: format!("--{path}"), path: path.to_string(), value: value.to_string() };
    Sources { file: Some(file), env: env.iter().map(own).collect(), flags: flags.iter().map(flag).collect() }.load()
}

fn good(text: &str) -> Config {
    load(text, &[], &[]).unwrap()
}

fn refusal(text: &str) -> String {
    load(text, &[], &[]).unwrap_err().to_string()
}

#[test]
fn the_file_shown_to_users_says_the_defaults() {
    assert_eq!(good(SHOWN), Config::default());
}

#[test]
fn the_file_shown_to_users_says_everything_that_can_be_set() {
    let table: Table = SHOWN.parse().unwrap();
    let mut shown = BTreeSet::new();
    flatten("", &Value::Table(table.clone()), &mut shown);
    let mut report = Report::default();
    Section::read(String::new(), table, &mut report, Config::read);
    let known: BTreeSet<String> = report.known.into_iter().collect();
    assert_eq!(shown, known);
}

/// Every path of a document, as the reader of sections writes them; a secret's table is one value.
fn flatten(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    let below = |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) if !path.ends_with("token") => {
            table.iter().for_each(|(key, value)| flatten(&below(key), value, into));
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&format!("{path}[{at}]"), item, into));
        }
        _ => drop(into.insert(path.into())),
    }
}

#[test]
fn every_line_shown_to_users_has_a_meaning_beside_it() {
    for line in SHOWN.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        assert!(line.contains('#'), "{line}");
    }
}

#[test]
fn the_documented_defaults_of_later_stages_are_taken() {
    let text = r#"
        [feed]
        listen = "127.0.0.1:9002"
        [events]
        bus = "none"
        [replication]
        sites = []
        mode = "background"
        ack = "any"
    "#;
    assert_eq!(good(text), Config::default());
}

#[test]
fn what_is_wrong_is_named_with_its_path_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        ("dato = 'x'", &["dato: unknown key", "did you mean `data`?"]),
        ("[s3]\nlistn = '127.0.0.1:1'", &["s3.listn: unknown key; did you mean `listen`?", "region"]),
        ("[s3]\nlisten = '9000'", &["s3.listen: found \"9000\"", "127.0.0.1:9000"]),
        ("[s3]\nlisten = 9000", &["s3.listen: found 9000", "an IP address and a port"]),
        ("[s3]\ndomains = 'a'", &["s3.domains: found \"a\"", "a list of texts"]),
        ("[s3]\ndomains = ['Bad_']", &["s3.domains", "host names in lower case"]),
        ("[s3]\ndrain = '0s'", &["s3.drain: found \"0s\"", "10s"]),
        ("[s3]\nconnections_max = 0", &["s3.connections_max: found 0", "from 1"]),
        ("[s3]\nregion = 'a b'", &["s3.region: found \"a b\"", "a-z"]),
        ("[s3]\nregion = 'EU_west'", &["s3.region: found \"EU_west\"", "a-z"]),
        ("s3 = 1", &["s3: found an integer", "[s3] is expected"]),
        ("[site]\nnumber = 65536", &["site.number: found 65536", "1 to 65535"]),
        ("[site]\nname = 'Paris!'", &["site.name: found \"Paris!\"", "a-z"]),
        ("[admin]\nlisten = '0.0.0.0:9001'", &["admin.listen: found 0.0.0.0:9001", "admin.allow_remote = true"]),
        ("[s3]\ntls = { cert = 'a.pem' }", &["s3.tls.key: is missing", "PEM file"]),
        ("[s3]\ntls = 'a.pem'", &["s3.tls: found a string", "[s3.tls] is expected"]),
        ("[feed]\ntls = { cert = 'a', key = 'b', ca = 'c' }", &["feed.tls.ca: unknown key", "client_ca"]),
        ("[admin]\nlisten = '127.0.0.1:9000'", &["admin.listen", "s3.listen too"]),
        ("[admin]\ntoken = { vault = 'x' }", &["admin.token: found a table", "{ env = \"NAME\" }"]),
        ("[backend.main]\nkind = 'fs'\ndurability = 'never'", &["backend.main.durability: found \"never\"", "\"os\""]),
        ("[backend.main]\nkind = 'memory'\npath = 'x'", &["backend.main.path: unknown key"]),
        ("[backend.main]\nkind = 'floppy'", &["backend.main.kind: found \"floppy\"", "\"memory\""]),
        ("[backend.disk]\npath = 'x'", &["backend.disk.kind: is missing", "\"fs\""]),
        ("[backend.disk]\nkind = 'fs'", &["backend.disk.path: is missing", "directory"]),
        ("[backend.disk]\nkind = 'memory'", &["route[0].backend: found \"main\"", "allowed: disk"]),
        ("[backend.main]\nreserved = 'a/b'", &["backend.main.reserved: reserved = \"a/b\"", "file name"]),
        ("[backend.main]\nreserved = 'bucket'", &["backend.main.reserved", "begins with a dot"]),
        ("[backend.main]\npath = '.'", &["backend.main.path: found .", "name another directory"]),
        ("backend = 3", &["backend: found an integer", "[backend] is expected"]),
        ("route = []", &["route: found no route"]),
        ("route = 1", &["route: found an integer", "[[route]]"]),
        ("[[route]]\nbuckets = 'Logs_*'", &["route[0].buckets: found \"Logs_*\"", "the name of a bucket, or a pattern"]),
        ("[[route]]\n[[route]]\nbuckets = 'logs-*'", &["route[1]: is never reached: route[0] leads"]),
        (
            "[backend.a]\nkind = 'memory'\n[backend.b]\nkind = 'fs'\npath = 'x'\n[[route]]\nbackend = 'a'\nbuckets = 'a'\n[[route]]\nbackend = 'b'",
            &["backend.a.kind: found \"memory\" beside other stores"],
        ),
        (
            "[backend.a]\nkind = 'fs'\npath = 'x/y'\n[backend.b]\nkind = 'fs'\npath = 'x'\n[[route]]\nbackend = 'a'\nbuckets = 'a'\n[[route]]\nbackend = 'b'",
            &["backend.b: is where backend.a is"],
        ),
        ("[[route]]\nlocation = 'EU'\n[[route]]", &["route[0].location: found \"EU\"", "a-z, 0-9 and '-'"]),
        ("[[route]]\nlocation = 'us-east-1'\n[[route]]", &["route[0].location: found \"us-east-1\", which is s3.region"]),
        (
            "[[route]]\nlocation = 'eu'\n[[route]]\n[[route]]\nlocation = 'eu'\nbuckets = 'logs-*'",
            &["route[2]: is never reached: route[0] leads"],
        ),
        ("[[route]]\nbucket = '*'", &["route[0].bucket: found \"*\"", "3 to 63 characters"]),
        ("[[route]]\nbucket = 'corp'", &["route[0].bucket: found \"corp\"", "without '*'"]),
        (
            "[[route]]\nbuckets = 'one'\nbucket = 'corp'\n[[route]]\nbuckets = 'two'\nbucket = 'corp'\n[[route]]",
            &["route[1].bucket: leads two to corp, and one are at corp"],
        ),
        (
            "[[route]]\nbuckets = 'one'\nlocation = 'eu'\nbucket = 'corp'\n[[route]]\nbuckets = 'one'\n[[route]]",
            &["route[1].bucket: another route has one elsewhere"],
        ),
        (
            "[[route]]\nbuckets = 'one'\nbucket = 'two'\n[[route]]\nbuckets = 'two'\nbucket = 'three'\n[[route]]",
            &["route[0].bucket: found \"two\" as `bucket`, and route[1] leads a bucket of that name"],
        ),
        (
            "[[route]]\nbuckets = 'logs-*'\n[[route]]\nbucket = 'corp'\nprefix = '{bucket}/'",
            &["route[1].prefix: logs-* of the same store are led by an earlier route"],
        ),
        (
            "[[route]]\nbuckets = 'a?-*'\n[[route]]\nbuckets = 'ab-1'\nbucket = 'corp'\n[[route]]",
            &["route[1].bucket: a?-* of the same store are led by an earlier route"],
        ),
        ("[[route]]\nprefix = 'a/'", &["route[0].prefix: is a part of a bucket"]),
        ("[[route]]\nbucket = 'corp'\nprefix = 'a'", &["route[0].prefix: found \"a\"", "each ended by '/'"]),
        ("[[route]]\nbucket = 'corp'\nprefix = 'a/'", &["route[0].prefix: found \"a/\"", "such as \"a/{bucket}/\""]),
        (
            "[[route]]\nbuckets = 'one'\nbucket = 'corp'\nprefix = 't-1/x/'\n[[route]]\nbuckets = 't-*'\nbucket = 'corp'\nprefix = '{bucket}/'\n[[route]]",
            &["route[1].prefix: leads t-* to corp below {bucket}/, and one are at corp below t-1/x/"],
        ),
        ("[log]\nformat = 'xml'", &["log.format: found \"xml\"", "\"json\""]),
        ("[log]\nlevel = 'a=b=c'", &["log.level: found \"a=b=c\"", "error, warn, info"]),
        ("[log]\nlevel = 'verbose'", &["log.level: found \"verbose\"", "error, warn, info"]),
        ("[lifecycle]\nday = 24", &["lifecycle.day: found 24", "24h"]),
        ("[events]\nbus = 'kafka'", &["events.bus: found \"kafka\"", "\"jetstream\""]),
        ("[events]\nbus = 'jetstream'\nurl = 'localhost'", &["events.url: found \"localhost\"", "nats://HOST:PORT"]),
        ("[events]\nbus = 'jetstream'\nuser = 'me'", &["events.password", "set both or none"]),
        ("[events]\nbus = 'jetstream'\ntoken = 'a'\ncredentials = 'b'", &["events.credentials", "one way to log in"]),
        ("[events]\nbus = 'jetstream'\ntls_cert = 'c.pem'", &["events.tls_key", "set both or none"]),
        ("[status]\npage_cache_bytes = 'big'", &["status.page_cache_bytes: found \"big\"", "64MiB"]),
    ];
    for (text, words) in cases {
        let said = refusal(text);
        for word in *words {
            assert!(said.contains(word), "{text:?}: {word:?} is not in {said:?}");
        }
    }
}

#[test]
fn several_buckets_may_lie_in_one_there() {
    let config = good(
        "[[route]]\nbuckets = 't-*'\nbucket = 'corp'\nprefix = '{bucket}/'\n[[route]]\nbuckets = 'one'\nbucket = 'corp'\nprefix = 'a/'\n[[route]]",
    );
    let places: Vec<_> = config.routes.iter().filter_map(|route| Some(route.rule()?.place())).collect();
    assert_eq!(places, ["corp below {bucket}/", "corp below a/"]);
}

#[test]
fn every_listener_may_have_tls() {
    let files = "tls = { cert = 'c.pem', key = 'k.pem', client_ca = 'ca.pem' }";
    let config = good(&format!("[s3]\n{files}\n[admin]\n{files}\nlisten = '0.0.0.0:9001'\n[feed]\n{files}"));
    for tls in [config.s3.tls, config.admin.tls, config.feed.tls] {
        assert_eq!(tls.unwrap().client_ca, Some(PathBuf::from("ca.pem")));
    }
    let env = [("ANYBUCKET__S3__TLS__CERT", "c.pem"), ("ANYBUCKET__S3__TLS__KEY", "k.pem")];
    assert_eq!(load(SHOWN, &env, &[]).unwrap().s3.tls.unwrap().identity.key, PathBuf::from("k.pem"));
}

#[test]
fn whose_the_files_of_buckets_are_is_said_by_patterns() {
    let config = good("[[bucket]]\nmatch = 'logs-*'\nownership = 'exclusive'\n[[bucket]]\nmatch = '*'");
    let rule = |buckets: &str, ownership| Rule { buckets: buckets.into(), ownership };
    assert_eq!(config.buckets, [rule("logs-*", Ownership::Exclusive), rule("*", Ownership::Auto)]);
    assert!(refusal("[[bucket]]\nownership = 'auto'").contains("bucket[0].match: is missing"));
    assert!(
        refusal("[[bucket]]\nmatch = '*'\nownership = 'mine'")
            .contains("found \"mine\"; allowed: \"auto\", \"exclusive\" or \"shared\"")
    );
    assert_eq!(good("[[bucket]]\nmatch = '*'\nownership = 'shared'").buckets, [rule("*", Ownership::Shared)]);
}

#[test]
fn what_is_not_built_yet_is_refused_rather_than_ignored() {
    let cases = [
        ("target", "[[target]]\nsite = 'copy'"),
        ("bucket[0].layout", "[[bucket]]\nmatch = 'logs-*'\nlayout = 'unique'"),
        ("replication.mode", "[replication]\nmode = 'active'"),
        ("replication.ack", "[replication]\nack = 'all'"),
    ];
    for (path, text) in cases {
        let said = refusal(text);
        assert!(said.contains(path) && said.contains("not built yet in this version"), "{text:?}: {said}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let said = refusal("[s3]\nlisten = 'x'\nregin = 'y'\n[log]\nformat = 'xml'");
    for path in ["s3.listen", "s3.regin", "log.format"] {
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let said = refusal("[s3]\nregion = 'x'\n[admin]\ntoken = \"hunter2\n");
    assert!(said.contains("config.toml is not TOML: line 4"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = "[s3]\nlisten = '127.0.0.1:1'\nregion = 'file'\n[site]\nname = 'file'";
    let env = [("ANYBUCKET__S3__LISTEN", "127.0.0.1:2"), ("ANYBUCKET__S3__REGION", "env")];
    let config = load(file, &env, &[("s3.listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(config.s3.listen.port(), 3);
    assert_eq!(config.s3.region, "env");
    assert_eq!(config.site.name, "file");
    assert_eq!(config.admin.listen.port(), 9001);
}

/// The only store.
fn only_store(config: &Config) -> &Backend {
    let [(_, store)] = config.backends.as_slice() else { panic!("{:?}", config.backends) };
    store
}

#[test]
fn variables_reach_every_kind_of_setting() {
    let env = [
        ("ANYBUCKET__SITE__NUMBER", "7"),
        ("ANYBUCKET__SITE__NAME", "12"),
        ("ANYBUCKET__S3__DOMAINS", r#"["s3.example.com"]"#),
        ("ANYBUCKET__ADMIN__OPEN_METRICS", "true"),
        ("ANYBUCKET__ADMIN__TOKEN__ENV", "TOKEN"),
        ("ANYBUCKET__BACKEND__MAIN__DURABILITY", "os"),
        ("ANYBUCKET__ROUTE__0__BACKEND", "main"),
        ("ANYBUCKET_ACCESS_KEY", "not a setting"),
        ("UNRELATED", "x"),
    ];
    let config = load("", &env, &[]).unwrap();
    assert_eq!((config.site.number.get(), config.site.name.as_str()), (7, "12"));
    assert_eq!(config.s3.domains, ["s3.example.com"]);
    assert!(config.admin.open_metrics);
    assert_eq!(config.admin.token, Secret::Env("TOKEN".into()));
    assert!(matches!(only_store(&config), Backend::Fs(fs) if fs.durability == fs::Durability::Os));
}

#[test]
fn a_store_in_memory_passes_over_the_defaults_of_a_directory_and_over_nothing_else() {
    let kind = [("ANYBUCKET__BACKEND__MAIN__KIND", "memory")];
    assert_eq!(only_store(&load(SHOWN, &kind, &[]).unwrap()), &Backend::Memory);
    assert_eq!(only_store(&load(SHOWN, &[], &[("backend.main.kind", "memory"), ("data", "/srv/x")]).unwrap()), &Backend::Memory);
    for (key, value) in [("path", "/srv/x"), ("durability", "os"), ("reserved", ".mine")] {
        let said = load(SHOWN, &kind, &[(&format!("backend.main.{key}"), value)]).unwrap_err().to_string();
        assert!(said.contains(&format!("backend.main.{key}: unknown key")), "{said}");
    }
}

#[test]
fn a_variable_with_a_fault_is_named() {
    let said = load("", &[("ANYBUCKET__S3__LISTEN", "9000")], &[]).unwrap_err().to_string();
    assert!(said.contains("s3.listen: found \"9000\"") && said.contains("ANYBUCKET__S3__LISTEN"), "{said}");
    let said = load("", &[("ANYBUCKET__S3__LISTN", "x")], &[]).unwrap_err().to_string();
    assert!(said.contains("s3.listn: unknown key") && said.contains("ANYBUCKET__S3__LISTN"), "{said}");
}

#[test]
fn a_secret_never_shows_in_a_refusal() {
    let said = load("[admin]\ntoken = ['hunter2']\nlisten = 1", &[], &[]).unwrap_err().to_string();
    assert!(said.contains("admin.token") && !said.contains("hunter2"), "{said}");
    let config = good("[admin]\ntoken = 'hunter2'");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_lies_in_the_data_directory_follows_it() {
    // Also where the defaults are written out.
    for text in ["", SHOWN] {
        let config = load(text, &[], &[("data", "/srv/bucket")]).unwrap();
        assert_eq!(config.access.keys_file, PathBuf::from("/srv/bucket/keys.toml"));
        assert_eq!(config.admin.token, Secret::File("/srv/bucket/admin-token".into()));
        assert!(matches!(only_store(&config), Backend::Fs(fs) if fs.path.ends_with("bucket/objects")));
    }
    let config = load("[access]\nkeys_file = '/etc/keys.toml'", &[], &[("data", "/srv/bucket")]).unwrap();
    assert_eq!(config.access.keys_file, PathBuf::from("/etc/keys.toml"));
}

/// Settings of a site named `local`, number 1, with berlin as its peer; `more` follows.
fn with_berlin(more: &str) -> String {
    let berlin = "[[peer]]\nsite = 'berlin'\nnumber = 2\nfeed = 'http://10.0.0.2:9102'\ntoken = 'hunter2'\naccept = 'hunter3'\n";
    format!("{berlin}{more}")
}

#[test]
fn the_peer_shown_to_users_is_a_good_one() {
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let uncommented = SHOWN.lines().map(|line| match line.strip_prefix("# ") {
        Some(shown) if shown.starts_with("[[") || is_setting(shown) => shown,
        _ => line,
    });
    let config = good(&uncommented.collect::<Vec<_>>().join("\n"));
    let berlin = &config.peers[0];
    assert_eq!(
        (berlin.site.as_str(), berlin.number.get(), berlin.feed.to_string()),
        ("berlin", 2, "http://127.0.0.1:9102".into())
    );
    assert_eq!(berlin.accept, Some(Secret::Env("BERLIN_PRESENTS".into())));
    assert_eq!(config.feed.token, Some(Secret::Env("PARIS_FEED_TOKEN".into())));
}

#[test]
fn peers_are_read_and_their_secrets_never_shown() {
    let config = good(&with_berlin("[events]\nbus = 'poll'\n[replication]\nsites = ['berlin']"));
    assert_eq!(config.replication.sites, Sites::Named(vec!["berlin".into()]));
    assert!(!format!("{config:?}").contains("hunter"));
    for all in ["['*']", "'*'"] {
        assert_eq!(good(&with_berlin(&format!("[replication]\nsites = {all}"))).replication.sites, Sites::Everybody);
    }
}

#[test]
fn a_peer_may_come_from_the_environment() {
    let env = [
        ("ANYBUCKET__PEER__0__SITE", "berlin"),
        ("ANYBUCKET__PEER__0__NUMBER", "2"),
        ("ANYBUCKET__PEER__0__FEED", "http://berlin:9002"),
        ("ANYBUCKET__PEER__0__TOKEN__ENV", "B"),
        ("ANYBUCKET__FEED__TOKEN__FILE", "/run/secrets/feed"),
        ("ANYBUCKET__REPLICATION__SITES", "*"),
    ];
    let config = load(SHOWN, &env, &[]).unwrap();
    assert_eq!((config.peers.len(), config.peers[0].token.clone()), (1, Secret::Env("B".into())));
    assert_eq!(config.replication.sites, Sites::Everybody);
}

#[test]
fn what_is_wrong_with_other_sites_is_named_with_its_path_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[[peer]]\nsite = 'berlin'",
            &["peer[0].number: is missing", "peer[0].feed: is missing", "peer[0].token: is missing", "presents there"],
        ),
        (
            "[[peer]]\nsite = 'berlin'\nnumber = 2\nfeed = 'http://b:1'\ntoken = 'x'",
            &["peer[0].accept: is missing", "[feed].token"],
        ),
        ("[[peer]]\nfeed = 'ftp://b:1'", &["peer[0].feed: found \"ftp://b:1\"", "https://"]),
        (&with_berlin("tls_ca = 'ca.pem'"), &["peer[0].tls_ca: means nothing beside http://10.0.0.2:9102", "https://"]),
        (&with_berlin("tls_cert = 'c.pem'").replace("http:", "https:"), &["peer[0].tls_key", "set both or none"]),
        ("[[peer]]\ntokn = 'x'", &["peer[0].tokn: unknown key; did you mean `token`?"]),
        (&with_berlin("[site]\nnumber = 2"), &["peer[0].number: found 2", "each has its own"]),
        (&with_berlin("[site]\nname = 'berlin'"), &["peer[0].site: found \"berlin\"", "each has its own"]),
        (&with_berlin(&with_berlin("")), &["peer[1].site: found \"berlin\"", "peer[1].number: found 2"]),
        (&with_berlin("[replication]\nsites = ['rome']"), &["replication.sites: found \"rome\"", "allowed: berlin, or \"*\""]),
        (&with_berlin("[replication]\nsites = ['*', 'berlin']"), &["replication.sites: found", "every site known"]),
        ("[replication]\nsites = ['*']", &["replication.sites: names other sites, and there are none; add [[peer]]"]),
        (&with_berlin("[feed]\nlisten = '127.0.0.1:9000'"), &["feed.listen: found 127.0.0.1:9000, which is s3.listen too"]),
        (&with_berlin("[feed]\nlisten = '127.0.0.1:9001'"), &["feed.listen: found 127.0.0.1:9001, which is admin.listen too"]),
    ];
    for (text, words) in cases {
        let said = refusal(text);
        for word in *words {
            assert!(said.contains(word), "{text:?}: {word:?} is not in {said:?}");
        }
        assert!(!said.contains("hunter"), "{said}");
    }
}

/// The section of a store that is shown to users as a comment, without what it shows instead of other lines, and whatever
/// follows its lines.
fn shown_store(kind: &str, more: &str) -> String {
    let kind = format!("kind = {kind:?}");
    let section = SHOWN.split("\n\n").find(|section| section.starts_with("# [backend.main]") && section.contains(&kind)).unwrap();
    let lines = section.lines().filter(|line| !line.starts_with("# #"));
    let text: String = lines.map(|line| format!("{}\n", line.trim_start_matches(['#', ' ']))).collect();
    format!("{text}{more}\n")
}

fn s3_section(more: &str) -> String {
    shown_store("s3", more)
}

/// Every key that may stand there is shown.
fn shows_all(kind: &str) {
    let said = refusal(&shown_store(kind, "nothing = 1"));
    for key in said.split("allowed here: ").nth(1).unwrap().trim().split(", ") {
        let is_shown = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
        let kind = format!("kind = {kind:?}");
        let section = SHOWN.split("\n\n").find(|section| section.contains(&kind)).unwrap();
        assert!(section.lines().any(is_shown), "{key} is not shown");
    }
}

#[test]
fn the_sections_of_azure_and_google_shown_to_users_say_everything_that_can_be_set() {
    let shown = good(&shown_store("azure", ""));
    let Backend::Azure(store) = only_store(&shown) else { panic!("{shown:?}") };
    assert_eq!(store.settings, azure::Settings::at("https://ACCOUNT.blob.core.windows.net", "anybucket-home"));
    assert_eq!(store.login, AzureLogin::AccountKey(Secret::Env("AZURE_ACCOUNT_KEY".into())));
    shows_all("azure");
    let shown = good(&shown_store("gcs", ""));
    let Backend::Gcs(settings, keys) = only_store(&shown) else { panic!("{shown:?}") };
    let endpoint = Some("https://storage.googleapis.com".to_owned());
    assert_eq!(*settings, gcs::Settings::at(endpoint, "my-project", "anybucket-home"));
    assert_eq!(*keys, gcs::Keys::File("service-account.json".into()));
    shows_all("gcs");
}

#[test]
fn azure_is_told_who_this_site_is_in_one_way() {
    let with = |lines: &str| shown_store("azure", "").replace("account_key = { env = \"AZURE_ACCOUNT_KEY\" }", lines);
    let login = |lines: &str| match only_store(&good(&with(lines))) {
        Backend::Azure(store) => store.login.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(login("sas = 'sig=hunter2'"), AzureLogin::Sas(Secret::Literal("sig=hunter2".into())));
    assert_eq!(login("identity = 'managed'"), AzureLogin::Managed(None));
    assert_eq!(login("identity = 'workload'"), AzureLogin::Workload);
    let (tenant_id, client_id, secret) = ("t".to_owned(), "c".to_owned(), Secret::Literal("hunter2".into()));
    assert_eq!(
        login("identity = 'application'\ntenant_id = 't'\nclient_id = 'c'\nclient_secret = 'hunter2'"),
        AzureLogin::Application { tenant_id, client_id, secret }
    );
    let clear = with("sas = 'sig=hunter2'").replace("https://ACCOUNT", "http://ACCOUNT");
    assert!(refusal(&clear).contains("backend.main.endpoint: found") && !refusal(&clear).contains("hunter2"));
    assert!(refusal(&shown_store("gcs", "").replace("false", "true")).contains("backend.main.credentials: means nothing"));
    for (lines, said) in [
        ("", "backend.main.account_key: is missing: allowed is one of account_key, sas and identity"),
        ("sas = 'x'\naccount_key = 'y'", "backend.main.account_key: is one of account_key and sas"),
        ("identity = 'application'", "backend.main.identity: \"application\" needs tenant_id"),
        ("identity = 'me'", "backend.main.identity: found \"me\""),
        ("sas = 'x'\nclient_id = 'c'", "backend.main.client_id: means nothing beside the other settings"),
        ("identity = 'managed'\ntenant_id = 't'", "backend.main.tenant_id: means nothing"),
    ] {
        let told = refusal(&with(lines));
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn the_s3_section_shown_to_users_says_everything_that_can_be_set_and_its_defaults() {
    let shown = good(&s3_section(""));
    let Backend::S3(store) = only_store(&shown) else { panic!("{shown:?}") };
    assert_eq!(store.settings, s3::Settings::at(Some("https://s3.example.com".into()), "anybucket-home"));
    let (access_key, secret_key) = (Secret::Env("STORE_ACCESS_KEY".into()), Secret::Env("STORE_SECRET_KEY".into()));
    assert_eq!(store.login, S3Login::Keys { access_key, secret_key, session_token: None });
    shows_all("s3");
    // What a file says of the store in a directory does not stand in its way.
    let flags = [("kind", "s3"), ("access_key", "A"), ("secret_key", "hunter2"), ("home", "home")];
    let flags = flags.map(|(key, value)| (format!("backend.main.{key}"), value));
    let flags: Vec<_> = flags.iter().map(|(path, value)| (path.as_str(), *value)).collect();
    let aws = load(SHOWN, &[], &flags).unwrap();
    assert!(matches!(only_store(&aws), Backend::S3(store) if store.settings == s3::Settings::at(None, "home")), "{aws:?}");
    assert!(!format!("{aws:?}").contains("hunter2"));
}

#[test]
fn an_s3_service_is_told_who_this_site_is_in_one_way() {
    let with = |lines: &str| {
        let without = s3_section("").lines().filter(|line| !line.contains("_key = ")).collect::<Vec<_>>().join("\n");
        format!("{without}\n{lines}")
    };
    let login = |lines: &str| match only_store(&good(&with(lines))) {
        Backend::S3(store) => store.login.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(login("identity = 'chain'"), S3Login::Chain);
    let (access_key, secret_key) = (Secret::Literal("A".into()), Secret::Literal("hunter2".into()));
    let temporary = "access_key = 'A'\nsecret_key = 'hunter2'\nsession_token = { file = 'token' }";
    assert_eq!(login(temporary), S3Login::Keys { access_key, secret_key, session_token: Some(Secret::File("token".into())) });
    for (lines, said) in [
        (
            "",
            "backend.main.access_key: is missing: what proves who this site is there; allowed: access_key and secret_key, or identity = \"chain\"",
        ),
        ("identity = 'managed'", "backend.main.identity: found \"managed\"; allowed: \"chain\""),
        ("identity = 'chain'\nsecret_key = 'hunter2'", "backend.main.secret_key: means nothing beside identity"),
        ("identity = 'chain'\nsession_token = 'hunter2'", "backend.main.session_token: means nothing beside identity"),
        ("session_token = 'hunter2'", "backend.main.access_key: is missing: who this site is there"),
    ] {
        let told = refusal(&with(lines));
        assert!(told.contains(said) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn what_is_wrong_of_an_s3_store_is_named() {
    for (from, to, said) in [
        ("https://s3.example.com", "s3.example.com", "backend.main.endpoint: found \"s3.example.com\""),
        ("home = ", "hom = ", "backend.main.home: is missing"),
        ("secret_key = ", "secret = ", "backend.main.secret_key: is missing"),
        ("\"anybucket-home\"", "\"Home\"", "backend.main.home: found \"Home\""),
        ("\"crc32\"", "\"md5\"", "backend.main.checksums: found \"md5\""),
    ] {
        let told = refusal(&s3_section("").replace(from, to));
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn a_buffer_is_there_when_it_is_said_and_each_store_has_its_own() {
    let buffer = |more: &str| only_store(&good(&s3_section(more))).buffer().cloned();
    assert_eq!(buffer(""), None);
    let default = buffer::Settings::at(Path::new("./anybucket-data/buffer"), "main");
    assert_eq!(buffer("buffer = {}"), Some(default.clone()));
    let said = "buffer = { when = 'always', path = '/b', slow = '5s', bytes_max = '1MiB', free_bytes_min = '2MiB' }";
    let (when, path, slow) = (buffer::When::Always, "/b".into(), Duration::from_secs(5));
    let settings = buffer::Settings { when, path, slow, bytes_max: 1 << 20, free_bytes_min: 2 << 20, ..default };
    assert_eq!(buffer(said), Some(settings));
    for kind in ["azure", "gcs"] {
        assert!(only_store(&good(&shown_store(kind, "buffer = { when = 'never' }"))).buffer().is_some(), "{kind}");
    }
    for (more, said) in [
        ("buffer = { when = 'often' }", "backend.main.buffer.when: found \"often\""),
        ("buffer = { slow = '0s' }", "backend.main.buffer.slow: found \"0s\""),
        ("buffer = { size = 1 }", "backend.main.buffer.size: unknown key"),
    ] {
        let told = refusal(&s3_section(more));
        assert!(told.contains(said), "{told}");
    }
    let second = s3_section("buffer = { path = '/b/../b' }").replace("backend.main", "backend.other").replace("example", "other");
    let both = format!("{}\n{second}", s3_section("buffer = { path = '/b' }"));
    assert!(refusal(&both).contains("backend.other.buffer.path: found /b, where the writes of main wait"), "{}", refusal(&both));
}
