//! Before a site answers anybody it asks the others what they know of it. One that was told more by this site than its own
//! store remembers shows that the store came back from a snapshot: it must begin a new life, or it would give seqs and
//! stamps out again for other content, which the others would drop as repeats (protocol §2).

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use crate::model::{Incarnation, Seq, SiteId};
use crate::peer::{Heads, PROTOCOL, SiteState};
use crate::site::{Neighbour, Neighbours};
use crate::status::Facts;

/// For a neighbour to answer; those that do not are heard of later.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks every neighbour, and answers the most that one of them knows of this site.
pub async fn greet(id: &SiteId, facts: &Facts, now_ms: u64, neighbours: &Neighbours) -> Option<(Incarnation, Seq)> {
    let heads = Heads {
        protocol: PROTOCOL,
        site: id.number,
        name: id.name.clone(),
        incarnation: facts.incarnation,
        state: SiteState::Active,
        seq: facts.seq,
        settled: Seq(0),
        clock_ms: now_ms,
        stamped: (facts.clock_ms, u16::MAX),
        received: None,
        tells: false,
        dirty: false,
    };
    let answers = join_all(neighbours.iter().map(|neighbour| ask(neighbour, heads.clone(), now_ms))).await;
    answers.into_iter().flatten().max()
}

/// The life and seq of ours that a neighbour knows. What it says of itself is noted, so that the first request finds it.
async fn ask(neighbour: &Neighbour, mine: Heads, now_ms: u64) -> Option<(Incarnation, Seq)> {
    let heads = timeout(PATIENCE, neighbour.peer.heads(mine, Duration::ZERO)).await.ok()?.ok()?;
    heads.check(&neighbour.id).ok()?;
    let offset_ms = i64::try_from(heads.clock_ms).unwrap_or(i64::MAX) - i64::try_from(now_ms).unwrap_or(i64::MAX);
    let known = heads.received;
    neighbour.heard(heads, offset_ms);
    known
}

/// The life that a site must begin, if the one it is in is over or the others know more of it than it does: greater than
/// any that is known of it.
pub fn next_life(facts: &Facts, is_over: bool, known: Option<(Incarnation, Seq)>, now_s: u32) -> Option<Incarnation> {
    let known = known.max(facts.outlived);
    let know_more = known.is_some_and(|known| known > (facts.incarnation, facts.seq) && !planted!(SeqsReissued));
    let last = known.map_or(facts.incarnation, |(known, _)| known.max(facts.incarnation));
    (is_over || know_more).then(|| Incarnation(now_s.max(last.0 + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Revision;

    fn facts(incarnation: u32, seq: u64) -> Facts {
        let (incarnation, seq, revision) = (Incarnation(incarnation), Seq(seq), Revision(0));
        Facts { incarnation, start: 1, clock_ms: 0, seq, revision, established: incarnation, outlived: None }
    }

    #[test]
    fn a_store_that_remembers_less_than_others_begins_a_new_life() {
        let known = |incarnation, seq| Some((Incarnation(incarnation), Seq(seq)));
        assert_eq!(next_life(&facts(10, 7), false, None, 50), None);
        assert_eq!(next_life(&facts(10, 7), false, known(10, 7), 50), None);
        assert_eq!(next_life(&facts(10, 7), false, known(9, 99), 50), None);
        assert_eq!(next_life(&facts(10, 7), false, known(10, 8), 50), Some(Incarnation(50)));
        assert_eq!(next_life(&facts(10, 7), false, known(60, 1), 50), Some(Incarnation(61)));
        let told_before = Facts { outlived: known(10, 8), ..facts(10, 7) };
        assert_eq!(next_life(&told_before, false, None, 50), Some(Incarnation(50)), "although nobody can be asked now");
    }

    #[test]
    fn a_life_that_is_over_is_followed_by_one_that_nobody_knows() {
        let known = |incarnation| Some((Incarnation(incarnation), Seq(0)));
        assert_eq!(next_life(&facts(10, 7), true, None, 5), Some(Incarnation(11)));
        assert_eq!(next_life(&facts(10, 7), true, known(60), 50), Some(Incarnation(61)));
        assert_eq!(next_life(&facts(70, 7), true, known(60), 50), Some(Incarnation(71)));
    }
}
