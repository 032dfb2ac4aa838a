//! Digests of documents held in memory. Objects are hashed by the site as they stream.

use md5::{Digest, Md5};

pub use crate::site::checksum;

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChecksumAlgorithm, hex};

    #[test]
    fn digests_have_their_published_check_values() {
        let of = |algorithm| hex(&checksum(algorithm, b"123456789"));
        assert_eq!(of(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(of(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(of(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
