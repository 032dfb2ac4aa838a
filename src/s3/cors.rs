//! CORS: what pages of other origins may do with a bucket. Which rule fits is decided by plain functions over values.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use s3s::dto::{
    CORSConfiguration, CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput,
    PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{Body, S3Request, S3Response, S3Result};

use super::host::Hosts;
use super::{Face, convert, documents, error, uri};
use crate::model::{BucketName, Cors, CorsRule};
use crate::site::{Error, Site};

const RULES_MAX: usize = 100;
const ID_CHARS_MAX: usize = 255;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// An answer with or without CORS headers is another one for another of these.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const NOT_ENABLED: &str = "CORS is not enabled for this bucket.";
const NOT_ALLOWED: &str = "This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";

/// GetBucketCors.
pub async fn get(face: &Face, req: S3Request<GetBucketCorsInput>) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let cors = documents::read(face, &req.input.bucket).await?.row.cors().ok_or_else(error::no_cors_configuration)?;
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(cors.rules.into_iter().map(shown).collect()) }))
}

/// PutBucketCors.
pub async fn put(face: &Face, req: S3Request<PutBucketCorsInput>) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let cors = checked(req.input.cors_configuration)?;
    documents::write(face, &req.input.bucket, move |row, stamp| row.with_cors(Some(&cors), stamp)).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

/// DeleteBucketCors.
pub async fn delete(face: &Face, req: S3Request<DeleteBucketCorsInput>) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    documents::write(face, &req.input.bucket, |row, stamp| row.with_cors(None, stamp)).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput {}))
}

fn shown(rule: CorsRule) -> CORSRule {
    CORSRule {
        allowed_headers: Some(rule.headers).filter(|list| !list.is_empty()),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: Some(rule.exposed).filter(|list| !list.is_empty()),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds,
    }
}

/// The rules of a document, if they are ones.
fn checked(document: CORSConfiguration) -> S3Result<Cors> {
    if document.cors_rules.is_empty() {
        return Err(error::malformed_xml());
    }
    if document.cors_rules.len() > RULES_MAX {
        return Err(error::invalid_request("The number of CORS rules should not exceed allowed limit of 100 rules."));
    }
    let rules = document.cors_rules.into_iter().map(checked_rule).collect::<S3Result<Vec<_>>>()?;
    let cors = Cors { rules };
    documents::check_size(serde_json::to_vec(&cors).map_or(usize::MAX, |json| json.len()), documents::BYTES_MAX)?;
    Ok(cors)
}

fn checked_rule(rule: CORSRule) -> S3Result<CorsRule> {
    let (headers, exposed) = (rule.allowed_headers.unwrap_or_default(), rule.expose_headers.unwrap_or_default());
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(error::malformed_xml());
    }
    if rule.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
        return Err(error::invalid_argument("The ID of a CORS rule has at most 255 characters"));
    }
    if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
        return Err(error::invalid_request(message));
    }
    for (name, list) in [("AllowedOrigin", &rule.allowed_origins), ("AllowedHeader", &headers)] {
        if let Some(text) = list.iter().find(|text| text.matches('*').count() > 1) {
            return Err(error::invalid_request(format!("{name} \"{text}\" can not have more than one wildcard.")));
        }
    }
    if let Some(text) = exposed.iter().find(|text| text.contains('*')) {
        let message =
            format!("ExposeHeader \"{text}\" contains wildcard. We currently do not support wildcard for ExposeHeader.");
        return Err(error::invalid_request(message));
    }
    let all = [&rule.allowed_origins, &headers, &exposed].into_iter().flatten();
    if all.into_iter().any(|text| HeaderValue::from_str(text).is_err()) {
        return Err(error::malformed_xml());
    }
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers,
        exposed,
        max_age_seconds: rule.max_age_seconds,
    })
}

/// What a page asks for, or its browser ahead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    origin: String,
    method: String,
    /// In lower case.
    headers: Vec<String>,
    bucket: Option<BucketName>,
}

impl Wanted {
    /// `None` where no page asks.
    pub fn of(request: &Request<Body>, hosts: &Hosts) -> Option<Self> {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN)?.to_owned();
        let asked = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let names = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        // Of a request that names another method than its own, S3 answers for the one that it names.
        let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(request.method().as_str());
        Some(Self { origin, method: method.to_owned(), headers: names.collect(), bucket: bucket_of(request, hosts) })
    }
}

