//! What the model has done for the caller: which of its calls become orders, and which answer
//! each of them gets, on whatever connection the model is by then.
//!
//! ```text
//! called ─┬─ known, and done ──────────────> answered with the first result
//!         ├─ at work already ──> waits too ─┐
//!         └─ ordered ──> at work ── reply ──┴─> answered ─ taken back ─> a note, if it was done
//! ```
//! In:       `toolCall` and `toolCallCancellation`, replies, new connections, time.
//! Out:      [`Request::RunTool`], [`Request::CancelTool`], `toolResponse`s, notes, reports.
//! Bounds:   [`TOOLS_AT_WORK_MAX`], [`TOOL_ASKERS_MAX`] for one of them, [`TOOL_RESULTS_KEPT`],
//!           [`TOOL_NOTES_MAX`], [`TOOL_ARGUMENTS_BYTES_MAX`], [`TOOL_RESULT_BYTES_MAX`].
//! Not here: doing it (`control::tools`), hanging up and putting through (`call::farewell`).
//!
//! A model may call the same thing again before it hears of the first, with the same id or with
//! another. So one order is made of one name with one set of arguments. What was done is not done
//! again, unless another tool has changed something since: what was booked, cancelled and asked for
//! once more is booked once more. Of appointments that is true of one tool alone: what was moved
//! away and back is moved once more, and the store itself knows what stands already.
//!
//! An id means nothing to a session that did not give it. What was called on a session that is
//! lost reaches the next one in words.

mod kept;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub(super) use kept::ToolsKept;

use super::session::Cause;
use super::{Call, LegLife, Life, Oddity, Report, Request, ToolOrder, ToolOutcome, ToolReply};
use super::{CallId, Class, Ending, TOOLS_BUSY};
use crate::clock::Nanos;
use crate::config::{Agent, Tool, ToolBehavior, ToolKind, ToolScheduling};
use crate::limits::{
    AGENT_BACKLOG_MAX_BYTES, BLOCKING_GATE_MAX, TOOL_ARGUMENTS_BYTES_MAX, TOOL_ASKERS_MAX,
    TOOL_GRACE, TOOL_ID_BYTES_MAX, TOOL_LATE_MAX, TOOL_NOTES_MAX, TOOL_RESULT_BYTES_MAX,
    TOOL_RESULTS_KEPT, TOOLS_AT_WORK_MAX,
};
use crate::wire::browser::{ToBrowser, ToolState};
use crate::wire::gemini::{
    self, FunctionResponse, ModelRules, Scheduling, ServerMessage, TOOL_RESPONSE_BYTES_MAX,
};
use crate::wire::ws::CloseCode;

/// In figures and in the log, the name of every tool that nobody declared.
const UNKNOWN: &str = "unknown";
/// Told to the model of a tool that does not answer at all.
const NO_ANSWER: &str = "The tool did not answer in time, and whether it did what it was asked for \
                         is not known. Tell the caller so.";

/// The tools of one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Tools {
    /// Who answers; `None` before the first line.
    agent: Option<Arc<Agent>>,
    /// Who calls, and who is called.
    from: Option<String>,
    to: Option<String>,
    /// Ordered, and not yet heard of.
    at_work: Vec<Work>,
    /// Answers the model has not been given yet, oldest first.
    answers: VecDeque<Answer>,
    /// What came of those before, oldest first.
    finished: VecDeque<Finished>,
    /// Said to the model when it is quiet, oldest first.
    notes: VecDeque<String>,
    /// The number of the next order, of the next message with calls.
    next_ticket: u32,
    next_batch: u32,
    /// The number of the next order that changes something, in its key.
    next_change: u32,
    /// How often anything of this has changed.
    changes: u32,
}

