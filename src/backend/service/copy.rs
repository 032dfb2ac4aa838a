//! Copies that the service makes: to the key's plain name, and of one object's bytes to another write's own name.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::mark::{Mark, binding_of};
use super::pending::Begun;
use super::store::Core;
use super::{Answer, Only, Service, Spot, Target, Told};
use crate::backend::{Error, GetOptions, Kept, Place, Published, PutOptions, Result};
use crate::model::{Binding, Location, ObjectId, WriteId};

/// How often a copy is made again where others come to the name first.
const TRIES_MAX: usize = 16;
/// A name is refused for good if it is so often: services over directories refuse some while a folder comes or goes.
const REFUSALS_MAX: u32 = 3;
const REFUSED_PAUSE: Duration = Duration::from_millis(200);
/// Ranges up to here are read and written: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html> copies
/// none of objects of 5 MB and less.
const READ_BYTES_MAX: u64 = 8 << 20;

impl<S: Service> Core<S> {
    /// Brings bytes to the plain name of their key; they stay at their own.
    pub(super) async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        if let Some(waits) = self.publish_here(from, binding).await {
            return waits;
        }
        let object = &from.object;
        match from.location {
            Location::Moving(_) if !self.has_plain(&object.key) => Ok(Published::Stays),
            Location::Moving(write) => {
                let own = self.own(object, write);
                match self.seen(&own).await?.filter(|told| told.binding == *binding) {
                    Some(told) => self.bring_to_plain(object, write, (own, told)).await,
                    None => self.is_at(&self.plain(object), binding).await,
                }
            }
            // They are where they stay.
            Location::Own(write) => self.is_at(&self.own(object, write), binding).await,
            _ => Ok(Published::Gone),
        }
    }

    async fn is_at(&self, spot: &Spot, binding: &Binding) -> Result<Published> {
        let is_there = self.seen(spot).await?.is_some_and(|told| told.binding == *binding);
        Ok(if is_there { Published::Done } else { Published::Gone })
    }

    async fn bring_to_plain(&self, object: &ObjectId, write: WriteId, (own, told): (Spot, Told)) -> Result<Published> {
        if !self.service.is_exact() {
            self.pending.admit(object, write)?;
        }
        let mark = Mark { write, modified_ms: Some(told.modified_ms), key: None, label: told.label.clone() };
        let target = Target::new(self.plain(object), mark.metadata()).with(&told.attributes());
        let mut refusals = 0;
        for _ in 0..TRIES_MAX {
            let there = self.seen(&target.spot).await?;
            match self.copy_over((object, write), (&own, &told), &target, there.as_ref()).await {
                Ok(true) if self.is_hidden(&target.spot).await? => {
                    self.delete_plain(object, &told.binding).await?;
                    return Ok(Published::Stays);
                }
                Ok(true) => return Ok(Published::Done),
                Ok(false) => break,
                Err(fault) if fault.is_missing() => return Ok(Published::Gone),
                Err(fault) if fault.is_name_refused() => {
                    refusals += 1;
                    if refusals >= REFUSALS_MAX {
                        return Ok(Published::Stays);
                    }
                    sleep(REFUSED_PAUSE).await;
                }
                // By others, or by an earlier copy of ours that came late.
                Err(fault) if fault.is_refused_by_condition() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(Error::Unavailable(format!("{object} was copied to its name, and does not come to be there: tried again")))
    }

    /// Copies over what was seen `there`, and answers whether the bytes came there. Their source goes next: that the service
    /// says so is not enough.
    async fn copy_over(
        &self,
        (object, write): (&ObjectId, WriteId),
        (own, told): (&Spot, &Told),
        target: &Target,
        there: Option<&Told>,
    ) -> Answer<bool> {
        if there.is_some_and(|there| there.is_whole_copy_of(told)) {
            return Ok(true);
        }
        let only = match there {
            _ if !self.service.is_exact() => Only::Any,
            Some(there) => Only::Seen(there),
            None => Only::Nothing,
        };
        // One that replaces what was seen does nothing when that is gone; others do, however late they come.
        let begun = (!matches!(only, Only::Seen(_))).then(|| self.pending.begin_copy(object, write));
        if let Err(fault) = self.refuse_to_hide(object, &target.spot).await {
            begun.into_iter().for_each(|begun| self.pending.end(begun));
            return Err(fault);
        }
        let copied = match self.long("copying an object", told.size, self.service.copy(own, told, target, only)).await {
            Err(fault) => Err(self.explained(fault, &target.spot).await?),
            copied => copied,
        };
        self.hear(begun, &copied);
        copied?;
        // What others brought there came after it.
        Ok(self.seen(&target.spot).await?.is_some_and(|now| {
            now.is_whole_copy_of(told) || there.is_none_or(|there| there.binding != now.binding) && now.binding != told.binding
        }))
    }

    /// A call that was certainly done, or was not, is not under way any more.
    fn hear<T>(&self, begun: Option<Begun>, answer: &Answer<T>) {
        if let Some(begun) = begun.filter(|_| answer.as_ref().err().is_none_or(|fault| !fault.is_open())) {
            self.pending.end(begun);
        }
    }

    /// What a process before this one began at plain names may be under way yet.
    pub(super) fn note_what_may_be_under_way(&self, places: &[Place]) {
        planted!(PendingForgotten => { return });
        for Place { object, location } in places {
            match location {
                Location::Moving(write) => drop(self.pending.begin_copy(object, *write)),
                Location::Plain if !self.service.is_exact() => drop(self.pending.begin_delete(object)),
                _ => {}
            }
        }
    }

    /// What tells the next start of a call that may be under way stays until that is dead.
    pub(super) fn check_settled(&self, places: &[Place]) -> Result<()> {
        // Nothing is pending at a name that one write has alone.
        let is_held = |place: &&Place| !matches!(place.location, Location::Own(_)) && self.pending.holds(&place.object);
        match places.iter().find(is_held) {
            Some(place) => Err(Error::Unavailable(format!("an earlier call at {} may still be under way", place.object))),
            None => Ok(()),
        }
    }

    /// Stores a copy of bytes, or of a range of them, under another write's own name.
    pub(super) async fn copy(self: &Arc<Self>, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        if let Some(fetched) = self.get_here(from, &get).await? {
            return self.put(to, fetched.body, put).await;
        }
        self.check_name(from).await?;
        let turns = self.pending.turns(&from.object);
        let (spot, told) = self.look_for(from, get.expect.as_ref()).await?;
        let range = get.range.clone().unwrap_or(0..told.size);
        if range.end > told.size {
            return Err(Error::Changed);
        }
        let (size, is_whole) = (range.end - range.start, range == (0..told.size));
        let target = self.target(to, &put);
        let copied = if is_whole {
            Some(self.copy_whole(from, &get, &target, (spot, told)).await?)
        } else if size > READ_BYTES_MAX {
            let call = self.service.copy_range(&spot, &told, range.clone(), &target);
            self.long("copying a range", size, call).await?.then_some((spot, told))
        } else {
            None
        };
        if let Some((spot, told)) = copied {
            if self.is_still((&from.object, turns), &spot, &told).await? {
                return Ok(self.kept(&to.key, put.write, size));
            }
            self.remove_copied(&target).await;
            return Err(Error::Changed);
        }
        let get = GetOptions { range: Some(range), expect: get.expect };
        let body = self.get(from, get).await?.body;
        self.put(to, body, put).await
    }

    /// What is on its way to its plain name may leave the other while it is copied: services say all sorts of things then.
    /// Answers what was copied.
    async fn copy_whole(&self, from: &Place, get: &GetOptions, to: &Target, (spot, told): (Spot, Told)) -> Result<(Spot, Told)> {
        let doing = "copying an object";
        let copied = self.long(doing, told.size, self.service.copy(&spot, &told, to, Only::Any)).await;
        let Err(fault) = copied else { return Ok((spot, told)) };
        let copied: Answer<_> = match self.look(&spot).await {
            Err(missing) if missing.is_missing() => {
                let (spot, told) = self.look_for(from, get.expect.as_ref()).await?;
                let again = self.long(doing, told.size, self.service.copy(&spot, &told, to, Only::Any)).await;
                again.map(|()| (spot, told))
            }
            _ => Err(fault),
        };
        if copied.is_err() {
            self.remove_copied(to).await;
        }
        Ok(copied?)
    }

    /// As far as it came. Nobody else's bytes ever have that name.
    async fn remove_copied(&self, to: &Target) {
        let _ = self.remove_any("removing what was copied", &to.spot).await;
    }

    /// Removes what is at a place, if it is `only`.
    pub(super) async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        match at.location {
            Location::Own(write) | Location::Moving(write) if *only == binding_of(write) => {
                self.remove_own(&at.object, write).await
            }
            // Bytes without our mark: what an upload that was given up left, if a crash came between.
            Location::Own(write) => match self.seen(&self.own(&at.object, write)).await? {
                Some(told) if told.binding == *only => Ok(self.remove_there(&at.object, write).await?),
                _ => Ok(()),
            },
            Location::Native(_) => match self.spot(at) {
                Some(spot) => self.delete_version(&spot, only).await,
                None => Ok(()),
            },
            Location::Plain if !self.names.is_reserved(at.object.key.as_str()) => match self.check_name(at).await {
                Ok(()) => self.delete_plain(&at.object, only).await,
                Err(Error::NotFound | Error::NoSuchBucket) => Ok(()),
                Err(unknown) => Err(unknown),
            },
            _ => Ok(()),
        }
    }

    async fn delete_plain(&self, object: &ObjectId, only: &Binding) -> Result<()> {
        // A copy to the name that may be under way yet would bring back what was deleted.
        self.pending.admit_delete(object)?;
        let spot = self.plain(object);
        let told = match self.seen(&spot).await {
            Ok(Some(told)) if told.binding == *only => told,
            Ok(_) => return Ok(()),
            Err(fault) if fault.is_bucket_missing() => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        let begun = (!self.service.is_exact()).then(|| self.pending.begin_delete(object));
        let removed = self.remove_seen(&spot, &told).await;
        self.hear(begun, &removed);
        match removed {
            Err(fault) if fault.is_missing() || fault.is_bucket_missing() => Ok(()),
            // Its ETag changes with less than its bytes.
            Err(fault) if fault.is_refused_by_condition() && self.is_at(&spot, only).await? == Published::Gone => Ok(()),
            removed => Ok(removed?),
        }
    }

    async fn remove_seen(&self, spot: &Spot, told: &Told) -> Answer<()> {
        let doing = "removing an object";
        match self.once(doing, self.service.remove(spot, Only::Seen(told))).await {
            Err(fault) if fault.is_unknown_call() => self.once(doing, self.service.remove(spot, Only::Any)).await,
            removed => removed,
        }
    }
}
