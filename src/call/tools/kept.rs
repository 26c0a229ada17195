//! The tools of a call as a journal keeps them: what came of them, by which keys, what the model
//! has not been told yet.
//!
//! In:       the tools of a call that goes on; those of one that was read back.
//! Out:      the same, for another process. What is at work is kept as in a call that ends here:
//!           nobody knows how it went, and asked for again it goes by the same key.
//! Bounds:   [`SNAPSHOT_RESULTS_BYTES_MAX`] of arguments and results, the newest first; read back,
//!           the bounds of `call::tools`.
//! Not here: who writes it down (`call::journal`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, Asker, Finished, Tools};
use crate::call::ToolOutcome;
use crate::config::Agent;
use crate::limits::{
    SNAPSHOT_RESULTS_BYTES_MAX, TOOL_ARGUMENTS_BYTES_MAX, TOOL_ASKERS_MAX, TOOL_NOTES_MAX,
    TOOL_RESULT_BYTES_MAX, TOOL_RESULTS_KEPT, TOOLS_AT_WORK_MAX,
};

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::call) struct ToolsKept {
    /// Oldest first.
    finished: Vec<FinishedKept>,
    answers: Vec<AnswerKept>,
    notes: Vec<String>,
    next_ticket: u32,
    next_batch: u32,
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

    /// What another process is to know, should this one be gone now.
    pub(in crate::call) fn kept(&self) -> ToolsKept {
        let tools = self.clone().bequeath();
        let mut left_bytes = SNAPSHOT_RESULTS_BYTES_MAX;
        let fits = |done: &Finished| {
            let size = done.arguments.len() + done.response.len();
            left_bytes.checked_sub(size).map(|left| left_bytes = left).is_some()
        };
        let newest_first = tools.finished.into_iter().rev();
        let mut finished: Vec<_> =
            newest_first.scan(fits, |fits, done| fits(&done).then(|| done.into())).collect();
        finished.reverse();
        let answer = |answer: Answer| {
            let Answer { asker: Asker { id, batch, place }, name, response, is_change, .. } =
                answer;
            AnswerKept { id, batch, place, name, response, is_change }
        };
        ToolsKept {
            finished,
            answers: tools.answers.into_iter().map(answer).collect(),
            notes: tools.notes.into(),
            next_ticket: tools.next_ticket,
            next_batch: tools.next_batch,
        }
    }

    /// The tools of a conversation that `agent` goes on with. What it does not have any more is
    /// left out.
    pub(in crate::call) fn of(kept: ToolsKept, agent: &Arc<Agent>) -> Tools {
        let known = |name: &str| agent.tools.iter().find(|tool| tool.name == name);
        let mut tools = Tools {
            agent: Some(agent.clone()),
            next_ticket: kept.next_ticket,
            next_batch: kept.next_batch,
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

impl From<Finished> for FinishedKept {
    fn from(done: Finished) -> FinishedKept {
        let Finished { tool, arguments, key, outcome, response, ids, holds } = done;
        let name = tool.name.clone();
        FinishedKept { name, arguments, key, outcome, response, ids, holds }
    }
}