/// One order.
#[derive(Clone, Debug)]
struct Work {
    ticket: u32,
    tool: Arc<Tool>,
    /// Written in one way only.
    arguments: String,
    key: String,
    since: Nanos,
    /// The model waits no longer than until then; of one it waits for no more, forgotten then.
    due: Nanos,
    /// Who waits for it; nobody: it was taken back, is too late, or its session is lost.
    askers: Vec<Asker>,
    /// Its session is lost: whatever comes of it is told in words.
    is_orphan: bool,
    /// Figures, log and page know what came of it: the model was told that it took too long.
    is_told: bool,
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// As the model gave it; not every service does.
    pub(super) id: Option<String>,
    /// The message it came in, and its place there: calls without ids are answered together, in
    /// their order.
    batch: u32,
    place: u32,
}

#[derive(Clone, Debug)]
struct Answer {
    asker: Asker,
    name: String,
    /// A JSON object.
    response: String,
    scheduling: Option<Scheduling>,
    /// What it tells has been done, and is to be told of even if nobody asks any more.
    is_change: bool,
}

#[derive(Clone, Debug)]
struct Finished {
    tool: Arc<Tool>,
    arguments: String,
    key: String,
    outcome: ToolOutcome,
    response: String,
    /// Ids it was asked for by, oldest first.
    ids: Vec<String>,
    /// Whether asking for it again is asking for the same: nothing was changed in between.
    holds: bool,
}

impl Tools {
    /// Who is on the line, as far as it is known.
    pub(super) fn meet(&mut self, from: Option<String>, to: Option<String>) {
        (self.from, self.to) = (from, to);
    }

    /// Takes over what the stream before has left; who is on the line is this one's own.
    pub(super) fn inherit(&mut self, before: Tools) {
        let (from, to) = (self.from.take(), self.to.take());
        *self = Tools { from, to, ..before };
    }

    /// What another stream of the same conversation is to know. Nobody waits for what is at work:
    /// of that it is not known how it went.
    pub(super) fn bequeath(&mut self) -> Tools {
        let mut tools = std::mem::take(self);
        let reply = ToolReply::failed(ToolOutcome::TimedOut, NO_ANSWER);
        for mut work in std::mem::take(&mut tools.at_work) {
            tools.keep(&work, &reply);
            if work.is_orphan {
                tools.note(result_note(&work.tool.name, &reply.json));
            }
            let scheduling = tools.scheduling_of(&work.tool);
            let name = &work.tool.name;
            tools.answers.extend(std::mem::take(&mut work.askers).into_iter().map(|asker| {
                Answer {
                    asker,
                    name: name.clone(),
                    response: reply.json.clone(),
                    scheduling,
                    is_change: false,
                }
            }));
        }
        tools
    }

    /// Who answers.
    pub(super) fn agent(&self) -> Option<&Arc<Agent>> {
        self.agent.as_ref()
    }

    pub(super) fn set_agent(&mut self, agent: Option<&Arc<Agent>>) {
        self.agent = agent.cloned().or(self.agent.take());
    }

    /// The name of the model that answers; empty where it is not known.
    pub(super) fn model(&self) -> &str {
        self.agent.as_ref().map_or("", |agent| &agent.model)
    }

    fn rules(&self) -> ModelRules {
        ModelRules::of(self.model())
    }

    /// Whether the model waits for a tool: its connection is not to be swapped if that can be
    /// helped.
    pub(super) fn is_pending(&self) -> bool {
        !self.answers.is_empty() || self.at_work.iter().any(|work| !work.askers.is_empty())
    }

    /// Whether the model can do nothing but wait for a tool. Audio, and whatever else would have to
    /// be answered, is better held back then; never longer than [`BLOCKING_GATE_MAX`].
    pub(super) fn is_blocking(&self, now: Nanos) -> bool {
        !self.at_work.is_empty()
            && self.at_work.iter().any(|work| {
                self.waits_for(&work.tool)
                    && !work.askers.is_empty()
                    && now < work.since.plus(BLOCKING_GATE_MAX)
            })
    }

    /// When that is over by itself, after `now`.
    pub(super) fn gate_due(&self, now: Nanos) -> Nanos {
        let blocking = self.at_work.iter().filter(|work| self.waits_for(&work.tool));
        let ends = blocking.map(|work| work.since.plus(BLOCKING_GATE_MAX));
        ends.filter(|&end| end > now).fold(Nanos::NEVER, Nanos::min)
    }

