//! What a person sets for any service.

use std::num::NonZeroU32;

use super::buffer;
use crate::model::BucketName;

/// Below this, bodies would stand still at a service for longer than it waits for them.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// Settings that all stores over services have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// The bucket of the site's own notes: its owner file and its journal. Made if it is not there, and never listed.
    pub home: String,
    /// What begins the names in each bucket that are no objects, up to a slash.
    pub reserved: String,
    /// Calls that may be under way at once.
    pub calls_max: NonZeroU32,
    /// Of bodies, both ways together; `None`: as fast as they go.
    pub bytes_per_second_max: Option<u64>,
    /// `None`: what the service does not take is refused.
    pub buffer: Option<buffer::Settings>,
}

/// What is wrong with a service's address, in words for whoever wrote it; `such_as` shows a good one.
pub(in crate::backend) fn refuse_endpoint(endpoint: &str, such_as: &str) -> Option<(&'static str, String)> {
    let uri: Option<http::Uri> = endpoint.parse().ok();
    let is_good = uri.is_some_and(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        is_http && uri.host().is_some() && !has_user && matches!(uri.path(), "" | "/") && uri.query().is_none()
    });
    // It may hold a secret before its @.
    let found = if endpoint.contains('@') { "an address with credentials".to_owned() } else { format!("{endpoint:?}") };
    (!is_good).then(|| ("endpoint", format!("found {found}; allowed: such as {such_as:?}, without a path")))
}

impl Common {
    /// The defaults, with notes in this bucket.
    pub fn at(home: impl Into<String>) -> Self {
        let calls_max = NonZeroU32::new(256).expect("256 is not zero");
        let (bytes_per_second_max, buffer) = (None, None);
        Self { home: home.into(), reserved: ".anybucket".to_owned(), calls_max, bytes_per_second_max, buffer }
    }

    /// What is wrong with the bucket of notes, where buckets have S3's names.
    pub(in crate::backend) fn refuse_home(&self) -> Option<(&'static str, String)> {
        let err = BucketName::new(&self.home).err()?;
        Some(("home", format!("found {:?}; {err}", self.home)))
    }

    /// Which setting cannot be used and why, in words for whoever wrote it.
    pub(in crate::backend) fn refusal(&self) -> Option<(&'static str, String)> {
        let reserved = &self.reserved;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // Some services take dots at the end of a folder's name away.
        if reserved.is_empty() || reserved.ends_with('.') || reserved.len() > 63 || !reserved.chars().all(legal) {
            let allowed =
                "allowed: 1 to 63 characters of a-z, A-Z, 0-9, '-', '_' and '.', not at its end, such as \".anybucket\"";
            return Some(("reserved", format!("found {reserved:?}; {allowed}")));
        }
        if let Some(rate) = self.bytes_per_second_max.filter(|rate| *rate < BYTES_PER_SECOND_MIN) {
            let text = format!("found {rate} bytes; allowed: \"1MiB\" or more, since slower bodies are given up by the service");
            return Some(("bytes_per_second_max", text));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_ours_has_a_name_that_every_service_holds() {
        for (reserved, is_good) in
            [(".anybucket", true), ("a_b-c", true), ("a/b", false), ("..", false), ("a.", false), ("", false)]
        {
            let common = Common { reserved: reserved.to_owned(), ..Common::at("home") };
            assert_eq!(common.refusal().is_none(), is_good, "{reserved}");
        }
    }

    #[test]
    fn a_line_that_is_too_narrow_for_a_body_is_refused() {
        for (rate, is_good) in [(None, true), (Some(1 << 20), true), (Some((1 << 20) - 1), false), (Some(0), false)] {
            let common = Common { bytes_per_second_max: rate, ..Common::at("home") };
            assert_eq!(common.refusal().is_none(), is_good, "{rate:?}");
        }
    }
}
