//! Every metric of the process, all named `anybucket_…`.
//!
//! Requests are counted as they pass; everything that is merely a state is read when somebody looks.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The registry and what the hot path counts; clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<OperationLabel, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    received: Counter,
    sent: Counter,
    /// Locked to register and to render, never on the way of a request.
    registry: Mutex<Registry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: String,
}

/// Upper bounds in seconds: from a row in the cache to a slow disk.
const SECONDS: [f64; 14] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// A request that is being answered; dropping it ends it.
#[derive(Debug)]
pub struct InFlight(Gauge);

/// What is counted of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub status: u16,
    /// From the head of the request to the last byte of the answer.
    pub took: Duration,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
}

/// What a sampled metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up; its name gets `_total`.
    Counter,
}

/// One value of a sampled metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels and their values; none where there is one of the metric.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Metrics {
    /// An empty registry with the metrics of requests and of the process.
    pub fn new() -> Self {
        let inner = Inner {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            registry: Mutex::new(Registry::with_prefix("anybucket")),
        };
        let metrics = Self(Arc::new(inner));
        metrics.register();
        metrics
    }

    fn register(&self) {
        let Inner { requests, seconds, in_flight, received, sent, .. } = &*self.0;
        let mut registry = self.registry();
        registry.register("requests", "S3 requests answered, by operation and status", requests.clone());
        registry.register("request_seconds", "Time from the head of a request to the last byte of its answer", seconds.clone());
        registry.register("requests_in_flight", "S3 requests being answered", in_flight.clone());
        registry.register("received_bytes", "Bytes of request bodies", received.clone());
        registry.register("sent_bytes", "Bytes of answers' bodies", sent.clone());
        drop(registry);
        self.sample("resident_bytes", "Memory of the process in RAM", Kind::Gauge, || {
            vec![Sample::of(super::resident_bytes() as f64)]
        });
    }

    /// A request arrived.
    pub fn arrived(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// An answer was sent or given up. `operation` is S3's name for it, such as `GetObject`, of which there are few.
    pub fn answered(&self, operation: &str, answer: Answered) {
        let Answered { status, took, received, sent } = answer;
        self.0.requests.get_or_create(&RequestLabels { operation: operation.into(), status }).inc();
        self.0.seconds.get_or_create(&OperationLabel { operation: operation.into() }).observe(took.as_secs_f64());
        self.0.received.inc_by(received);
        self.0.sent.inc_by(sent);
    }

    /// A metric whose values are read when somebody looks; `read` must not block.
    pub fn sample(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let sampled = Sampled { name, help, kind, read: Box::new(read) };
        self.registry().register_collector(Box::new(sampled));
    }

    /// Everything in the text format that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry()).expect("writing to a string cannot fail");
        text
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.0.registry.lock().expect("no code panics while it holds the registry")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Sample {
    /// A value without a label.
    pub fn of(value: f64) -> Self {
        Self { labels: Vec::new(), value }
    }

    /// The value of what `label` names.
    pub fn labelled(label: &'static str, name: impl Into<String>, value: f64) -> Self {
        Self { labels: vec![(label, name.into())], value }
    }
}

struct Sampled {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for Sample { labels, value } in (self.read)() {
            if labels.is_empty() {
                self.encode_value(&mut metric, value)?;
            } else {
                self.encode_value(&mut metric.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

impl Sampled {
    fn encode_value(&self, metric: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            Kind::Gauge => metric.encode_gauge(&value),
            Kind::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        }
    }
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// 64 bits on every machine: bytes do not wrap.
const _: fn(&Counter) -> &AtomicU64 = Counter::inner;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_status() {
        let metrics = Metrics::new();
        let request = metrics.arrived();
        for status in [200, 200, 404] {
            let took = Duration::from_micros(300);
            metrics.answered("GetObject", Answered { status, took, received: 0, sent: 5 });
        }
        let text = metrics.render();
        for line in [
            r#"anybucket_requests_total{operation="GetObject",status="200"} 2"#,
            r#"anybucket_requests_total{operation="GetObject",status="404"} 1"#,
            r#"anybucket_request_seconds_bucket{le="0.0005",operation="GetObject"} 3"#,
            r#"anybucket_request_seconds_bucket{le="0.00025",operation="GetObject"} 0"#,
            "anybucket_requests_in_flight 1",
            "anybucket_sent_bytes_total 15",
            "anybucket_resident_bytes ",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop(request);
        assert!(metrics.render().contains("anybucket_requests_in_flight 0"));
    }

    #[test]
    fn a_state_is_read_when_somebody_looks() {
        let metrics = Metrics::new();
        let value = Arc::new(std::sync::atomic::AtomicU64::new(1));
        let read = value.clone();
        metrics.sample("unsettled", "Moves to be redone", Kind::Gauge, move || {
            vec![Sample::of(read.load(std::sync::atomic::Ordering::Relaxed) as f64)]
        });
        metrics.sample("worker_failures", "Steps that failed", Kind::Counter, || vec![Sample::labelled("worker", "settle", 3.0)]);
        value.store(7, std::sync::atomic::Ordering::Relaxed);
        let text = metrics.render();
        assert!(text.contains("anybucket_unsettled 7.0"), "{text}");
        assert!(text.contains(r#"anybucket_worker_failures_total{worker="settle"} 3.0"#), "{text}");
    }
}
