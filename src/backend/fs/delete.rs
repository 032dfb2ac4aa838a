//! A delete moves the file into the pool: freeing an inode costs more than keeping it, and what was moved can be looked
//! at before it is gone.

use super::error::{Doing, is_missing, leads_nowhere};
use super::find::{Spot, open_route};
use super::io::Onto;
use super::{Core, TRIES_MAX};
use crate::backend::{Error, Place, Result};
use crate::model::{Binding, Location, StagingFile};

impl Core {
    /// Removes what is at `at`, if it is `only`.
    pub fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        if let Some(file) = at.location.staged()
            && self.holds(file, only)?
        {
            return self.staging.unlink(&file.to_string()).doing("removing a staging file");
        }
        match at.location {
            // What was published is somebody's by now.
            Location::Staged(_) => Ok(()),
            _ => self.delete_settled(&at.settled(), only),
        }
    }

    fn delete_settled(&self, at: &Place, only: &Binding) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let spot = match self.find_bound(at, only) {
                Ok(Some(spot)) => spot,
                Ok(None) | Err(Error::NoSuchBucket) => return Ok(()),
                Err(err) => return Err(err),
            };
            let file = self.pool.fresh_number();
            match spot.dir.rename(&spot.name, &self.staging, &file.to_string(), self.onto_free()) {
                Ok(()) => {}
                Err(err) if is_missing(&err) => continue,
                Err(err) => return Err(err).doing("moving a file away"),
            }
            if self.holds(file, only)? {
                self.handles.forget(only);
                self.pool.deleted(file, at);
                self.remove_empty(at, &spot.route);
                return Ok(());
            }
            self.put_back(file, &spot)?;
        }
        Err(Error::Unavailable(format!("the file of {} keeps changing", at.object)))
    }

    fn onto_free(&self) -> Onto {
        if self.nature.no_replace { Onto::Nothing } else { Onto::Anything }
    }

    /// Another program replaced the file between the look and the move: what was moved is not ours to delete. If there is
    /// another file by now, it would have replaced this one.
    pub fn put_back(&self, file: StagingFile, spot: &Spot) -> Result<()> {
        let staged = file.to_string();
        match self.staging.rename(&staged, &spot.dir, &spot.name, self.onto_free()) {
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {
                self.staging.unlink(&staged).doing("removing what was replaced")
            }
            other => other.doing("putting back what another program wrote"),
        }
    }

    /// Removes the directories of `route` that are empty, from the end on. A neighbour's publish that has just made one
    /// makes it again.
    fn remove_empty(&self, at: &Place, route: &str) {
        let Ok(Some(home)) = self.home(at) else { return };
        let mut rest = route;
        while !rest.is_empty() {
            let (parent, name) = rest.rsplit_once('/').unwrap_or(("", rest));
            let Ok(Some(dir)) = open_route(&home.dir, parent) else { break };
            match dir.remove_dir(name) {
                Ok(()) => rest = parent,
                // Not empty, gone already, or not ours to remove: an empty directory disturbs nobody.
                Err(err) if leads_nowhere(&err) => rest = parent,
                Err(_) => break,
            }
        }
    }
}
