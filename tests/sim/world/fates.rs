//! What the rest of the relay does for a simulated call: lets it in, brings it lines, runs tools.
//!
//! In:       the call's wishes.
//! Out:      their fates, at their time.
//! Not here: what the peers do (`phone`, `model`).

use std::time::Duration;

use vocaris::call::{LineFault, Refusal, Revival, ToolOrder, ToolOutcome, ToolReply};
use vocaris::clock::Nanos;
use vocaris::config::{SwapOrder, Timers, ToolBehavior};

use super::{Kind, Phase, World};
use crate::faults::Fault;
use crate::model::Model;

/// What becomes of a wish for a line.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Line { resumed: bool },
    NoLine(LineFault),
    Refused(Refusal),
}

impl World {
    pub(super) fn admit(&mut self) {
        let dice = &mut self.dice;
        let mut later = dice.random().u64(0..150);
        let fate = if dice.picks(Fault::Refused, 5) {
            Fate::Refused(*dice.random().choice(&Refusal::ALL).unwrap())
        } else if dice.picks(Fault::NoLine, 5) {
            Fate::NoLine(LineFault::Connect)
        } else if dice.picks(Fault::NoLineEver, 2) {
            return;
        } else {
            if dice.picks(Fault::LineLate, 10) {
                later = dice.random().u64(300..20_000);
            }
            Fate::Line { resumed: false }
        };
        self.fate = Some((self.now.plus(Duration::from_millis(later)), fate));
    }

    pub(super) fn redial(&mut self, revival: &Revival) {
        assert!(self.fate.is_none(), "one line is asked for at a time");
        let resumed = matches!(revival, Revival::Resume { .. });
        let dice = &mut self.dice;
        let mut later = dice.random().u64(5..400);
        let fate = if resumed && dice.strikes(Fault::ResumeRefused, 800) {
            Fate::NoLine(LineFault::closed(Some(1011), ""))
        } else if !resumed && dice.strikes(Fault::FreshRefused, 800) {
            let faults = [
                LineFault::Timeout,
                LineFault::Connect,
                LineFault::Refused { status: 503 },
                LineFault::closed(Some(1007), ""),
            ];
            Fate::NoLine(*dice.random().choice(&faults).unwrap())
        } else if dice.strikes(Fault::LineRefusedForGood, 200) {
            let faults = [LineFault::Quota, LineFault::Refused { status: 403 }];
            Fate::NoLine(*dice.random().choice(&faults).unwrap())
        } else {
            if dice.strikes(Fault::LineSlow, 500) {
                later = dice.random().u64(1_000..40_000);
            }
            Fate::Line { resumed }
        };
        // What a call does whose old line is still there when no other can be had has tests of its
        // own: here it is asked to try again, in time.
        let is_kept = !self.close_told && self.model.as_ref().is_some_and(|it| !it.is_closed);
        let (fate, later) = match fate {
            Fate::NoLine(_) if is_kept => (Fate::NoLine(LineFault::Connect), later),
            fate if is_kept => (fate, later.min(20_000)),
            fate => (fate, later),
        };
        self.fate = Some((self.now.plus(Duration::from_millis(later)), fate));
    }

    pub(super) fn meet_fate(&mut self, fate: Fate) {
        self.trace(|| format!("{fate:?}"));
        match fate {
            Fate::Refused(refusal) => self.call.handle_refusal(self.now, refusal),
            Fate::NoLine(fault) => self.call.handle_no_line(self.now, fault),
            // As the worker does: nobody waits for it any more.
            Fate::Line { .. } if !self.call.awaits_line() => {
                self.dice.counts.0[Fault::LineUnwanted as usize] += 1;
                return;
            }
            Fate::Line { resumed } => {
                self.dismiss_old_line();
                self.let_model_go();
                let dice = &mut self.dice;
                self.model = Some(match self.kind {
                    Kind::Rotating { held, .. } => Model::quiet(self.now, held, dice),
                    Kind::Mute => Model::mute(self.now, dice),
                    Kind::Any => Model::new(self.now, resumed, dice),
                });
                self.lines += 1;
                if !resumed {
                    // An id means nothing to a session that did not give it.
                    self.tools_asked.clear();
                }
                self.forget_told();
                self.close_told = false;
                let uplink = self.uplink.as_mut().expect("it has opened");
                uplink.line_up(&self.terms);
                if self.terms.greeting.is_some() && !resumed {
                    let Timers { greeting_hold, greeting_heard, .. } = *self.timers;
                    let at_most = greeting_hold + greeting_heard + Duration::from_millis(50);
                    uplink.hold_until(self.now.plus(at_most));
                }
                self.call.handle_line(self.now, &self.terms);
                self.watch.model_spoke();
            }
        }
        self.observe();
    }

    /// As the worker does: the old connection, kept so far, is closed once the new one is there.
    fn dismiss_old_line(&mut self) {
        let is_kept = self.phase == (Phase::Swapping { is_cut: false }) && !self.close_told;
        self.call.dismiss_agent(self.now);
        if self.phase == (Phase::Swapping { is_cut: false }) {
            self.phase = Phase::Swapping { is_cut: true };
            self.caller.as_mut().expect("it has opened").complete(true);
        }
        self.observe();
        if is_kept {
            assert_eq!(self.swap, SwapOrder::SetupFirst, "nobody has closed the old line");
            self.dice.note(Fault::SetupFirst);
        }
    }

    pub(super) fn run_tool(&mut self, order: &ToolOrder) {
        let dice = &mut self.dice;
        dice.note(Fault::ToolRun);
        self.is_blocked |= order.tool.behavior == ToolBehavior::Blocking;
        if dice.strikes(Fault::ToolNeverReplies, 500) {
            return;
        }
        let mut later = dice.random().u64(0..800);
        if dice.strikes(Fault::ToolRepliesLate, 1_000) {
            later += dice.random().u64(1_000..15_000);
        }
        let reply = match dice.strikes(Fault::ToolFails, 1_000) {
            true => ToolReply::failed(ToolOutcome::Failed, "It is broken."),
            false => ToolReply {
                outcome: ToolOutcome::Done,
                json: r#"{"output":{"ok":true}}"#.to_owned(),
            },
        };
        self.tool_replies.push((self.now.plus(Duration::from_millis(later)), order.ticket, reply));
    }

    pub(super) fn reply_for_tools(&mut self) {
        let due = |reply: &(Nanos, u32, ToolReply)| reply.0 <= self.now;
        let Some(at) = self.tool_replies.iter().position(due) else { return };
        let (_, ticket, reply) = self.tool_replies.swap_remove(at);
        self.call.handle_tool_reply(self.now, ticket, reply);
        self.observe();
    }
}