    fn waits_for(&self, tool: &Tool) -> bool {
        tool.behavior == ToolBehavior::Blocking && !self.rules().non_blocking_only
    }

    /// Whether there is nothing to see to.
    fn is_idle(&self) -> bool {
        self.at_work.is_empty() && self.answers.is_empty() && self.notes.is_empty()
    }

    fn next_due(&self) -> Nanos {
        self.at_work.iter().map(|work| work.due).fold(Nanos::NEVER, Nanos::min)
    }

    fn scheduling_of(&self, tool: &Tool) -> Option<Scheduling> {
        let may_say = self.rules().scheduling && !self.waits_for(tool);
        may_say.then_some(match tool.scheduling {
            ToolScheduling::WhenIdle => Scheduling::WhenIdle,
            ToolScheduling::Interrupt => Scheduling::Interrupt,
            ToolScheduling::Silent => Scheduling::Silent,
        })
    }

    fn note(&mut self, text: String) -> bool {
        let is_full = self.notes.len() == TOOL_NOTES_MAX;
        if is_full {
            self.notes.pop_front();
        }
        self.notes.push_back(text);
        !is_full
    }

    /// The answer that was given to the same before, if it may be given again.
    fn repeat(&mut self, asker: &Asker, tool: &Tool, arguments: &str) -> Option<String> {
        let same = self.finished.iter_mut().find(|done| done.is_of(tool, arguments))?;
        let same_id = asker.id.as_ref().is_some_and(|id| same.ids.contains(id));
        let is_done = same.outcome == ToolOutcome::Done && tool.changes && same.holds;
        if !same_id && !is_done {
            return None;
        }
        if let (Some(id), false) = (&asker.id, same_id)
            && same.ids.len() < TOOL_ASKERS_MAX
        {
            same.ids.push(id.clone());
        }
        Some(same.response.clone())
    }

    /// What the same attempt went by before, where it failed: it may have been done all the same.
    /// For its key the store gives its first answer again, which is none once an appointment has
    /// been changed since.
    fn key_of_failure(&self, tool: &Tool, arguments: &str) -> Option<String> {
        let same = self.finished.iter().find(|done| done.is_of(tool, arguments))?;
        let is_open = matches!(same.outcome, ToolOutcome::TimedOut | ToolOutcome::Failed);
        let is_same = same.holds || tool.kind != ToolKind::Appointments;
        (is_open && is_same).then(|| same.key.clone())
    }

    /// The number in a new order's key. What changes something is counted by itself: how often the
    /// model looked something up in between does not tell one such order from the same one.
    fn number_of(&mut self, tool: &Tool, ticket: u32) -> u32 {
        if !tool.changes {
            return ticket;
        }
        let number = self.next_change;
        self.next_change = number.wrapping_add(1);
        number
    }

    /// Keeps what came of an order.
    fn keep(&mut self, work: &Work, reply: &ToolReply) {
        self.changed();
        let before = self.finished.iter().position(|done| done.is_of(&work.tool, &work.arguments));
        let before = before.and_then(|at| self.finished.remove(at));
        let mut ids = before.map_or(Vec::new(), |done| done.ids);
        ids.extend(work.askers.iter().filter_map(|asker| asker.id.clone()));
        ids.drain(..ids.len().saturating_sub(TOOL_ASKERS_MAX));
        if reply.outcome == ToolOutcome::Done && work.tool.changes {
            let is_appointment = work.tool.kind == ToolKind::Appointments;
            for done in &mut self.finished {
                done.holds &= done.tool.name == work.tool.name && !is_appointment;
            }
        }
        if self.finished.len() == TOOL_RESULTS_KEPT {
            self.finished.pop_front();
        }
        self.finished.push_back(Finished {
            tool: work.tool.clone(),
            arguments: work.arguments.clone(),
            key: work.key.clone(),
            outcome: reply.outcome,
            response: reply.json.clone(),
            ids,
            holds: true,
        });
    }

