//! Whose a store is, and what its site had come to when that was last written down.

use serde::{Deserialize, Serialize};

use crate::backend::{self, Backend, alias};
use crate::model::{Incarnation, Seq, SiteId};
use crate::site::{self, Archived, Rebuild};
use crate::status::tables::Checkpoints;
use crate::status::{Commit, Facts, Revision, Status};

/// Name of the note.
pub(super) const NOTE: &str = "owner";
/// The version written; older ones are read, newer ones refused.
const VERSION: u32 = 1;
/// Row of `checkpoints` in a status store that knows of the note. One that does not and finds a note has lost its rows.
const MET: &str = "owner";

/// What the note says. JSON, for people too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub version: u32,
    /// The site's number and name.
    pub site: u16,
    pub name: String,
    pub incarnation: u32,
    /// The last event it told in this life.
    pub seq: u64,
    /// Greatest millisecond of its stamps.
    pub clock_ms: u64,
    /// The last commit of its status store.
    pub revision: u64,
    /// Up to where everything is archived.
    pub archived: Archived,
}

/// Why a store and a site do not go together.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "the store belongs to site {number} ({name:?}), and the settings say site {own}: give this site a store of its own, or \
         mend `site.number`. A store that is to change hands for good needs its folder .anybucket/journal removed first"
    )]
    Another { number: u16, name: String, own: u16 },
    #[error("the store's note `owner` cannot be read ({0}); start the version that wrote it, or a newer one")]
    Unreadable(String),
    #[error("the store's notes cannot be read: {0}")]
    Store(#[from] backend::Error),
    #[error("the status store: {0}")]
    Status(#[from] site::Error),
}

/// Reads the note; `None` where no site has written one yet.
pub async fn read_owner(backend: &dyn Backend, id: &SiteId) -> Result<Option<Owner>, Refused> {
    let bytes = match backend.read_note(NOTE).await {
        Err(backend::Error::NotFound) => return Ok(None),
        read => read?,
    };
    let owner: Owner = serde_json::from_slice(&bytes).map_err(|err| Refused::Unreadable(err.to_string()))?;
    if owner.version > VERSION {
        return Err(Refused::Unreadable(format!("it has version {}, this program knows {VERSION}", owner.version)));
    }
    if owner.site != id.number.0 {
        return Err(Refused::Another { number: owner.site, name: owner.name, own: id.number.0 });
    }
    Ok(Some(owner))
}

/// How new a site's notes in a store are: the greater is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    incarnation: u32,
    revision: u64,
}

/// Looks whether a store has notes of this site, and how new they are. Those of another site are refused.
pub async fn age_of_notes(backend: &dyn Backend, id: &SiteId) -> Result<Option<Age>, Refused> {
    if let Some(Owner { incarnation, revision, .. }) = read_owner(backend, id).await? {
        return Ok(Some(Age { incarnation, revision }));
    }
    // Of a start that did not come to its end. Where buckets lie is noted in whatever store has them.
    let has_any = backend.list_notes().await?.iter().any(|note| !alias::is_note(note));
    Ok(has_any.then(Age::default))
}