fn bucket_of(request: &Request<Body>, hosts: &Hosts) -> Option<BucketName> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let named = hosts.bucket(host).or_else(|| {
        let path = request.uri().path().trim_start_matches('/');
        let first = path.split('/').next().unwrap_or_default();
        uri::decode_form(&first.replace('+', "%2B"))
    });
    BucketName::new(named?.as_str()).ok()
}

/// The headers of an answer to what a page asks for; `None` where no rule allows it.
fn allowed(cors: &Cors, wanted: &Wanted) -> Option<HeaderMap> {
    let fits = |pattern: &&String| is_like(pattern, &wanted.origin);
    let rule = cors.rules.iter().find(|rule| {
        rule.origins.iter().any(|origin| fits(&origin))
            && rule.methods.contains(&wanted.method)
            && wanted.headers.iter().all(|name| rule.headers.iter().any(|known| is_like(&known.to_ascii_lowercase(), name)))
    })?;
    let is_for_all = rule.origins.iter().find(fits).is_some_and(|origin| origin == "*");
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: &str| convert::put_header(&mut headers, name, value);
    put(header::ACCESS_CONTROL_ALLOW_ORIGIN, if is_for_all { "*" } else { &wanted.origin });
    put(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !is_for_all {
        put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if !wanted.headers.is_empty() {
        put(header::ACCESS_CONTROL_ALLOW_HEADERS, &wanted.headers.join(", "));
    }
    if !rule.exposed.is_empty() {
        put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        put(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    put(header::VARY, VARY);
    Some(headers)
}

/// Whether a text is what a pattern says, in which one `*` may stand for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((begin, end)) = pattern.split_once('*') else { return pattern == text };
    text.len() >= begin.len() + end.len() && text.starts_with(begin) && text.ends_with(end)
}

/// Answers browsers, who sign nothing.
#[derive(Clone, Debug)]
pub struct Browsers {
    pub site: Site,
    pub hosts: Hosts,
}

impl Browsers {
    /// The rules of a bucket as they are known here: nobody else is asked on behalf of a stranger.
    async fn rules(&self, bucket: &BucketName) -> Result<Option<Cors>, Error> {
        self.site.bucket_registers_here(bucket).await.map(|bucket| bucket.row.cors())
    }

    /// Answers a browser that asks whether a page may ask.
    pub async fn preflight(&self, request: &Request<Body>) -> S3Result<Response<Body>> {
        let insufficient = || error::bad_request("Insufficient information. Origin request header needed.");
        let wanted = Wanted::of(request, &self.hosts).ok_or_else(insufficient)?;
        if !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) || !METHODS.contains(&wanted.method.as_str()) {
            return Err(error::bad_request("Invalid Access-Control-Request-Method: it is missing, or no method of S3"));
        }
        let bucket = wanted.bucket.as_ref().ok_or_else(|| error::no_cors(NOT_ENABLED))?;
        let rules = self.rules(bucket).await.map_err(error::from_site)?.ok_or_else(|| error::no_cors(NOT_ENABLED))?;
        let headers = allowed(&rules, &wanted).ok_or_else(|| error::no_cors(NOT_ALLOWED))?;
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Says in an answer, whatever it is, that the page which asked may see it.
    pub async fn allow(&self, wanted: &Wanted, response: &mut Response<Body>) {
        let Some(bucket) = &wanted.bucket else { return };
        // Without rules there is nothing to say; that they could not be read does not change the answer.
        let Ok(Some(rules)) = self.rules(bucket).await else { return };
        if let Some(headers) = allowed(&rules, wanted) {
            response.headers_mut().extend(headers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        CorsRule { origins: owned(origins), methods: owned(methods), headers: owned(headers), ..CorsRule::default() }
    }

    fn wanted(origin: &str, method: &str, headers: &[&str]) -> Wanted {
        let headers = headers.iter().map(ToString::to_string).collect();
        Wanted { origin: origin.into(), method: method.into(), headers, bucket: None }
    }

    fn answer(rules: &[CorsRule], asked: &Wanted) -> Option<Vec<(String, String)>> {
        let headers = allowed(&Cors { rules: rules.to_vec() }, asked)?;
        let vary = headers.get(header::VARY).map(|value| value.to_str().unwrap());
        assert_eq!(vary, Some(VARY));
        let pair = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        let mut pairs: Vec<_> = headers.iter().map(pair).filter(|(name, _)| name != "vary").collect();
        pairs.sort();
        Some(pairs.into_iter().map(|(name, value)| (name.trim_start_matches("access-control-").to_owned(), value)).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text) in
            [("*suffix", "foo.suffix"), ("start*end", "startend"), ("start*end", "start12end"), ("prefix*", "prefix"), ("*", "")]
        {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("*suffix", "foo.suffix.get"),
            ("start*end", "0start12end"),
            ("aba*aba", "aba"),
            ("prefix*", "bla.prefix"),
            ("x", "X"),
        ] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let first = CorsRule { exposed: vec!["etag".into(), "x-amz-meta-a".into()], ..rule(&["https://a.org"], &["GET"], &[]) };
        let second = CorsRule { max_age_seconds: Some(30), ..rule(&["*"], &["GET", "PUT"], &["x-amz-*", "Range"]) };
        let rules = [first, second];
        let own = [
            ("allow-credentials", "true"),
            ("allow-methods", "GET"),
            ("allow-origin", "https://a.org"),
            ("expose-headers", "etag, x-amz-meta-a"),
        ];
        assert_eq!(answer(&rules, &wanted("https://a.org", "GET", &[])), pairs(&own));
        let all = [("allow-methods", "GET, PUT"), ("allow-origin", "*"), ("max-age", "30")];
        assert_eq!(answer(&rules, &wanted("https://b.org", "GET", &[])), pairs(&all));
        let with_headers = answer(&rules, &wanted("https://a.org", "GET", &["x-amz-date", "range"])).unwrap();
        assert!(with_headers.contains(&("allow-headers".into(), "x-amz-date, range".into())), "{with_headers:?}");
        assert_eq!(answer(&rules, &wanted("https://a.org", "DELETE", &[])), None);
        assert_eq!(answer(&rules, &wanted("https://a.org", "PUT", &["x-other"])), None);
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        let told = |rule: CorsRule| {
            checked(CORSConfiguration { cors_rules: vec![shown(rule)] }).map(drop).map_err(|err| err.code().as_str().to_owned())
        };
        assert_eq!(told(rule(&["http://*.org"], &["GET", "HEAD"], &["*"])), Ok(()));
        assert_eq!(told(rule(&["*.*"], &["GET"], &[])), Err("InvalidRequest".into()));
        assert_eq!(told(rule(&["*"], &["GET"], &["x-*-*"])), Err("InvalidRequest".into()));
        assert_eq!(told(rule(&["*"], &["PATCH"], &[])), Err("InvalidRequest".into()));
        assert_eq!(told(rule(&["*"], &["get"], &[])), Err("InvalidRequest".into()));
        assert_eq!(told(rule(&[], &["GET"], &[])), Err("MalformedXML".into()));
        assert_eq!(told(rule(&["a\nb"], &["GET"], &[])), Err("MalformedXML".into()));
        let exposing = CorsRule { exposed: vec!["x-amz-*".into()], ..rule(&["*"], &["GET"], &[]) };
        assert_eq!(told(exposing), Err("InvalidRequest".into()));
        let many = CORSConfiguration { cors_rules: vec![shown(rule(&["*"], &["GET"], &[])); 101] };
        assert_eq!(checked(many).unwrap_err().code().as_str(), "InvalidRequest");
        assert_eq!(checked(CORSConfiguration { cors_rules: Vec::new() }).unwrap_err().code().as_str(), "MalformedXML");
    }

    #[test]
    fn what_a_page_asks_for_is_read_from_its_request() {
        let request = |uri: &str, headers: &[(&str, &str)]| {
            let request =
                headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
            request.body(Body::empty()).unwrap()
        };
        let hosts = Hosts::new(&["s3.test".into()]);
        let asked = [
            ("host", "localhost:9000"),
            ("origin", "https://a.org"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "X-Amz-Date, ,range"),
        ];
        let read = Wanted::of(&request("/bucket/k", &asked), &hosts).unwrap();
        assert_eq!((read.method.as_str(), read.headers), ("PUT", vec!["x-amz-date".to_owned(), "range".into()]));
        assert_eq!(read.bucket.unwrap().as_str(), "bucket");
        let virtual_host = Wanted::of(&request("/k", &[("host", "photos.s3.test"), ("origin", "x")]), &hosts).unwrap();
        assert_eq!((virtual_host.bucket.unwrap().as_str(), virtual_host.method.as_str()), ("photos", "GET"));
        assert_eq!(Wanted::of(&request("/k", &[("host", "h")]), &hosts), None);
        assert_eq!(Wanted::of(&request("/", &[("origin", "x")]), &hosts).unwrap().bucket, None);
    }
}