    /// The answers that can be given now: those with an id each by itself, those without only when
    /// none of their message is missing.
    fn take_ready(&mut self) -> Option<Vec<Answer>> {
        let is_open = |batch: u32| {
            let waits = |asker: &Asker| asker.id.is_none() && asker.batch == batch;
            self.at_work.iter().any(|work| work.askers.iter().any(waits))
        };
        let ready = self
            .answers
            .iter()
            .position(|answer| answer.asker.id.is_some() || !is_open(answer.asker.batch))?;
        let first = self.answers.remove(ready).expect("just found");
        self.changed();
        let mut together = vec![first];
        if together[0].asker.id.is_none() {
            let batch = together[0].asker.batch;
            let same = |answer: &Answer| answer.asker.id.is_none() && answer.asker.batch == batch;
            let (rest, others) = self.answers.drain(..).partition(same);
            self.answers = others;
            together.extend::<VecDeque<Answer>>(rest);
            together.sort_by_key(|answer| answer.asker.place);
        }
        Some(together)
    }
}

impl Finished {
    fn is_of(&self, tool: &Tool, arguments: &str) -> bool {
        self.tool.name == tool.name && self.arguments == arguments
    }
}

impl Call {
    /// The tools the model calls, and those it takes back.
    pub(super) fn take_tool_calls(&mut self, message: &ServerMessage<'_>) {
        let mut calls = message.tool_calls().peekable();
        if calls.peek().is_some() {
            let batch = self.tools.next_batch;
            self.tools.next_batch = batch.wrapping_add(1);
            for (place, call) in (0..).zip(calls) {
                self.watch.works(self.now);
                let id = call.id.map(|id| id.to_cow().into_owned());
                let is_long = id.as_ref().is_some_and(|id| id.len() > TOOL_ID_BYTES_MAX);
                let asker = Asker { id: id.filter(|_| !is_long), batch, place };
                match is_long {
                    false => self.take_tool_call(asker, &call.name.to_cow(), call.args),
                    true => self.refuse_id(asker, &call.name.to_cow()),
                }
            }
        }
        for id in message.tool_cancellations() {
            self.take_back(&id.to_cow());
        }
        self.send_answers();
    }

    /// A call whose id is too long to be kept: it is answered without, so that nobody waits.
    fn refuse_id(&mut self, asker: Asker, name: &str) {
        self.note_agent(Oddity::AgentTool);
        let message = "The id of this call is too long, and nothing was done. Call the tool again.";
        let reply = ToolReply::failed(ToolOutcome::BadArguments, message);
        self.report_tool(UNKNOWN, reply.outcome, Duration::ZERO);
        self.queue_answer(asker, name, None, &reply.json, false);
    }

    fn take_tool_call(&mut self, asker: Asker, name: &str, args: &str) {
        let agent = self.tools.agent.clone();
        let tools = agent.iter().flat_map(|agent| &agent.tools);
        let Some(tool) = tools.into_iter().find(|tool| tool.name == name) else {
            self.note_agent(Oddity::AgentTool);
            let reply = ToolReply::failed(ToolOutcome::Unknown, "There is no such tool.");
            self.report_tool(UNKNOWN, reply.outcome, Duration::ZERO);
            return self.queue_answer(asker, name, None, &reply.json, false);
        };
        let Some(arguments) = canonical(args) else {
            let reply = ToolReply::failed(
                ToolOutcome::BadArguments,
                "These arguments are no JSON \
                object, or far too long. Call the tool again with shorter ones.",
            );
            return self.answer_at_once(asker, tool, &reply);
        };
        if tool.kind != ToolKind::TransferCall {
            self.call_off_transfer();
        }
        match tool.kind {
            ToolKind::EndCall => self.take_end_call(asker, tool),
            ToolKind::TransferCall => self.take_transfer_call(asker, tool, &arguments),
            ToolKind::Webhook(_) | ToolKind::Appointments => self.order(asker, tool, arguments),
        }
    }

