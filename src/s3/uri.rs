//! Percent-encoding as S3 does it.

use std::fmt::Write;

/// As `encoding-type=url` shows keys: `/` stays, a space is `%20`, which clients that take `+` for a space read too.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Decodes `%xx`, as in a path; `None` unless the result is UTF-8 and every escape is whole.
pub fn decode(text: &str) -> Option<String> {
    decode_form(&text.replace('+', "%2B"))
}

/// Decodes `%xx`, and `+` as a space; `None` unless the result is UTF-8 and every escape is whole.
pub fn decode_form(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>()?;
                rest = tail;
                out.push(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?);
            }
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Whether a query string has this parameter, with or without a value.
pub fn has_parameter(query: Option<&str>, name: &str) -> bool {
    parameters(query).any(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// The parameters of a query string as they stand, not decoded.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_s3_shows_them() {
        assert_eq!(encode("foo+1/quux ab/é\u{1}~*"), "foo%2B1/quux%20ab/%C3%A9%01%7E*");
    }

    #[test]
    fn decoding_is_strict() {
        assert_eq!(decode_form("a+b%20c%C3%A9"), Some("a b cé".into()));
        assert_eq!(decode("a+b%20c%2B"), Some("a+b c+".into()));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode_form(bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_found_with_and_without_values() {
        let query = Some("delete&x-id=DeleteObjects&&a=b=c");
        assert!(has_parameter(query, "delete") && !has_parameter(query, "del"));
        assert_eq!(parameters(query).last(), Some(("a", "b=c")));
    }
}
