//! Callers who come back to a process that does not know them: the journal is asked.
//!
//! When the carrier asks what follows a stream, the journal is only looked at, and the caller led
//! back; the stream that comes then claims the conversation. A question that is played again
//! therefore takes nothing from anybody: it is answered with a stream's address and a token, as any
//! signed question is, and a call that a living process holds is answered as if it were not known.
//! Only a stream that our own answer sent says `vocaris_again`; no other waits for the journal.
//!
//! In:       questions of carriers, streams and browsers that are let in, answers, time.
//! Out:      letters to the journal; a conversation that goes on, or a first line that is ordered.
//! Bounds:   [`RECALLS_WAITING_MAX`] that wait, each [`RECALL_TIMEOUT`]; then a carrier is told to
//!           ask once more after [`ONCE_MORE_SECONDS`], and after that, as for a stream, it is as if
//!           the journal knew nothing.
//! Not here: conversations of this process (`accept::comeback`), the journal
//!           (`control::conversations`).

use std::collections::HashMap;
use std::time::Duration;

use super::answer::Answer;
use super::carrier::Known;
use super::comeback::Heir;
use super::desk::Desk;
use super::names::name_of;
use super::origin::Origin;
use crate::call::{CallId, Opening};
use crate::clock::{Nanos, unix_seconds};
use crate::config::Carrier;
use crate::limits::{RECALL_TIMEOUT, RECALLS_WAITING_MAX};
use crate::mail::{CallKey, JournalLetter, Recall, Recalled, Sequel, Whose, Wish, WorkerLetter};
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
    /// A call that is let in; `ahead`: the carrier's name of one that is what it claims to be.
    Stream { heir: Heir, ahead: Option<String> },
    /// The carrier, on a connection.
    Carrier(Box<Question>),
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
}

impl Desk {
    /// Asks the journal on behalf of a carrier's question. Returns the question's number.
    ///
    /// # Errors
    /// The question, where nobody can be asked.
    pub(super) fn look_up(&mut self, now: Nanos, question: Question) -> Result<u64, Question> {
        let whose = Whose::Call(question.call_sid.clone());
        let until = now.plus(RECALL_TIMEOUT).plus(FORGOTTEN_AFTER);
        match self.ask_journal(whose, Wish::Look) {
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

    /// A call that is let in waits for what the journal knows. What is asked for otherwise, if it
    /// knows nothing, is a line under the name `ahead`.
    pub(super) fn recall(&mut self, now: Nanos, whose: Whose, heir: Heir, ahead: Option<&str>) {
        let ahead = ahead.map(str::to_owned);
        match self.ask_journal(whose, Wish::Claim) {
            Some(ticket) => {
                let asker = Asker::Stream { heir, ahead };
                self.recalls.waiting.insert(ticket, (now.plus(RECALL_TIMEOUT), asker));
            }
            None => self.begin_anew(&heir, ahead.as_deref()),
        }
    }

    fn ask_journal(&mut self, whose: Whose, wish: Wish) -> Option<u64> {
        let journal = self.neighbours.journal.as_ref()?;
        let ticket = self.next_ticket;
        let is_full = self.recalls.waiting.len() >= RECALLS_WAITING_MAX;
        if is_full || journal.post(JournalLetter::Ask { ticket, whose, wish }).is_err() {
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
            Some((_, Asker::Stream { .. })) => {}
            // Its time was up.
            None => return None,
        }
        let (_, Asker::Stream { heir, ahead }) = self.recalls.waiting.remove(&ticket)? else {
            return None;
        };
        match recalled {
            Recalled::Kept(recall) if recall.snapshot.has_begun() => {
                self.take_up_recall(heir, *recall)
            }
            _ => self.begin_anew(&heir, ahead.as_deref()),
        }
        None
    }

    fn take_up_recall(&mut self, heir: Heir, recall: Recall) {
        let Recall { conversation, call_name, left, snapshot } = recall;
        self.shared.comebacks.count("recalled");
        let named = snapshot.agent();
        let agent = self.config.agents.iter().find(|agent| Some(agent.name.as_str()) == named);
        let agent = agent.unwrap_or_else(|| self.config.agent_for(snapshot.to.as_deref())).clone();
        let legacy = snapshot.into_legacy(conversation, call_name, left, agent);
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

    fn begin_anew(&mut self, heir: &Heir, ahead: Option<&str>) {
        self.shared.comebacks.count("unknown");
        // One that has ended needs no line.
        if self.guests.key_of(heir.id).is_some() {
            self.have_journalled(heir.call, &heir.opening);
            self.order_line(heir.call, heir.id, &heir.opening, ahead);
        }
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
        let Question { fields, proven, call_sid, origin, .. } = *question;
        Some(match recalled {
            Recalled::Waits if let Some(origin) = &origin => match self.welcome_back(now) {
                Ok(()) => {
                    self.lead_back(now, &fields, proven, &call_sid, origin, Known::ToTheJournal)
                }
                Err(_) => self.follow(now, &fields, proven, Sequel::Fallback, None),
            },
            Recalled::Over(sequel) => self.follow(now, &fields, proven, sequel, origin),
            _ => {
                let sequel = self.endings.afterwards(now, &call_sid);
                self.follow(now, &fields, proven, sequel, origin)
            }
        })
    }

    /// What follows the stream of a call that the journal could not be asked about. Once it is to be
    /// asked again; then it is as if it knew nothing.
    pub(super) fn unanswered(&mut self, now: Nanos, question: Question) -> Answer {
        let Question { fields, proven, call_sid, origin, asked_before } = question;
        if let (false, Some(origin)) = (asked_before, &origin) {
            return Answer::twiml(twiml::redirect_later(ONCE_MORE_SECONDS, &origin.asked_before()));
        }
        let sequel = self.endings.afterwards(now, &call_sid);
        self.follow(now, &fields, proven, sequel, origin)
    }

    /// Streams whose journal did not answer in time begin anew.
    pub(super) fn expire_recalls(&mut self, now: Nanos) {
        if self.recalls.next_due() > now {
            return;
        }
        let due = self.recalls.waiting.iter().filter(|(_, (until, _))| *until <= now);
        let due: Vec<u64> = due.map(|(&ticket, _)| ticket).collect();
        for ticket in due {
            // Of a carrier's question: its connection has gone.
            if let Some((_, Asker::Stream { heir, ahead })) = self.recalls.waiting.remove(&ticket) {
                self.shared.journal.recalls.count("late");
                self.begin_anew(&heir, ahead.as_deref());
            }
        }
    }
}
