//! `GET /v1/explain`: why an object is or is not there, what every other site is known to have of it, and what happens next.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Query};
use super::census::seconds;
use super::error::Error;
use super::rows::WorkView;
use crate::model::{Location, Record, Unit};
use crate::site::{Explanation, Found, Replication, Site, Standing, Told, UNTIL_RESUMED};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    bucket: String,
    /// None explains the bucket.
    key: Option<String>,
    /// A version's id or `null`; none explains the current version.
    version: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ExplainView {
    pub bucket: String,
    pub key: Option<String>,
    /// Which version of the key: its id, or `null`.
    pub version: Option<String>,
    /// The site that says this.
    pub site: String,
    /// `present`, `wanted` (known, its bytes are missing), `marker` (a delete marker), `deleted`, `unknown`, or of a bucket `present`, `deleted`, `unknown`.
    pub state: String,
    pub stamp: Option<String>,
    /// Of tags, when they were written after the data.
    pub tags_stamp: Option<String>,
    /// Since it was written or deleted.
    pub age_seconds: Option<f64>,
    /// Where that was.
    pub written_by: Option<String>,
    pub size: Option<u64>,
    pub etag: Option<String>,
    /// How the store here keeps it: `plain`, `own`, `staged` or `native`.
    pub location: Option<String>,
    /// Under which of this site's seqs it was told.
    pub told_under: Option<u64>,
    pub sites: Vec<ToldView>,
    /// What is left to do to have it here.
    pub work: Option<WorkView>,
    /// The stamp of the last write of it that lost against one that had not seen it.
    pub lost_stamp: Option<String>,
    /// In words.
    pub next: Vec<String>,
}

/// How another site stands with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ToldView {
    pub site: String,
    /// `COMPLETED`, `PENDING` or `FAILED`.
    pub status: String,
    /// Why it could not take it, in its words.
    pub reason: Option<String>,
    /// It may lack something of this bucket that only reconciliation finds.
    pub dirty: bool,
}

pub async fn explain(State(parts): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<ExplainView>, Error> {
    let unit = match &asked.key {
        Some(key) => {
            let object = ask::object(&asked.bucket, key)?;
            let slot = match &asked.version {
                Some(version) => ask::version(version)?,
                None => parts.site.current_slot(&object).await?,
            };
            Unit::of(&object, slot)
        }
        None if asked.version.is_some() => return Err(Error::Bad("version: a version needs a key".into())),
        None => Unit::Bucket(ask::bucket(&asked.bucket)?),
    };
    let explanation = parts.site.explain(&unit).await?;
    Ok(Json(ExplainView::of(&parts.site, &unit, &explanation)))
}

impl ExplainView {
    fn of(site: &Site, unit: &Unit, known: &Explanation) -> Self {
        let vector = known.found.vector();
        let record = if let Found::Object(stored) = &known.found { Some(&stored.row) } else { None };
        let age_ms = |ms: u64| site.clock().wall_ms().saturating_sub(ms);
        let newest = vector.map(|vector| vector.greatest());
        Self {
            bucket: unit.bucket().to_string(),
            key: super::rows::key_of(unit),
            version: unit.version().map(|(_, slot)| slot.to_string()),
            site: site.id().name.clone(),
            state: state_word(&known.found).into(),
            stamp: vector.map(|vector| vector.data.to_string()),
            tags_stamp: vector.and_then(|vector| vector.tags).map(|stamp| stamp.to_string()),
            age_seconds: newest.map(|stamp| seconds(age_ms(stamp.ms()))),
            written_by: newest.map(|stamp| ask::site_name(site, stamp.parts().site)),
            size: record.map(|record| record.identity.size),
            etag: record.map(|record| record.identity.etag.to_string()),
            location: record.map(|record| location_word(record).into()),
            told_under: Some(known.found.seq().0).filter(|seq| *seq > 0),
            sites: known.told.iter().map(|told| ToldView::of(site, told)).collect(),
            work: known.work.as_ref().map(|hint| WorkView::of(site, unit, hint)),
            lost_stamp: known.lost.map(|vector| vector.data.to_string()),
            next: next(site, known),
        }
    }
}

impl ToldView {
    fn of(site: &Site, told: &Told) -> Self {
        let status = match told.status {
            Replication::Completed => "COMPLETED",
            Replication::Pending => "PENDING",
            Replication::Failed => "FAILED",
        };
        let (name, reason) = (ask::site_name(site, told.site), told.refusal.clone());
        Self { site: name, status: status.into(), reason, dirty: told.is_dirty }
    }
}

fn state_word(found: &Found) -> &'static str {
    use crate::model::State;
    match found {
        Found::Nothing => "unknown",
        Found::Object(stored) if stored.row.state == State::Wanted => "wanted",
        Found::Object(stored) if stored.row.state == State::Marker => "marker",
        Found::Object(_) => "present",
        Found::Grave(_) => "deleted",
        Found::Bucket(stored) if stored.row.is_live() => "present",
        Found::Bucket(_) => "deleted",
    }
}

