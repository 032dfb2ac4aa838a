//! `anybucket keys`: the access keys of a running site and what they may do. A change counts from the next request on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Exit;
use super::client::{self, AdminArgs, Client, say, say_json};
use crate::admin::{AddKey, AddedKey, KeyView, RemovedKey};
use crate::config::{self, Sources};
use crate::s3::{Grant, Right};

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every key, whose it is, until when, and what it may do; secrets are not shown
    List,
    /// Make a key; its secret is shown once
    Add(Box<Add>),
    /// Take a key away
    Remove { access_key: String },
}

#[derive(Debug, Args)]
struct Add {
    /// Else one is made
    access_key: Option<String>,
    /// Who owns the buckets that it makes; two owners do not see each other's buckets
    #[arg(long, default_value = "admin")]
    owner: String,
    /// What it may do: READ, WRITE, DELETE, ADMIN, separated by commas
    #[arg(long, value_name = "RIGHT,…", value_delimiter = ',', value_parser = right, required_unless_present = "grant")]
    rights: Vec<Right>,
    /// In buckets of these names: * is any run of characters, ? any one; "*" alone is every bucket of the owner
    #[arg(long, value_name = "PATTERN", default_value = "*", requires = "rights")]
    buckets: String,
    /// Only keys that begin with it
    #[arg(long, default_value = "", requires = "rights")]
    prefix: String,
    /// Only keys that end with it, such as .log; can be repeated; lists nothing then
    #[arg(long, value_name = "SUFFIX", requires = "rights")]
    suffix: Vec<String>,
    /// Only requests from there, such as 10.0.0.0/8 or ::1; can be repeated
    #[arg(long, value_name = "NETWORK", requires = "rights")]
    network: Vec<String>,
    /// A whole grant as keys.toml has it, such as '{ buckets = "logs-*", rights = ["READ"] }'; can be repeated
    #[arg(long, value_name = "TOML", value_parser = grant)]
    grant: Vec<Grant>,
    /// When it ends, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// File that holds its secret; else one is made
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

pub fn run(sources: &Sources, options: &Options) -> Result<Exit> {
    let asked = match &options.command {
        Command::Add(add) => Some(add.asked()?),
        Command::List | Command::Remove { .. } => None,
    };
    let client = Client::new(&options.admin, sources)?;
    let json = options.admin.json;
    client::block_on(async {
        match (&options.command, asked) {
            (Command::Remove { access_key }, _) => remove(&client, access_key, json).await,
            (_, Some(asked)) => add(&client, &asked, json).await,
            (_, None) => list(&client, json).await,
        }
    })
}

async fn list(client: &Client, json: bool) -> Result<Exit> {
    let keys: Vec<KeyView> = client.get("/v1/keys", &[]).await?;
    if json {
        say_json(&keys);
    } else {
        keys.iter().for_each(|key| say(format_args!("{}", shown(key))));
    }
    Ok(Exit::Done)
}

async fn add(client: &Client, asked: &AddKey, json: bool) -> Result<Exit> {
    let added: AddedKey = client.post("/v1/keys", asked).await?;
    if json {
        say_json(&added);
    } else {
        say(format_args!("access key  {}\nsecret key  {}", added.key.access_key, added.secret_key));
        say(format_args!("The secret is not shown again; it counts from now on."));
    }
    Ok(Exit::Done)
}

async fn remove(client: &Client, access_key: &str, json: bool) -> Result<Exit> {
    let removed: RemovedKey = client.delete("/v1/keys", &[("access_key", access_key)]).await?;
    if json {
        say_json(&removed);
    } else {
        say(format_args!("{} is refused from now on", removed.access_key));
    }
    Ok(Exit::Done)
}

impl Add {
    /// What the site is asked for.
    fn asked(&self) -> Result<AddKey> {
        let mut grants = self.grant.clone();
        if !self.rights.is_empty() {
            grants.insert(0, self.one_grant()?);
        }
        Ok(AddKey {
            access_key: self.access_key.clone(),
            secret_key: self.secret_file.as_deref().map(secret).transpose()?,
            owner: self.owner.clone(),
            expires: self.expires.clone(),
            grants: grants.iter().map(serde_json::to_value).collect::<Result<_, _>>()?,
        })
    }

