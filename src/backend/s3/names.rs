//! Names that some S3 service keeps for itself: it refuses them, or hides them from listings, from which lost rows are restored.

/// S3Proxy: <https://github.com/gaul/s3proxy/blob/master/src/main/java/org/gaul/s3proxy/nio2blob/AbstractNio2BlobStore.java>;
/// versitygw: <https://github.com/versity/versitygw/blob/main/backend/posix/posix.go>.
pub(super) fn is_odd(name: &str) -> bool {
    let is_kept = |segment: &str| segment.starts_with(".mpus-") || segment.starts_with(".s3proxy-") || segment == ".sgwtmp";
    name.split('/').any(is_kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_keeps_for_itself_is_odd() {
        for plain in ["a", ".s3proxy", "mpus-1", "a.mpus-1", ".sgwtmp2"] {
            assert!(!is_odd(plain), "{plain}");
        }
        for odd in [".mpus-1", "a/.mpus-1/b", ".s3proxy-slash", ".s3proxy-versions/a", "a/.s3proxy-slash", ".sgwtmp/multipart"] {
            assert!(is_odd(odd), "{odd}");
        }
    }
}
