//! What a service said, as what the caller can do about it.

use std::error::Error as StdError;
use std::io;

use crate::backend::Error;

/// Stands for the answer to what could not be asked.
const UNSENT: u16 = 400;

/// Of what a service says, in characters.
const DETAIL_CHARS_MAX: usize = 300;
/// Names that the service does not take.
const NAME_CODES: [&str; 4] = ["KeyTooLongError", "InvalidURI", "InvalidResourceName", "OutOfRangeInput"];
/// Names that no object there can have, the last one of listings of what begins so.
const NO_NAME_CODES: [&str; 3] = ["InvalidObjectName", "XMinioInvalidObjectName", "XMinioInvalidResourceName"];
/// A name below that of an object, where names are files.
const BELOW_FILE: &str = "ObjectParentIsFile";
/// Bytes that came as others, or fewer, than their headers say. Those are made here, so it was the way there that broke them; MinIO
/// says `IncompleteBody` of its own copies too, where another write comes in between.
const BROKEN_CODES: [&str; 5] = ["BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "Md5Mismatch", "Crc64Mismatch"];
/// Credentials that the service does not know, or knows no longer, with status 400 or 403. Of AWS:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>; Azure, MinIO and versitygw have others.
const LOGIN_CODES: [&str; 11] = [
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidSecurity",
    "InvalidToken",
    "InvalidTokenId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "XAdminUserNotFound",
];
const FOREIGN_BUCKET: &str = "BucketAlreadyExists";
/// Of a call that was not made.
const NOT_TRIED: &str = "NotTried";

/// A call that failed.
#[derive(Debug)]
pub(in crate::backend) struct Fault {
    /// What was tried, for people.
    pub doing: &'static str,
    /// Of HTTP; `None` where no answer came.
    pub status: Option<u16>,
    /// What the service calls it; empty where it calls it nothing.
    pub code: String,
    pub detail: String,
}

pub(in crate::backend) type Answer<T> = std::result::Result<T, Fault>;

impl Fault {
    /// No answer came in time.
    pub fn late(doing: &'static str) -> Self {
        Self { doing, status: None, code: String::new(), detail: "no answer came in time".to_owned() }
    }

    /// The service is known to be dead.
    pub fn not_tried(doing: &'static str) -> Self {
        let detail = "not tried, since nobody answers there".to_owned();
        Self { doing, status: None, code: NOT_TRIED.to_owned(), detail }
    }

    /// As many calls are under way as may be.
    pub fn crowded(doing: &'static str) -> Self {
        let detail = "not tried, since as many calls are under way there as calls_max says".to_owned();
        Self { doing, status: Some(503), code: NOT_TRIED.to_owned(), detail }
    }

    pub fn is_not_tried(&self) -> bool {
        self.is(&[NOT_TRIED])
    }

    /// The call could not be made at all.
    pub fn unsent(doing: &'static str, err: &(dyn StdError + 'static)) -> Self {
        Self { doing, status: Some(UNSENT), code: "InvalidURI".to_owned(), detail: chain(err) }
    }

    /// No answer came, or none that could be read: `status` is what its first line said, if that came.
    pub fn broken(doing: &'static str, status: Option<u16>, err: &(dyn StdError + 'static)) -> Self {
        Self { doing, status, code: String::new(), detail: chain(err) }
    }

    /// The service answered well, and not what it should have.
    pub fn nonsense(doing: &'static str, detail: impl Into<String>) -> Self {
        Self { doing, status: Some(200), code: String::new(), detail: detail.into() }
    }

    /// The bucket is somebody else's.
    pub fn foreign_bucket(doing: &'static str, bucket: &str) -> Self {
        let detail = format!("{bucket} belongs to another account of the service; choose another name");
        Self { doing, status: Some(409), code: FOREIGN_BUCKET.to_owned(), detail }
    }

    /// The same, of a name that is above or below another.
    pub fn of_taken_name(self) -> Self {
        Self { status: Some(409), code: BELOW_FILE.to_owned(), ..self }
    }

    pub fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    /// Nothing of that name; whether it is the bucket that is missing, a HEAD does not say.
    pub fn is_missing(&self) -> bool {
        self.status == Some(404) && !self.is_bucket_missing()
    }

    pub fn is_bucket_missing(&self) -> bool {
        self.is(&["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"])
    }

    /// A bucket in which something is.
    pub fn is_not_empty(&self) -> bool {
        self.is(&["BucketNotEmpty"])
    }

    /// A condition that does not hold.
    pub fn is_refused_by_condition(&self) -> bool {
        self.status == Some(412) || self.is(&["PreconditionFailed", "ConditionalRequestConflict", "BlobAlreadyExists"])
    }

    /// A range that begins behind the end.
    pub fn is_beyond_end(&self) -> bool {
        self.status == Some(416)
    }

    /// A list of parts that is not that of the upload.
    pub fn is_bad_list(&self) -> bool {
        self.is(&["InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidBlockList", "InvalidBlockId"])
    }

    /// Whether the service does not know what it was asked.
    pub fn is_unknown_call(&self) -> bool {
        self.status == Some(501) || self.is(&["NotImplemented"])
    }

    /// Whether the service says that it went well, in words that are not those of such an answer.
    pub fn is_unreadable(&self) -> bool {
        self.code.is_empty() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the call may have been done, or may be done yet.
    pub fn is_open(&self) -> bool {
        if self.is_not_tried() {
            return false;
        }
        // Some calls are answered with 200 before they are done: what breaks or fails after that says nothing of them.
        self.status.is_none_or(|status| (200..300).contains(&status) || status >= 500 && status != 501 && status != 503)
    }

    /// Whether the same call may go well a moment later.
    pub fn is_passing(&self) -> bool {
        // ExistingObjectIsDirectory is what services over directories say while a folder goes.
        let is_told = self.is(&["SlowDown", "RequestTimeout", "ExistingObjectIsDirectory"]) || self.is(&BROKEN_CODES);
        is_told || self.status.is_none_or(|status| matches!(status, 200..300 | 408 | 429 | 500 | 502..=504))
    }

    /// Whether the service will never take such a name, though another may: where names are files, none is below another.
    pub fn is_name_refused(&self) -> bool {
        let is_below_file = self.is(&["ExistingObjectIsDirectory", BELOW_FILE, "XMinioParentIsObject"]);
        is_below_file || self.is(&NAME_CODES) || self.is_no_name()
    }

    /// Whether the service says that no object can have such a name.
    pub fn is_no_name(&self) -> bool {
        self.is(&NO_NAME_CODES)
    }

    /// The same of a look: what no object can be called is not there.
    pub fn of_look(self) -> Self {
        if self.is_no_name() { Self { status: Some(404), code: String::new(), ..self } } else { self }
    }

    /// Whether it is a refusal without its reason, as what answers a HEAD is.
    pub fn is_untold(&self) -> bool {
        self.code.is_empty() && matches!(self.status, Some(400 | 403))
    }

    /// Whether nobody answered at all.
    pub fn is_silence(&self) -> bool {
        self.status.is_none()
    }

    /// Whether the credentials, or the rights they have, are not enough.
    pub fn is_denied(&self) -> bool {
        self.is_login_refused() || self.status == Some(403)
    }

    /// Whether the service says that it knows the credentials, and that they lack the right.
    pub fn is_forbidden(&self) -> bool {
        self.status == Some(403) && !self.is_login_refused()
    }

    fn is_login_refused(&self) -> bool {
        match self.status {
            Some(401) => true,
            // Nothing tells that it is the right that is missing.
            Some(403) if self.code.is_empty() => true,
            _ => self.is(&LOGIN_CODES),
        }
    }

    fn text(&self) -> String {
        let Self { doing, status, code, detail } = self;
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let parts: Vec<&str> = [code.as_str(), detail.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
        format!("{doing}: {}{status}", if parts.is_empty() { "no reason told".to_owned() } else { parts.join(": ") })
    }

    fn denied(&self) -> Error {
        let text = self.text();
        match self.code.as_str() {
            "RequestTimeTooSkewed" => Error::Unavailable(format!("{text}; set the clocks right")),
            _ if self.is_login_refused() => {
                Error::Unavailable(format!("{text}; check the credentials and the address of this store"))
            }
            _ => Error::ReadOnly(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{text}; give this store's credentials the right"),
            )),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let text = fault.text();
        match (fault.code.as_str(), fault.status) {
            _ if fault.is_bucket_missing() => Self::NoSuchBucket,
            _ if fault.is_not_empty() => Self::NotEmpty(text),
            _ if fault.is(&BROKEN_CODES) => Self::Unavailable(text),
            _ if fault.is(&NAME_CODES) || fault.is_no_name() || fault.is(&[FOREIGN_BUCKET]) => Self::Name(text),
            ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "InsufficientCapacity", _) | (_, Some(507)) => {
                Self::Full(io::Error::new(io::ErrorKind::StorageFull, text))
            }
            (_, Some(404)) => Self::NotFound,
            _ if fault.is_refused_by_condition() || fault.is_beyond_end() => Self::Changed,
            _ if fault.is_denied() => fault.denied(),
            // Of 409 too: somebody else was at the name, or above it.
            ("SlowDown" | "RequestTimeout", _) | (_, None | Some(200..300 | 408 | 409 | 429 | 500..)) => Self::Unavailable(text),
            _ => Self::Io { context: "the service refused".to_owned(), source: io::Error::other(text) },
        }
    }
}

