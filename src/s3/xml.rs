//! Documents with characters that XML 1.0 cannot hold. S3 writes them as character references, which lenient parsers
//! read and strict ones refuse; clients that care ask for `encoding-type=url`. s3s would answer 500.

use bytes::Bytes;
use s3s::S3Response;
use s3s::xml::{Serialize, Serializer};

use super::gate::Rewrite;

/// Whether a text needs [`response`] instead of s3s's own writer. Carriage returns do: parsers turn raw ones into
/// line feeds.
pub fn is_odd(text: &str) -> bool {
    text.chars().any(is_odd_char)
}

fn is_odd_char(c: char) -> bool {
    c < ' ' || matches!(c, '\u{FFFE}' | '\u{FFFF}')
}

/// The answer `output`; written by ourselves where one of `texts`, which are in it, is odd.
pub fn response<'a, T>(output: T, texts: impl IntoIterator<Item = &'a str>) -> S3Response<T>
where
    T: Serialize + Default,
{
    if !texts.into_iter().any(is_odd) {
        return S3Response::new(output);
    }
    replaced(&output)
}

/// As [`response`], where the caller already knows.
pub fn replaced<T: Serialize + Default>(output: &T) -> S3Response<T> {
    let mut response = S3Response::new(T::default());
    response.extensions.insert(Rewrite { document: document(output), ..Rewrite::default() });
    response
}

fn document<T: Serialize>(output: &T) -> Option<Bytes> {
    let mut bytes = Vec::new();
    output.serialize(&mut Serializer::new(&mut bytes)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut out = String::with_capacity(text.len() + 64);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    // The writer adds no white space of its own, so whatever is odd came with a value.
    for c in text.chars() {
        if is_odd_char(c) {
            out.push_str(&format!("&#x{:X};", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::{ListObjectsOutput, Object};

    fn listing(key: &str) -> ListObjectsOutput {
        let object = Object { key: Some(key.into()), ..Object::default() };
        ListObjectsOutput { contents: Some(vec![object]), ..ListObjectsOutput::default() }
    }

    #[test]
    fn odd_characters_become_references_and_the_rest_stays_escaped() {
        let key = "a\u{1}\r<&\u{FFFF}";
        let answer = response(listing(key), [key]);
        let text = answer.extensions.get::<Rewrite>().unwrap().document.clone().unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("<Key>a&#x1;&#13;&lt;&amp;&#xFFFF;</Key>"), "{text}");
        assert_eq!(text.matches("<?xml").count(), 1);
    }

    #[test]
    fn ordinary_answers_are_left_to_s3s() {
        assert!(response(listing("a"), ["a"]).extensions.is_empty());
    }
}
