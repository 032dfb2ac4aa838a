//! What may be spoiled or lost without taking the last of anything: histories damage nothing else.

use super::shown::Shown;
use super::watch::Watch;
use crate::model::{SiteNumber, State, Unit};
use crate::status::Page;
use crate::status::tables::Work;

impl Watch {
    /// Whether another site has what this one has of a unit, bytes and all.
    pub fn is_held_elsewhere(&self, site: SiteNumber, unit: &Unit) -> bool {
        let seen = self.seen();
        let now = |at: SiteNumber| seen.states.get(&(at, unit.clone())).and_then(|states| states.last());
        let others = seen.stores.keys().filter(|other| **other != site);
        let mut sound = others.filter_map(|other| now(*other).filter(|there| seen.is_sound(*other, unit, there)));
        now(site).is_some_and(|here| sound.any(|there| there.holds(here)))
    }

    /// Whether other sites hold everything that this one has, so that nothing is lost with it.
    pub fn is_spare(&self, site: SiteNumber) -> bool {
        let seen = self.seen();
        let others: Vec<SiteNumber> = seen.stores.keys().copied().filter(|other| *other != site).collect();
        let now = |at: SiteNumber, unit: &Unit| seen.states.get(&(at, unit.clone())).and_then(|states| states.last());
        let held = |unit: &Unit, here: &Shown| {
            let sound = |other: &SiteNumber| now(*other, unit).filter(|there| seen.is_sound(*other, unit, there));
            others.iter().filter_map(sound).any(|there| there.holds(here))
        };
        let mine = seen.states.iter().filter(|((at, _), _)| *at == site);
        let all_held = mine.filter_map(|((_, unit), states)| Some((unit, states.last()?))).all(|(unit, here)| held(unit, here));
        // Bytes that others want, and work that others have, must not depend on it either.
        let wanting = |shown: &Shown| shown.live().is_some_and(|record| record.state == State::Wanted);
        let none_wanted = seen
            .states
            .iter()
            .filter(|((at, _), _)| *at != site)
            .all(|((_, unit), states)| states.last().is_none_or(|here| !wanting(here) || held(unit, here)));
        let running = seen.sites.values().filter(|other| other.id().number != site).cloned().collect::<Vec<_>>();
        let all_run = running.len() == others.len();
        let none_worked = all_run
            && running.iter().all(|other| {
                let page: Page<Work> = self.look(other.status().page(&(), None, 1_000)).expect("it can be read");
                page.rows.iter().all(|(unit, hint)| {
                    let reaches = |at: &SiteNumber| {
                        now(*at, unit).is_some_and(|there| there.has_bytes() && there.vector() >= Some(hint.row.want))
                    };
                    others.iter().any(reaches)
                })
            });
        all_held && none_wanted && none_worked
    }
}
