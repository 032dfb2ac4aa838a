//! The connection to the account: calls that are made once, authorized on their way out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use azure_core::error::CheckSuccessOptions;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request, RetryOptions, Transport, Url,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};

use super::Settings;
use super::containers::check_container_name;
use super::credentials::{Authorize, Credentials};
use super::error::fault;
use crate::backend::service::{Answer, Fault, Held, Spot, http_client};
use crate::backend::{Error, Result};
use crate::tls::{self, Trust};

/// Makes calls. Whoever makes one bounds how long it takes, and repeats it.
pub(super) struct Client {
    service: BlobServiceClient,
    /// For reads: the crate's own are made of several requests, and of buffers as large as what was asked for.
    reads: Pipeline,
    /// Of the interface.
    version: String,
}

impl Client {
    pub fn new(settings: &Settings, keys: Arc<Held<Credentials>>) -> Result<Self> {
        let client_options = ClientOptions {
            per_try_policies: vec![Arc::new(Authorize(keys))],
            retry: RetryOptions::none(),
            transport: Some(transport()?),
            ..ClientOptions::default()
        };
        let reads = Pipeline::new(None, None, client_options.clone(), Vec::new(), Vec::new(), None);
        let options = BlobServiceClientOptions { client_options, ..BlobServiceClientOptions::default() };
        let version = options.version.clone();
        let endpoint = Url::parse(settings.endpoint.trim_end_matches('/')).map_err(unusable)?;
        let service = BlobServiceClient::new(endpoint, None, Some(options)).map_err(unusable)?;
        Ok(Self { service, reads, version })
    }

    pub fn service(&self) -> &BlobServiceClient {
        &self.service
    }

    pub fn container(&self, bucket: &str) -> Answer<BlobContainerClient> {
        check_container_name(bucket)?;
        Ok(self.service.blob_container_client(bucket))
    }

    pub fn blob(&self, at: &Spot) -> Answer<BlobClient> {
        // Such a name is no part of an address: the call would be one for the whole container.
        if matches!(at.name.as_str(), "" | "." | "..") {
            return Err(Fault {
                doing: "naming a blob",
                status: Some(400),
                code: "InvalidResourceName".to_owned(),
                detail: format!("{:?} is no name of a blob", at.name),
            });
        }
        Ok(self.container(&at.bucket)?.blob_client(&at.name))
    }

    /// One request, whose answer is read as it comes.
    pub async fn read(&self, doing: &'static str, at: &Spot, range: Option<&Range<u64>>) -> Answer<AsyncRawResponse> {
        let mut request = Request::new(self.blob(at)?.url().clone(), Method::Get);
        request.insert_header("x-ms-version", self.version.clone());
        if let Some(range) = range {
            request.insert_header("x-ms-range", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let check_success = CheckSuccessOptions { success_codes: &[200, 206] };
        let options = PipelineStreamOptions { check_success, ..PipelineStreamOptions::default() };
        self.reads.stream(&Context::new(), &mut request, Some(options)).await.map_err(fault(doing))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.service.url().host_str()).finish_non_exhaustive()
    }
}

/// What both the service and whoever gives tokens are asked over.
pub(super) fn transport() -> Result<Transport> {
    let tls = tls::client(&Trust::System, None).map_err(unusable)?;
    let http = http_client(tls).http1_only().build().map_err(unusable)?;
    Ok(Transport::new(Arc::new(http)))
}

fn unusable(err: impl fmt::Display) -> Error {
    Error::Unavailable(format!("no client of Azure can be made: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_an_address() {
        let read: crate::backend::service::ReadKeys<Credentials> = Arc::new(|| Ok(Credentials::Sas("sig=hunter2".to_owned())));
        for (endpoint, base) in [
            ("https://a.blob.core.windows.net", "https://a.blob.core.windows.net"),
            ("https://a.blob.core.windows.net/", "https://a.blob.core.windows.net"),
            ("http://127.0.0.1:10000/account/", "http://127.0.0.1:10000/account"),
        ] {
            let client = Client::new(&Settings::at(endpoint, "home"), Arc::new(Held::new(read.clone()))).unwrap();
            let at = |name: &str| Spot::new("abc".to_owned(), name.to_owned());
            for (name, part) in [("a/../b", "a%2F..%2Fb"), ("a b+?#%41é", "a%20b+%3F%23%2541%C3%A9"), ("/", "%2F")] {
                assert_eq!(client.blob(&at(name)).unwrap().url().as_str(), format!("{base}/abc/{part}"));
            }
            assert!(client.blob(&at("..")).is_err());
            assert!(!format!("{client:?}").contains("hunter2"));
        }
    }
}
