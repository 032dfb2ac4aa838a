//! The first lines: where everything is, and what to paste to see it work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use tracing::info;

use super::App;
use super::keys::FirstKey;
use crate::config::{Backend, Config, Route, Secret, Sites};
use crate::telemetry::Format;

/// What the lines say.
struct Greeting<'a> {
    config: &'a Config,
    s3: String,
    admin: String,
    /// None where there are no peers.
    feed: Option<String>,
    /// None where a person emptied the keys file.
    key: Option<Pasteable>,
}

/// A key as a shell takes it.
struct Pasteable {
    access_key: String,
    /// An expression that reads the secret: the secret itself is not shown.
    secret: String,
}

/// Prints them to stdout, or logs them where logs are for machines.
pub fn say(config: &Config, app: &App) {
    let key = app.keys.first().map(|key| Pasteable::of(key, &config.access.keys_file));
    let feed = app.feed_address().map(|address| url(address, config.feed.tls.is_some()));
    let s3 = url(app.s3_address(), config.s3.tls.is_some());
    let admin = url(app.admin_address(), config.admin.tls.is_some());
    let greeting = Greeting { config, s3, admin, feed, key };
    match config.log.format {
        Format::Json => info!(s3 = greeting.s3, admin = greeting.admin, keys = %config.access.keys_file.display(), "serving"),
        // Whoever closed stdout does not want to read it.
        Format::Text => drop(std::io::stdout().lock().write_all(greeting.text().as_bytes())),
    }
}

impl Pasteable {
    fn of(key: &FirstKey, keys_file: &Path) -> Self {
        let secret =
            if key.from_environment { "$ANYBUCKET_SECRET_KEY".into() } else { secret_command(keys_file, &key.access_key) };
        Self { access_key: key.access_key.clone(), secret }
    }
}

impl Greeting<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Self { config, s3, admin, feed, key } = self;
        let (site, region, version) = (&config.site.name, &config.s3.region, env!("CARGO_PKG_VERSION"));
        writeln!(text, "anybucket {version} serves S3 at {s3} (site {site}, region {region})\n")?;
        write_stores(text, config)?;
        writeln!(text, "  keys     {}", config.access.keys_file.display())?;
        writeln!(text, "  admin    {admin}, token {}", token(&config.admin.token))?;
        if let Some(feed) = feed {
            writeln!(text, "  feed     {feed}, read by {}", peers(config))?;
        }
        writeln!(text)?;
        let Some(Pasteable { access_key, secret }) = key else {
            return writeln!(text, "There is no access key: `anybucket keys add` makes one.");
        };
        writeln!(text, "First steps, in another terminal:\n")?;
        writeln!(text, "  export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY=\"{secret}\" AWS_DEFAULT_REGION={region}")?;
        writeln!(text, "  aws --endpoint-url {s3} s3 mb s3://first-bucket")?;
        writeln!(text, "  rclone lsd ':s3,provider=Other,env_auth=true,region={region},endpoint=\"{s3}\":'\n")
    }
}

/// Who reads this site and is read by it, and whether anything goes there.
fn peers(config: &Config) -> String {
    let names: Vec<&str> = config.peers.iter().map(|peer| peer.site.as_str()).collect();
    let sent = match &config.replication.sites {
        Sites::Nobody => "nothing written here is sent on: replication.sites is empty".into(),
        Sites::Everybody => "everything written here goes to every site".into(),
        Sites::Named(names) => format!("everything written here goes to {}", names.join(", ")),
    };
    format!("{}; {sent}", names.join(", "))
}

/// Where objects are: each store in a line, with the buckets that are made in it where there are several.
fn write_stores(text: &mut String, config: &Config) -> std::fmt::Result {
    if let [(_, only)] = config.backends.as_slice() {
        return writeln!(text, "  objects  {}", objects(only));
    }
    for (at, (name, backend)) in config.backends.iter().enumerate() {
        let routes = config.routes.iter().filter(|route| route.backend == *name);
        let buckets: Vec<_> = routes.map(buckets).collect();
        let title = if at == 0 { "objects" } else { "" };
        writeln!(text, "  {title:<8} {name}: {} (buckets {})", objects(backend), buckets.join(", "))?;
    }
    Ok(())
}

/// Which buckets a route leads to its store, and what they are called there.
fn buckets(route: &Route) -> String {
    let there = route.rule().map(|rule| format!(" in {}", rule.place()));
    format!("{}{}", route.buckets, there.unwrap_or_default())
}

fn objects(backend: &Backend) -> String {
    match backend {
        Backend::Fs(fs) => fs.path.display().to_string(),
        Backend::S3(store) => {
            let settings = &store.settings;
            let service = settings.endpoint.as_deref().unwrap_or("AWS");
            format!("in buckets at {service}, region {}; notes in {}", settings.region, settings.common.home)
        }
        Backend::Azure(store) => {
            format!("in containers at {}; notes in {}", store.settings.endpoint, store.settings.common.home)
        }
        Backend::Gcs(settings, _) => {
            let service = settings.endpoint.as_deref().unwrap_or("Google Cloud Storage");
            format!("in buckets at {service}, project {}; notes in {}", settings.project, settings.common.home)
        }
        Backend::Memory => "in memory: they go with this process".into(),
    }
}

fn token(token: &Secret) -> String {
    match token {
        Secret::Literal(_) => "in the settings".into(),
        Secret::Env(name) => format!("in ${name}"),
        Secret::File(path) => format!("in {}", path.display()),
    }
}

/// Prints the secret of a key out of the keys file.
fn secret_command(keys_file: &Path, access_key: &str) -> String {
    let path = std::path::absolute(keys_file).unwrap_or_else(|_| keys_file.into());
    let path = path.display().to_string().replace('\'', r"'\''");
    let program = format!("/^access_key/ {{ own = $2 == \"{access_key}\" }} /^secret_key/ && own {{ print $2 }}");
    format!("$(awk -F'\"' '{program}' '{path}')")
}

/// Where a client on this machine finds a listener: one that listens everywhere is here too.
fn url(address: SocketAddr, tls: bool) -> String {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    format!("{}://{}", if tls { "https" } else { "http" }, SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pasted_line_reads_the_secret_of_the_key_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("it's keys.toml");
        let text = "[[key]]\naccess_key = \"A\"\nsecret_key = \"one\"\n\n[[key]]\naccess_key = \"B\"\nsecret_key = \"two+/\"\n";
        std::fs::write(&keys, text).unwrap();
        for (access_key, secret) in [("A", "one"), ("B", "two+/")] {
            let script = format!("printf %s \"{}\"", secret_command(&keys, access_key));
            let shell = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), secret);
        }
    }

    #[test]
    fn the_first_lines_name_everything_and_show_no_secret() {
        let config = Config::default();
        let greeting = Greeting {
            config: &config,
            s3: url("0.0.0.0:9000".parse().unwrap(), false),
            admin: url("127.0.0.1:9001".parse().unwrap(), true),
            feed: None,
            key: Some(Pasteable { access_key: "AB123".into(), secret: "$(secret)".into() }),
        };
        let text = greeting.text();
        for part in [
            "S3 at http://127.0.0.1:9000",
            "./anybucket-data/keys.toml",
            "https://127.0.0.1:9001, token in ./anybucket-data/admin-token",
            "AWS_ACCESS_KEY_ID=AB123",
            "aws --endpoint-url http://127.0.0.1:9000",
            "rclone lsd ",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
