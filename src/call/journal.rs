//! What a journal keeps of a conversation, so that another process can go on with it when this one
//! is gone without a word.
//!
//! In:       that somebody vouches for the call; what changes in it.
//! Out:      [`Request::Journal`], then an [`Entry`]: the newest state, whole. Of a [`Snapshot`]
//!           that was read back, a [`Legacy`].
//! Bounds:   one wish at a time; one entry in [`JOURNAL_EVERY`], for a handle or a tool in
//!           [`JOURNAL_SOON`]; [`SNAPSHOT_RESULTS_BYTES_MAX`] of what tools have answered, and the
//!           bounds of the memory and of a handle.
//! Not here: where it is kept (`control::conversations`), who comes back (`accept::recall`).
//!
//! Nothing is copied before somebody asks for the entry, and nothing is looked at for a frame but
//! three counters. Words count once a turn is whole; an entry has those of the turn that is being
//! said, too, as far as the caller has heard them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::{Memory, Spoken};
use super::tools::{Tools, ToolsKept};
use super::{Call, CallId, Ending, Legacy, Request};
use crate::clock::Nanos;
use crate::config::{Agent, Secret};
#[cfg(doc)]
use crate::limits::SNAPSHOT_RESULTS_BYTES_MAX;
use crate::limits::{HANDLE_BYTES_MAX, JOURNAL_EVERY, JOURNAL_SOON, RETURNS_MAX};

/// The form of a [`Snapshot`]. One of another form is not gone on with.
const FORM: u32 = 1;

/// One state of a conversation.
#[derive(Debug)]
pub struct Entry {
    /// The name of the conversation: that of its first stream.
    pub conversation: CallId,
    /// Streams it has had before this one: of two states that of more is the later.
    pub generation: u32,
    /// What the carrier's call goes by, where there is one.
    pub call_name: Option<String>,
    /// How long it may still go on.
    pub left: Duration,
    /// Where it is.
    pub standing: Standing,
}

/// Where a conversation is.
#[derive(Debug)]
pub enum Standing {
    /// It goes on.
    Open(Box<Snapshot>),
    /// Its phone was lost, and nobody has ended it: its caller may come back.
    Parted(Box<Snapshot>),
    /// Somebody has ended it.
    Closed {
        /// Why.
        ending: Ending,
        /// The number its caller is put through to.
        transfer: Option<String>,
    },
}

/// All that another process must know to go on. A secret: it has the session's handle, and words.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    form: u32,
    /// The agent's name; empty where none has answered yet.
    agent: String,
    /// Who was called: who answers, where there is no agent of that name any more.
    pub to: Option<String>,
    /// The newest with which the session can be taken up again.
    handle: Option<String>,
    has_spoken: bool,
    /// Streams it has had before.
    returns: u32,
    turns: Vec<Spoken>,
    tools: ToolsKept,
}

/// Why what a journal holds is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// No JSON, or not of this kind.
    Unreadable,
    /// Of a form we do not know.
    OtherForm,
}

impl fmt::Debug for Snapshot {
    /// Without handle and words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers")
    }

    /// Of JSON.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn read(json: &str) -> Result<Snapshot, SnapshotError> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let form: Form = serde_json::from_str(json).map_err(|_| SnapshotError::Unreadable)?;
        if form.form != FORM {
            return Err(SnapshotError::OtherForm);
        }
        let snapshot: Snapshot =
            serde_json::from_str(json).map_err(|_| SnapshotError::Unreadable)?;
        let is_long = |handle: &String| handle.len() > HANDLE_BYTES_MAX;
        if snapshot.handle.as_ref().is_some_and(is_long) {
            return Err(SnapshotError::Unreadable);
        }
        Ok(snapshot)
    }

    /// The name of the agent that answered; `None`: none had.
    pub fn agent(&self) -> Option<&str> {
        Some(self.agent.as_str()).filter(|agent| !agent.is_empty())
    }

    /// Whether there is anything that a stream of this `generation` could go on with: the caller
    /// has heard the model.
    pub fn has_begun(&self, generation: u32) -> bool {
        self.has_spoken && self.returns < RETURNS_MAX && generation <= RETURNS_MAX
    }

    /// What the conversation has left, for the stream that goes on with it, of this `generation`.
    pub fn into_legacy(
        self,
        generation: u32,
        conversation: CallId,
        call_sid: Option<String>,
        left: Duration,
        agent: Arc<Agent>,
    ) -> Box<Legacy> {
        Box::new(Legacy {
            handle: self.handle.map(Secret::new),
            memory: Memory::of(self.turns),
            tools: Tools::of(self.tools, &agent),
            has_spoken: self.has_spoken,
            // Of one that an older program has written the store knows no generation.
            returns: generation.max(self.returns + 1),
            left,
            conversation,
            call_sid,
            agent,
        })
    }
}

/// What one call still owes the journal.
#[derive(Debug)]
pub(super) struct Diary {
    /// What the carrier's call goes by.
    name: Option<String>,
    /// What the last entry knew; `None`: there was none.
    written: Option<Marks>,
    written_at: Nanos,
    /// The wish waits to be collected.
    is_asked: bool,
    /// Why the call has ended, and the number its caller is put through to.
    end: Option<(Ending, Option<String>)>,
}

/// Counters of changes: of the session's handle, of the tools, of whole turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    handle: u32,
    tools: u32,
    turns: u32,
    has_spoken: bool,
}

