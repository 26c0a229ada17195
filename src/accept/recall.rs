//! Callers who come back, where a journal is kept: it is asked, for it knows which process goes on
//! with a conversation, and what came last.
//!
//! When the carrier asks what follows a stream, the journal is only looked at, and the caller led
//! back; the stream that comes then claims the conversation, wherever it comes. A question that is
//! played again therefore takes nothing from anybody: it is answered with a stream's address and a
//! token, as any signed question is. Where another process that lives goes on with the call, the
//! carrier is told to ask once more first: that process may be about to write that the call is
//! over. If it still goes on with it then, it believes in a stream that the carrier knows to be
//! over, and the new stream may take what is of that stream's generation, and no later one. Only a
//! stream that our own answer sent says `vocaris_again`; no other waits for the journal.
//!
//! What this process keeps in its own memory counts where the journal knows nothing later, or
//! cannot be asked.
//!
//! In:       questions of carriers, streams and browsers that are let in, answers, time.
//! Out:      letters to the journal; a conversation that goes on, or a first line that is ordered.
//! Bounds:   [`RECALLS_WAITING_MAX`] that wait, a carrier's question [`RECALL_TIMEOUT`], a stream
//!           [`CLAIM_TIMEOUT`]; then a carrier is told to ask once more after
//!           [`ONCE_MORE_SECONDS`], and after that, as for a stream, it is as if the journal knew
//!           nothing.
//! Not here: conversations of this process (`accept::comeback`), the journal
//!           (`control::conversations`).

use std::collections::HashMap;
use std::time::Duration;

use super::answer::Answer;
use super::comeback::{Before, Heir};
use super::desk::Desk;
use super::names::name_of;
use super::origin::Origin;
use crate::call::{Again, CallId, Opening};
use crate::clock::{Nanos, unix_seconds};
use crate::config::Carrier;
use crate::limits::{CLAIM_TIMEOUT, RECALL_TIMEOUT, RECALLS_WAITING_MAX};
use crate::mail::{
    CallKey, JournalLetter, Purpose, Recall, Recalled, Right, Sequel, Whose, WorkerLetter,
};
use crate::wire::token::verify;
use crate::wire::twiml;

/// How long a question outlives its connection's own deadline.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

/// How long a caller hears nothing before his carrier puts a question once more that the journal
/// did not answer.
const ONCE_MORE_SECONDS: u32 = 1;

/// Who waits for the journal, by the number of the question.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    waiting: HashMap<u64, (Nanos, Asker)>,
}

#[derive(Debug)]
enum Asker {
    /// A call that is let in.
    Stream(Box<Comer>),
    /// The carrier, on a connection.
    Carrier(Box<Question>),
}

/// A call that is let in, and may go on with a conversation.
#[derive(Debug)]
pub(super) struct Comer {
    pub(super) heir: Heir,
    /// What this process knows of the conversation.
    pub(super) before: Option<Before>,
    /// The carrier's name of a call that is what it claims to be.
    pub(super) ahead: Option<String>,
}

/// The carrier asks what follows the stream of a call.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) fields: Vec<(String, String)>,
    pub(super) proven: bool,
    pub(super) call_sid: String,
    pub(super) origin: Option<Origin>,
    /// It was put once already, and could not be answered.
    pub(super) asked_before: bool,
}

impl Recalls {
    /// When [`Desk::expire_recalls`] is to be called.
    pub(super) fn next_due(&self) -> Nanos {
        self.waiting.values().map(|&(until, _)| until).fold(Nanos::NEVER, Nanos::min)
    }

    /// Whether somebody may go on with what the call `id` leaves.
    pub(super) fn wait_for(&self, id: CallId) -> bool {
        self.waiting.values().any(|(_, asker)| match asker {
            Asker::Stream(comer) => comer.before.is_some_and(|it| it.inside == Some(id)),
            Asker::Carrier(_) => false,
        })
    }
}

impl Desk {
    /// Asks the journal on behalf of a carrier's question. Returns the question's number.
    ///
    /// # Errors
    /// The question, where nobody can be asked.
    pub(super) fn look_up(&mut self, now: Nanos, question: Question) -> Result<u64, Question> {
        let whose = Whose::Call(question.call_sid.clone());
        let until = now.plus(RECALL_TIMEOUT).plus(FORGOTTEN_AFTER);
        match self.ask_journal(now, whose, Purpose::Look) {
            Some(ticket) => {
                self.recalls.waiting.insert(ticket, (until, Asker::Carrier(Box::new(question))));
                Ok(ticket)
            }
            None => Err(question),
        }
    }

