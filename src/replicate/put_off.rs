//! What could not be fetched is tried later: when, and who hears that it failed (protocol §7).

use super::fetch::Missed;
use crate::model::{Event, News, SiteNumber, Unit};
use crate::site::Site;
use crate::status::tables::{Due, Hint, Work};
use crate::status::{Commit, CommitError, Stored};

/// The first pause after a failure, and the longest, milliseconds.
const PAUSE_FLOOR_MS: u64 = 1_000;
const PAUSE_CEILING_MS: u64 = 15 * 60_000;
/// After so many failures, about an hour and a half, whoever told of it hears that it failed.
const TRIES_BEFORE_REFUSAL: u32 = 15;
/// How often what failed is tried again, milliseconds.
const REFUSED_PAUSE_MS: u64 = 6 * 3_600_000;
/// For what somebody else is bringing, which counts as no try, milliseconds.
const UNDERWAY_PAUSE_MS: u64 = 5_000;
/// Units of one commit.
const UNITS_MAX: usize = 256;

/// Whether a unit failed for good or for so long that it is tried only now and then: nothing should wait for it.
pub fn is_given_up(hint: &Hint, now_ms: u64) -> bool {
    hint.due_ms > now_ms + PAUSE_CEILING_MS
}

/// Puts units off.
#[derive(Debug)]
pub(super) struct PuttingOff {
    site: Site,
    /// State of the jitter between tries.
    random: u64,
}

impl PuttingOff {
    pub fn new(site: Site, seed: u64) -> Self {
        Self { site, random: seed }
    }

    /// Puts units off; those that fail too long or for good are told to whoever waits for them.
    pub async fn put_off(&mut self, missed: Vec<(Unit, Missed)>) -> Result<(), String> {
        for some in missed.chunks(UNITS_MAX) {
            let units: Vec<Unit> = some.iter().map(|(unit, _)| unit.clone()).collect();
            let works = self.site.status().get_many::<Work>(&units).await.map_err(|err| err.to_string())?;
            let known = some.iter().zip(works).filter_map(|((unit, why), work)| Some((unit, why, work?)));
            let commits: Vec<Commit> = known.map(|(unit, why, work)| self.later(unit, why, &work)).collect();
            self.commit(commits).await?;
        }
        Ok(())
    }

    /// All in one, where nothing came between; else each by itself.
    async fn commit(&self, commits: Vec<Commit>) -> Result<(), String> {
        let status = self.site.status();
        let all = commits.iter().fold(Commit::new(), |all, one| all.and(one.clone()));
        if all.is_empty() {
            return Ok(());
        }
        match status.commit(all).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(err) => return Err(err.to_string()),
        }
        for one in commits {
            match status.commit(one).await {
                // Wanted anew meanwhile: it is due at once.
                Ok(_) | Err(CommitError::Conflict) => {}
                Err(err) => return Err(err.to_string()),
            }
        }
        Ok(())
    }

    fn later(&mut self, unit: &Unit, why: &Missed, stored: &Stored<Hint>) -> Commit {
        let (before, now_ms) = (&stored.row, self.site.clock().wall_ms());
        let (reason, tries, for_good) = match why {
            Missed::Unreachable => ("no site that has it can be reached", before.tries, false),
            Missed::Underway => ("it is being brought", before.tries, false),
            Missed::ForNow(reason) => (&**reason, before.tries + 1, before.tries + 1 >= TRIES_BEFORE_REFUSAL),
            Missed::ForGood(reason) => (&**reason, before.tries + 1, true),
        };
        let pause_ms = match why {
            // The first heartbeat of a site that has it makes it due.
            Missed::Unreachable => PAUSE_CEILING_MS,
            Missed::Underway => UNDERWAY_PAUSE_MS,
            _ if for_good => REFUSED_PAUSE_MS,
            _ => self.pause_ms(before.tries),
        };
        let hint = Hint { due_ms: now_ms + pause_ms, tries, error: Some(reason.to_owned()), ..before.clone() };
        let commit = Commit::new()
            .expect::<Work>(unit, Some(stored.revision))
            .delete::<Due>(&(before.due_ms, unit.clone()))
            .put::<Work>(unit, &hint)
            .put::<Due>(&(hint.due_ms, unit.clone()), &());
        if !for_good {
            return commit;
        }
        tracing::warn!(%unit, reason, tries = hint.tries, "a unit of another site cannot be had; it is tried again in six hours, or on demand");
        let event = Event { unit: unit.clone(), vector: hint.want };
        let refuse = |commit: Commit, site: &SiteNumber| commit.answer(*site, event.clone(), News::Refused(reason.to_owned()));
        hint.sources.iter().fold(commit, refuse)
    }

    /// Between half and the whole of a length that doubles with each try.
    fn pause_ms(&mut self, tries: u32) -> u64 {
        let longest = PAUSE_FLOOR_MS.saturating_mul(1 << tries.min(20)).min(PAUSE_CEILING_MS);
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        longest / 2 + (self.random >> 33) % (longest / 2).max(1)
    }
}
