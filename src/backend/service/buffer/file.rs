//! One buffered write as a file: its bytes, and behind them what they are, with checksums of both.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::backend::Attributes;
use crate::model::{ObjectId, WriteId};

/// The version of the format, at the very end.
const MAGIC: &[u8; 8] = b"anybuf02";
/// Checksum and length of the slip, and the magic.
const TAIL_BYTES: usize = 8 + 4 + MAGIC.len();
/// A key has 1,024 bytes, a label 512, and what clients say of their bytes is no longer than a request's headers.
const SLIP_BYTES_MAX: u32 = 1 << 20;
/// How much is read at once to check a file.
const CHECKED_BYTES: usize = 1 << 20;
/// What a name has until all of its bytes are there.
const DRAFT: &str = "part";

/// What is known of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slip {
    /// Which store they are for: a directory is not another's by a change of settings.
    pub store: String,
    pub object: ObjectId,
    pub write: WriteId,
    /// Milliseconds since 1970, as the writer says.
    pub modified_ms: u64,
    pub attributes: Attributes,
    /// Bytes.
    pub size: u64,
    /// CRC-64/NVME of the bytes.
    pub crc64: u64,
}

/// Which write of which object: a write's own name is made of both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub write: WriteId,
    pub object: ObjectId,
}

impl Name {
    /// What its file is called. The file itself tells the object.
    pub fn file(&self) -> String {
        format!("{}-{:016x}", self.write, crc64(self.object.to_string().as_bytes()))
    }
}

impl Slip {
    pub fn name(&self) -> Name {
        Name { write: self.write, object: self.object.clone() }
    }
}

/// A file that is being written. Dropped before its end it leaves nothing.
pub(super) struct Draft {
    path: PathBuf,
    file: File,
    digest: Digest,
    size: u64,
}

impl Draft {
    pub fn begin(dir: &Path, name: &Name) -> io::Result<Self> {
        let path = dir.join(format!("{}.{DRAFT}", name.file()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, digest: digest(), size: 0 })
    }

    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Makes the whole durable under its name. Size and checksum of the slip are filled in. Answers when the file was made.
    pub fn finish(mut self, slip: &mut Slip, dir: &File) -> io::Result<u64> {
        (slip.size, slip.crc64) = (self.size, self.digest.finalize());
        let text = postcard::to_stdvec(slip).map_err(io::Error::other)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        let mut tail = text.clone();
        tail.extend_from_slice(&crc64(&text).to_be_bytes());
        tail.extend_from_slice(&length.to_be_bytes());
        tail.extend_from_slice(MAGIC);
        self.file.write_all(&tail)?;
        self.file.sync_all()?;
        std::fs::rename(&self.path, self.path.with_extension(""))?;
        // Whoever is told that this failed repeats the write: the name goes with the draft.
        if let Err(err) = dir.sync_all() {
            let _ = std::fs::remove_file(self.path.with_extension(""));
            return Err(err);
        }
        Ok(came_ms(&self.file.metadata()?))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Not there any more once it has its name; else the next start removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a file has a name as writes have here.
pub(super) fn is_write(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
    name.is_some_and(|(write, object)| write.parse::<WriteId>().is_ok() && u64::from_str_radix(object, 16).is_ok())
}

/// Whether this is a draft that a crash left.
pub(super) fn is_draft(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == DRAFT) && is_write(&path.with_extension(""))
}

pub(super) fn came_ms(metadata: &std::fs::Metadata) -> u64 {
    let ms = metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}

/// Reads what a file says of itself, and when it was made. The bytes are not looked at.
pub(super) fn read_slip(path: &Path) -> io::Result<(Slip, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let torn = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("the file is torn: {what}"));
    let end = metadata.len().checked_sub(TAIL_BYTES as u64).ok_or_else(|| torn("it is too short"))?;
    let mut tail = [0; TAIL_BYTES];
    file.read_exact_at(&mut tail, end)?;
    let (sum, rest) = tail.split_at(8);
    let (length, magic) = rest.split_at(4);
    if magic != MAGIC {
        return Err(torn("it does not end as it should"));
    }
    let length = u32::from_be_bytes(length.try_into().expect("it was split so"));
    let begin = end.checked_sub(length.into()).filter(|_| length <= SLIP_BYTES_MAX).ok_or_else(|| torn("it is too short"))?;
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, begin)?;
    if crc64(&text).to_be_bytes() != *sum {
        return Err(torn("what it says of itself has another checksum"));
    }
    let slip: Slip = postcard::from_bytes(&text).map_err(|_| torn("what it says of itself cannot be read"))?;
    if slip.size != begin || path.file_name().is_none_or(|name| *name != *slip.name().file()) {
        return Err(torn("it holds other bytes than it says"));
    }
    Ok((slip, came_ms(&metadata)))
}