    fn one_grant(&self) -> Result<Grant> {
        let network = |text: &String| text.parse().map_err(|err| refused("--network", format!("{err}")));
        Ok(Grant {
            prefix: self.prefix.clone(),
            suffixes: self.suffix.clone(),
            networks: self.network.iter().map(network).collect::<Result<_>>()?,
            ..Grant::on(&self.buckets, &self.rights)
        })
    }
}

/// The first line of a file, which no process list shows.
fn secret(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--secret-file: {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn refused(setting: &str, reason: String) -> anyhow::Error {
    config::Error::Beside { setting: setting.into(), reason }.into()
}

fn right(text: &str) -> Result<Right, String> {
    let read = serde_json::from_value(Value::String(text.trim().to_ascii_uppercase()));
    read.map_err(|_| "one of READ, WRITE, DELETE, ADMIN is expected".into())
}

fn grant(text: &str) -> Result<Grant, String> {
    let mut table: toml::Table = format!("grant = {text}").parse().map_err(|err: toml::de::Error| err.message().to_owned())?;
    let value = table.remove("grant").filter(|_| table.is_empty()).ok_or("one grant is expected")?;
    value.try_into().map_err(|err: toml::de::Error| err.message().to_owned())
}

/// A key and a line for each grant.
fn shown(key: &KeyView) -> String {
    let mut text = format!("{}  owner {}", key.access_key, key.owner);
    match (&key.expires, key.expired) {
        (Some(at), true) => text.push_str(&format!("  expired {at}: it is refused")),
        (Some(at), false) => text.push_str(&format!("  until {at}")),
        (None, _) => {}
    }
    if key.from_environment {
        text.push_str("  (from the environment)");
    }
    if key.grants.is_empty() {
        text.push_str("\n  may do nothing");
    }
    for grant in &key.grants {
        // A site of a later version may know grants of another shape.
        let line = serde_json::from_value(grant.clone()).map_or_else(|_| grant.to_string(), |grant| shown_grant(&grant));
        text.push_str(&format!("\n  {line}"));
    }
    text
}

fn shown_grant(grant: &Grant) -> String {
    let rights: Vec<String> = grant.rights.iter().map(|right| format!("{right:?}").to_uppercase()).collect();
    let mut text = format!("{} in {}", rights.join(","), grant.buckets);
    match (grant.only_owned(), grant.buckets.as_str()) {
        (true, _) => text.push_str(" of its owner"),
        (false, "*") => text.push_str(" of anybody"),
        (false, _) => {}
    }
    if !grant.prefix.is_empty() {
        text.push_str(&format!("  keys {}…", grant.prefix));
    }
    if !grant.suffixes.is_empty() {
        text.push_str(&format!("  keys …{}", grant.suffixes.join(", …")));
    }
    if !grant.networks.is_empty() {
        let networks: Vec<String> = grant.networks.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  from {}", networks.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn asked(args: &[&str]) -> AddKey {
        let line = Line::try_parse_from([&["keys", "add"], args].concat()).unwrap();
        let Command::Add(add) = line.options.command else { panic!("not add") };
        add.asked().unwrap()
    }

    #[test]
    fn flags_make_one_grant_and_whole_ones_follow() {
        let whole = "{ buckets = \"b\", rights = [\"ADMIN\"] }";
        let asked = asked(&[
            "reports",
            "--owner",
            "team",
            "--rights",
            "read,WRITE",
            "--buckets",
            "logs-*",
            "--prefix",
            "2026/",
            "--suffix",
            ".log",
            "--network",
            "10.0.0.0/8",
            "--grant",
            whole,
            "--expires",
            "2027-01-01T00:00:00Z",
        ]);
        let grants: Vec<Grant> = asked.grants.into_iter().map(|grant| serde_json::from_value(grant).unwrap()).collect();
        let first = Grant {
            prefix: "2026/".into(),
            suffixes: vec![".log".into()],
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Grant::on("logs-*", &[Right::Read, Right::Write])
        };
        assert_eq!(grants, [first, Grant::on("b", &[Right::Admin])]);
        assert_eq!((asked.access_key.as_deref(), asked.owner.as_str()), (Some("reports"), "team"));
        assert_eq!(asked.expires.as_deref(), Some("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn a_key_without_rights_is_not_made_by_mistake() {
        for wrong in [
            &[][..],
            &["--prefix", "a/"],
            &["--rights", "OWN"],
            &["--grant", "{ buckets = 1 }"],
            &["--grant", "{ buckets = \"b\", rights = [], colour = 1 }"],
        ] {
            assert!(Line::try_parse_from([&["keys", "add"], wrong].concat()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_shown_with_everything_it_may_do() {
        let grant = Grant { networks: vec!["::1".parse().unwrap()], ..Grant::on("*", &[Right::Read, Right::Delete]) };
        let key = KeyView {
            access_key: "reports".into(),
            owner: "team".into(),
            expires: Some("2027-01-01T00:00:00Z".into()),
            expired: true,
            from_environment: false,
            grants: vec![serde_json::to_value(grant).unwrap(), serde_json::json!({ "later": true })],
        };
        let text = shown(&key);
        for part in ["reports  owner team", "expired 2027-01-01", "READ,DELETE in * of its owner  from ::1", "{\"later\":true}"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
