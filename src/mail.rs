//! The letters between threads, and the boxes they wait in.
//!
//! A box is a bounded queue and the bell of the thread that reads it. Posting never blocks: a
//! full box gives the letter back, and the sender decides.
//! Bounds:   [`MAILBOX_LETTERS`] a box.
//! Not here: what a thread does with a letter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::Waker;
use serde::{Deserialize, Serialize};

use crate::call::{
    Afterwards, CallId, Class, Door, Ending, Entry, Facts, Legacy, LineFault, LineTerms, Opening,
    Refusal, Report, Revival, Settings, Snapshot, Tape, ToolOrder, ToolReply,
};
use crate::clock::Nanos;
use crate::config::{Agent, Config, Secret, Tool};
use crate::limits::MAILBOX_LETTERS;
use crate::metrics::slo;
use crate::metrics::{Figures, Lateness};
use crate::net::Stream;

/// Which call, on which worker: stays unlike any other when its slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The worker's number.
    pub worker: usize,
    /// The slot on that worker.
    pub slot: usize,
    /// How often the slot had been used before.
    pub generation: u64,
}

/// To a worker.
#[derive(Debug)]
pub enum WorkerLetter {
    /// A new call: its socket has just become a WebSocket.
    Call(Box<NewCall>),
    /// The model is ready.
    Line {
        /// For which call.
        call: CallKey,
        /// The connection to it.
        line: Box<Line>,
    },
    /// The model cannot be had.
    NoLine {
        /// For which call.
        call: CallKey,
        /// Why.
        fault: LineFault,
    },
    /// The call is not let in.
    Refused {
        /// Which call.
        call: CallKey,
        /// Why.
        refusal: Refusal,
    },
    /// A copy of both tracks of a call is let in.
    LetIn {
        /// Which copy.
        call: CallKey,
    },
    /// The call of whose tracks this is a copy is over: so is the copy.
    OriginalOver {
        /// Which copy.
        call: CallKey,
    },
    /// A newer stream of the same call was let in: this one ends.
    Replaced {
        /// Which call.
        call: CallKey,
    },
    /// The token with which the caller of this call comes back.
    ReturnToken {
        /// Which call.
        call: CallKey,
        /// The token.
        token: Secret,
    },
    /// Somebody vouches for the call: what another process must know of it is journalled.
    Journal {
        /// Which call.
        call: CallKey,
        /// What the carrier's call goes by.
        name: Option<String>,
    },
    /// The call is let in, and goes on with a conversation that lost its phone.
    GoOn {
        /// Which call.
        call: CallKey,
        /// What is left of it.
        legacy: Box<Legacy>,
        /// What the model is told of the call.
        facts: Arc<Facts>,
    },
    /// What came of a tool.
    ToolReply {
        /// Whose call it was run for.
        call: CallKey,
        /// Of its order.
        ticket: u32,
        /// What came of it.
        reply: Box<ToolReply>,
    },
    /// Calls that come from now on go by these settings.
    Settings(Box<Settings>),
    /// Fill these figures with your own and send them to control.
    Figures(Box<Figures>),
    /// End every call now, with [`Ending::Drained`], and stop when their close frames are out.
    Stop,
}

/// A connection that has just become a WebSocket.
#[derive(Debug)]
pub struct NewCall {
    /// Its name in the log.
    pub id: CallId,
    /// The socket, deregistered from the accept thread's poll.
    pub socket: Stream,
    /// What came behind the upgrade request.
    pub unread: Vec<u8>,
    /// What the upgrade request told.
    pub door: Door,
}

/// A connection to a model that is ready to talk.
#[derive(Debug)]
pub struct Line {
    /// The socket, deregistered from the dial thread's poll.
    pub socket: Stream,
    /// What came behind `setupComplete`.
    pub unread: Vec<u8>,
    /// What the call needs to know.
    pub terms: LineTerms,
    /// How the model was set up: a later line of the same call is to be like it.
    pub agent: Arc<Agent>,
    /// What it was told of the call.
    pub facts: Arc<Facts>,
}

