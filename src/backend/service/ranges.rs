//! What a `Content-Range` tells: <https://www.rfc-editor.org/rfc/rfc9110#name-content-range>.

/// The first byte that `bytes 3-9/100` tells.
pub(in crate::backend) fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// The size of the whole that it tells.
pub(in crate::backend) fn whole_size(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_which_bytes_of_how_many_it_brings() {
        assert_eq!((first_byte("bytes 3-9/100"), whole_size("bytes 3-9/100")), (Some(3), Some(100)));
        assert_eq!((first_byte("bytes */100"), whole_size("bytes 3-9/*")), (None, None));
    }
}
