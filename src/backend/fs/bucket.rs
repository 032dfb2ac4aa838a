//! Buckets are directories.

use std::io::ErrorKind;

use super::Core;
use super::error::{Doing, is_missing, is_taken};
use super::io::{Kind, Node};
use crate::backend::{Error, Result};
use crate::model::BucketName;

impl Core {
    pub fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        match self.root.make_dir(bucket.as_str()) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
            made => made.doing("making a bucket")?,
        }
        match self.bucket_now(bucket) {
            Err(Error::NoSuchBucket) => return Err(Error::Name(format!("{bucket} is there, but not as a directory"))),
            opened => opened?,
        };
        self.sync(&self.root).doing("syncing the buckets' directory")
    }

    pub fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let opened = match self.bucket_now(bucket) {
            Err(Error::NoSuchBucket) => None,
            opened => Some(opened?),
        };
        if let Some(opened) = &opened {
            remove_directories(opened, "")?;
        }
        // Before the bucket itself, or a crash leaves own names that no bucket has.
        let _only_one = self.no_bucket_goes();
        self.remove_own_directories(bucket)?;
        if opened.is_none() {
            return Ok(());
        }
        match self.root.remove_dir(bucket.as_str()) {
            Err(err) if is_taken(&err) => return Err(Error::NotEmpty("something came meanwhile".to_owned())),
            Err(err) if !is_missing(&err) => return Err(err).doing("removing a bucket"),
            _ => {}
        }
        self.buckets.write().expect("no code panics while it holds the buckets").remove(bucket);
        self.sync(&self.root).doing("syncing the buckets' directory")
    }

    pub fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let mut buckets = Vec::new();
        let listed = self.root.entries(&mut |name, kind| {
            let name = std::str::from_utf8(name).ok().and_then(|name| BucketName::new(name).ok());
            buckets.extend(name.filter(|_| kind == Kind::Directory));
            Ok(())
        });
        listed.doing("listing buckets")?;
        buckets.sort();
        Ok(buckets)
    }
}

/// Removes the directories in `dir`, which deletes and crashes may have left empty. Anything else stops it.
pub(super) fn remove_directories(dir: &Node, at: &str) -> Result<()> {
    let (mut directories, mut other) = (Vec::new(), None);
    let listed = dir.entries(&mut |name, kind| {
        match std::str::from_utf8(name) {
            Ok(name) if kind == Kind::Directory => directories.push(name.to_owned()),
            _ => other = Some(String::from_utf8_lossy(name).into_owned()),
        }
        Ok(())
    });
    listed.doing("looking into a bucket")?;
    if let Some(name) = other {
        return Err(Error::NotEmpty(format!("{at}{name}")));
    }
    for name in directories {
        let inside = dir.open_dir(&name).doing("looking into a bucket")?;
        remove_directories(&inside, &format!("{at}{name}/"))?;
        match dir.remove_dir(&name) {
            Err(err) if is_taken(&err) => return Err(Error::NotEmpty(format!("{at}{name}"))),
            Err(err) if !is_missing(&err) => return Err(err).doing("removing a directory"),
            _ => {}
        }
    }
    Ok(())
}