    /// Orders a tool, unless the same is at work, or done.
    fn order(&mut self, asker: Asker, tool: &Arc<Tool>, arguments: String) {
        let same = |work: &&mut Work| work.tool.name == tool.name && work.arguments == arguments;
        if let Some(work) = self.tools.at_work.iter_mut().find(same) {
            let is_known = asker.id.is_some() && work.askers.iter().any(|a| a.id == asker.id);
            if is_known {
                return;
            }
            if work.askers.len() < TOOL_ASKERS_MAX {
                return work.askers.push(asker);
            }
        } else if let Some(response) = self.tools.repeat(&asker, tool, &arguments) {
            let scheduling = self.tools.scheduling_of(tool);
            return self.queue_answer(asker, &tool.name, scheduling, &response, false);
        } else if self.tools.at_work.len() < TOOLS_AT_WORK_MAX {
            return self.begin(asker, tool, arguments);
        }
        let reply = ToolReply::failed(ToolOutcome::Busy, TOOLS_BUSY);
        self.answer_at_once(asker, tool, &reply);
    }

    fn begin(&mut self, asker: Asker, tool: &Arc<Tool>, arguments: String) {
        let ticket = self.tools.next_ticket;
        self.tools.next_ticket = ticket.wrapping_add(1);
        let known = self.tools.key_of_failure(tool, &arguments);
        let key = known.unwrap_or_else(|| {
            let number = self.tools.number_of(tool, ticket);
            key_of(self.conversation, number, tool, &arguments)
        });
        self.tools.changed();
        self.phone.tell(&ToBrowser::Tool {
            id: ticket,
            name: &tool.name,
            state: ToolState::Running,
            result: None,
        });
        self.requests.push_back(Request::RunTool(Box::new(ToolOrder {
            ticket,
            tool: tool.clone(),
            arguments: arguments.clone(),
            key: key.clone(),
            conversation: self.conversation,
            from: self.tools.from.clone(),
            to: self.tools.to.clone(),
        })));
        self.tools.at_work.push(Work {
            ticket,
            tool: tool.clone(),
            arguments,
            key,
            since: self.now,
            due: self.now.plus(tool.timeout() + TOOL_GRACE),
            askers: vec![asker],
            is_orphan: false,
            is_told: false,
        });
    }

    /// What came of the tool with this ticket.
    pub fn handle_tool_reply(&mut self, now: Nanos, ticket: u32, mut reply: ToolReply) {
        self.now = self.now.max(now);
        if self.is_over() {
            return;
        }
        let at_work = self.tools.at_work.iter().position(|work| work.ticket == ticket);
        let Some(work) = at_work.map(|at| self.tools.at_work.swap_remove(at)) else { return };
        if reply.json.len() > TOOL_RESULT_BYTES_MAX {
            reply = ToolReply::failed(ToolOutcome::Failed, "The answer of the tool is too long.");
        }
        self.finish(work, &reply);
        self.send_answers();
    }

    fn finish(&mut self, work: Work, reply: &ToolReply) {
        if !work.is_told {
            self.tell_outcome(&work, reply);
        }
        self.tools.keep(&work, reply);
        let is_change = reply.outcome == ToolOutcome::Done && work.tool.changes;
        if work.is_orphan || (work.askers.is_empty() && is_change) {
            self.note_result(&work.tool.name, &reply.json);
        }
        let scheduling = self.tools.scheduling_of(&work.tool);
        for asker in work.askers {
            self.queue_answer(asker, &work.tool.name, scheduling, &reply.json, is_change);
        }
    }

    /// Tells figures, log and page how a tool went.
    fn tell_outcome(&mut self, work: &Work, reply: &ToolReply) {
        self.report_tool(&work.tool.name, reply.outcome, self.now.since(work.since));
        let is_booking = work.tool.kind == ToolKind::Appointments && work.tool.changes;
        let state = match reply.outcome {
            ToolOutcome::Done => ToolState::Done,
            ToolOutcome::Cancelled => ToolState::Cancelled,
            _ => ToolState::Failed,
        };
        self.phone.tell(&ToBrowser::Tool {
            id: work.ticket,
            name: &work.tool.name,
            state,
            result: (is_booking && state == ToolState::Done).then_some(&*reply.json),
        });
    }

