//! The tools of a call as a journal keeps them: what came of them, by which keys, what the model
//! has not been told yet.
//!
//! In:       the tools of a call that goes on; those of one that was read back.
//! Out:      the same, for another process. What is at work is kept as in a call that ends here:
//!           nobody knows how it went, and asked for again it goes by the same key.
//! Bounds:   [`SNAPSHOT_RESULTS_BYTES_MAX`] of arguments, results, answers and notes, the newest
//!           first; of those [`SNAPSHOT_UNTOLD_BYTES_MAX`] that the model has not been told. Read
//!           back, the bounds of `call::tools`.
//! Not here: who writes it down (`call::journal`).

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, Asker, Finished, NO_ANSWER, Tools, Work, result_note};
use crate::call::{ToolOutcome, ToolReply};
use crate::config::Agent;
use crate::limits::{
    SNAPSHOT_RESULTS_BYTES_MAX, TOOL_ARGUMENTS_BYTES_MAX, TOOL_ASKERS_MAX, TOOL_NOTES_MAX,
    TOOL_RESULT_BYTES_MAX, TOOL_RESULTS_KEPT, TOOLS_AT_WORK_MAX,
};

/// Answers and notes for the model in one entry: the half, so that they never drive out all of what
/// was done.
const SNAPSHOT_UNTOLD_BYTES_MAX: usize = SNAPSHOT_RESULTS_BYTES_MAX / 2;

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::call) struct ToolsKept {
    /// Oldest first.
    finished: Vec<FinishedKept>,
    answers: Vec<AnswerKept>,
    notes: Vec<String>,
    next_ticket: u32,
    next_batch: u32,
    #[serde(default)]
    next_change: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct FinishedKept {
    name: String,
    arguments: String,
    key: String,
    outcome: ToolOutcome,
    response: String,
    ids: Vec<String>,
    holds: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct AnswerKept {
    id: Option<String>,
    batch: u32,
    place: u32,
    name: String,
    response: String,
    is_change: bool,
}

impl Tools {
    /// How often anything of this has changed.
    pub(in crate::call) fn changes(&self) -> u32 {
        self.changes
    }

    pub(super) fn changed(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    /// Who is called.
    pub(in crate::call) fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// What another process is to know, should this one be gone now. Only what fits is copied.
    pub(in crate::call) fn kept(&self) -> ToolsKept {
        let unknown = ToolReply::failed(ToolOutcome::TimedOut, NO_ANSWER).json;
        let mut untold = Room { left_bytes: SNAPSHOT_UNTOLD_BYTES_MAX };
        let answers = self.answers_kept(&unknown, &mut untold);
        let notes = self.notes_kept(&unknown, &mut untold);
        let used_bytes = answers.iter().map(|answer| answer.response.len()).sum::<usize>()
            + notes.iter().map(String::len).sum::<usize>();
        let mut room = Room { left_bytes: SNAPSHOT_RESULTS_BYTES_MAX - used_bytes };
        ToolsKept {
            finished: self.finished_kept(&unknown, &mut room),
            answers,
            notes,
            next_ticket: self.next_ticket,
            next_batch: self.next_batch,
            next_change: self.next_change,
        }
    }

    /// What came of orders; of those at work it is not known.
    fn finished_kept(&self, unknown: &str, room: &mut Room) -> Vec<FinishedKept> {
        let mut kept = Vec::new();
        for work in self.at_work.iter().rev() {
            if !room.takes(work.arguments.len() + unknown.len()) {
                break;
            }
            let before = self.finished.iter().find(|done| done.is_of(&work.tool, &work.arguments));
            let mut ids = before.map_or(Vec::new(), |done| done.ids.clone());
            ids.extend(work.askers.iter().filter_map(|asker| asker.id.clone()));
            ids.drain(..ids.len().saturating_sub(TOOL_ASKERS_MAX));
            kept.push(FinishedKept {
                name: work.tool.name.clone(),
                arguments: work.arguments.clone(),
                key: work.key.clone(),
                outcome: ToolOutcome::TimedOut,
                response: unknown.to_owned(),
                ids,
                holds: true,
            });
        }
        let is_at_work = |done: &&Finished| {
            self.at_work.iter().any(|work| done.is_of(&work.tool, &work.arguments))
        };
        for done in self.finished.iter().rev().filter(|done| !is_at_work(done)) {
            let is_full = kept.len() >= TOOL_RESULTS_KEPT;
            if is_full || !room.takes(done.arguments.len() + done.response.len()) {
                break;
            }
            kept.push(done.into());
        }
        kept.reverse();
        kept
    }

    /// Answers the model has not been given; whoever waits for what is at work gets none.
    fn answers_kept(&self, unknown: &str, room: &mut Room) -> Vec<AnswerKept> {
        let waits = |work: &'_ Work| {
            let name = work.tool.name.clone();
            work.askers.clone().into_iter().rev().map(move |asker| (asker, name.clone()))
        };
        let at_work = self.at_work.iter().rev().flat_map(waits);
        let at_work = at_work.map_while(|(asker, name)| {
            room.takes(unknown.len()).then(|| AnswerKept::new(asker, name, unknown, false))
        });
        let mut kept: Vec<_> = at_work.collect();
        let ready = self.answers.iter().rev().map_while(|answer| {
            let Answer { asker, name, response, is_change, .. } = answer;
            let fits = room.takes(response.len());
            fits.then(|| AnswerKept::new(asker.clone(), name.clone(), response, *is_change))
        });
        kept.extend(ready);
        kept.reverse();
        kept
    }

    /// What the model is to be told in words.
    fn notes_kept(&self, unknown: &str, room: &mut Room) -> Vec<String> {
        let orphans = self.at_work.iter().rev().filter(|work| work.is_orphan);
        let orphans = orphans.map(|work| Cow::Owned(result_note(&work.tool.name, unknown)));
        let notes = orphans.chain(self.notes.iter().rev().map(Cow::Borrowed));
        let fits = |note: &Cow<'_, String>| room.takes(note.len());
        let notes = notes.take(TOOL_NOTES_MAX).take_while(fits);
        let mut kept: Vec<_> = notes.map(Cow::into_owned).collect();
        kept.reverse();
        kept
    }

    /// The tools of a conversation that `agent` goes on with. What it does not have any more is
    /// left out.
    pub(in crate::call) fn of(kept: ToolsKept, agent: &Arc<Agent>) -> Tools {
        let known = |name: &str| agent.tools.iter().find(|tool| tool.name == name);
        let mut tools = Tools {
            agent: Some(agent.clone()),
            next_ticket: kept.next_ticket,
            next_batch: kept.next_batch,
            next_change: kept.next_change,
            ..Tools::default()
        };
        let is_short = |done: &FinishedKept| {
            done.arguments.len() <= TOOL_ARGUMENTS_BYTES_MAX
                && done.response.len() <= TOOL_RESULT_BYTES_MAX
        };
        let newest = kept.finished.len().saturating_sub(TOOL_RESULTS_KEPT);
        for done in kept.finished.into_iter().skip(newest).filter(is_short) {
            let FinishedKept { name, arguments, key, outcome, response, mut ids, holds } = done;
            let Some(tool) = known(&name).cloned() else { continue };
            ids.truncate(TOOL_ASKERS_MAX);
            let done = Finished { tool, arguments, key, outcome, response, ids, holds };
            tools.finished.push_back(done);
        }
        let answers = kept.answers.into_iter().take(TOOLS_AT_WORK_MAX * TOOL_ASKERS_MAX);
        for answer in answers.filter(|answer| answer.response.len() <= TOOL_RESULT_BYTES_MAX) {
            let AnswerKept { id, batch, place, name, response, is_change } = answer;
            let asker = Asker { id, batch, place };
            let scheduling = known(&name).and_then(|tool| tools.scheduling_of(tool));
            tools.answers.push_back(Answer { asker, name, response, scheduling, is_change });
        }
        tools.notes = kept.notes.into_iter().take(TOOL_NOTES_MAX).collect();
        tools
    }
}

impl From<&Finished> for FinishedKept {
    fn from(done: &Finished) -> FinishedKept {
        let Finished { tool, arguments, key, outcome, response, ids, holds } = done;
        FinishedKept {
            name: tool.name.clone(),
            arguments: arguments.clone(),
            key: key.clone(),
            outcome: *outcome,
            response: response.clone(),
            ids: ids.clone(),
            holds: *holds,
        }
    }
}

impl AnswerKept {
    fn new(asker: Asker, name: String, response: &str, is_change: bool) -> AnswerKept {
        let Asker { id, batch, place } = asker;
        AnswerKept { id, batch, place, name, response: response.to_owned(), is_change }
    }
}

/// Bytes that are left in an entry. Taken newest first: behind the first that does not fit nothing
/// does.
struct Room {
    left_bytes: usize,
}

impl Room {
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.unwrap_or(0);
        left.is_some()
    }
}
