//! What the SDK says of a call, as a fault.

use std::error::Error as StdError;
use std::iter;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::backend::service::{Answer, Fault};

/// Stands for an answer whose headers are too many. Only looks and reads have such answers.
const TOO_LARGE: u16 = 431;

/// Awaits a call.
pub(super) async fn ask<T, E>(doing: &'static str, call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> Answer<T>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    call.await.map_err(|err| fault_of(doing, err))
}

fn fault_of<E>(doing: &'static str, err: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    if matches!(err, SdkError::ConstructionFailure(_)) {
        return Fault::unsent(doing, &err);
    }
    let status = err.raw_response().map(|answer| answer.status().as_u16());
    match err.as_service_error() {
        Some(told) => {
            let code = told.code().unwrap_or_default().to_owned();
            Fault { doing, status, code, detail: told.message().unwrap_or_default().to_owned() }
        }
        None if is_head_too_large(&err) => Fault {
            doing,
            status: Some(TOO_LARGE),
            code: String::new(),
            detail: "its answer has more headers than the client reads".to_owned(),
        },
        None => Fault::broken(doing, status, &err),
    }
}

/// The SDK's client reads a hundred lines. An object with more is no reason to take the service for dead, or to ask again.
fn is_head_too_large(err: &(dyn StdError + 'static)) -> bool {
    let mut chain = iter::successors(Some(err), |&err| err.source());
    chain.any(|err| err.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large))
}