fn location_word(record: &Record) -> &'static str {
    match record.location {
        Location::Plain => "plain",
        Location::Own(_) => "own",
        Location::Staged(_) | Location::OwnStaged(..) => "staged",
        Location::Moving(_) | Location::Part => "moving",
        Location::Native(_) => "native",
    }
}

/// What happens next, a sentence each.
fn next(site: &Site, known: &Explanation) -> Vec<String> {
    let mut said = vec![answered(site, known)];
    if let Some(work) = &known.work {
        let sources: Vec<String> = work.sources.iter().map(|source| ask::site_name(site, *source)).collect();
        let reachable = work.sources.iter().filter_map(|source| site.neighbours().get(*source));
        let answers = reachable.filter(|source| source.standing() != Standing::Unreachable).count() > 0;
        let (from, due_ms) = (sources.join(" or "), work.due_ms.saturating_sub(site.clock().wall_ms()));
        said.push(match answers {
            false => format!("{from} told of a newer state and cannot be reached: it is fetched once one of them answers"),
            true if due_ms == 0 => format!("a newer state is being fetched from {from}"),
            true => format!("a newer state is fetched from {from} in {:.0} s; `anybucket retry` does it now", seconds(due_ms)),
        });
    }
    said.extend(known.told.iter().filter_map(|told| next_of(site, told)));
    said
}

/// What a GET here answers now.
fn answered(site: &Site, known: &Explanation) -> String {
    use crate::model::State;
    match &known.found {
        Found::Object(stored) if stored.row.state == State::Wanted => {
            "its bytes are missing or damaged here: a GET answers an error until a site that has them brings them back".into()
        }
        Found::Object(stored) if stored.row.state == State::Unread => {
            "a GET is answered from the store here; other sites are told of it once its bytes were read".into()
        }
        Found::Object(_) => "a GET is answered from the store here".into(),
        Found::Grave(_) => "a GET answers 404: it was deleted".into(),
        Found::Bucket(stored) if stored.row.is_live() => "the bucket is here".into(),
        Found::Bucket(_) => "the bucket was deleted".into(),
        Found::Nothing if !known.has_bucket => "a GET answers 404: there is no such bucket here".into(),
        Found::Nothing => unknown(site),
    }
}

/// What an absence is worth depends on what the others may know.
fn unknown(site: &Site) -> String {
    let named = |standing: Standing| {
        let those = site.neighbours().iter().filter(|neighbour| neighbour.standing() == standing);
        those.map(|neighbour| neighbour.id.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let (behind, away) = (named(Standing::Behind), named(Standing::Unreachable));
    match (behind.is_empty(), away.is_empty()) {
        (true, true) => "a GET answers 404: nothing was heard of it, and all that other sites told is known here".into(),
        (false, _) => format!("nothing was heard of it yet; {behind} told more than is known here so far"),
        (true, false) => format!("nothing was heard of it; {away} cannot be reached and may know better"),
    }
}

fn next_of(site: &Site, told: &Told) -> Option<String> {
    let neighbour = site.neighbours().get(told.site)?;
    let (name, paused) = (&neighbour.id.name, neighbour.seen().paused_until_ms);
    match (told.status, paused) {
        (Replication::Completed, _) => None,
        (_, Some(UNTIL_RESUMED)) => Some(format!("{name} is paused: it hears of it after `anybucket resume {name}`")),
        (_, Some(until_ms)) => {
            let left = seconds(until_ms.saturating_sub(site.clock().wall_ms()));
            Some(format!("{name} is paused for {left:.0} s more and hears of it then, or after `anybucket resume {name}`"))
        }
        (Replication::Failed, None) => {
            Some(format!("{name} could not take it and tries every six hours; `anybucket retry --site {name}` has it try now"))
        }
        (Replication::Pending, None) if told.is_dirty => Some(format!("reconciliation with {name} finds out whether it has it")),
        (Replication::Pending, None) if neighbour.standing() == Standing::Unreachable => {
            Some(format!("{name} does not answer: it is told once it does"))
        }
        (Replication::Pending, None) => Some(format!("{name} was told and has not said yet that it has it")),
    }
}
