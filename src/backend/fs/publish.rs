//! Staged bytes come to their name: a rename, done again after a crash until it is found done.

use super::error::{Doing, is_missing, is_taken};
use super::find::Spot;
use super::io::{Kind, Onto};
use super::{Core, TRIES_MAX, binding_of, own};
use crate::backend::{Error, Place, Published, Result};
use crate::model::{Binding, Location, StagingFile, WriteId};

/// What a try to move the file came to.
#[derive(Debug)]
pub(super) enum Moved {
    /// It is there, and what was there before is in the staging file.
    Exchanged,
    /// It is there, and the staging file's name is gone.
    Out,
    /// Something changed meanwhile: look again.
    Not,
}

impl Core {
    /// Brings the staged file `binding` to its name. The staging file is looked at first: what holds the binding
    /// there has not been moved, and nothing else ever is, so an exchange is never done twice.
    pub fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        let Some(file) = from.location.staged() else {
            return Ok(Published::Gone);
        };
        let to = from.settled();
        for attempt in 0..TRIES_MAX {
            if !self.holds(file, binding)? {
                return self.published_before(&to, binding);
            }
            let moved = match to.location {
                Location::Own(write) => self.publish_own(file, binding, &to, write)?,
                _ => self.publish_plain(file, &to, attempt == 0)?,
            };
            match moved {
                Moved::Not => continue,
                Moved::Exchanged => self.pool.displaced(file, &to),
                Moved::Out => self.pool.moved_out(file),
            }
            if !self.nature.volume.renames_whole {
                self.sync_ways(std::slice::from_ref(&to))?;
            }
            return Ok(Published::Done);
        }
        Err(Error::Unavailable(format!("the name of {} keeps changing", from.object)))
    }

    /// A bucket opened earlier may be gone by now: the first try fails then, and later ones look.
    fn publish_plain(&self, file: StagingFile, to: &Place, is_first: bool) -> Result<Moved> {
        let name = &to.object.bucket;
        let bucket = if is_first { self.bucket(name)? } else { self.bucket_now(name)? };
        let spot = self.landing(&bucket, to.object.key.as_str())?;
        spot.map_or(Ok(Moved::Not), |spot| self.move_to(file, &spot))
    }

    /// Never replaces: a write has one body.
    fn publish_own(&self, file: StagingFile, binding: &Binding, to: &Place, write: WriteId) -> Result<Moved> {
        let _stays = self.bucket_stays(&to.object.bucket)?;
        let Some(spot) = self.landing(&self.versions, &own::text(to, write))? else { return Ok(Moved::Not) };
        match spot.there.map(|stat| binding_of(&stat)) {
            None => self.move_to(file, &spot),
            // A rename torn by a crash: the file has both names.
            Some(there) if there == *binding => {
                self.staging.unlink(&file.to_string()).doing("removing the staging name of a published file")?;
                Ok(Moved::Out)
            }
            Some(_) => Err(Error::Changed),
        }
    }

    /// Whether the staging file is these bytes.
    pub fn holds(&self, file: StagingFile, binding: &Binding) -> Result<bool> {
        match self.staging.stat_at(&file.to_string()) {
            Ok(stat) => Ok(binding_of(&stat) == *binding),
            Err(err) if is_missing(&err) => Ok(false),
            Err(err) => Err(err).doing("looking at a staging file"),
        }
    }

    fn published_before(&self, to: &Place, binding: &Binding) -> Result<Published> {
        match self.find_bound(to, binding) {
            Ok(Some(_)) => Ok(Published::Done),
            Ok(None) | Err(Error::NoSuchBucket) => Ok(Published::Gone),
            Err(err) => Err(err),
        }
    }

    pub fn move_to(&self, file: StagingFile, spot: &Spot) -> Result<Moved> {
        let staged = file.to_string();
        let onto = match spot.there {
            None if self.nature.no_replace => Onto::Nothing,
            Some(_) if self.nature.exchange => Onto::Exchange,
            // Without these flags a file that comes between the look and the rename is replaced. Only other programs
            // can bring one: the caller holds the key.
            _ => Onto::Anything,
        };
        match self.staging.rename(&staged, &spot.dir, &spot.name, onto) {
            Ok(()) if onto != Onto::Exchange => Ok(Moved::Out),
            Ok(()) => self.check_displaced(&staged, spot),
            // The free name was taken, or what had it left, or its directory did.
            Err(err) if is_taken(&err) || is_missing(&err) => Ok(Moved::Not),
            Err(err) => Err(err).doing("bringing a file to its name"),
        }
    }

    /// A directory that came between the look and the exchange goes back: it is somebody's objects.
    fn check_displaced(&self, staged: &str, spot: &Spot) -> Result<Moved> {
        let displaced = self.staging.stat_at(staged).doing("looking at what was displaced")?;
        if displaced.kind == Kind::File {
            self.handles.forget(&binding_of(&displaced));
            return Ok(Moved::Exchanged);
        }
        self.staging.rename(staged, &spot.dir, &spot.name, Onto::Exchange).doing("putting back what is no file")?;
        Ok(Moved::Not)
    }
}
