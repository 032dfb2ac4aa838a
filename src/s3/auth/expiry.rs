//! When an access key ends: `2027-01-01T00:00:00Z` in `keys.toml`, as text or as TOML's own date.

use std::fmt;
use std::str::FromStr;

use s3s::dto::{Timestamp, TimestampFormat};
use serde::{Deserialize, Serialize};

use crate::s3::convert;

/// From when on a key counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Expiry {
    /// Milliseconds since 1970.
    ms: u64,
}

/// The text is no time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: a date and time with its zone is expected, such as \"2027-01-01T00:00:00Z\"")]
pub struct NotATime(String);

/// Both ways to write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Toml(toml::value::Datetime),
}

impl Expiry {
    pub fn at(ms: u64) -> Self {
        Self { ms }
    }

    pub fn is_over(self, now_ms: u64) -> bool {
        now_ms >= self.ms
    }
}

impl FromStr for Expiry {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time = Timestamp::parse(TimestampFormat::DateTime, text).ok();
        let ms = time.and_then(|time| convert::millis(&time)).ok_or_else(|| NotATime(text.to_owned()))?;
        Ok(Self { ms })
    }
}

impl TryFrom<Written> for Expiry {
    type Error = NotATime;

    fn try_from(written: Written) -> Result<Self, NotATime> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Toml(time) => time.to_string().parse(),
        }
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> Self {
        expiry.to_string()
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        convert::timestamp(self.ms).format(TimestampFormat::DateTime, &mut text).map_err(|_| fmt::Error)?;
        // Whole seconds, which is how people write it.
        let text = String::from_utf8_lossy(&text);
        match text.split_once('.') {
            Some((seconds, _)) => write!(f, "{seconds}Z"),
            None => f.write_str(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Line {
        expires: Expiry,
    }

    #[test]
    fn a_time_is_read_as_text_and_as_a_date_of_toml() {
        let expected = Line { expires: Expiry::at(1_798_761_600_000) };
        for text in
            ["expires = \"2027-01-01T00:00:00Z\"", "expires = 2027-01-01T00:00:00Z", "expires = 2027-01-01T02:00:00+02:00"]
        {
            assert_eq!(toml::from_str::<Line>(text).unwrap(), expected, "{text}");
        }
        assert_eq!(toml::to_string(&expected).unwrap(), "expires = \"2027-01-01T00:00:00Z\"\n");
    }

    #[test]
    fn a_time_without_its_zone_is_refused() {
        for bad in ["", "tomorrow", "2027-01-01", "2027-01-01T00:00:00", "1798761600"] {
            assert!(bad.parse::<Expiry>().is_err(), "{bad}");
        }
        assert!(toml::from_str::<Line>("expires = 2027-01-01").is_err());
    }

    #[test]
    fn the_last_moment_is_the_one_before() {
        let expiry = Expiry::at(1_000);
        assert!(!expiry.is_over(999) && expiry.is_over(1_000));
    }
}