/// To the accept thread.
#[derive(Debug)]
pub enum AcceptLetter {
    /// A call asks to be let in.
    Admit {
        /// Which call.
        call: CallKey,
        /// Its name in the log.
        id: CallId,
        /// What it says of itself.
        opening: Opening,
    },
    /// A call ended, let in or not: its place is free, and its carrier may ask what follows.
    Ended {
        /// Its name in the log.
        id: CallId,
        /// The carrier's name of the call, where there is one.
        call_sid: Option<String>,
        /// Why it ended.
        ending: Ending,
        /// The number its caller is put through to, with [`Ending::Transferred`].
        transfer: Option<String>,
        /// What is left of the conversation, where nobody has ended it.
        legacy: Option<Box<Legacy>>,
        /// Whether it had a model, or went on with another's.
        had_model: bool,
    },
    /// The call that was to go on with this had ended already.
    Unclaimed(Box<Legacy>),
    /// The answer to a figures request, for the connection that made it.
    Page {
        /// The request's number.
        ticket: u64,
        /// The text; `None` when the figures could not be had in time.
        text: Option<String>,
    },
    /// The answer to a request of the status page, for the connection that made it.
    Status {
        /// The request's number.
        ticket: u64,
        /// The figures as JSON; `None` when they could not be had in time.
        json: Option<String>,
    },
    /// The answer to a calendar request, for the connection that made it.
    Calendar {
        /// The request's number.
        ticket: u64,
        /// The feed.
        page: CalendarPage,
    },
    /// What the journal knows.
    Recalled {
        /// The question's number.
        ticket: u64,
        /// The answer.
        recalled: Recalled,
    },
    /// Another process goes on with a conversation of ours: the stream it has here is an orphan.
    TakenElsewhere {
        /// Which conversation.
        conversation: CallId,
        /// Of which generation the stream is that has lost it, at most.
        generation: u32,
    },
    /// The model closed the session of a call because a quota is used up.
    QuotaUsedUp,
    /// Calls that come from now on go by these settings.
    Settings(Arc<Config>),
    /// Take no more calls.
    Drain,
    /// Another process accepts connections from now on: tell it what it must know.
    HandOver {
        /// Where bequests for it are posted.
        heir: Postbox<Vec<Bequest>>,
    },
    /// What the process that ran before leaves.
    Inherit(Vec<Bequest>),
    /// Stop now.
    Stop,
}

/// What a process leaves to the one that takes over from it: what a request may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bequest {
    /// A token was used: it opens nothing again.
    UsedToken {
        /// Its authentication code.
        mark: [u8; 32],
        /// The last second at which it would be good.
        until: u64,
        /// What it was bound to, where it took a place that had been kept.
        name: Option<String>,
    },
    /// A place is kept for a call whose webhook was answered.
    Promise {
        /// What its token is bound to: the carrier's name of the call, or one made up.
        name: String,
        /// The last second at which that is good.
        until: u64,
        /// Its authentication code.
        mark: [u8; 32],
        /// The caller's number, where it tells callers apart.
        number: Option<String>,
    },
    /// A call has ended, or may end before its stream begins, and its carrier may ask what follows.
    Sequel {
        /// The carrier's name of the call.
        call_sid: String,
        /// What does.
        sequel: Sequel,
    },
}

/// What a caller gets once the stream is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequel {
    /// The call is over.
    Hangup,
    /// The fallback sentence first.
    Fallback,
    /// Somebody else, at this number.
    Dial(String),
    /// The relay stopped under the call: another process or host takes it up.
    Elsewhere,
}

impl Sequel {
    /// What follows a call that ended so; `transfer`: the number its caller is put through to.
    pub fn of(ending: Ending, transfer: Option<String>) -> Sequel {
        match (transfer, ending.afterwards()) {
            (Some(number), Afterwards::Hangup) => Sequel::Dial(number),
            _ if ending == Ending::Drained => Sequel::Elsewhere,
            (_, Afterwards::Fallback) => Sequel::Fallback,
            (None, Afterwards::Hangup) => Sequel::Hangup,
        }
    }
}

/// To the journal's thread.
#[derive(Debug)]
pub enum JournalLetter {
    /// The newest state of a conversation.
    Entry(Box<Entry>),
    /// What is known? An [`AcceptLetter::Recalled`] answers.
    Ask {
        /// The question's number.
        ticket: u64,
        /// Of whom.
        whose: Whose,
        /// What for.
        purpose: Purpose,
        /// Then nobody waits for the answer any more.
        until: Nanos,
    },
    /// Write what there is and stop.
    Stop,
}

/// How a conversation is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// By what the carrier's call goes by.
    Call(String),
    /// By its own name.
    Conversation(CallId),
}

