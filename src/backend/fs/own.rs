//! Own names: of bytes that are never written again, whatever comes to their key.
//!
//! The bytes of a write lie beside all buckets, in a directory of ours, where the path of `<bucket>/<key>@<write id>` leads
//! to. So what looks for plain names, moves files to them and makes that durable does it for own names too, from another
//! directory on: the bucket is one more directory on the way, made with the others and removed with them.
//!
//! A bucket's directory is therefore not what says that the bucket exists: a publish asks for that ([`Core::bucket_stays`]).

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};

use super::bucket::remove_directories;
use super::error::{Doing, is_missing, is_taken, leads_nowhere};
use super::io::{Kind, Node};
use super::{Core, names};
use crate::backend::{Error, Place, Result};
use crate::model::{BucketName, Location, WriteId};

/// The directory of own names, in the reserved one.
pub(super) const DIRECTORY: &str = "versions";

/// Stands between the key and the write id. What follows it has a fixed length, so a key may hold it as well.
const BEFORE_WRITE: char = '@';
/// Length of a write id's text.
const WRITE_BYTES: usize = 20;

/// Where the name of settled bytes is looked for.
#[derive(Debug)]
pub(super) struct Home<'a> {
    pub dir: Arc<Node>,
    /// What the path in it is of.
    pub text: Cow<'a, str>,
}

/// The text whose path from the directory of own names on is the own name of `write`.
pub(super) fn text(at: &Place, write: WriteId) -> String {
    format!("{}/{}{BEFORE_WRITE}{write}", at.object.bucket, at.object.key)
}

/// Reads the last segment of such a text; `None` if it is not one.
pub(super) fn read_segment(segment: &str) -> Option<(&str, WriteId)> {
    let (segment, write) = segment.split_at_checked(segment.len().checked_sub(WRITE_BYTES)?)?;
    Some((segment.strip_suffix(BEFORE_WRITE)?, write.parse().ok()?))
}

impl Core {
    /// Where the name of bytes that are not staged is looked for now; `None` if this store has no such names.
    pub fn home<'a>(&self, at: &'a Place) -> Result<Option<Home<'a>>> {
        Ok(match at.location {
            Location::Plain => Some(Home { dir: self.bucket_now(&at.object.bucket)?, text: at.object.key.as_str().into() }),
            Location::Own(write) => Some(Home { dir: self.versions.clone(), text: text(at, write).into() }),
            _ => None,
        })
    }

    /// Says so if there is no such bucket.
    pub fn check_bucket(&self, bucket: &BucketName) -> Result<()> {
        match self.root.stat_at(bucket.as_str()) {
            Ok(stat) if stat.kind == Kind::Directory => Ok(()),
            Ok(_) => Err(Error::NoSuchBucket),
            Err(err) if leads_nowhere(&err) => Err(Error::NoSuchBucket),
            Err(err) => Err(err).doing("looking for the bucket"),
        }
    }

    /// The bucket exists, and does while this is held: where its directory is removed, nothing would refuse that for the
    /// sake of bytes at an own name.
    pub fn bucket_stays(&self, bucket: &BucketName) -> Result<MutexGuard<'_, ()>> {
        let stays = self.no_bucket_goes();
        self.check_bucket(bucket)?;
        Ok(stays)
    }

    pub fn no_bucket_goes(&self) -> MutexGuard<'_, ()> {
        self.bucket_goes.lock().expect("no code panics while it removes a bucket")
    }

    /// The directories of a bucket's own names: one, unless somebody else's file had its name.
    pub fn own_directories(&self, bucket: &BucketName) -> Result<Vec<Arc<Node>>> {
        let mut directories = Vec::new();
        for name in directory_names(bucket) {
            match self.versions.open_dir(&name) {
                Ok(dir) => directories.push(Arc::new(dir)),
                Err(err) if leads_nowhere(&err) => {}
                Err(err) => return Err(err).doing("opening a directory of own names"),
            }
        }
        Ok(directories)
    }

    /// Removes the directories of a bucket's own names, durably, unless there are some in them.
    pub fn remove_own_directories(&self, bucket: &BucketName) -> Result<()> {
        for name in directory_names(bucket) {
            let inside = match self.versions.open_dir(&name) {
                Err(err) if leads_nowhere(&err) => continue,
                opened => opened.doing("opening a directory of own names")?,
            };
            let shown = format!("{DIRECTORY}/{name}");
            remove_directories(&inside, &format!("{shown}/"))?;
            match self.versions.remove_dir(&name) {
                Err(err) if is_taken(&err) => return Err(Error::NotEmpty(shown)),
                Err(err) if !is_missing(&err) => return Err(err).doing("removing a directory of own names"),
                _ => {}
            }
        }
        self.sync(&self.versions).doing("syncing the directory of own names")
    }
}

/// The names that a bucket's directory may have among those of own names.
fn directory_names(bucket: &BucketName) -> [String; 2] {
    [bucket.to_string(), names::beside_file(bucket.as_str())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, ObjectId};

    #[test]
    fn the_write_is_read_back_from_the_name() {
        let write = WriteId::new(Incarnation(7), 3, 9);
        assert_eq!(write.to_string().len(), WRITE_BYTES);
        for key in ["a", "@", "a@", "a@00000000000000000000", "ü@x"] {
            let place = Place { object: ObjectId::parse("bucket", key).unwrap(), location: Location::Plain };
            let text = text(&place, write);
            assert_eq!(read_segment(text.strip_prefix("bucket/").unwrap()), Some((key, write)));
        }
        let lower = format!("a@{}", write.to_string().to_lowercase().replace('0', "o"));
        let longer = format!("a@{write}0");
        for foreign in ["", "a", "@", "a@123", "ü0000000000000000000", "a00000000000000000000", &lower, &longer] {
            assert_eq!(read_segment(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_longest_own_names_fit() {
        for unit in ["/", "%", "\0", ".", "../", "\u{10FFFF}", "x"] {
            let object = ObjectId::parse(&"b".repeat(63), &unit.repeat(1024 / unit.len())).unwrap();
            let text = text(&Place { object, location: Location::Plain }, WriteId::new(Incarnation(u32::MAX), 9, 9));
            let path = names::path(&text);
            assert!(path.len() < 4_096 && path.split('/').all(|name| name.len() + "%d".len() <= 255), "{unit:?}");
        }
    }
}