/// As much of a text as people read: it may be a whole listing.
pub(in crate::backend) fn shortened(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

/// The whole chain: what is outside says only that something failed.
pub(in crate::backend) fn chain(err: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(err);
    while let Some(err) = next {
        let part = err.to_string();
        if !text.ends_with(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        next = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: Option<u16>, code: &str) -> Fault {
        Fault { doing: "storing", status, code: code.to_owned(), detail: "told".to_owned() }
    }

    fn told(status: u16, code: &str) -> Error {
        fault((status > 0).then_some(status), code).into()
    }

    #[test]
    fn an_error_says_what_the_caller_can_do() {
        assert!(matches!(told(404, "NoSuchKey"), Error::NotFound));
        assert!(matches!(told(404, ""), Error::NotFound));
        assert!(matches!(told(404, "NoSuchBucket"), Error::NoSuchBucket));
        assert!(matches!(told(404, "ContainerNotFound"), Error::NoSuchBucket));
        assert!(matches!(told(412, ""), Error::Changed));
        assert!(matches!(told(416, "InvalidRange"), Error::Changed));
        assert!(matches!(told(403, "AccessDenied"), Error::ReadOnly(_)));
        assert!(matches!(told(403, "SignatureDoesNotMatch"), Error::Unavailable(_)));
        assert!(matches!(told(403, ""), Error::Unavailable(_)));
        assert!(matches!(told(409, "BucketNotEmpty"), Error::NotEmpty(_)));
        assert!(matches!(told(507, ""), Error::Full(_)));
        for (status, code) in [
            (0, ""),
            (500, "InternalError"),
            (503, "SlowDown"),
            (429, ""),
            (409, "ExistingObjectIsDirectory"),
            (200, "InternalError"),
            (400, "RequestTimeout"),
            (400, "XAmzContentSHA256Mismatch"),
            (400, "ExpiredToken"),
        ] {
            assert!(matches!(told(status, code), Error::Unavailable(_)), "{status} {code}");
        }
        assert!(matches!(told(400, "InvalidRequest"), Error::Io { .. }));
        assert!(matches!(told(400, ""), Error::Io { .. }));
    }

    #[test]
    fn what_breaks_on_its_way_is_sent_again() {
        assert!(fault(Some(400), "BadDigest").is_passing() && fault(Some(400), "IncompleteBody").is_passing());
        assert!(!fault(Some(400), "InvalidRequest").is_passing());
    }

    #[test]
    fn credentials_that_are_not_known_are_no_lack_of_rights() {
        for code in LOGIN_CODES {
            for status in [400, 403] {
                let fault = fault(Some(status), code);
                assert!(fault.is_denied() && !fault.is_forbidden(), "{status} {code}");
                assert!(matches!(Error::from(fault), Error::Unavailable(_)), "{status} {code}");
            }
        }
        assert!(fault(Some(403), "").is_denied() && !fault(Some(403), "").is_forbidden());
        assert!(fault(Some(403), "AccessDenied").is_forbidden());
        assert!(!fault(Some(400), "InvalidRequest").is_denied() && !fault(Some(400), "").is_denied());
    }

    #[test]
    fn only_a_clear_no_closes_a_call() {
        let fault = |status| fault(status, "");
        assert!(fault(None).is_open() && fault(Some(500)).is_open() && fault(Some(504)).is_open());
        assert!(!Fault::not_tried("x").is_open());
        assert!(!fault(Some(503)).is_open() && !fault(Some(404)).is_open() && !fault(Some(501)).is_open());
    }
}
