//! Moves become durable, many with one sync of each directory.

use std::collections::HashSet;

use super::error::Doing;
use super::{Core, names};
use crate::backend::{Error, Place, Result};
use crate::model::Location;

impl Core {
    /// Returns once the moves at these places survive a crash; files that they left in the pool may then be used again.
    pub fn harden(&self, moved: &[Place]) -> Result<()> {
        let moved: Vec<_> = moved.iter().map(Place::settled).collect();
        let moved = moved.as_slice();
        // Taken before the syncs: a move that comes meanwhile may not be covered by them.
        let left = self.pool.left_by(moved);
        self.sync_ways(moved)?;
        self.pool.hardened(moved, &left);
        Ok(())
    }

    /// Syncs every directory on the ways to these places, the first one included, then the staging directory: arrivals
    /// before removals, so that at no moment a durable state has a file under neither name.
    pub fn sync_ways(&self, places: &[Place]) -> Result<()> {
        if !self.durable {
            return Ok(());
        }
        let (mut seen, mut synced) = (HashSet::new(), HashSet::new());
        for place in places {
            let path = names::path(place.object.key.as_str());
            let way = path.rsplit_once('/').map_or("", |(way, _)| way);
            let is_own = matches!(place.location, Location::Own(_));
            if !seen.insert((is_own, &place.object.bucket, way.to_owned())) {
                continue;
            }
            let home = match self.home(place) {
                // Whatever was in it is gone with it.
                Err(Error::NoSuchBucket) => continue,
                home => home?,
            };
            let Some(home) = home else { continue };
            self.each_directory(&home.dir, &home.text, &mut |dir| {
                if synced.insert(dir.stat()?.inode) { dir.sync() } else { Ok(()) }
            })?;
        }
        self.staging.sync().doing("syncing the staging directory")
    }
}