/// What a conversation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether somebody could go on with it; nothing is changed.
    Look,
    /// To go on with it here: nobody else does then.
    Claim(Right),
}

/// What a stream that comes back may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// What no living process holds.
    Free,
    /// That too which is held, in the generation of streams that is known to be over.
    Past(u32),
    /// Its own conversation, from whoever still holds it after a moment.
    Own,
}

/// What the journal knows of a conversation.
#[derive(Debug)]
pub enum Recalled {
    /// Nothing that anybody could go on with.
    Nothing,
    /// The store could not be asked.
    Unasked,
    /// Somebody has ended it: this follows.
    Over(Sequel),
    /// A stream may go on with it.
    Waits {
        /// Streams it has had before the last.
        generation: u32,
    },
    /// A process that lives goes on with it, as far as it knows.
    Held {
        /// Streams it has had before the last.
        generation: u32,
    },
    /// It is this process's from now on.
    Kept(Box<Recall>),
}

/// A conversation that was claimed.
#[derive(Debug)]
pub struct Recall {
    /// Its name.
    pub conversation: CallId,
    /// What the carrier's call goes by.
    pub call_name: Option<String>,
    /// Streams it has had before the one that goes on with it.
    pub generation: u32,
    /// How long it may still go on.
    pub left: Duration,
    /// What was kept of it.
    pub snapshot: Snapshot,
}

/// To the dial thread.
#[derive(Debug)]
pub enum DialLetter {
    /// Bring a model to this call.
    Dial {
        /// Which call.
        call: CallKey,
        /// Its name in the log.
        id: CallId,
        /// Its class, for the log.
        class: Class,
        /// How the model is to be set up.
        agent: Arc<Agent>,
        /// What it is told of the call.
        facts: Arc<Facts>,
        /// The carrier's name of the call, where a session may have been made ahead under it.
        ahead: Option<String>,
        /// Which session is to go on; `None`: the call's first.
        revival: Option<Revival>,
    },
    /// A call has ended: what is being done for it is left off. Unknown calls are no matter.
    Cancel {
        /// Which call.
        call: CallKey,
    },
    /// This call will soon ask for another line: connect and upgrade, and wait with `setup` until
    /// it does. Nothing is answered.
    Spare {
        /// Which call.
        call: CallKey,
        /// Its name in the log.
        id: CallId,
        /// Its class, for the log.
        class: Class,
        /// How the model will be set up.
        agent: Arc<Agent>,
    },
    /// A carrier's call was promised a place and will soon come: bring a session to readiness, and
    /// keep it until a [`DialLetter::Dial`] names the call. Nothing is answered. The same again
    /// changes nothing.
    Ahead {
        /// The carrier's name of the call.
        call_sid: String,
        /// How the model is to be set up.
        agent: Arc<Agent>,
        /// What it is told of the call.
        facts: Arc<Facts>,
    },
    /// That call will not come: what was made ahead for it is closed. Unknown ones are no matter.
    Forget {
        /// The carrier's name of the call.
        call_sid: String,
    },
    /// Orders that come from now on are done by these settings.
    Settings(Arc<Config>),
    /// Stop now.
    Stop,
}

/// To the calendar thread.
#[derive(Debug)]
pub enum CalendarLetter {
    /// Send the feed to the accept thread.
    Ask {
        /// The request's number.
        ticket: u64,
        /// The tags of the feeds the reader has, as `If-None-Match` lists them.
        known: Option<String>,
    },
    /// Stop now.
    Stop,
}

/// A calendar feed.
#[derive(Debug)]
pub enum CalendarPage {
    /// Its text.
    Text {
        /// iCalendar.
        text: Arc<str>,
        /// Tells it from others, in quotes.
        tag: String,
    },
    /// The reader has it already.
    Unchanged {
        /// Tells it from others, in quotes.
        tag: String,
    },
    /// The book cannot be read.
    Unavailable,
}

/// To the tools thread.
#[derive(Debug)]
pub enum ToolLetter {
    /// Run a tool; a [`WorkerLetter::ToolReply`] answers.
    Run {
        /// For which call.
        call: CallKey,
        /// Its name in the log.
        id: CallId,
        /// Its class.
        class: Class,
        /// What to run.
        order: Box<ToolOrder>,
    },
    /// Its result is not wanted any more: if it has not been begun, leave it. An order nobody knows
    /// is no matter.
    Cancel {
        /// For which call it was.
        call: CallKey,
        /// Of its order.
        ticket: u32,
    },
    /// A thread of the tools' own has done its work, and waits for more.
    Idle {
        /// Which kind of work it does.
        lane: Lane,
        /// What it had been working at; `None`: it has just been started.
        tool: Option<Arc<Tool>>,
    },
    /// Stop now: what is under way comes to its end, the rest is left.
    Stop,
}

