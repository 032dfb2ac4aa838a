//! Credentials that are good for a time: those of a machine's role, and keys with a token.

use std::sync::Mutex;

use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_async::time::SharedTimeSource;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use super::*;
use crate::backend::s3::chain::given;
use crate::backend::s3::client::http_client;
use crate::backend::s3::credentials::Signer;
use crate::backend::s3::renewed::Renewed;
use crate::backend::service::{Answer, Service as _};

/// Whose credentials are good: `key-N` with `token-N`.
#[derive(Default)]
struct World {
    good: AtomicU64,
    /// How often the machine's were asked for.
    asked: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { good: AtomicU64::new(1), ..Self::default() })
    }

    fn good(&self) -> u64 {
        self.good.load(Ordering::SeqCst)
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// A service that takes nobody else, and nothing whose token is not signed.
    fn service(&self, request: &Request<Incoming>) -> Response<String> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (signed, token) = (header("authorization"), header("x-amz-security-token"));
        let good = self.good();
        let is_good = signed.contains(&format!("Credential=key-{good}/")) && token == format!("token-{good}");
        answer(if is_good && signed.contains(";x-amz-security-token") { 200 } else { 403 }, "")
    }

    /// The metadata of a machine with a role, as IMDSv2 tells it.
    fn metadata(&self, request: &Request<Incoming>) -> Response<String> {
        const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
        if request.method() == Method::PUT && request.uri().path() == "/latest/api/token" {
            let mut token = answer(200, "session");
            token.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", 21600.into());
            return token;
        }
        if request.headers().get("x-aws-ec2-metadata-token").is_none_or(|token| token != "session") {
            return answer(401, "");
        }
        match request.uri().path().strip_prefix(ROLE) {
            Some("") => answer(200, "role"),
            Some("role") => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let good = self.good();
                let json = serde_json::json!({
                    "Code": "Success", "AccessKeyId": format!("key-{good}"), "SecretAccessKey": "hunter2",
                    "Token": format!("token-{good}"), "Expiration": "2999-01-01T00:00:00Z",
                });
                answer(200, &json.to_string())
            }
            _ => answer(404, ""),
        }
    }
}

fn answer(status: u16, text: &str) -> Response<String> {
    Response::builder().status(status).body(text.to_owned()).unwrap()
}

type Told = Arc<dyn Fn(&Request<Incoming>) -> Response<String> + Send + Sync>;

async fn serve(told: Told) -> (String, Task) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let told = told.clone();
            let service = hyper::service::service_fn(move |request| {
                let answer = told(&request);
                async { Ok::<_, std::convert::Infallible>(answer) }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(connection), service).await;
            });
        }
    });
    (address, Task(task))
}

async fn service_of(world: &Arc<World>) -> (Settings, Task) {
    let told = world.clone();
    let (address, task) = serve(Arc::new(move |request| told.service(request))).await;
    (Settings::at(Some(address), "anybucket-home"), task)
}

fn over(settings: Settings, caller: Caller) -> S3 {
    S3 { settings, caller, versioned: Versioned::default() }
}

async fn look(s3: &S3) -> Answer<()> {
    s3.look_at_bucket("bucket").await
}

/// The link of the chain that asks a machine's metadata there.
fn machine(endpoint: &str) -> Arc<Renewed> {
    let config = ProviderConfig::without_region().with_http_client(http_client());
    let client = imds::Client::builder().configure(&config).endpoint(endpoint).unwrap().build();
    let link = Arc::new(ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build());
    Renewed::new(Arc::new(move || {
        let link = link.clone();
        Box::pin(async move { given(&*link, &SharedTimeSource::default()).await })
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credentials_of_a_role_are_kept_and_had_anew_when_they_are_refused() {
    let world = World::new();
    let (settings, _service) = service_of(&world).await;
    let told = world.clone();
    let (metadata, _metadata) = serve(Arc::new(move |request| told.metadata(request))).await;
    let renewed = machine(&metadata);
    let caller = Caller::signed_by(Signer::Chain(renewed.clone()), &settings, http_client()).await.unwrap();
    let s3 = over(settings, caller);
    for _ in 0..3 {
        look(&s3).await.unwrap();
    }
    assert_eq!(world.asked(), 1);
    world.good.store(2, Ordering::SeqCst);
    assert!(look(&s3).await.unwrap_err().is_denied());
    s3.forget_keys();
    renewed.age();
    look(&s3).await.unwrap();
    assert_eq!(world.asked(), 2);
    let shown = format!("{s3:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("token-2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_with_temporary_keys_and_changes_with_them() {
    let world = World::new();
    let (settings, _service) = service_of(&world).await;
    let keys = |number: u64, session_token: Option<&str>| {
        let (access_key, secret_key) = (format!("key-{number}"), "hunter2".to_owned());
        Keys { access_key, secret_key, session_token: session_token.map(str::to_owned) }
    };
    let kept = Arc::new(Mutex::new(keys(1, Some("token-1"))));
    let read = kept.clone();
    let login = Login::Keys(Arc::new(move || Ok(read.lock().unwrap().clone())));
    let s3 = over(settings.clone(), Caller::new(&settings, login).await.unwrap());
    look(&s3).await.unwrap();
    *kept.lock().unwrap() = keys(2, Some("token-2"));
    world.good.store(2, Ordering::SeqCst);
    assert!(look(&s3).await.unwrap_err().is_denied());
    s3.forget_keys();
    look(&s3).await.unwrap();
    *kept.lock().unwrap() = keys(2, None);
    s3.forget_keys();
    assert!(look(&s3).await.unwrap_err().is_denied(), "without its token a key is nobody's");
    assert!(!format!("{s3:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_role_says_what_is_missing_and_where_it_is_set() {
    let (metadata, _metadata) = serve(Arc::new(|_| answer(404, ""))).await;
    let settings = Settings::at(Some("http://127.0.0.1:9".to_owned()), "anybucket-home");
    let none = Caller::signed_by(Signer::Chain(machine(&metadata)), &settings, http_client()).await.unwrap_err();
    let text = none.to_string();
    assert!(matches!(none, Error::Unavailable(_)), "{none:?}");
    assert!(text.contains("no credentials: identity = \"chain\": ") && text.contains("or set access_key"), "{text}");
}
