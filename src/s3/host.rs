//! Which bucket a Host header names. Unlike s3s's own, an unknown host is never taken for a bucket: a load balancer's or
//! a container's name in front of a path-style request must not misroute it.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains under which buckets are host names.
#[derive(Clone, Debug)]
pub struct Hosts {
    domains: Vec<String>,
}

impl Hosts {
    pub fn new(domains: &[String]) -> Self {
        Self { domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect() }
    }

    /// The bucket in `bucket.DOMAIN[:port]`; `None` is path style.
    pub fn bucket(&self, host: &str) -> Option<String> {
        let host = without_port(host).to_ascii_lowercase();
        let bucket = |domain: &String| Some(host.strip_suffix(domain.as_str())?.strip_suffix('.')?.to_owned());
        self.domains.iter().filter_map(bucket).find(|bucket| !bucket.is_empty())
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let plain = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => plain.with_bucket(bucket),
            None => plain,
        })
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_domains_name_buckets() {
        let hosts = Hosts::new(&["s3.example.org".into(), "localhost".into()]);
        assert_eq!(hosts.bucket("photos.s3.example.org"), Some("photos".into()));
        assert_eq!(hosts.bucket("Photos.S3.example.org:9000"), Some("photos".into()));
        assert_eq!(hosts.bucket("a.b.localhost:9000"), Some("a.b".into()));
        for path_style in
            ["s3.example.org", "localhost:9000", "lb-7.internal", "notlocalhost", "minio:9000", "[::1]:9000", ".localhost"]
        {
            assert_eq!(hosts.bucket(path_style), None, "{path_style}");
        }
    }
}