/// Kinds of work that do not stand in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Requests to other hosts, many at once.
    Webhooks,
    /// Appointments, one after the other.
    Store,
}

/// To the control thread.
#[derive(Debug)]
pub enum ControlLetter {
    /// Something to say of a call.
    Report {
        /// Whose call.
        id: CallId,
        /// Its class.
        class: Class,
        /// What happened.
        report: Report,
    },
    /// Gather the figures and send the page to the accept thread.
    Scrape {
        /// The request's number.
        ticket: u64,
    },
    /// The same for the status page: an [`AcceptLetter::Status`] answers.
    Status {
        /// The request's number.
        ticket: u64,
    },
    /// A call missed what it is held to.
    Missed {
        /// Which call.
        id: CallId,
        /// Its class.
        class: Class,
        /// What was missed.
        missed: slo::Missed,
    },
    /// A worker's figures.
    Figures {
        /// The worker's number.
        worker: usize,
        /// What it measured.
        figures: Box<Figures>,
    },
    /// A worker has stopped; these are its last figures.
    Stopped {
        /// The worker's number.
        worker: usize,
        /// What it measured.
        figures: Box<Figures>,
    },
    /// Stop when every worker has.
    Stop,
}

/// To the thread that records calls.
#[derive(Debug)]
pub enum TapeLetter {
    /// A stream to be recorded. Its tape is read to its end.
    Tape {
        /// Its name in the log.
        id: CallId,
        /// The carrier's name of the call, where there is one.
        call_sid: Option<String>,
        /// Whether it is a copy of both tracks of that call, not the call itself.
        is_fork: bool,
        /// Its audio.
        tape: Box<Tape>,
    },
    /// Finish what there is and stop.
    Stop,
}

/// To the thread that writes transcripts.
#[derive(Debug)]
pub enum TranscriptLetter {
    /// Something to write of a call.
    Event {
        /// Whose call.
        id: CallId,
        /// Its class.
        class: Class,
        /// When.
        at: Nanos,
        /// Since the call opened.
        after: Duration,
        /// Who answers it, once that is known.
        agent: Option<Arc<Agent>>,
        /// What happened.
        report: Report,
    },
    /// Write what there is and stop.
    Stop,
}

/// Where letters for one thread are posted. Cheap to clone.
#[derive(Debug)]
pub struct Postbox<T> {
    letters: Sender<T>,
    /// `None` for a thread that waits on the queue itself.
    bell: Option<Arc<Waker>>,
}

impl<T> Clone for Postbox<T> {
    fn clone(&self) -> Postbox<T> {
        Postbox { letters: self.letters.clone(), bell: self.bell.clone() }
    }
}

impl<T> Postbox<T> {
    /// Posts a letter and wakes its reader.
    ///
    /// # Errors
    /// The letter itself, if the box is full or its reader has stopped.
    pub fn post(&self, letter: T) -> Result<(), T> {
        self.letters.try_send(letter).map_err(TrySendError::into_inner)?;
        if let Some(bell) = &self.bell {
            // A bell that cannot ring is a closed eventfd: the reader has stopped.
            let _ = bell.wake();
        }
        Ok(())
    }

    /// How many letters are waiting.
    pub fn len_letters(&self) -> usize {
        self.letters.len()
    }

    /// Whether the box has no room for one more letter at present.
    pub fn is_full(&self) -> bool {
        self.letters.is_full()
    }
}

/// Where one thread takes its letters from.
#[derive(Debug)]
pub struct Mailbox<T> {
    letters: Receiver<T>,
}

impl<T> Mailbox<T> {
    /// The next letter, if one is waiting.
    pub fn take(&self) -> Option<T> {
        self.letters.try_recv().ok()
    }

    /// The next letter, waited for at most so long. For threads without an event loop.
    pub fn wait(&self, at_most: Duration) -> Option<T> {
        self.letters.recv_timeout(at_most).ok()
    }

    /// How many letters are waiting.
    pub fn len_letters(&self) -> usize {
        self.letters.len()
    }
}