    fn report_tool(&mut self, name: &str, outcome: ToolOutcome, took: Duration) {
        self.report(Report::Tool { name: name.to_owned(), outcome, took });
    }

    /// Answers a call that needs nobody to work for it.
    pub(super) fn answer_at_once(&mut self, asker: Asker, tool: &Tool, reply: &ToolReply) {
        let scheduling = self.tools.scheduling_of(tool);
        self.answer_with(asker, tool, reply, scheduling);
    }

    /// The same, taken up by the model as said here.
    pub(super) fn answer_with(
        &mut self,
        asker: Asker,
        tool: &Tool,
        reply: &ToolReply,
        scheduling: Option<Scheduling>,
    ) {
        let ticket = self.tools.next_ticket;
        self.tools.next_ticket = ticket.wrapping_add(1);
        self.report_tool(&tool.name, reply.outcome, Duration::ZERO);
        let is_done = reply.outcome == ToolOutcome::Done;
        let state = if is_done { ToolState::Done } else { ToolState::Failed };
        self.phone.tell(&ToBrowser::Tool { id: ticket, name: &tool.name, state, result: None });
        let scheduling = scheduling.filter(|_| self.tools.scheduling_of(tool).is_some());
        self.queue_answer(asker, &tool.name, scheduling, &reply.json, false);
    }

    fn queue_answer(
        &mut self,
        asker: Asker,
        name: &str,
        scheduling: Option<Scheduling>,
        response: &str,
        is_change: bool,
    ) {
        if self.tools.answers.len() >= TOOLS_AT_WORK_MAX * TOOL_ASKERS_MAX {
            return self.note_agent(Oddity::AgentAway);
        }
        let (name, response) = (name.to_owned(), response.to_owned());
        self.tools.answers.push_back(Answer { asker, name, response, scheduling, is_change });
    }

    /// Gives the model every answer that is ready, if it is there to be given one.
    pub(super) fn send_answers(&mut self) {
        if self.tools.answers.is_empty() || !self.can_tell_agent() {
            return;
        }
        while let Some(answers) = self.tools.take_ready() {
            if self.agent.output.len_bytes() > AGENT_BACKLOG_MAX_BYTES {
                // It goes on calling and takes no answer.
                self.close_agent(CloseCode::POLICY);
                let code = CloseCode::POLICY.number();
                return self.recover(Cause::Broke, Ending::ModelBroke { code });
            }
            let is_silent = |answer: &Answer| answer.scheduling == Some(Scheduling::Silent);
            if !answers.iter().all(is_silent) && self.farewell.is_none() {
                // It owes the caller what it was told.
                self.watch.caller_spoke(self.now);
            }
            let message = message_of(&answers);
            // They go beyond what audio may fill.
            self.agent.send_json(&message);
        }
    }

    /// Whether the model is there to be told something.
    pub(super) fn can_tell_agent(&self) -> bool {
        matches!(self.life, Life::Live { .. }) && self.agent_life == LegLife::Open
    }

    /// The model takes a call back: it is not answered any more. What it did all the same is told.
    fn take_back(&mut self, id: &str) {
        let is_it = |asker: &Asker| asker.id.as_deref() == Some(id);
        if let Some(work) = self.tools.at_work.iter_mut().find(|w| w.askers.iter().any(is_it)) {
            work.askers.retain(|asker| !is_it(asker));
            if work.askers.is_empty() {
                work.due = self.now.plus(TOOL_LATE_MAX);
                let ticket = work.ticket;
                self.requests.push_back(Request::CancelTool { ticket });
            }
            return;
        }
        if let Some(at) = self.tools.answers.iter().position(|answer| is_it(&answer.asker)) {
            let answer = self.tools.answers.remove(at).expect("just found");
            if answer.is_change {
                self.note_result(&answer.name, &answer.response);
            }
            return;
        }
        // Answered, but the answer crossed the model's change of mind.
        let done = self.tools.finished.iter().find(|done| {
            let is_change = done.outcome == ToolOutcome::Done && done.tool.changes;
            is_change && done.ids.iter().any(|known| known == id)
        });
        if let Some((name, response)) = done.map(|d| (d.tool.name.clone(), d.response.clone())) {
            self.note_result(&name, &response);
        }
    }

