//! The connection to the service: calls are made once, and what is no good answer is a fault.

use bytes::{Bytes, BytesMut};
use http::Method;
use reqwest::{Request, Response, Url};
use serde::de::DeserializeOwned;

use super::auth::{Auth, Keys};
use super::call::Call;
use super::{Settings, error};
use crate::backend::service::{Answer, Fault, http_client};
use crate::backend::{Error, Result};
use crate::tls::{self, Trust};

const GOOGLE: &str = "https://storage.googleapis.com";
/// The longest answer but for objects: a page of a listing has 1,000 names and what is told of them.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    pub auth: Auth,
}

impl Client {
    pub fn new(settings: &Settings, keys: Keys) -> Result<Self> {
        let endpoint = settings.endpoint.as_deref().unwrap_or(GOOGLE).trim_end_matches('/').to_owned();
        let tls = if endpoint.starts_with("https:") {
            tls::client(&Trust::System, None).map_err(|err| Error::Unavailable(err.to_string()))?
        } else {
            tls::trusting_nobody()
        };
        let http = http_client(tls).build().map_err(|err| Error::Unavailable(err.to_string()))?;
        Ok(Self { http, endpoint, auth: Auth::new((!settings.anonymous).then_some(keys)) })
    }

    /// Makes a call, and answers when the head of a good answer is there.
    pub async fn send(&self, call: Call) -> Answer<Response> {
        let (doing, who) = (call.doing, self.auth.headers().await?);
        let url = Url::parse(&format!("{}{}", self.endpoint, call.address)).map_err(|err| Fault::unsent(doing, &err))?;
        let mut request = Request::new(call.method, url);
        *request.headers_mut() = call.headers;
        request.headers_mut().extend(who);
        *request.body_mut() = call.body;
        let answer = self.http.execute(request).await.map_err(|err| error::unanswered(doing, err))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(error::told(doing, status, &whole(doing, answer).await.unwrap_or_default()))
    }

    /// Makes a call and reads its whole answer.
    pub async fn ask(&self, call: Call) -> Answer<Bytes> {
        let doing = call.doing;
        whole(doing, self.send(call).await?).await
    }

    pub async fn ask_json<T: DeserializeOwned>(&self, call: Call) -> Answer<T> {
        let doing = call.doing;
        serde_json::from_slice(&self.ask(call).await?).map_err(|err| Fault::nonsense(doing, err.to_string()))
    }
}

/// About an object.
pub(super) fn of_object(doing: &'static str, method: Method, bucket: &str, name: &str) -> Answer<Call> {
    Call::new(doing, method, &["storage", "v1", "b", bucket, "o", name])
}

async fn whole(doing: &'static str, mut answer: Response) -> Answer<Bytes> {
    let (status, mut bytes) = (answer.status().as_u16(), BytesMut::new());
    while let Some(chunk) = answer.chunk().await.map_err(|err| Fault::broken(doing, Some(status), &err.without_url()))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Fault::nonsense(doing, format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
