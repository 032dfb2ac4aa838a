//! Moves become durable, many with one sync of each directory.

use std::collections::HashSet;

use super::error::Doing;
use super::{Core, names};
use crate::backend::{Error, Result};
use crate::model::ObjectId;

impl Core {
    /// Returns once the moves of these objects survive a crash; files that they left in the pool may then be used again.
    pub fn harden(&self, moved: &[ObjectId]) -> Result<()> {
        // Taken before the syncs: a move that comes meanwhile may not be covered by them.
        let left = self.pool.left_by(moved);
        self.sync_ways(moved)?;
        self.pool.hardened(moved, &left);
        Ok(())
    }

    /// Syncs every directory on the ways to these objects, the bucket's included, then the staging directory: arrivals
    /// before removals, so that at no moment a durable state has a file under neither name.
    pub fn sync_ways(&self, objects: &[ObjectId]) -> Result<()> {
        if !self.durable {
            return Ok(());
        }
        let (mut seen, mut synced) = (HashSet::new(), HashSet::new());
        for object in objects {
            let path = names::path(object.key.as_str());
            let way = path.rsplit_once('/').map_or("", |(way, _)| way);
            if !seen.insert((&object.bucket, way.to_owned())) {
                continue;
            }
            let bucket = match self.bucket_now(&object.bucket) {
                // Whatever was in it is gone with it.
                Err(Error::NoSuchBucket) => continue,
                bucket => bucket?,
            };
            self.each_directory(&bucket, object.key.as_str(), &mut |dir| {
                if synced.insert(dir.stat()?.inode) { dir.sync() } else { Ok(()) }
            })?;
        }
        self.staging.sync().doing("syncing the staging directory")
    }
}