    /// Whom the journal is to be asked for: the conversation that a browser's token names.
    pub(super) fn whose_token(&self, token: &str) -> Option<Whose> {
        self.neighbours.journal.as_ref()?;
        let name = token.strip_prefix("v1.")?.split('.').next()?;
        verify(&self.return_key, token, name, unix_seconds()).ok()?;
        Some(Whose::Conversation(CallId(u64::from_str_radix(name, 16).ok()?)))
    }

    /// A call that is let in waits for what the journal knows.
    pub(super) fn recall(&mut self, now: Nanos, whose: Whose, right: Right, comer: Comer) {
        match self.ask_journal(now, whose, Purpose::Claim(right)) {
            Some(ticket) => {
                let asker = Asker::Stream(Box::new(comer));
                self.recalls.waiting.insert(ticket, (now.plus(CLAIM_TIMEOUT), asker));
            }
            None => self.go_on_here(comer),
        }
    }

    fn ask_journal(&mut self, now: Nanos, whose: Whose, purpose: Purpose) -> Option<u64> {
        let journal = self.neighbours.journal.as_ref()?;
        let at_most = match purpose {
            Purpose::Look => RECALL_TIMEOUT,
            Purpose::Claim(_) => CLAIM_TIMEOUT,
        };
        let (ticket, until) = (self.next_ticket, now.plus(at_most));
        let is_full = self.recalls.waiting.len() >= RECALLS_WAITING_MAX;
        if is_full || journal.post(JournalLetter::Ask { ticket, whose, purpose, until }).is_err() {
            self.shared.journal.recalls.count("full");
            return None;
        }
        self.next_ticket += 1;
        Some(ticket)
    }

    /// What the journal knows. Of a carrier's question, which its connection answers, only that it
    /// is there.
    pub(super) fn recalled(&mut self, ticket: u64, recalled: Recalled) -> Option<Recalled> {
        match self.recalls.waiting.get(&ticket) {
            Some((_, Asker::Carrier(_))) => return Some(recalled),
            Some((_, Asker::Stream(_))) => {}
            // Its time was up.
            None => return None,
        }
        let (_, Asker::Stream(comer)) = self.recalls.waiting.remove(&ticket)? else {
            return None;
        };
        match recalled {
            Recalled::Kept(recall) if comer.is_ahead_of(&recall) => self.go_on_here(*comer),
            Recalled::Kept(recall) if recall.snapshot.has_begun(recall.generation) => {
                self.pass_over(&comer);
                self.take_up_recall(comer.heir, *recall);
            }
            Recalled::Nothing | Recalled::Unasked => self.go_on_here(*comer),
            // Somebody has ended it, or another process was faster.
            _ => self.begin_anew(*comer),
        }
        None
    }

    /// With what this process knows, if it does.
    fn go_on_here(&mut self, comer: Comer) {
        // One that has ended takes nothing from those that come.
        let is_inside = self.guests.key_of(comer.heir.id).is_some();
        match comer.before {
            Some(before) if is_inside => self.go_on_with(before, comer.heir),
            Some(_) => {}
            None => self.begin_anew(comer),
        }
    }

    /// What this process knows of the conversation is no longer so.
    fn pass_over(&mut self, comer: &Comer) {
        if let Some(before) = comer.before {
            self.forget_before(before);
        }
    }

    fn take_up_recall(&mut self, heir: Heir, recall: Recall) {
        let Recall { conversation, call_name, generation, left, snapshot } = recall;
        self.shared.comebacks.count("recalled");
        let named = snapshot.agent();
        let agent = self.config.agents.iter().find(|agent| Some(agent.name.as_str()) == named);
        let agent = agent.unwrap_or_else(|| self.config.agent_for(snapshot.to.as_deref())).clone();
        let legacy = snapshot.into_legacy(generation, conversation, call_name, left, agent);
        let call = heir.call;
        // A browser comes back by the name of its conversation, as often as it has to.
        let token = self.return_token(conversation);
        self.tell_worker(call, WorkerLetter::ReturnToken { call, token });
        self.inherit(conversation, heir, Some(legacy));
    }