impl Owner {
    /// What is to be written now.
    pub(super) fn of(id: &SiteId, now: &Standing, archived: Archived) -> Self {
        Self {
            version: VERSION,
            site: id.number.0,
            name: id.name.clone(),
            incarnation: now.incarnation.0,
            seq: now.seq.0,
            clock_ms: now.clock_ms,
            revision: now.revision.0,
            archived,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("numbers and texts can be written as JSON")
    }

    /// Whether the site had come further than its status store knows. `met`: whether that has heard of this note at all.
    pub(super) fn is_ahead_of(&self, facts: &Facts, met: bool) -> bool {
        if !met {
            return true;
        }
        let is_same_life = self.incarnation == facts.incarnation.0;
        self.incarnation > facts.incarnation.0 || (is_same_life && (self.seq > facts.seq.0 || self.revision > facts.revision.0))
    }

    /// The life and the last event that the note knows of.
    pub fn known(&self) -> (Incarnation, Seq) {
        (Incarnation(self.incarnation), Seq(self.seq))
    }
}

/// Where a site stands.
pub(super) struct Standing {
    pub incarnation: Incarnation,
    pub seq: Seq,
    pub clock_ms: u64,
    pub revision: Revision,
}

/// Compares a status store with the note and notes in it what is to be rebuilt, before it begins another life: a crash in
/// between must not hide that it was behind. Answers whether the life it is in is over.
pub async fn note_rebuild(status: &Status, owner: &Owner) -> Result<bool, Refused> {
    let facts = status.facts();
    if let Some(rebuild) = Rebuild::unfinished(status).await? {
        // Begun by a process before this one, which may have come to the new life or not.
        return Ok(rebuild.before.0 == facts.incarnation);
    }
    let met = status.get::<Checkpoints>(&MET.to_owned()).await.map_err(site::Error::from)?.is_some();
    if !owner.is_ahead_of(&facts, met) {
        return Ok(false);
    }
    // What it holds of an earlier life than the note's says nothing of what the archive holds.
    let before = (facts.incarnation, if met { facts.revision.0 } else { 0 });
    let rebuild = Rebuild { before, archived: owner.archived, replayed: false };
    status.commit(met_with(rebuild.noted(Commit::new()))).await.map_err(site::Error::from)?;
    Ok(true)
}

/// Whether a status store has heard of its store's note.
pub(super) async fn has_met(status: &Status) -> Result<bool, site::Error> {
    Ok(status.get::<Checkpoints>(&MET.to_owned()).await?.is_some())
}

/// Notes in a status store that its store has a note.
pub(super) fn met_with(commit: Commit) -> Commit {
    commit.put::<Checkpoints>(&MET.to_owned(), &Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SiteNumber;

    fn owner(incarnation: u32, seq: u64, revision: u64) -> Owner {
        let (incarnation, seq, revision) = (Incarnation(incarnation), Seq(seq), Revision(revision));
        let id = SiteId { name: "paris".into(), number: SiteNumber(1) };
        Owner::of(&id, &Standing { incarnation, seq, clock_ms: 0, revision }, Archived::default())
    }

    fn facts(incarnation: u32, seq: u64, revision: u64) -> Facts {
        let (incarnation, seq, revision) = (Incarnation(incarnation), Seq(seq), Revision(revision));
        Facts { incarnation, start: 2, clock_ms: 0, seq, revision, established: incarnation, outlived: None }
    }

    #[test]
    fn a_status_store_is_behind_if_the_note_knows_more() {
        let facts = facts(10, 5, 50);
        for (note, is_ahead) in [
            (owner(10, 5, 50), false),
            (owner(10, 4, 40), false),
            (owner(10, 6, 51), true),
            (owner(10, 5, 51), true),
            (owner(11, 0, 0), true),
            // A life begun since the note was written.
            (owner(9, 99, 99), false),
        ] {
            assert_eq!(note.is_ahead_of(&facts, true), is_ahead, "{note:?}");
            assert!(note.is_ahead_of(&facts, false), "one that never heard of the note has lost its rows");
        }
    }

    #[test]
    fn a_note_round_trips() {
        let owner = owner(10, 5, 50);
        assert_eq!(serde_json::from_slice::<Owner>(&owner.to_bytes()).unwrap(), owner);
        assert_eq!(owner.version, VERSION);
    }

    #[tokio::test]
    async fn a_note_that_is_not_understood_keeps_the_site_from_starting() {
        let (store, id) = (crate::backend::memory::Memory::new(), SiteId { name: "paris".into(), number: SiteNumber(1) });
        assert_eq!(read_owner(&store, &id).await.unwrap(), None);
        let newer = Owner { version: VERSION + 1, ..owner(1, 1, 1) };
        for bytes in [newer.to_bytes(), b"{".to_vec()] {
            store.write_note(NOTE, bytes.into()).await.unwrap();
            assert!(matches!(read_owner(&store, &id).await, Err(Refused::Unreadable(_))));
        }
    }
}
