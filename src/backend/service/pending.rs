//! Calls at plain names of which nobody knows whether they were done: what comes late would undo what was written since.
//!
//! Names of one write's own need none of this: nothing else is ever written there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::turns::Turns;
use crate::backend::{Error, Result};
use crate::model::{Key, ObjectId, WriteId};

/// After this a call is taken for dead: a signature lets it begin for fifteen minutes, and services do what they began in
/// seconds, but for what is very large.
const DEAD_AFTER: Duration = Duration::from_secs(15 * 60);
/// Names that are remembered; past it none can be written. More than a site has unsettled.
const NAMES_MAX: usize = 400_000;

/// What may be under way yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Repeating it is harmless: it brings the same bytes.
    Copy(WriteId),
    Delete,
    /// Several of them.
    Mixed,
}

/// Plain names with calls that may be under way.
#[derive(Debug, Default)]
pub(in crate::backend) struct Pending {
    names: Mutex<BTreeMap<ObjectId, (Call, Instant)>>,
    turns: Turns,
}

impl Pending {
    fn names(&self) -> MutexGuard<'_, BTreeMap<ObjectId, (Call, Instant)>> {
        self.names.lock().expect("nothing panics while it holds the pending names")
    }

    /// Whether these bytes may be brought to the name.
    pub fn admit(&self, object: &ObjectId, write: WriteId) -> Result<()> {
        self.admit_call(object, Call::Copy(write))
    }

    /// Whether the name may be deleted.
    pub fn admit_delete(&self, object: &ObjectId) -> Result<()> {
        self.admit_call(object, Call::Delete)
    }

    fn admit_call(&self, object: &ObjectId, call: Call) -> Result<()> {
        planted!(PendingUnheeded => { return Ok(()) });
        let mut names = self.names();
        if names.get(object).is_some_and(|(_, noted)| noted.elapsed() >= DEAD_AFTER) {
            names.remove(object);
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, (_, noted)| noted.elapsed() < DEAD_AFTER);
        }
        let waits = match names.get(object) {
            Some((pending, _)) => *pending != call || call == Call::Mixed,
            None => names.len() >= NAMES_MAX,
        };
        match waits {
            false => Ok(()),
            true => {
                Err(Error::Unavailable("an earlier call at this name may still be under way: nothing else is done there".into()))
            }
        }
    }

    /// These bytes are about to be brought there. Whoever hears no clear answer, or is not there to hear one, leaves it noted.
    pub fn begin_copy(&self, object: &ObjectId, write: WriteId) -> Begun {
        self.begin(object, Call::Copy(write))
    }

    pub fn begin_delete(&self, object: &ObjectId) -> Begun {
        self.begin(object, Call::Delete)
    }

    fn begin(&self, object: &ObjectId, call: Call) -> Begun {
        self.turns.turn(object);
        let mut names = self.names();
        let before = names.get(object).map(|(before, _)| *before);
        let noted = if before.is_none_or(|before| before == call) { call } else { Call::Mixed };
        names.insert(object.clone(), (noted, Instant::now()));
        Begun { object: object.clone(), is_first: before.is_none() }
    }

    /// A clear answer came: nothing of it is under way. What was noted before it stays.
    pub fn end(&self, begun: Begun) {
        // First, or a reader finds neither of them.
        self.turns.turn(&begun.object);
        if begun.is_first {
            self.names().remove(&begun.object);
        }
    }

    /// How often calls at the name began or ended.
    pub fn turns(&self, object: &ObjectId) -> u64 {
        self.turns.count(object)
    }

    /// Whether a call may have been under way at the name at any time since it had so many turns.
    pub fn has_turned(&self, object: &ObjectId, since: u64) -> bool {
        self.holds(object) || self.turns.count(object) != since
    }

    /// Whether a call at the name may be under way: what tells a start of it must not be forgotten before.
    pub fn holds(&self, object: &ObjectId) -> bool {
        self.names().get(object).is_some_and(|(_, noted)| noted.elapsed() < DEAD_AFTER)
    }

    /// Whether bytes may be on their way to a name above this one, or below it.
    pub fn holds_kin(&self, object: &ObjectId) -> bool {
        let (names, ObjectId { bucket, key }) = (self.names(), object);
        let is_coming = |(call, noted): &(Call, Instant)| *call != Call::Delete && noted.elapsed() < DEAD_AFTER;
        let of = |key: &str| Some(ObjectId { bucket: bucket.clone(), key: Key::new(key).ok()? });
        let mut above = key.as_str().rmatch_indices('/').filter_map(|(slash, _)| of(&key.as_str()[..slash]));
        if above.any(|above| names.get(&above).is_some_and(is_coming)) {
            return true;
        }
        // No key is longer than the longest: below that is none.
        let Some(folder) = of(&format!("{key}/")) else { return false };
        let is_below = |other: &ObjectId| other.bucket == *bucket && other.key.as_str().starts_with(folder.key.as_str());
        names.range(&folder..).take_while(|(other, _)| is_below(other)).any(|(_, noted)| is_coming(noted))
    }
}