    fn note_result(&mut self, name: &str, response: &str) {
        self.note_to_model(result_note(name, response));
    }

    /// Something the model is told when it is quiet, and need not answer.
    pub(super) fn note_to_model(&mut self, text: String) {
        if !self.tools.note(text) {
            self.tally.note(Oddity::AgentAway);
        }
    }

    /// Another connection is up. A session taken up again still waits for its answers; a new one
    /// is told in words, at once: nobody speaks on it yet.
    pub(super) fn tools_line_up(&mut self, resumed: bool, agent: Option<&Arc<Agent>>) {
        self.tools.set_agent(agent);
        if resumed {
            return self.send_answers();
        }
        for work in &mut self.tools.at_work {
            work.is_orphan |= !work.askers.is_empty();
            work.askers.clear();
        }
        let done = self.tools.finished.iter_mut().filter_map(|done| {
            let ids = std::mem::take(&mut done.ids);
            let is_change = done.outcome == ToolOutcome::Done && done.tool.changes;
            (is_change && !ids.is_empty()).then(|| (done.tool.name.clone(), done.response.clone()))
        });
        let done: Vec<_> = done.collect();
        for answer in std::mem::take(&mut self.tools.answers) {
            if !answer.is_change {
                self.note_result(&answer.name, &answer.response);
            }
        }
        for (name, response) in done {
            self.note_result(&name, &response);
        }
        while let Some(note) = self.tools.notes.pop_front() {
            self.send_note(&note);
        }
    }

    /// Sees to everything of the tools that is due.
    pub(super) fn attend_tools(&mut self) {
        if self.tools.is_idle() {
            return;
        }
        if self.tools.is_blocking(self.now) {
            // It can say nothing.
            self.watch.works(self.now);
        }
        while let Some(at) = self.tools.at_work.iter().position(|work| work.due <= self.now) {
            let work = &mut self.tools.at_work[at];
            if work.askers.is_empty() && !work.is_orphan {
                self.tools.at_work.swap_remove(at);
                continue;
            }
            // What comes later is still heard of: it may have been done.
            let askers = std::mem::take(&mut work.askers);
            work.due = self.now.plus(TOOL_LATE_MAX);
            work.is_told = true;
            let was_orphan = std::mem::take(&mut work.is_orphan);
            let late = Work { askers, is_orphan: was_orphan, ..work.again() };
            self.finish(late, &ToolReply::failed(ToolOutcome::TimedOut, NO_ANSWER));
        }
        self.send_answers();
        if self.is_quiet() && self.now >= self.ear.calm_at() {
            while let Some(note) = self.tools.notes.pop_front() {
                self.send_note(&note);
            }
        }
    }

    /// Whether the model neither speaks nor owes an answer: what is said to it cuts nothing off.
    fn is_quiet(&self) -> bool {
        self.can_tell_agent()
            && !self.generating
            && !self.in_progress
            && !self.turns.is_agents()
            && !self.watch.is_owed()
            && !self.tools.is_blocking(self.now)
    }

    fn send_note(&mut self, note: &str) {
        let model = self.tools.model();
        let json = gemini::seed_json(model, note).unwrap_or_else(|| gemini::text_json(note));
        self.tell_agent(json);
    }

    /// When [`Call::attend_tools`] is to be called, unless something happens before.
    pub(super) fn tools_due(&self) -> Nanos {
        let notes = match self.tools.notes.is_empty() || !self.is_quiet() {
            true => Nanos::NEVER,
            false => self.ear.calm_at(),
        };
        self.tools.next_due().min(notes)
    }

    /// Whether the caller's class has a telephone that can be put through.
    pub(super) fn is_on_the_web(&self) -> bool {
        self.class == Some(Class::Web)
    }
}

