//! The Rust clients as compat-tests/driver.py drives them: `rust-clients aws-sdk-s3` or `rust-clients object_store`, then one JSON
//! request a line, one JSON answer a line.

mod aws;
mod count;
mod store;

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, stdin};

use serde::Deserialize;
use serde_json::{Value, json};

/// What driver.py may ask; each request names only what it needs.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Request {
    #[serde(rename = "do")]
    what: String,
    bucket: String,
    key: String,
    keys: Vec<String>,
    from: String,
    file: String,
    r#type: String,
    metadata: HashMap<String, String>,
    if_match: Option<String>,
    if_none_match: Option<String>,
    range: Option<String>,
    prefix: String,
    delimiter: Option<String>,
    part: usize,
    threads: usize,
    steps: usize,
}

/// What the server or the client itself refused, as S3 names it.
#[derive(Debug)]
pub struct Refused {
    code: String,
    status: u16,
    message: String,
}

impl Refused {
    /// A failure that is not an answer of the server.
    fn here(error: impl std::fmt::Debug) -> Self {
        Self { code: "none".into(), status: 0, message: format!("{error:?}") }
    }

    /// Lost a race, which the one who counts expects.
    fn lost(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }
}

pub type Said = Result<Value, Refused>;

/// What a client can do beside what it shares: `count` needs these.
pub trait Client: Send + Sync + 'static {
    fn perform(&self, asked: &Request) -> impl Future<Output = Said> + Send;
    fn read(&self, asked: &Request) -> impl Future<Output = Result<(String, String), Refused>> + Send;
    fn write(&self, asked: &Request, body: String, if_match: Option<String>) -> impl Future<Output = Result<(), Refused>> + Send;
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nobody installed one before");
    match env::args().nth(1).as_deref() {
        Some("aws-sdk-s3") => answer_lines(aws::connect()).await,
        Some("object_store") => answer_lines(store::Stores::default()).await,
        other => panic!("no such client: {other:?}"),
    }
}

async fn answer_lines<C: Client>(client: C) {
    let client = std::sync::Arc::new(client);
    for line in stdin().lock().lines() {
        let asked: Request = serde_json::from_str(&line.expect("stdin is text")).expect("a request is JSON");
        let said = match asked.what.as_str() {
            "count" => count::count(&client, asked).await,
            _ => client.perform(&asked).await,
        };
        println!("{}", said.unwrap_or_else(|no| json!({ "error": no.code, "status": no.status, "message": no.message })));
    }
}