/// A call that was noted.
#[derive(Debug)]
pub(in crate::backend) struct Begun {
    object: ObjectId,
    /// Whether nothing was noted there before.
    is_first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketName, Incarnation};

    #[tokio::test(start_paused = true)]
    async fn copies_to_names_above_and_below_are_known() {
        let object = |bucket, key| ObjectId { bucket: BucketName::new(bucket).unwrap(), key: Key::new(key).unwrap() };
        let (pending, write) = (Pending::default(), WriteId::new(Incarnation(1), 1, 1));
        drop(pending.begin_copy(&object("bucket", "a/b"), write));
        drop(pending.begin_delete(&object("bucket", "d/e")));
        for (bucket, key, is_kin) in [
            ("bucket", "a", true),
            ("bucket", "a/b/c/d", true),
            ("bucket", "a/b", false),
            ("bucket", "a/b-c", false),
            ("bucket", "a/bc/d", false),
            ("bucket", "d", false),
            ("other", "a", false),
            ("other", "a/b/c", false),
        ] {
            assert_eq!(pending.holds_kin(&object(bucket, key)), is_kin, "{bucket} {key}");
        }
        tokio::time::advance(DEAD_AFTER).await;
        assert!(!pending.holds_kin(&object("bucket", "a")));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_else_is_done_at_a_name_until_a_call_is_dead() {
        let object = |key| ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new(key).unwrap() };
        let write = |n| WriteId::new(Incarnation(1), 1, n);
        let (pending, a) = (Pending::default(), object("a"));
        drop(pending.begin_copy(&a, write(1)));
        assert!(pending.has_turned(&a, pending.turns(&a)));
        pending.admit(&a, write(1)).unwrap();
        pending.admit(&object("b"), write(2)).unwrap();
        assert!(pending.admit(&a, write(2)).is_err());
        assert!(pending.admit_delete(&a).is_err());
        let again = pending.begin_copy(&a, write(1));
        pending.end(again);
        assert!(pending.holds(&a), "an answer to the second call says nothing of the first");
        tokio::time::advance(DEAD_AFTER).await;
        assert!(!pending.holds(&a));
        pending.admit(&a, write(2)).unwrap();
        pending.admit_delete(&a).unwrap();
        drop(pending.begin_delete(&a));
        pending.admit_delete(&a).unwrap();
        assert!(pending.admit(&a, write(2)).is_err());
        let since = pending.turns(&object("b"));
        assert!(!pending.has_turned(&object("b"), since));
        let answered = pending.begin_copy(&object("b"), write(3));
        pending.end(answered);
        assert!(!pending.holds(&object("b")));
        assert!(pending.has_turned(&object("b"), since), "it came and went");
    }
}
