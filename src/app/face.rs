//! The S3 face: made of settings, and counted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;

use super::keys::Keys;
use crate::config::{ByteSize, Config, Period};
use crate::s3::{self, Observe, Pace, S3Layer};
use crate::site::Site;
use crate::telemetry::{Answered, Metrics};

/// The service for the S3 listener. `seed` makes request ids differ from those of other processes.
pub fn service(config: &Config, site: Site, keys: &Keys, metrics: &Metrics, seed: u64) -> Counted {
    let face = s3::Face::new(site, settings(config));
    let observer = Arc::new(Observer(metrics.clone()));
    Counted { service: s3::service(face, keys.ring().clone(), observer, seed), metrics: metrics.clone() }
}

fn settings(config: &Config) -> s3::Settings {
    let limits = &config.s3.limits;
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let seconds = |period: Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
    s3::Settings {
        region: config.s3.region.clone(),
        locations: locations(config),
        domains: config.s3.domains.clone(),
        vouch_encryption: config.s3.vouch_encryption,
        form_signature_v2: config.s3.form_signature_v2,
        limits: s3::Limits {
            put_bytes_max: limits.put_bytes_max.0,
            xml_bytes_max: bytes(limits.xml_bytes_max),
            form_fields_bytes_max: bytes(limits.form_fields_bytes_max),
            header_bytes_max: bytes(limits.header_bytes_max),
            held_bytes_max: bytes(limits.held_bytes_max),
            body_bytes_per_second_min: limits.body_bytes_per_second_min.0,
            key_pace: Pace {
                requests_per_second_max: limits.key_requests_per_second_max.map(NonZeroU32::get),
                bytes_per_second_max: limits.key_bytes_per_second_max.map(|size| size.0),
            },
            signed_chunk_bytes_max: bytes(limits.signed_chunk_bytes_max),
            idle_max: config.s3.idle_timeout.0,
            clock_skew_s_max: seconds(limits.clock_skew_max),
            presigned_s_max: seconds(limits.presigned_max),
        },
        day: config.lifecycle.day.0,
    }
}

/// Those that routes name, each once.
fn locations(config: &Config) -> Vec<String> {
    let mut all: Vec<_> = config.routes.iter().filter_map(|route| route.location.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// The S3 face, whose requests are counted while they are answered.
#[derive(Clone)]
pub struct Counted {
    service: S3Layer,
    metrics: Metrics,
}

impl Service<Request<Incoming>> for Counted {
    type Response = <S3Layer as Service<Request<Incoming>>>::Response;
    type Error = <S3Layer as Service<Request<Incoming>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.metrics.arrived();
        let answer = self.service.call(request);
        Box::pin(async move {
            let _in_flight = in_flight;
            answer.await
        })
    }
}

struct Observer(Metrics);

impl Observe for Observer {
    fn request(&self, op: &str, status: u16, micros: u64, bytes_in: u64, bytes_out: u64) {
        let operation = if op.is_empty() { "unknown" } else { op };
        let took = Duration::from_micros(micros);
        self.0.answered(operation, Answered { status, took, received: bytes_in, sent: bytes_out });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_face() {
        assert_eq!(settings(&Config::default()), s3::Settings::default());
    }
}
