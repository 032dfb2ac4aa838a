//! What a redo row says, done again: bytes brought to their name, or taken from it. Repeating it is harmless.
//!
//! Whoever changes what is at a plain name has the key, or, where that is a copy that a store may take long for, the turn at
//! the name: nobody's write waits for a copy, and no removal comes before the copy that it is to undo.

use std::time::Duration;

use tokio::time::timeout;

use super::Site;
use super::locks::KeyGuard;
use super::settle::Left;
use crate::backend::{self, Place, Published};
use crate::model::{Binding, Location, ObjectId, Record, Slot, WriteId};
use crate::status::Stored;
use crate::status::tables::Settling;

/// For the turn at a name to come.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that are to come to their name.
struct Coming<'a> {
    object: &'a ObjectId,
    slot: Slot,
    write: WriteId,
    binding: &'a Binding,
    /// What they displace.
    over: Option<&'a Binding>,
}

/// What became of them.
enum Came {
    /// They are there, or others came after them.
    There,
    /// They are safe where they are, and cannot come to the name yet.
    NotYet,
    /// The store does not take the name.
    Refused,
    /// Neither staged nor at their name.
    Lost(Box<Stored<Record>>),
}

impl Site {
    /// Answers what is left to do of the row then.
    pub(super) async fn redo(&self, write: WriteId, settling: &Settling) -> Result<Left, String> {
        let object = settling.object();
        let _turn = self.turn(settling).await?;
        match settling {
            Settling::Publish { slot, from, binding, over, .. } => {
                let _key = self.inner.keys.lock(object).await;
                let coming = Coming { object, slot: *slot, write, binding, over: over.as_ref() };
                if let Came::Lost(stored) = self.bring(&coming).await? {
                    self.heal_unpublished(&coming, &stored).await?;
                }
                Ok(Left::Harden(Some(*from)))
            }
            Settling::Move { slot, from, binding, over, .. } => {
                let coming = Coming { object, slot: *slot, write, binding, over: over.as_ref() };
                self.redo_move(&coming, *from).await
            }
            Settling::Remove { location, binding, .. } => {
                let _key = self.inner.keys.lock(object).await;
                self.remove(&Place { object: object.clone(), location: location.clone() }, binding).await?;
                Ok(Left::Harden(None))
            }
        }
    }

    /// The turn at a plain name, where the step takes one. Copies wait for each other; a removal does not wait for one for long,
    /// since others wait for it.
    async fn turn(&self, settling: &Settling) -> Result<Option<KeyGuard<ObjectId>>, String> {
        match settling {
            Settling::Move { object, .. } => Ok(Some(self.inner.turns.lock(object).await)),
            Settling::Remove { object, location: Location::Plain, .. } => {
                let turn = timeout(TURN_PATIENCE, self.inner.turns.lock(object)).await;
                turn.map(Some).map_err(|_| "a copy to its name is under way".into())
            }
            Settling::Publish { .. } | Settling::Remove { .. } => Ok(None),
        }
    }

    async fn redo_move(&self, coming: &Coming<'_>, from: WriteId) -> Result<Left, String> {
        let object = coming.object;
        if self.is_rebuilding() {
            // At the name may be a later write whose row was lost: these bytes must not come over it.
            self.claim(object).await.map_err(|err| err.to_string())?;
        }
        match self.bring(coming).await? {
            Came::There => {}
            Came::NotYet => return Ok(Left::Copy),
            Came::Refused => {
                if let Some(over) = coming.over {
                    self.remove(&super::plain(object), over).await?;
                }
                return Ok(Left::Stay);
            }
            Came::Lost(stored) => {
                let _key = self.inner.keys.lock(object).await;
                self.heal_unpublished(coming, &stored).await?;
            }
        }
        // While the row is there: what fails here is tried again.
        self.remove(&Place { object: object.clone(), location: Location::Moving(from) }, coming.binding).await?;
        Ok(Left::Harden(None))
    }

    /// The step of a record that is still staged by this write. Of another it is left to take away what this one was to
    /// displace: who came after it displaces this one's bytes, which never came to the name.
    async fn bring(&self, coming: &Coming<'_>) -> Result<Came, String> {
        let Coming { object, slot, write, binding, over } = *coming;
        let unit = self.inner.status.unit(object, slot).await.map_err(|err| err.to_string())?;
        match (unit, over) {
            (Some(stored), _) if stored.row.is_staged_by(write) => {
                match self.publish_staged(object, &stored.row.location, binding).await? {
                    Published::Done => Ok(Came::There),
                    Published::Stays => Ok(Came::Refused),
                    Published::Waits => Ok(Came::NotYet),
                    Published::Gone => Ok(Came::Lost(Box::new(Stored::clone(&stored)))),
                }
            }
            (unit, Some(over)) if unit.as_ref().is_none_or(|unit| unit.row.binding != *over) => {
                self.remove(&super::plain(object), over).await.map(|()| Came::There)
            }
            _ => Ok(Came::There),
        }
    }

    /// Brings staged bytes to their name; answers whether they are there.
    pub(super) async fn publish_staged(
        &self,
        object: &ObjectId,
        from: &Location,
        binding: &Binding,
    ) -> Result<Published, String> {
        let place = Place { object: object.clone(), location: from.clone() };
        let mut published = self.inner.backend.publish(&place, binding).await;
        if matches!(published, Err(backend::Error::NoSuchBucket))
            && let Ok(bucket) = self.bucket_row(&object.bucket).await
        {
            tracing::error!(bucket = %object.bucket, "the store had lost a bucket that exists: it is made again");
            let made = self.inner.backend.create_bucket_at(&object.bucket, &bucket.row.region).await;
            made.map_err(|err| err.to_string())?;
            published = self.inner.backend.publish(&place, binding).await;
        }
        published.map_err(|err| err.to_string())
    }

    /// A loss, as a read would find it: it ends here, under the key lock. A store that says that bytes are gone, and gives them
    /// all the same, is asked again later.
    async fn heal_unpublished(&self, coming: &Coming<'_>, stored: &Stored<Record>) -> Result<(), String> {
        let Coming { object, slot, write, .. } = *coming;
        self.heal_locked(object, stored).await.map_err(|err| err.to_string())?;
        let now = self.inner.status.unit(object, slot).await.map_err(|err| err.to_string())?;
        match now.is_some_and(|now| now.row.is_staged_by(write) && now.row.has_bytes()) {
            true => Err("its bytes are not where they were looked for, but can be read".into()),
            false => Ok(()),
        }
    }

    async fn remove(&self, place: &Place, binding: &Binding) -> Result<(), String> {
        self.inner.backend.delete(place, binding).await.map_err(|err| err.to_string())
    }
}
