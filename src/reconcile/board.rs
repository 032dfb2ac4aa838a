//! Where people ask for runs, see how they go and stop them. `worker` does what stands here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::report::{Line, Report, Summary};
use super::run::{Ask, Cause, Run};
use crate::replicate::Bell;
use crate::site::{self, Site};

/// Runs that are remembered.
const REMEMBERED: usize = 16;
/// Runs that may wait; more are refused.
const ASKED_MAX: usize = 8;
/// Lines kept of all runs together.
const LINES_MAX: usize = 200_000;

/// How a run fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Waiting,
    Running,
    Done,
    /// It could not compare all that it was asked to.
    Failed,
    /// A person stopped it.
    Stopped,
}

/// A run as people see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub id: u64,
    pub cause: Cause,
    pub dry_run: bool,
    pub state: RunState,
    /// What it is at.
    pub at: Option<String>,
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub began_ms: u64,
    pub ended_ms: Option<u64>,
    pub summary: Summary,
    /// Differences that can be read.
    pub lines: usize,
}

/// Takes what people ask for, and shows how it goes. Clones share it.
#[derive(Clone, Debug)]
pub struct Reconciler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    site: Site,
    bell: Bell,
    asked: Notify,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    last: u64,
    waiting: VecDeque<(u64, Ask)>,
    runs: VecDeque<Shown>,
}

#[derive(Debug)]
struct Shown {
    progress: Progress,
    lines: Vec<Line>,
}

impl Reconciler {
    pub fn new(site: &Site, bell: &Bell) -> Self {
        Self(Arc::new(Shared { site: site.clone(), bell: bell.clone(), asked: Notify::new(), board: Mutex::default() }))
    }

    pub(super) fn site(&self) -> &Site {
        &self.0.site
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// Queues a run and answers its number.
    pub fn start(&self, ask: Ask) -> site::Result<u64> {
        let neighbours = self.0.site.neighbours();
        if let Some(name) = ask.with.as_ref().filter(|name| !neighbours.iter().any(|known| known.id.name == **name)) {
            let reason = format!("no site {name:?} is known here");
            return Err(site::Error::InvalidArgument { argument: "with", reason });
        }
        let now_ms = self.0.site.clock().wall_ms();
        let mut board = self.board();
        if board.waiting.len() >= ASKED_MAX {
            let reason = format!("{ASKED_MAX} runs wait already");
            return Err(site::Error::Unavailable { reason, retry_after: Duration::from_secs(60) });
        }
        let id = board.show(Cause::Asked, ask.dry_run, now_ms);
        board.waiting.push_back((id, ask));
        drop(board);
        self.0.asked.notify_one();
        Ok(id)
    }

    /// Stops a run where it stands: what it mended stays mended. `None`: no such run is remembered. One that is due begins
    /// again after a while, from where it stood.
    pub fn stop(&self, id: u64) -> Option<Progress> {
        let now_ms = self.0.site.clock().wall_ms();
        let mut board = self.board();
        board.waiting.retain(|(waiting, _)| *waiting != id);
        let progress = board.find(id).map(|shown| {
            let progress = &mut shown.progress;
            if progress.ended_ms.is_none() {
                (progress.state, progress.ended_ms, progress.at) = (RunState::Stopped, Some(now_ms), None);
            }
            progress.clone()
        });
        drop(board);
        self.0.asked.notify_one();
        progress
    }

    /// Every run that is remembered, the latest last.
    pub fn runs(&self) -> Vec<Progress> {
        self.board().runs.iter().map(|shown| shown.progress.clone()).collect()
    }

    /// A run, and its lines after the first `skip`, `lines_max` at the most.
    pub fn run(&self, id: u64, skip: usize, lines_max: usize) -> Option<(Progress, Vec<Line>)> {
        let mut board = self.board();
        let shown = board.find(id)?;
        Some((shown.progress.clone(), shown.lines.iter().skip(skip).take(lines_max).cloned().collect()))
    }

    /// The run that waited longest, which begins now.
    pub(super) fn next_asked(&self) -> Option<(u64, Ask)> {
        self.board().waiting.pop_front()
    }

    /// Shows a run that begins by itself.
    pub(super) fn begin(&self, cause: Cause) -> u64 {
        let now_ms = self.0.site.clock().wall_ms();
        self.board().show(cause, false, now_ms)
    }

    pub(super) fn is_stopped(&self, id: u64) -> bool {
        self.board().find(id).is_none_or(|shown| shown.progress.state == RunState::Stopped)
    }

    /// Puts what a step of a run found where people see it. `error` is that of the step.
    pub(super) fn show(&self, id: u64, run: &mut Run, state: RunState, error: Option<String>) {
        let now_ms = self.0.site.clock().wall_ms();
        let mut board = self.board();
        board.make_room(id, run.report.lines.len());
        let room = LINES_MAX.saturating_sub(board.lines());
        let Some(shown) = board.find(id) else { return };
        run.report.keep(room);
        shown.lines.append(&mut run.report.lines);
        let progress = &mut shown.progress;
        (progress.summary, progress.lines) = (run.report.summary.clone(), shown.lines.len());
        // Stopped meanwhile: it stays so, with what the step found.
        if progress.ended_ms.is_some() {
            return;
        }
        (progress.at, progress.state) = (run.at(), state);
        progress.error = error.or_else(|| run.given_up());
        progress.ended_ms = (state != RunState::Running).then_some(now_ms);
    }

    /// Returns when somebody asked for something, or after so long.
    pub(super) async fn asked_within(&self, nap: Duration) {
        let _ = tokio::time::timeout(nap, self.0.asked.notified()).await;
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().expect("nothing panics while it holds the board")
    }
}

impl Board {
    fn show(&mut self, cause: Cause, dry_run: bool, now_ms: u64) -> u64 {
        self.last += 1;
        let summary = Report::default().summary;
        let progress = Progress {
            id: self.last,
            cause,
            dry_run,
            state: RunState::Waiting,
            at: None,
            error: None,
            began_ms: now_ms,
            ended_ms: None,
            summary,
            lines: 0,
        };
        self.runs.push_back(Shown { progress, lines: Vec::new() });
        while self.runs.len() > REMEMBERED && self.runs.front().is_some_and(|shown| shown.progress.ended_ms.is_some()) {
            self.runs.pop_front();
        }
        self.last
    }