/// Reads all bytes of a file and compares their checksum.
pub(super) fn is_sound(file: &File, slip: &Slip) -> io::Result<bool> {
    let (mut digest, mut at, mut chunk) = (digest(), 0, vec![0; CHECKED_BYTES]);
    while at < slip.size {
        let size = usize::try_from(slip.size - at).unwrap_or(usize::MAX).min(chunk.len());
        file.read_exact_at(&mut chunk[..size], at)?;
        digest.update(&chunk[..size]);
        at += size as u64;
    }
    Ok(digest.finalize() == slip.crc64)
}

pub(super) fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}

fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = digest();
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentHeaders, Incarnation};

    fn slip(n: u64) -> Slip {
        Slip {
            store: "s3 home".to_owned(),
            object: ObjectId::parse("bucket", "a/é").unwrap(),
            write: WriteId::new(Incarnation(1), 1, n),
            modified_ms: 5,
            attributes: Attributes {
                label: Some("said".to_owned()),
                headers: ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() },
                metadata: vec![("Colour".to_owned(), "grün".to_owned())],
            },
            size: 0,
            crc64: 0,
        }
    }

    fn written(dir: &Path, n: u64, bytes: &[u8]) -> (Slip, PathBuf) {
        let mut slip = slip(n);
        let mut draft = Draft::begin(dir, &slip.name()).unwrap();
        bytes.chunks(3).for_each(|chunk| draft.push(chunk).unwrap());
        draft.finish(&mut slip, &File::open(dir).unwrap()).unwrap();
        (slip.clone(), dir.join(slip.name().file()))
    }

    #[test]
    fn a_file_says_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        for (n, bytes) in [(1, &b""[..]), (2, b"some bytes")] {
            let (slip, path) = written(dir.path(), n, bytes);
            let (read, came_ms) = read_slip(&path).unwrap();
            assert_eq!((&read, read.size), (&slip, bytes.len() as u64));
            assert!(came_ms > 0 && is_sound(&File::open(&path).unwrap(), &read).unwrap());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn no_torn_file_is_taken_for_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let (slip, path) = written(dir.path(), 1, b"some bytes");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_slip(&path).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            std::fs::write(&path, &rotten).unwrap();
            let is_taken = read_slip(&path).is_ok() && is_sound(&File::open(&path).unwrap(), &slip).unwrap();
            assert!(!is_taken, "{at}");
        }
        // Of a disk that lost what was in the middle.
        std::fs::write(&path, [&whole[..3], &whole[5..]].concat()).unwrap();
        assert!(read_slip(&path).is_err());
        std::fs::rename(&path, dir.path().join(self::slip(9).name().file())).unwrap();
        std::fs::write(&path, &whole).unwrap();
        assert!(read_slip(&path).is_ok());
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut draft = Draft::begin(dir.path(), &slip(1).name()).unwrap();
        draft.push(b"some").unwrap();
        assert!(is_draft(&draft.path) && !is_write(&draft.path));
        drop(draft);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