impl Call {
    /// Somebody vouches for the call: it is worth a journal. `name`: what the carrier's call goes
    /// by.
    pub fn handle_journal(&mut self, name: Option<String>) {
        if !self.is_fork && !self.is_over() {
            let diary =
                Diary { name, written: None, written_at: Nanos::ZERO, is_asked: false, end: None };
            self.diary = Some(Box::new(diary));
        }
    }

    /// The state that [`Request::Journal`] is about.
    pub fn take_entry(&mut self) -> Option<Box<Entry>> {
        let marks = self.marks();
        let now = self.now;
        let diary = self.diary.as_mut()?;
        diary.is_asked = false;
        (diary.written, diary.written_at) = (Some(marks), now);
        let (call_name, end) = (diary.name.clone(), diary.end.clone());
        let standing = match end {
            None => Standing::Open(Box::new(self.snapshot())),
            Some((ending, _)) if self.leaves_legacy(ending) => {
                Standing::Parted(Box::new(self.snapshot()))
            }
            Some((ending, transfer)) => Standing::Closed { ending, transfer },
        };
        let left = self.settings.max_duration.saturating_sub(self.age());
        let (conversation, generation) = (self.conversation, self.returns);
        Some(Box::new(Entry { conversation, generation, call_name, left, standing }))
    }

    /// Nobody has taken the entry: it is offered again when the next is due. That of an end is not.
    pub fn entry_lost(&mut self) {
        let now = self.now;
        if let Some(diary) = &mut self.diary {
            (diary.is_asked, diary.written, diary.written_at) = (false, None, now);
        }
    }

    /// Wishes for an entry, if one is due.
    pub(super) fn tell_journal(&mut self) {
        if self.journal_due() <= self.now
            && let Some(diary) = &mut self.diary
        {
            diary.is_asked = true;
            self.requests.push_back(Request::Journal);
        }
    }

    /// The call is over: this is told last, while what it leaves is still there.
    pub(super) fn tell_journal_end(&mut self, ending: Ending) {
        let transfer = self.transfer_to.clone().filter(|_| ending == Ending::Transferred);
        let Some(diary) = &mut self.diary else { return };
        diary.end = Some((ending, transfer));
        if !std::mem::replace(&mut diary.is_asked, true) {
            self.requests.push_back(Request::Journal);
        }
    }

    /// When the next entry is due; never, while nothing has changed.
    pub(super) fn journal_due(&self) -> Nanos {
        let Some(diary) = self.diary.as_ref().filter(|diary| !diary.is_asked) else {
            return Nanos::NEVER;
        };
        if diary.end.is_some() {
            return Nanos::NEVER;
        }
        let (now, then) = match diary.written {
            Some(then) => (self.marks(), then),
            // The first, or one that nobody took.
            None if diary.written_at == Nanos::ZERO => return self.now,
            None => return diary.written_at.plus(JOURNAL_EVERY),
        };
        if now == then {
            return Nanos::NEVER;
        }
        let is_turn_only = Marks { turns: then.turns, ..now } == then;
        diary.written_at.plus(if is_turn_only { JOURNAL_EVERY } else { JOURNAL_SOON })
    }

    fn marks(&self) -> Marks {
        Marks {
            handle: self.session.handle_changes(),
            tools: self.tools.changes(),
            turns: self.memory.changes(),
            has_spoken: self.has_spoken,
        }
    }

    fn snapshot(&self) -> Snapshot {
        let agent = self.tools.agent().map_or_else(String::new, |agent| agent.name.clone());
        Snapshot {
            form: FORM,
            agent,
            to: self.tools.to().map(str::to_owned),
            handle: self.session.handle().map(|handle| handle.reveal().to_owned()),
            has_spoken: self.has_spoken,
            returns: self.returns,
            turns: self.memory.as_heard(self.heard_ms()),
            tools: self.tools.kept(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_snapshot_or_one_of_another_form_is_told_apart() {
        for garbage in ["", "{", "[]", "{\"form\":1}", "{\"form\":\"1\"}", "{\"form\":-1}", "null"]
        {
            assert_eq!(
                Snapshot::read(garbage).unwrap_err(),
                SnapshotError::Unreadable,
                "{garbage}"
            );
        }
        let other = Snapshot::read("{\"form\":2,\"whatever\":[]}");
        assert_eq!(other.unwrap_err(), SnapshotError::OtherForm);
    }

    #[test]
    fn a_handle_too_long_to_be_one_is_not_believed() {
        let snapshot = |bytes: usize| Snapshot {
            form: FORM,
            agent: "a".to_owned(),
            to: None,
            handle: Some("h".repeat(bytes)),
            has_spoken: true,
            returns: 0,
            turns: Vec::new(),
            tools: ToolsKept::default(),
        };
        assert!(Snapshot::read(&snapshot(HANDLE_BYTES_MAX).to_json()).is_ok());
        let long = snapshot(HANDLE_BYTES_MAX + 1).to_json();
        assert_eq!(Snapshot::read(&long).unwrap_err(), SnapshotError::Unreadable);
    }

    #[test]
    fn a_print_shows_neither_handle_nor_words() {
        let json = "{\"form\":1,\"agent\":\"a\",\"to\":null,\"handle\":\"SECRET\",\
                    \"has_spoken\":true,\"returns\":0,\"turns\":[{\"who\":\"caller\",\
                    \"text\":\"SECRET\",\"cut\":false}],\"tools\":{\"finished\":[],\
                    \"answers\":[],\"notes\":[],\"next_ticket\":0,\"next_batch\":0}}";
        let snapshot = Snapshot::read(json).unwrap();
        assert!(!format!("{snapshot:?}").contains("SECRET"));
        assert!(snapshot.to_json().contains("SECRET"));
    }
}