    fn find(&mut self, id: u64) -> Option<&mut Shown> {
        self.runs.iter_mut().find(|shown| shown.progress.id == id)
    }

    fn lines(&self) -> usize {
        self.runs.iter().map(|shown| shown.lines.len()).sum()
    }

    /// The lines of runs that ended give way to those of the one that runs, the oldest first.
    fn make_room(&mut self, id: u64, lines: usize) {
        while self.lines() + lines > LINES_MAX {
            let ended = |shown: &&mut Shown| shown.progress.ended_ms.is_some() && shown.progress.id != id;
            let Some(oldest) = self.runs.iter_mut().filter(ended).find(|shown| !shown.lines.is_empty()) else { return };
            oldest.progress.summary.lines_left_out += oldest.lines.len() as u64;
            (oldest.lines, oldest.progress.lines) = (Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diff::Class;
    use super::*;

    fn line() -> Line {
        let (bucket, key, slot, action) = ("b".into(), String::new(), String::new(), String::new());
        Line { bucket, key, slot, class: Class::Lost, here: None, there: None, bytes: 0, action, with: None }
    }

    #[test]
    fn the_lines_of_runs_that_ended_give_way_and_say_so() {
        let mut board = Board::default();
        let ids = [0, 1, 2].map(|_| board.show(Cause::Asked, true, 0));
        for (id, ended_ms) in [(ids[0], Some(1)), (ids[1], None)] {
            let shown = board.find(id).unwrap();
            (shown.lines, shown.progress.ended_ms) = (vec![line(); LINES_MAX / 2], ended_ms);
        }
        board.make_room(ids[2], 10);
        let left = |board: &mut Board, id| board.find(id).map(|shown| (shown.lines.len(), shown.progress.summary.lines_left_out));
        assert_eq!(left(&mut board, ids[0]), Some((0, LINES_MAX as u64 / 2)));
        assert_eq!(left(&mut board, ids[1]), Some((LINES_MAX / 2, 0)), "it still runs");
        board.make_room(ids[2], LINES_MAX);
        assert_eq!(left(&mut board, ids[1]), Some((LINES_MAX / 2, 0)));
    }
}
