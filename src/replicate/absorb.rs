//! What another site told becomes work here, in one commit with the mark of how far it is known. Telling it twice changes
//! nothing: work is keyed by unit and only ever wants more.

use std::collections::BTreeMap;

use crate::model::{AHEAD_MS_MAX, Event, News, Seq, SiteNumber, Telling, Unit, Vector};
use crate::peer::LogPage;
use crate::site::{Error, Result, Site};
use crate::status::tables::{Due, Failed, Failure, Hint, Pending, Received, Work};
use crate::status::{Commit, CommitError};

/// How often a page that met other commits is taken up again.
const TRIES_MAX: usize = 16;

/// Takes in a page of what `from` told. Answers whether there is work.
pub async fn absorb(site: &Site, from: SiteNumber, page: &LogPage) -> Result<bool> {
    let known = site.neighbours().get(from).and_then(|neighbour| neighbour.seen().received);
    let known = known.filter(|(life, _)| *life == page.incarnation).map_or(Seq(0), |(_, seq)| seq);
    let wanted = wanted(page.entries.iter().map(|(seq, telling)| (telling, *seq > known)));
    for _ in 0..TRIES_MAX {
        let received = (from, page.incarnation);
        planted!(MarkBeforeWork => {
            site.status().commit(Commit::new().put::<Received>(&received, &page.through)).await?;
        });
        let commit = Commit::new().put::<Received>(&received, &page.through);
        let commit = answers(site, from, &page.entries, commit).await?;
        let commit = upsert(site, from, &wanted, Some(News::Applied), commit).await?;
        match site.status().commit(commit).await {
            Ok(_) => return Ok(!wanted.is_empty()),
            Err(CommitError::Conflict) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(Error::from(CommitError::Conflict))
}

/// Takes in hints that came another way than through the log. They are worth no receipt by themselves, and one from the
/// future nothing at all: if it is true the log tells the same, and if it is not no state would ever reach it.
pub async fn absorb_hints(site: &Site, from: SiteNumber, tellings: &[Telling]) -> Result<bool> {
    let present = tellings.iter().filter(|telling| site.ahead_ms(&telling.vector) <= AHEAD_MS_MAX);
    let wanted = wanted(present.map(|telling| (telling, false)));
    for _ in 0..TRIES_MAX {
        let commit = upsert(site, from, &wanted, None, Commit::new()).await?;
        if commit.is_empty() {
            return Ok(false);
        }
        match site.status().commit(commit).await {
            Ok(_) => return Ok(true),
            Err(CommitError::Conflict) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(Error::from(CommitError::Conflict))
}

/// What was told of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// The greatest vector.
    vector: Vector,
    /// Told for the first time, or told again on purpose: it is tried at once. The sweep, which reads everything once more,
    /// hurries nothing.
    is_news: bool,
}

/// What was told of each unit. Of each telling: whether it is one that was not known before.
fn wanted<'t>(tellings: impl Iterator<Item = (&'t Telling, bool)>) -> BTreeMap<Unit, Wanted> {
    let mut wanted: BTreeMap<Unit, Wanted> = BTreeMap::new();
    for (telling, is_news) in tellings.filter(|(telling, _)| telling.news == News::Mutated) {
        let want = wanted.entry(telling.unit.clone()).or_insert(Wanted { vector: telling.vector, is_news });
        *want = Wanted { vector: want.vector.merge(telling.vector), is_news: want.is_news || is_news };
    }
    wanted
}

/// Adds work for every unit; one that is worked on already wants the greater vector, at once. What is here already is
/// answered, where an answer counts.
async fn upsert(
    site: &Site,
    from: SiteNumber,
    wanted: &BTreeMap<Unit, Wanted>,
    answer: Option<News>,
    mut commit: Commit,
) -> Result<Commit> {
    let now_ms = site.clock().wall_ms();
    let units: Vec<Unit> = wanted.keys().cloned().collect();
    let works = site.status().get_many::<Work>(&units).await?;
    let unknown = wanted.iter().zip(&works).filter(|(_, work)| work.is_none());
    let wants: Vec<_> = unknown.map(|((unit, want), _)| (unit.clone(), want.vector)).collect();
    let mut reached = site.reaches_all(&wants).await?.into_iter();
    for ((unit, want), stored) in wanted.iter().zip(works) {
        if stored.is_none() && reached.next().unwrap_or_default() {
            let event = Event { unit: unit.clone(), vector: want.vector };
            commit = answer.iter().fold(commit, |commit, answer| commit.answer(from, event.clone(), answer.clone()));
            continue;
        }
        let before = stored.as_ref().map(|stored| &stored.row);
        let hint = hint(before, from, *want, now_ms);
        // What is on its way here may be older than news, though the stamps are the same: it is fetched again.
        if before == Some(&hint) && !want.is_news {
            continue;
        }
        if let Some(before) = before {
            commit = commit.delete::<Due>(&(before.due_ms, unit.clone()));
        }
        let revision = stored.as_ref().map(|stored| stored.revision);
        commit = commit.expect::<Work>(unit, revision).put::<Work>(unit, &hint).put::<Due>(&(hint.due_ms, unit.clone()), &());
        planted!(ReceiptOnDelivery => {
            commit = commit.answer(from, Event { unit: unit.clone(), vector: want.vector }, News::Applied);
        });
        commit = observed(site, &want.vector, commit);
    }
    Ok(commit)
}

/// Stamps drawn from now on are greater than what was heard of, so that a write here is not lost against one that its
/// client may have seen. A stamp from the future does not turn this clock.
fn observed(site: &Site, vector: &Vector, commit: Commit) -> Commit {
    if site.ahead_ms(vector) > AHEAD_MS_MAX {
        return commit;
    }
    site.clock().observe(vector.greatest());
    commit.seen(vector.greatest())
}

fn hint(before: Option<&Hint>, from: SiteNumber, want: Wanted, now_ms: u64) -> Hint {
    let Some(before) = before else {
        return Hint { want: want.vector, sources: vec![from], due_ms: now_ms, tries: 0, error: None };
    };
    let mut hint = before.clone();
    hint.want = hint.want.merge(want.vector);
    if !hint.sources.contains(&from) {
        hint.sources.push(from);
        hint.sources.sort();
    }
    if hint.want != before.want || want.is_news {
        (hint.due_ms, hint.tries) = (now_ms.min(hint.due_ms), 0);
    }
    hint
}

/// What the other site answered to what this one told it: a receipt ends what it is owed, a refusal of that is noted.
async fn answers(site: &Site, from: SiteNumber, entries: &[(Seq, Telling)], mut commit: Commit) -> Result<Commit> {
    let answers = entries.iter().map(|(_, telling)| telling).filter(|telling| telling.news != News::Mutated);
    let units: Vec<Unit> = answers.clone().map(|telling| telling.unit.clone()).collect();
    let owed = site.owed_to(from, &units).await?;
    // In a page that refuses something there may be a receipt of it too.
    let is_troubled = site.status().troubled(from) > 0 || answers.clone().any(|telling| matches!(telling.news, News::Refused(_)));
    for (telling, owed) in answers.zip(owed) {
        let key = (from, telling.unit.clone());
        match (&telling.news, owed) {
            (News::Refused(reason), Some(_)) => {
                let failure = Failure { vector: telling.vector, reason: reason.clone() };
                commit = commit.put::<Failed>(&key, &failure);
            }
            // It has all it was owed: what it refused is what another site told.
            (News::Refused(_), None) | (News::Mutated, _) => {}
            (News::Applied, owed) => {
                commit = if is_troubled { commit.delete::<Failed>(&key) } else { commit };
                let settled = owed.filter(|(_, vector)| telling.vector >= *vector || planted!(ReceiptNotCompared));
                commit = settled.iter().fold(commit, |commit, (seq, _)| commit.delete::<Pending>(&(from, *seq)));
            }
        }
    }
    Ok(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketName, Incarnation, Stamp, StampParts};

    fn vector(ms: u64) -> Vector {
        let parts = StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 };
        Vector::of(Stamp::new(parts))
    }

    fn want(ms: u64, is_news: bool) -> Wanted {
        Wanted { vector: vector(ms), is_news }
    }

    #[test]
    fn only_what_was_changed_is_followed_and_the_greatest_counts() {
        let unit = Unit::Bucket(BucketName::new("bucket").unwrap());
        let telling = |ms, news| Telling { unit: unit.clone(), vector: vector(ms), news };
        let told = [telling(2, News::Mutated), telling(3, News::Mutated), telling(9, News::Applied), telling(1, News::Mutated)];
        let wanted = wanted(told.iter().map(|telling| (telling, telling.vector == vector(2))));
        assert_eq!(wanted, BTreeMap::from([(unit.clone(), want(3, true))]));
    }

    #[test]
    fn work_that_wants_more_is_due_at_once() {
        let (one, other) = (SiteNumber(1), SiteNumber(2));
        let failing = Hint { want: vector(2), sources: vec![other], due_ms: 9_000, tries: 4, error: Some("why".into()) };
        let same = hint(Some(&failing), other, want(1, false), 1_000);
        assert_eq!(same, failing);
        let more = hint(Some(&failing), one, want(3, false), 1_000);
        assert_eq!((more.due_ms, more.tries, more.sources), (1_000, 0, vec![one, other]));
        let again = hint(Some(&failing), other, want(2, true), 1_000);
        assert_eq!((again.due_ms, again.tries), (1_000, 0));
    }
}
