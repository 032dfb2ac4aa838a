//! What may stand behind a key: each type reads itself and says what it allows.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::model::BucketName;

/// A type that a setting can have.
pub trait Setting: Sized {
    /// What is allowed, to follow "allowed:".
    const ALLOWED: &'static str;

    fn read(value: &Value) -> Option<Self>;

    /// What was found, for an error message. Secrets show only their kind.
    fn show(found: &Value) -> String {
        found.to_string()
    }
}

/// A length of time, such as `10s`; never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes, such as `64MiB`; never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Reads an enum whose variants are written as words.
macro_rules! words {
    ($type:ty, allowed $allowed:literal: $($word:literal => $value:expr),+ $(,)?) => {
        impl Setting for $type {
            const ALLOWED: &'static str = $allowed;

            fn read(value: &toml::Value) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;

impl Setting for String {
    const ALLOWED: &'static str = "a text that is not empty";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().filter(|text| !text.trim().is_empty()).map(ToOwned::to_owned)
    }
}

impl Setting for BucketName {
    const ALLOWED: &'static str = "3 to 63 characters of a-z, 0-9, '.' and '-', as S3 has the names of buckets";

    fn read(value: &Value) -> Option<Self> {
        Self::new(value.as_str()?).ok()
    }
}

impl Setting for PathBuf {
    const ALLOWED: &'static str = "a path";

    fn read(value: &Value) -> Option<Self> {
        String::read(value).map(Self::from)
    }
}

impl Setting for bool {
    const ALLOWED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for NonZeroU16 {
    const ALLOWED: &'static str = "a whole number from 1 to 65535";

    fn read(value: &Value) -> Option<Self> {
        value.as_integer()?.try_into().ok().and_then(Self::new)
    }
}

impl Setting for NonZeroU32 {
    const ALLOWED: &'static str = "a whole number from 1 to 4294967295";

    fn read(value: &Value) -> Option<Self> {
        value.as_integer()?.try_into().ok().and_then(Self::new)
    }
}

impl Setting for Vec<String> {
    const ALLOWED: &'static str = "a list of texts, such as [\"one\", \"two\"]";

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::read).collect()
    }
}

impl Setting for SocketAddr {
    const ALLOWED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:9000\" or \"[::]:9000\"; port 0 takes a free one";

    fn read(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Setting for Period {
    const ALLOWED: &'static str = "a length of time, such as \"500ms\", \"10s\", \"5m\", \"24h\" or \"7d\"";

    fn read(value: &Value) -> Option<Self> {
        Self::of(value.as_str()?)
    }
}

impl Period {
    /// What people write, such as `24h`; `None` is no period.
    pub fn of(text: &str) -> Option<Self> {
        let (count, unit) = number_and_unit(text)?;
        let unit_ms = PERIOD_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let millis = count.checked_mul(unit_ms).filter(|millis| (1..=PERIOD_MS_MAX).contains(millis))?;
        Some(Self(Duration::from_millis(millis)))
    }
}

/// Unit and its milliseconds.
const PERIOD_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// A hundred years: no deadline computed from it overflows.
const PERIOD_MS_MAX: u64 = 100 * 366 * 86_400_000;

impl Setting for ByteSize {
    const ALLOWED: &'static str = "a number of bytes, such as 1048576, \"512KiB\", \"64MiB\" or \"1GiB\"";

    fn read(value: &Value) -> Option<Self> {
        let bytes = match value.as_integer() {
            Some(bytes) => bytes.try_into().ok(),
            None => {
                let (count, unit) = number_and_unit(value.as_str()?)?;
                count.checked_mul(SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1)
            }
        };
        bytes.filter(|bytes| *bytes > 0).map(Self)
    }
}

/// Unit and its bytes.
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_a_unit_and_are_never_zero() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("7 d", 604_800_000)] {
            assert_eq!(Period::read(&text.into()), Some(Period(Duration::from_millis(millis))), "{text}");
        }
        for bad in ["", "10", "s", "0s", "-1s", "1.5h", "10 parsecs", "99999999999d"] {
            assert_eq!(Period::read(&bad.into()), None, "{bad}");
        }
        assert_eq!(Period::read(&Value::Integer(10)), None);
    }

    #[test]
    fn sizes_are_powers_of_two() {
        for (value, bytes) in [(Value::from("64MiB"), 64 << 20), ("4 KiB".into(), 4096), (Value::Integer(7), 7), ("7B".into(), 7)]
        {
            assert_eq!(ByteSize::read(&value), Some(ByteSize(bytes)), "{value}");
        }
        for bad in ["64MB", "64", "-1B", "0MiB", "99999999999GiB"] {
            assert_eq!(ByteSize::read(&bad.into()), None, "{bad}");
        }
    }
}
