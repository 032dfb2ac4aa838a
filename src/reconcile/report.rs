//! What a reconciliation found and did: one line a difference, and the sums.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::diff::{Class, Difference, Remedy};
use crate::model::{BucketName, Stamp};
use crate::peer::RowDigest;

/// Lines kept for whoever asked; more are counted only.
const LINES_MAX: usize = 200_000;

/// One difference, as `--report` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub bucket: String,
    /// Empty for the bucket itself.
    pub key: String,
    /// `null`, a version id, or `bucket`.
    pub slot: String,
    pub class: Class,
    pub here: Option<Side>,
    pub there: Option<Side>,
    /// Of the object, on the side that has it.
    pub bytes: u64,
    pub action: String,
    /// The other site; none where rows were compared with the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
}

/// What one side has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its data stamp.
    pub stamp: String,
    /// `present`, `wanted` (known, and the bytes are missing), `grave`, `bucket` or `deleted`.
    pub state: String,
}

/// The sums of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Differences by class, every class named.
    pub classes: BTreeMap<Class, u64>,
    /// Bytes of the objects that differ.
    pub bytes: u64,
    /// Rows compared, by digest or one by one.
    pub compared: u64,
    /// Units that are to be brought here: work of the fetcher from now on.
    pub queued: u64,
    /// Units that the other site was told again.
    pub told: u64,
    pub corrected: u64,
    /// Objects whose bytes were read and hashed.
    pub hashed: u64,
    /// Changed too lately to say anything; the next run looks again.
    pub busy: u64,
    /// Differences that were to be looked at again and were too many, and objects that the store does not let anybody read.
    pub unchecked: u64,
    /// Units that differ where neither site is to have what the other has; no differences in the sense of the classes.
    pub out_of_scope: u64,
    /// Lines beyond those that are kept.
    pub lines_left_out: u64,
}

/// What a run has found so far.
#[derive(Clone, Debug)]
pub struct Report {
    pub lines: Vec<Line>,
    pub summary: Summary,
}

impl Default for Report {
    fn default() -> Self {
        let classes = Class::ALL.into_iter().map(|class| (class, 0)).collect();
        Self { lines: Vec::new(), summary: Summary { classes, ..Summary::default() } }
    }
}

impl Report {
    pub fn add(&mut self, line: Line) {
        *self.summary.classes.entry(line.class).or_default() += 1;
        self.summary.bytes += line.bytes;
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.summary.lines_left_out += 1;
        }
    }

    /// Keeps so many of the lines.
    pub fn keep(&mut self, lines: usize) {
        self.summary.lines_left_out += self.lines.len().saturating_sub(lines) as u64;
        self.lines.truncate(lines);
    }

    /// A difference between two sites, and what becomes of it.
    pub fn differs(&mut self, bucket: &BucketName, with: &str, difference: &Difference, action: &str) {
        let slot = difference.slot();
        self.add(Line {
            bucket: bucket.to_string(),
            key: difference.key.to_string(),
            slot: slot.to_string(),
            class: difference.class,
            here: difference.here.as_ref().map(Side::of),
            there: difference.there.as_ref().map(Side::of),
            bytes: [&difference.here, &difference.there].into_iter().flatten().map(|row| row.size).max().unwrap_or_default(),
            action: action.to_owned(),
            with: Some(with.to_owned()),
        });
    }
}

impl Summary {
    /// Differences of all classes.
    pub fn differences(&self) -> u64 {
        self.classes.values().sum()
    }
}

impl Side {
    fn of(row: &RowDigest) -> Self {
        let state = match (row.is_grave, row.has_bytes) {
            (true, _) => "grave",
            (false, true) => "present",
            (false, false) => "wanted",
        };
        Self::at(row.vector.data, state)
    }

    pub fn at(stamp: Stamp, state: &str) -> Self {
        Self { stamp: stamp.to_string(), state: state.to_owned() }
    }
}

/// How a report names what is done.
pub fn action_of(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy { correct: true, .. } => "corrected",
        Remedy { pull: true, tell: true, .. } => "queued, told",
        Remedy { pull: true, .. } => "queued",
        Remedy { tell: true, .. } => "told",
        // What the site that drew the stamp has is right, and it is for the others to take it.
        Remedy { .. } => "left to its origin",
    }
}