    /// A call that is what it claims to be is journalled: once it is known which conversation it
    /// has, else its call would have two. Not one whose caller could never come back to another
    /// process: of the carriers Twilio alone asks what follows a stream, and a browser's token is
    /// known elsewhere only where the processes share a secret.
    pub(super) fn have_journalled(&self, call: CallKey, opening: &Opening) {
        let server = &self.config.server;
        let is_key_shared = !server.token_secrets.is_empty() || server.takeover.is_some();
        let name = match opening {
            Opening::Twilio { carrier: carrier @ Carrier::Twilio, call_sid, .. } => {
                Some(name_of(*carrier, call_sid).into_owned())
            }
            Opening::Web { .. } if is_key_shared => None,
            Opening::Twilio { .. } | Opening::Web { .. } | Opening::Fork { .. } => return,
        };
        if self.neighbours.journal.is_some() {
            self.tell_worker(call, WorkerLetter::Journal { call, name });
        }
    }

    fn begin_anew(&mut self, comer: Comer) {
        self.pass_over(&comer);
        self.shared.comebacks.count("unknown");
        let Comer { heir: Heir { call, id, opening }, before, ahead } = comer;
        // One that has ended needs no line.
        if self.guests.key_of(id).is_none() {
            return;
        }
        if before.is_some() && matches!(opening, Opening::Web { .. }) {
            let token = self.return_token(id);
            self.tell_worker(call, WorkerLetter::ReturnToken { call, token });
        }
        self.have_journalled(call, &opening);
        self.order_line(call, id, &opening, ahead.as_deref());
    }

    /// What follows the stream that a carrier asks about, once the journal has answered, or has not
    /// in time. `None`: this is no such question.
    pub(super) fn recall_answer(
        &mut self,
        now: Nanos,
        ticket: u64,
        recalled: Option<Recalled>,
    ) -> Option<Answer> {
        let (_, Asker::Carrier(question)) = self.recalls.waiting.remove(&ticket)? else {
            return None;
        };
        if recalled.is_none() {
            self.shared.journal.recalls.count("late");
        }
        let recalled = match recalled {
            None | Some(Recalled::Unasked) => return Some(self.unanswered(now, *question)),
            Some(recalled) => recalled,
        };
        Some(match recalled {
            Recalled::Held { .. } if !question.asked_before => self.once_more(now, *question),
            Recalled::Waits { generation } | Recalled::Held { generation } => {
                self.lead_past(now, *question, generation)
            }
            Recalled::Over(sequel) => {
                let Question { fields, proven, origin, .. } = *question;
                self.follow(now, &fields, proven, sequel, origin)
            }
            _ => self.after_here(now, *question),
        })
    }

    /// The caller is led to a stream that may take what is of the stream that is over, of this
    /// `generation`; where there is no room for it, he hears so.
    fn lead_past(&mut self, now: Nanos, question: Question, generation: u32) -> Answer {
        let is_known = self.goes_on(now, &question.call_sid, &question.fields);
        let is_welcome = is_known || self.welcome_back(now).is_ok();
        let Question { fields, proven, call_sid, origin, .. } = question;
        match &origin {
            Some(origin) if is_welcome => {
                let again = Again::Past(generation);
                self.lead_back(now, &fields, proven, &call_sid, origin, again)
            }
            _ => self.follow(now, &fields, proven, Sequel::Fallback, None),
        }
    }

    /// What follows the stream of a call that the journal could not be asked about: what this
    /// process knows, else it is asked once more.
    pub(super) fn unanswered(&mut self, now: Nanos, question: Question) -> Answer {
        match self.goes_on(now, &question.call_sid, &question.fields) {
            true => self.after_here(now, question),
            false => self.once_more(now, question),
        }
    }

    /// Once the carrier is to put the question again; then it is as if the journal knew nothing.
    fn once_more(&mut self, now: Nanos, question: Question) -> Answer {
        match &question.origin {
            Some(origin) if !question.asked_before => {
                Answer::twiml(twiml::redirect_later(ONCE_MORE_SECONDS, &origin.asked_before()))
            }
            _ => self.after_here(now, question),
        }
    }

    /// Streams whose journal did not answer in time go on with what this process knows, or begin
    /// anew.
    pub(super) fn expire_recalls(&mut self, now: Nanos) {
        if self.recalls.next_due() > now {
            return;
        }
        let due = self.recalls.waiting.iter().filter(|(_, (until, _))| *until <= now);
        let due: Vec<u64> = due.map(|(&ticket, _)| ticket).collect();
        for ticket in due {
            // Of a carrier's question: its connection has gone.
            if let Some((_, Asker::Stream(comer))) = self.recalls.waiting.remove(&ticket) {
                self.shared.journal.recalls.count("late");
                self.go_on_here(*comer);
            }
        }
    }
}

impl Comer {
    /// Whether this process knows as much of the conversation as the journal.
    fn is_ahead_of(&self, recall: &Recall) -> bool {
        self.before.is_some_and(|before| before.generation >= recall.generation)
    }
}
