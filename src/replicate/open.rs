//! Opening a site's status store in the life it must be in: what its own store and the other sites know of it decides
//! whether it remembers everything it said, and what it lost of that comes back before anybody is served (protocol §2, §11).

use super::{greet, next_life};
use crate::backend::Backend;
use crate::journal::{Refused, note_rebuild, read_owner, replay};
use crate::model::{Seq, SiteId};
use crate::site::Neighbours;
use crate::status::{NewLife, OpenError, Options, Status};

/// Whose status store is opened.
#[derive(Debug)]
pub struct Opening<'a> {
    pub id: &'a SiteId,
    pub backend: &'a dyn Backend,
    pub neighbours: &'a Neighbours,
    /// Wall time, milliseconds since 1970.
    pub now_ms: u64,
}

/// Why a status store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Opens what is known of objects. `open` opens the status store itself, perhaps twice; what it gave first is closed by then.
pub async fn open_status(
    opening: Opening<'_>,
    options: Options,
    open: impl Fn(Options) -> Result<Status, OpenError>,
) -> Result<Status, Error> {
    let Opening { id, backend, neighbours, now_ms } = opening;
    let owner = read_owner(backend, id).await?;
    let status = open(options.clone())?;
    let is_over = match &owner {
        Some(owner) => note_rebuild(&status, owner).await?,
        None => false,
    };
    let facts = status.facts();
    let known = greet(id, &facts, now_ms, neighbours).await;
    let known = known.max(owner.as_ref().filter(|_| is_over).map(|owner| owner.known()));
    let status = match next_life(&facts, is_over, known, options.now_s) {
        None => status,
        Some(incarnation) => {
            tell(is_over, facts.incarnation.0, incarnation.0);
            // Its file is closed by the last who holds it.
            drop(status);
            let (clock_ms, seq) = owner.map_or((0, Seq(0)), |owner| (owner.clock_ms, owner.known().1));
            open(Options { new_life: Some(NewLife { incarnation, clock_ms, seq }), ..options })?
        }
    };
    replay(&status, backend, id.number, &neighbours.numbers()).await?;
    Ok(status)
}

fn tell(is_over: bool, before: u32, now: u32) {
    match is_over {
        true => tracing::warn!(
            before,
            now,
            "the store knows more of this site than its status store does, which was lost or came back from a snapshot: it begins \
             a new life and is rebuilt"
        ),
        false => tracing::warn!(
            before,
            now,
            "other sites know more of this one than it does: its store is older than what it told them, so it begins a new life \
             and fetches what it lacks"
        ),
    }
}
