//! What the system's error numbers mean to callers.

use std::io;

use rustix::io::Errno;

use crate::backend::Error;

/// The error for a call that failed while `doing`.
pub(super) fn failed(doing: &str, err: io::Error) -> Error {
    match Errno::from_io_error(&err) {
        Some(Errno::NOSPC | Errno::DQUOT) => Error::Full(err),
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Error::ReadOnly(err),
        Some(Errno::NAMETOOLONG) => Error::Name(err.to_string()),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Error::Unavailable(format!("{doing}: {err}")),
        _ => Error::Io { context: doing.to_owned(), source: err },
    }
}

/// Turns a failed call into our error, saying what was being done.
pub(super) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str) -> Result<T, Error> {
        self.map_err(|err| failed(what, err))
    }
}

/// Whether the path leads to nothing that could be an object or lead to one: nothing there, a file in the way, a link.
pub(super) fn leads_nowhere(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO))
}

/// The system does not let this process in.
pub(super) fn is_denied(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::ACCESS | Errno::PERM))
}

/// Nothing of that name.
pub(super) fn is_missing(err: &io::Error) -> bool {
    Errno::from_io_error(err) == Some(Errno::NOENT)
}

/// Something else has that name.
pub(super) fn is_taken(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR))
}

/// The kernel or the file system does not know the call.
pub(super) fn is_unknown_call(err: &io::Error) -> bool {
    matches!(Errno::from_io_error(err), Some(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP))
}