impl Work {
    /// The same order, as nobody's.
    fn again(&self) -> Work {
        Work {
            ticket: self.ticket,
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            key: self.key.clone(),
            since: self.since,
            due: self.due,
            askers: Vec::new(),
            is_orphan: false,
            is_told: false,
        }
    }
}

/// What a model is told of a tool that nobody asks about any more.
fn result_note(name: &str, response: &str) -> String {
    format!(
        "(A note of the system, the caller did not say this: the tool {name}, which you called \
         before you were interrupted, has answered: {response} Tell the caller when it fits; do \
         not call it again for the same.)"
    )
}

/// One message with these answers, each cut to its share of it where they are many.
fn message_of(answers: &[Answer]) -> String {
    let whole = |responses: &[String]| {
        let each = answers.iter().zip(responses).map(|(answer, response)| FunctionResponse {
            id: answer.asker.id.as_deref(),
            name: &answer.name,
            response,
            scheduling: answer.scheduling,
        });
        gemini::tool_responses_json(&each.collect::<Vec<_>>())
    };
    let responses: Vec<String> = answers.iter().map(|answer| answer.response.clone()).collect();
    let message = whole(&responses);
    if message.len() <= TOOL_RESPONSE_BYTES_MAX {
        return message;
    }
    let empty = whole(&vec![String::new(); answers.len()]).len();
    let share = TOOL_RESPONSE_BYTES_MAX.saturating_sub(empty) / answers.len();
    let cut = responses.into_iter().map(|response| match response.len() <= share {
        true => response,
        false => gemini::tool_output(&Value::String(response), share),
    });
    whole(&cut.collect::<Vec<_>>())
}

/// The key of a new order. It begins with the name of the conversation, so that it is the same on
/// every stream; and it says what is ordered, so that a process that takes up a journal which does
/// not know of an order yet never gives the same to another. To one that changes something it gives
/// the same again, unless another such is ordered before it this time: `number` counts them, and
/// tells what is done twice on purpose from what is asked for twice.
fn key_of(conversation: CallId, number: u32, tool: &Tool, arguments: &str) -> String {
    // FNV-1a of 64 bits.
    let bytes = tool.name.bytes().chain([0]).chain(arguments.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{conversation}-{number}-{hash:016x}")
}

/// Arguments written in one way: keys in order, no space. `None`: no JSON object, or too long.
fn canonical(args: &str) -> Option<String> {
    if args.len() > TOOL_ARGUMENTS_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_str(args).ok()?;
    let text = value.is_object().then(|| value.to_string())?;
    (text.len() <= TOOL_ARGUMENTS_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_arguments_are_the_same_however_they_are_written() {
        let one = canonical(r#"{"b": 1.0, "a": {"y":[1, 2],"x":"\u00fc"}}"#);
        assert_eq!(one, canonical("{\"a\":{\"x\":\"ü\",\"y\":[1,2]},\"b\":1.0}"));
        assert_ne!(one, canonical(r#"{"b":2,"a":{"y":[1,2],"x":"ü"}}"#));
        for bad in ["", "[]", "1", "{", "{\"a\":1e999}", &"[".repeat(500)] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(canonical(&format!("{{\"a\":\"{}\"}}", "x".repeat(20_000))), None);
    }

    #[test]
    fn many_answers_in_one_message_share_its_room() {
        let answer = |place, bytes| Answer {
            asker: Asker { id: None, batch: 0, place },
            name: "look".to_owned(),
            response: format!(r#"{{"output":"{}"}}"#, "x".repeat(bytes)),
            scheduling: None,
            is_change: false,
        };
        let answers: Vec<_> = (0..16).map(|place| answer(place, 6_900)).collect();
        let message = message_of(&answers);
        assert!(message.len() <= TOOL_RESPONSE_BYTES_MAX, "{}", message.len());
        let read: Value = serde_json::from_str(&message).unwrap();
        let told = read["toolResponse"]["functionResponses"].as_array().unwrap();
        assert_eq!(told.len(), 16);
        assert_eq!(told[7]["response"]["output"]["cut_off"], true);
    }
}