/// A box whose reader sleeps in an event loop and is woken by `bell`.
pub fn mailbox<T>(bell: Arc<Waker>) -> (Postbox<T>, Mailbox<T>) {
    let (sender, letters) = crossbeam_channel::bounded(MAILBOX_LETTERS);
    (Postbox { letters: sender, bell: Some(bell) }, Mailbox { letters })
}

/// A box whose reader sleeps on the queue itself.
pub fn mailbox_without_bell<T>() -> (Postbox<T>, Mailbox<T>) {
    let (sender, letters) = crossbeam_channel::bounded(MAILBOX_LETTERS);
    (Postbox { letters: sender, bell: None }, Mailbox { letters })
}

/// Calls on each worker, let in or not: the accept thread counts up when it places one, the worker
/// counts down when its slot is free again. It decides where a call goes. Also, whether each worker
/// is still turning.
#[derive(Debug)]
pub struct Load {
    calls: Box<[AtomicUsize]>,
    lateness: Arc<Lateness>,
    /// Since draining began: calls that may still come or come back, and callers who wait to be
    /// told why their call ended.
    expected: AtomicUsize,
    owed: AtomicUsize,
}

impl Load {
    /// For so many workers.
    pub fn new(workers: usize) -> Load {
        Load {
            calls: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            lateness: Arc::new(Lateness::new(workers)),
            expected: AtomicUsize::new(usize::MAX),
            owed: AtomicUsize::new(0),
        }
    }

    /// The worker with the fewest calls, and how many those are. One that is `spared` comes behind
    /// all that are not.
    pub fn emptiest(&self, spared: impl Fn(usize) -> bool) -> (usize, usize) {
        let calls = self.calls.iter().map(|calls| calls.load(Ordering::Relaxed));
        let calls = calls.enumerate();
        calls.min_by_key(|&(worker, calls)| (spared(worker), calls)).unwrap_or((0, 0))
    }

    /// How late each worker is.
    pub fn lateness(&self) -> &Arc<Lateness> {
        &self.lateness
    }

    /// Calls on all workers.
    pub fn calls(&self) -> usize {
        self.calls.iter().map(|calls| calls.load(Ordering::Relaxed)).sum()
    }

    /// The accept thread, draining, tells how many calls may still come or come back, those among
    /// them of whose ending it has not heard, and how many callers wait to be told why their call
    /// ended.
    pub fn tell_outlook(&self, expected: usize, owed: usize) {
        self.expected.store(expected, Ordering::Relaxed);
        self.owed.store(owed, Ordering::Relaxed);
    }

    /// How many calls may still come or come back; [`usize::MAX`] until the accept thread has begun
    /// to drain.
    pub fn expected(&self) -> usize {
        self.expected.load(Ordering::Relaxed)
    }

    /// How many callers wait to be told why their call ended.
    pub fn owed(&self) -> usize {
        self.owed.load(Ordering::Relaxed)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.calls.len()
    }

    /// Calls on one worker.
    pub fn calls_on(&self, worker: usize) -> usize {
        self.calls[worker].load(Ordering::Relaxed)
    }

    /// One more call on `worker`.
    pub fn placed(&self, worker: usize) {
        self.calls[worker].fetch_add(1, Ordering::Relaxed);
    }

    /// One call less on `worker`.
    pub fn freed(&self, worker: usize) {
        self.calls[worker].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_box_gives_the_letter_back() {
        let (postbox, mailbox) = mailbox_without_bell();
        for letter in 0..MAILBOX_LETTERS {
            postbox.post(letter).unwrap();
        }
        assert!(postbox.is_full());
        assert_eq!(postbox.post(MAILBOX_LETTERS), Err(MAILBOX_LETTERS));
        assert_eq!(mailbox.take(), Some(0));
        assert!(!postbox.is_full());
        assert_eq!(postbox.post(MAILBOX_LETTERS), Ok(()));
    }

    #[test]
    fn the_emptiest_worker_is_found() {
        let load = Load::new(3);
        load.placed(0);
        load.placed(2);
        assert_eq!(load.emptiest(|_| false), (1, 0));
        assert_eq!(load.emptiest(|worker| worker == 1), (0, 1));
        assert_eq!(load.emptiest(|_| true), (1, 0));
        load.placed(1);
        load.freed(2);
        assert_eq!((load.emptiest(|_| false), load.calls()), ((2, 0), 2));
    }
}
