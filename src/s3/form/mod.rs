//! POST of a form, as browsers upload: fields, a policy that somebody with a key signed, and the file behind them.
//!
//! s3s has an operation for it, which holds a form to the clock of its signature instead of to its policy's end, takes SigV2 or
//! nothing, and reads no tags. Here a form becomes the PUT that it stands for, so that whatever a PUT means and refuses
//! counts for it too. <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>

mod answer;
mod fields;
mod policy;
mod signature;

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::service::S3Service;
use s3s::{Body, S3Result};
use s3s_multipart::{Boundary, Error as Broken, Multipart, Part};

use self::fields::{Fields, broken};
use self::policy::Policy;
use self::signature::Signed;
use super::auth::{Caller, Keyring};
use super::gate::{self, Asked};
use super::host::Hosts;
use super::layer::{Progress, StdError};
use super::pace::Paces;
use super::{Settings, error, unsigned, uri};
use crate::clock::WallClock;
use crate::model::Source;

/// Headers of one part of a form, bytes.
const HEADERS_BYTES_MAX: usize = 8 << 10;
const FORM: &[u8] = b"multipart/form-data";

/// Answers forms. Clones share what they lean on.
#[derive(Clone)]
pub struct Forms {
    /// Where the PUT goes.
    pub operations: S3Service,
    pub hosts: Hosts,
    pub keys: Keyring,
    pub settings: Arc<Settings>,
    pub wall: Arc<dyn WallClock>,
    pub paces: Paces,
}

/// Where a form was sent, and by whom.
struct Target {
    bucket: String,
    /// As the client calls this server, for links.
    host: String,
    source: Option<Source>,
    progress: Option<Arc<Progress>>,
}

/// Who may upload, and how much.
#[derive(Debug)]
struct Admitted {
    /// Whoever signed the policy, or anybody.
    caller: Caller,
    length: Option<RangeInclusive<u64>>,
}

/// A file that is not as long as its policy says.
#[derive(Debug, thiserror::Error)]
pub enum FileLength {
    #[error("the file is longer than its policy allows")]
    TooLong,
    #[error("the file is shorter than its policy allows")]
    TooShort,
}

/// Whether a request is a form.
pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    method == Method::POST && content_type.get(..FORM.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(FORM))
}

impl Forms {
    pub async fn answer(&self, request: Request<Body>) -> S3Result<Response<Body>> {
        let target = self.target(&request)?;
        if let Some(progress) = &target.progress {
            progress.is("PostObject");
        }
        let boundary = boundary(request.headers())?;
        let body = request.into_body().map(|piece| piece.map_err(Broken::stream_read_failed));
        let mut form = Multipart::new(body, &boundary, HEADERS_BYTES_MAX);
        let mut fields = Fields::default();
        let mut left = self.settings.limits.form_fields_bytes_max;
        let answer = loop {
            let Some(mut part) = form.next_part().await.map_err(broken)? else { return Err(error::no_file()) };
            let (name, file_name) = fields::names(&mut part).await?;
            if name.eq_ignore_ascii_case("file") {
                fields.fill_in(&file_name);
                break self.store(&target, &fields, part).await?;
            }
            fields.add(&name, fields::text(&mut part, &mut left).await?)?;
        };
        fields::skip_rest(&mut form).await;
        Ok(answer)
    }

