//! What a browser gets once its file is stored.

use http::{HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use s3s::Body;

use super::Target;
use super::fields::Fields;
use crate::s3::uri;

/// Of the headers of a PUT's answer, those that say how it was asked.
const OF_BODY: [HeaderName; 2] = [header::CONTENT_LENGTH, header::CONTENT_TYPE];

/// The answer to a PUT, as the form asks for it.
pub fn of(stored: Response<Body>, target: &Target, key: &str, fields: &Fields) -> Response<Body> {
    let etag = stored.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    let (mut parts, _) = stored.into_parts();
    OF_BODY.iter().for_each(|name| drop(parts.headers.remove(name)));
    let place = location(target, key);
    let mut body = Body::empty();
    parts.status = StatusCode::NO_CONTENT;
    let mut said = HeaderValue::try_from(&place).ok();
    if let Some(elsewhere) = redirect(fields).and_then(|url| redirected(&url, &target.bucket, key, &etag)) {
        parts.status = StatusCode::SEE_OTHER;
        said = Some(elsewhere);
    } else {
        match fields.get("success_action_status") {
            Some("200") => parts.status = StatusCode::OK,
            Some("201") => {
                parts.status = StatusCode::CREATED;
                parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
                body = Body::from(document(&place, &target.bucket, key, &etag));
            }
            _ => {}
        }
    }
    said.map(|said| parts.headers.insert(header::LOCATION, said));
    Response::from_parts(parts, body)
}

/// Where the object is, in the words of whoever asked.
fn location(target: &Target, key: &str) -> String {
    let scheme = if target.source.as_ref().is_some_and(|source| source.tls) { "https" } else { "http" };
    format!("{scheme}://{}/{}/{}", target.host, target.bucket, uri::encode(key))
}

/// Where the browser wants to go; what is no address is as if it were not there.
fn redirect(fields: &Fields) -> Option<Uri> {
    let asked = fields.get("success_action_redirect").or_else(|| fields.get("redirect"))?;
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    asked.parse::<Uri>().ok().filter(is_web)
}

fn redirected(url: &Uri, bucket: &str, key: &str, etag: &str) -> Option<HeaderValue> {
    let join = if url.query().is_some() { '&' } else { '?' };
    let (bucket, key, etag) = (uri::encode(bucket), uri::encode(key), uri::encode(etag));
    HeaderValue::try_from(format!("{url}{join}bucket={bucket}&key={key}&etag={etag}")).ok()
}

fn document(place: &str, bucket: &str, key: &str, etag: &str) -> String {
    let [place, bucket, key, etag] = [place, bucket, key, etag].map(escaped);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{place}</Location><Bucket>{bucket}</Bucket>\
         <Key>{key}</Key><ETag>{etag}</ETag></PostResponse>"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c < ' ' => out.push_str(&format!("&#x{:X};", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(fields: &[(&str, &str)]) -> (u16, String, String) {
        let mut stored = Response::new(Body::from(String::from("x")));
        stored.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"abc\""));
        stored.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
        let target = Target { bucket: "b".into(), host: "s3.test:9000".into(), source: None, progress: None };
        let answer = of(stored, &target, "a b&<", &Fields::of(fields));
        assert!(!answer.headers().contains_key(header::CONTENT_LENGTH));
        let location = answer.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let body = answer.body().bytes().unwrap_or_default();
        (answer.status().as_u16(), location, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_form_says_how_it_is_answered() {
        let place = "http://s3.test:9000/b/a%20b%26%3C";
        for (asked, status) in [("200", 200), ("204", 204), ("404", 204), ("", 204)] {
            assert_eq!(answered(&[("success_action_status", asked)]), (status, place.into(), String::new()), "{asked}");
        }
        assert_eq!(answered(&[]), (204, place.into(), String::new()));
        let (status, _, body) = answered(&[("success_action_status", "201")]);
        assert_eq!(status, 201);
        let inside = "<Bucket>b</Bucket><Key>a b&amp;&lt;</Key><ETag>&quot;abc&quot;</ETag>";
        assert!(body.contains(place) && body.contains(inside), "{body}");
    }

    #[test]
    fn a_redirect_wins_and_tells_what_was_stored() {
        for (asked, location) in [
            ("http://example.com/ok", "http://example.com/ok?bucket=b&key=a%20b%26%3C&etag=%22abc%22"),
            ("https://example.com/ok?x=1", "https://example.com/ok?x=1&bucket=b&key=a%20b%26%3C&etag=%22abc%22"),
        ] {
            for field in ["success_action_redirect", "redirect"] {
                let answer = answered(&[(field, asked), ("success_action_status", "201")]);
                assert_eq!(answer, (303, location.into(), String::new()));
            }
        }
        for bad in ["javascript:alert(1)", "/elsewhere", "not a url", ""] {
            assert_eq!(answered(&[("success_action_redirect", bad)]).0, 204, "{bad}");
        }
    }
}
