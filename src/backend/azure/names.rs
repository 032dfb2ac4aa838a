//! Names that Azure cannot hold, takes for others, or lists elsewhere than in the byte order of UTF-8.

use crate::backend::service::is_misplaced;

/// Of a name, in the units of UTF-16 in which the service counts.
const NAME_UNITS_MAX: usize = 1024;
const SEGMENTS_MAX: usize = 254;

/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
pub(super) fn is_odd(name: &str) -> bool {
    let segments = || name.split('/');
    // Dots at the end of a segment go, a slash at the end is a folder's, a backslash is a slash.
    let is_changed = segments().any(|segment| segment.is_empty() || segment.ends_with('.')) || name.contains('\\');
    // What XML cannot say spoils whole listings.
    let is_unspeakable = name.contains(char::is_control);
    is_changed
        || is_unspeakable
        || is_misplaced(name)
        || name.encode_utf16().count() > NAME_UNITS_MAX
        || segments().count() > SEGMENTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_azure_spells_or_orders_otherwise_is_odd() {
        for plain in ["a", "a/b", ".a/b.c", "a b+c%41?d#e&f=g", "é/ü", "\u{D7FF}", "...a", &"x".repeat(1024)] {
            assert!(!is_odd(plain), "{plain}");
        }
        let (long, deep) = ("x".repeat(1025), vec!["a"; 255].join("/"));
        for odd in
            ["a.", "a./b", "..", "a/", "/a", "a//b", "a\\b", "a\nb", "\u{1}", "\u{E000}", "\u{FFFD}", "\u{1F600}", &long, &deep]
        {
            assert!(is_odd(odd), "{odd}");
        }
    }
}