    fn target(&self, request: &Request<Body>) -> S3Result<Target> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        let path = uri::decode(request.uri().path()).ok_or_else(|| error::invalid_request("The request URI cannot be parsed"))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = match self.hosts.bucket(host) {
            Some(bucket) => (bucket, path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (bucket.to_owned(), key)
            }
        };
        if bucket.is_empty() || !key.is_empty() {
            return Err(error::method_not_allowed());
        }
        let extensions = request.extensions();
        let (source, progress) = (extensions.get::<Source>().cloned(), extensions.get::<Arc<Progress>>().cloned());
        Ok(Target { bucket, host: host.to_owned(), source, progress })
    }

    /// Takes the file, if the fields before it allow it.
    async fn store<S: fields::Source>(&self, target: &Target, fields: &Fields, file: Part<'_, S>) -> S3Result<Response<Body>> {
        let key = fields.get("key").ok_or_else(|| error::missing_form_field("key"))?;
        let admitted = self.admit(target, fields).await?;
        let (pieces, body) = mpsc::channel(1);
        let is_stranger = admitted.caller.is_anonymous();
        let request = put(target, key, fields, admitted.caller, body)?;
        let (answered, ()) = tokio::join!(self.operations.call(request), send(file, pieces, admitted.length));
        let mut stored = answered.map_err(gate::of_http_error)?;
        if is_stranger {
            unsigned::without_inside(stored.headers_mut());
        }
        if !stored.status().is_success() {
            return Ok(stored);
        }
        Ok(answer::of(stored, target, key, fields))
    }

    async fn admit(&self, target: &Target, fields: &Fields) -> S3Result<Admitted> {
        if fields.get("x-amz-security-token").is_some_and(|token| !token.is_empty()) {
            return Err(error::invalid_token());
        }
        if fields.get("bucket").is_some_and(|bucket| bucket != target.bucket) {
            return Err(error::access_denied());
        }
        let from = target.source.as_ref().map(|source| source.address);
        let now_ms = self.wall.millis();
        let Some(signed) = Signed::read(fields, &self.settings, now_ms)? else {
            return self.paced(target, Admitted { caller: Caller::anonymous(from), length: None }).await;
        };
        let key = self.keys.usable(signed.access_key()).ok_or_else(error::unknown_access_key)?;
        let encoded = signature::policy_of(fields)?;
        signed.check(encoded, key.secret_key.expose())?;
        let policy = Policy::read(encoded)?;
        policy.check(fields, &target.bucket, now_ms)?;
        self.paced(target, Admitted { caller: Caller::new(key, from), length: policy.length }).await
    }

    async fn paced(&self, target: &Target, admitted: Admitted) -> S3Result<Admitted> {
        let pace = self.settings.limits.key_pace;
        gate::slow_down(&self.paces, pace, &admitted.caller, target.progress.as_deref()).await?;
        Ok(admitted)
    }
}

fn boundary(headers: &HeaderMap) -> S3Result<Boundary> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parameters = text.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let mut boundaries = parameters.filter(|(name, _)| name.eq_ignore_ascii_case("boundary")).map(|(_, value)| value);
    let value = boundaries.next().filter(|_| boundaries.next().is_none()).ok_or_else(error::malformed_form)?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Boundary::new(value.as_bytes()).map_err(|_| error::malformed_form())
}

type Pieces = mpsc::Sender<Result<Bytes, StdError>>;

/// The PUT that a form stands for. How long it is, nobody knows before its end.
fn put(
    target: &Target,
    key: &str,
    fields: &Fields,
    caller: Caller,
    body: mpsc::Receiver<Result<Bytes, StdError>>,
) -> S3Result<Request<Body>> {
    let body = Body::http_body_unsync(StreamBody::new(body.map(|piece| piece.map(Frame::data))));
    let mut request = Request::new(body);
    *request.method_mut() = Method::PUT;
    let path = format!("/{}/{}", uri::encode(&target.bucket), uri::encode(key));
    *request.uri_mut() = path.parse().map_err(|_| error::invalid_argument("The field key cannot be a key"))?;
    *request.headers_mut() = fields.headers()?;
    // Path style, whatever the form was sent to.
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    let extensions = request.extensions_mut();
    extensions.insert(Asked::default());
    extensions.insert(caller);
    target.source.clone().map(|source| extensions.insert(source));
    target.progress.clone().map(|progress| extensions.insert(progress));
    Ok(request)
}

/// Passes the file on, until it ends or nobody wants more of it.
async fn send<S: fields::Source>(mut file: Part<'_, S>, mut pieces: Pieces, length: Option<RangeInclusive<u64>>) {
    let (min, max) = length.map_or((0, u64::MAX), RangeInclusive::into_inner);
    let mut sent = 0;
    loop {
        let piece: Result<Bytes, StdError> = match file.next_data().await {
            Ok(Some(piece)) => {
                sent += piece.len() as u64;
                if sent > max { Err(FileLength::TooLong.into()) } else { Ok(piece) }
            }
            Ok(None) if sent < min => Err(FileLength::TooShort.into()),
            Ok(None) => return,
            Err(err) => Err(err.into()),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}
