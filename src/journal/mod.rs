//! What a site keeps in its store beside the objects, so that a status store that was lost or came back from a snapshot is
//! noticed and rebuilt (protocol §2 "Roll-back detection", §3 "Journal", §11): whose the store is and what it came to
//! (`owner`), and every row of units (`archive`), in notes that `notes` names and frames. `replay` reads them back.

mod archive;
mod notes;
mod owner;
mod replay;
#[cfg(test)]
mod tests;

pub use archive::{Archive, workers};
pub use owner::{Age, Owner, Refused, age_of_notes, note_rebuild, read_owner};
pub use replay::{Replayed, replay};
