//! The journal of conversations: what outlives the process, so that a caller whose relay is gone
//! goes on with another, or with the next.
//!
//! In:       entries of calls; questions of the accept thread.
//! Out:      batches on the shelf; answers; the news that another process goes on with a
//!           conversation of ours.
//! Bounds:   [`JOURNAL_WAITING_MAX`] conversations whose newest entry waits, [`JOURNAL_BATCH_MAX`]
//!           of them in one transaction, [`ROUND_MAX`] of those every [`JOURNAL_BATCH_EVERY`];
//!           [`ASKERS_MAX`] questions asked again every [`ASK_AGAIN`], for [`HELD_FOR`];
//!           [`BUSY_AT_END_MAX`].
//! Not here: what an entry holds (`call::journal`), who comes back (`accept::recall`), media: a
//!           shelf that is slow, full or gone costs entries, which are counted, and no call
//!           anything.
//!
//! | file | what it holds |
//! |---|---|
//! | `shelf` | the few operations that a store must offer, and which stores there are |
//! | `sqlite` | one file of this host |
//! | `alive` | which processes of this host live |

mod alive;
mod shelf;
mod sqlite;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::appointments::StoreError;
use crate::call::{CallId, Entry, Snapshot, SnapshotError, Standing};
use crate::clock::{Clock, Nanos, unix_seconds};
use crate::config::{Journal as Settings, Secret};
use crate::limits::{
    ENDINGS_KEPT, HANDLE_KEPT, JOURNAL_BATCH_EVERY, JOURNAL_BATCH_MAX, JOURNAL_WAITING_MAX,
    LEGACY_KEPT, RECALLS_WAITING_MAX,
};
use crate::mail::{
    AcceptLetter, JournalLetter, Mailbox, Postbox, Recall, Recalled, Sequel, Whose, Wish,
    mailbox_without_bell,
};
use crate::metrics::Shared;
use shelf::{Found, Mark, Row, Shelf};

/// Questions about conversations that another process still holds: as many as may wait at all.
const ASKERS_MAX: usize = RECALLS_WAITING_MAX;
/// Transactions of one round: enough for all that may wait.
const ROUND_MAX: usize = JOURNAL_WAITING_MAX / JOURNAL_BATCH_MAX;
/// How often a shelf that another process keeps locked is tried again at the end. Then what waits
/// is lost, and counted.
const BUSY_AT_END_MAX: u32 = 4;
/// How often such a question is asked again: that process may be about to hear of its caller's end.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long. Less than the accept thread waits.
const HELD_FOR: Duration = Duration::from_millis(700);
/// How often what was kept long enough is thrown away.
const PURGE_EVERY: Duration = Duration::from_secs(10);
/// How long a shelf that took nothing is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How often a shelf that takes nothing is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The journal's thread before it runs.
#[derive(Debug)]
pub struct Conversations {
    mailbox: Mailbox<JournalLetter>,
    clock: Clock,
    shared: Arc<Shared>,
    shelf: Shelf,
    /// The newest entry of each conversation that is not written, and since when one waits.
    waiting: HashMap<CallId, (Nanos, Row)>,
    /// In the order in which they came.
    order: VecDeque<CallId>,
    askers: Vec<Asker>,
    ask_after: Nanos,
    write_after: Nanos,
    purge_after: Nanos,
    tell_after: Nanos,
}

/// A question about a conversation that another process holds.
#[derive(Debug)]
struct Asker {
    ticket: u64,
    whose: Whose,
    wish: Wish,
    until: Nanos,
}

/// Whether the file at `path`, which is there, can be the journal. It is only looked at.
///
/// # Errors
/// Why it cannot.
pub fn try_open(path: &Path) -> Result<(), StoreError> {
    sqlite::try_open(path)
}

impl Conversations {
    /// The thread's room, with its shelf open, and its letter box.
    ///
    /// # Errors
    /// Why the shelf cannot be had.
    pub fn new(
        settings: &Settings,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Result<(Conversations, Postbox<JournalLetter>), StoreError> {
        let shelf = Shelf::open(settings)?;
        let (postbox, mailbox) = mailbox_without_bell();
        let conversations = Conversations {
            mailbox,
            clock,
            shared,
            shelf,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            askers: Vec::new(),
            ask_after: Nanos::ZERO,
            write_after: Nanos::ZERO,
            purge_after: Nanos::ZERO,
            tell_after: Nanos::ZERO,
        };
        Ok((conversations, postbox))
    }

    /// Keeps the journal until it is told to stop; what waits then is written.
    pub fn run(mut self, accept: &Postbox<AcceptLetter>) {
        loop {
            let now = self.clock.now();
            let due = self.next_due();
            let Some(letter) = self.mailbox.wait(due.since(now)) else {
                // Earlier than asked for: nobody is left who could write.
                if self.clock.now() < due {
                    break;
                }
                self.attend(accept);
                continue;
            };
            if !self.take(letter, accept) {
                break;
            }
            for _ in 0..JOURNAL_BATCH_MAX {
                let Some(letter) = self.mailbox.take() else { break };
                if !self.take(letter, accept) {
                    return self.finish(accept);
                }
            }
            self.attend(accept);
        }
        self.finish(accept);
    }

    fn next_due(&self) -> Nanos {
        let write = if self.order.is_empty() { Nanos::NEVER } else { self.write_after };
        let ask = if self.askers.is_empty() { Nanos::NEVER } else { self.ask_after };
        write.min(ask).min(self.purge_after)
    }

    /// Sees to what is due.
    fn attend(&mut self, accept: &Postbox<AcceptLetter>) {
        let now = self.clock.now();
        if !self.order.is_empty() && now >= self.write_after {
            self.write_after = now.plus(JOURNAL_BATCH_EVERY);
            self.write_round(accept);
        }
        if !self.askers.is_empty() && now >= self.ask_after {
            self.ask_after = now.plus(ASK_AGAIN);
            for Asker { ticket, whose, wish, until } in std::mem::take(&mut self.askers) {
                self.answer(ticket, whose, wish, until, accept);
            }
        }
        if now >= self.purge_after {
            self.purge_after = now.plus(PURGE_EVERY);
            if let Err(error) = self.shelf.purge(unix_seconds()) {
                self.tell(error);
            }
        }
    }

    /// Everything that waits is written, as far as the shelf takes it.
    fn finish(&mut self, accept: &Postbox<AcceptLetter>) {
        let mut tries = 0;
        while !self.order.is_empty() {
            match self.write(accept) {
                Ok(()) => {}
                Err(StoreError::Busy) if tries < BUSY_AT_END_MAX => tries += 1,
                Err(_) => break,
            }
        }
        self.shared.journal.entries.add("lost", self.order.len() as u64);
    }

    /// What waits, until the shelf takes no more.
    fn write_round(&mut self, accept: &Postbox<AcceptLetter>) {
        for _ in 0..ROUND_MAX {
            if self.order.is_empty() || self.write(accept).is_err() {
                break;
            }
        }
    }

    /// Returns whether there is more to come.
    fn take(&mut self, letter: JournalLetter, accept: &Postbox<AcceptLetter>) -> bool {
        match letter {
            JournalLetter::Entry(entry) => self.keep(*entry),
            JournalLetter::Ask { ticket, whose, wish } => {
                let until = self.clock.now().plus(HELD_FOR);
                self.answer(ticket, whose, wish, until, accept);
            }
            JournalLetter::Stop => return false,
        }
        true
    }

    /// The newest entry of a conversation takes the place of the one before.
    fn keep(&mut self, entry: Entry) {
        let conversation = entry.conversation;
        let row = row(entry, unix_seconds());
        if let Some((_, waiting)) = self.waiting.get_mut(&conversation) {
            *waiting = row;
            return self.shared.journal.entries.count("replaced");
        }
        if self.waiting.len() == JOURNAL_WAITING_MAX {
            return self.shared.journal.entries.count("lost");
        }
        self.waiting.insert(conversation, (self.clock.now(), row));
        self.order.push_back(conversation);
    }

    /// One transaction.
    ///
    /// # Errors
    /// Why the shelf did not take it: it waits on.
    fn write(&mut self, accept: &Postbox<AcceptLetter>) -> Result<(), StoreError> {
        let count = self.order.len().min(JOURNAL_BATCH_MAX);
        let names: Vec<CallId> = self.order.iter().take(count).copied().collect();
        let batch: Vec<&Row> = names.iter().map(|name| &self.waiting[name].1).collect();
        let oldest = names.iter().map(|name| self.waiting[name].0).min().unwrap_or(Nanos::ZERO);
        let written = self.shelf.write(unix_seconds(), &batch);
        let lag_ms = self.clock.now().since(oldest).as_millis() as u64;
        self.shared.journal.lag_ms.store(lag_ms, Ordering::Relaxed);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.shared.journal.entries.add("refused", count as u64);
                self.write_after = self.clock.now().plus(RETRY);
                self.tell(error);
                return Err(error);
            }
        };
        for (name, is_ours) in names.into_iter().zip(written) {
            self.waiting.remove(&name);
            self.order.pop_front();
            self.shared.journal.entries.count(if is_ours { "written" } else { "superseded" });
            if !is_ours {
                // A letter lost: the orphan ends by itself, once its phone is silent.
                let _ = accept.post(AcceptLetter::TakenElsewhere { conversation: name });
            }
        }
        Ok(())
    }

    /// Whether the newest entry of a conversation is not written yet.
    fn is_unwritten(&self, whose: &Whose) -> bool {
        match whose {
            Whose::Conversation(id) => self.waiting.contains_key(id),
            Whose::Call(name) => {
                let mut rows = self.waiting.values().map(|(_, row)| row);
                rows.any(|row| row.call_name.as_ref() == Some(name))
            }
        }
    }

    fn answer(
        &mut self,
        ticket: u64,
        whose: Whose,
        wish: Wish,
        until: Nanos,
        accept: &Postbox<AcceptLetter>,
    ) {
        // What is claimed is the newest that we know of it.
        if wish == Wish::Claim && self.is_unwritten(&whose) {
            self.write_round(accept);
        }
        let found = match wish {
            Wish::Look => self.shelf.look(&whose, unix_seconds()),
            Wish::Claim => self.shelf.claim(&whose, unix_seconds()),
        };
        let (recalled, outcome) = match found {
            Ok(Found::Held) if self.clock.now() < until && self.askers.len() < ASKERS_MAX => {
                return self.askers.push(Asker { ticket, whose, wish, until });
            }
            Ok(Found::Held) => (Recalled::Nothing, "held"),
            Ok(Found::Nothing) => (Recalled::Nothing, "nothing"),
            Ok(Found::Over { body }) => match serde_json::from_str(&body) {
                Ok(sequel) => (Recalled::Over(sequel), "over"),
                Err(_) => (Recalled::Nothing, "unreadable"),
            },
            Ok(Found::Waits) => (Recalled::Waits, "waits"),
            Ok(Found::Kept { conversation, call_name, ends_unix, body }) => {
                let left = Duration::from_secs(ends_unix.saturating_sub(unix_seconds()));
                match Snapshot::read(body.reveal()) {
                    _ if left.is_zero() => (Recalled::Nothing, "too_long"),
                    Ok(snapshot) => {
                        let recall = Recall { conversation, call_name, left, snapshot };
                        (Recalled::Kept(Box::new(recall)), "claimed")
                    }
                    Err(SnapshotError::Unreadable) => (Recalled::Nothing, "unreadable"),
                    Err(SnapshotError::OtherForm) => (Recalled::Nothing, "other_form"),
                }
            }
            Err(error) => {
                self.tell(error);
                (Recalled::Unasked, "error")
            }
        };
        self.shared.journal.recalls.count(outcome);
        // A letter lost: whoever asked goes on when its time is up.
        let _ = accept.post(AcceptLetter::Recalled { ticket, recalled });
    }

    fn tell(&mut self, error: StoreError) {
        let now = self.clock.now();
        if now >= self.tell_after {
            log::warn!("event=journal_failed: {error}");
            self.tell_after = now.plus(TELL_EVERY);
        }
    }
}

/// An entry as it is written at the second `now_unix`.
fn row(entry: Entry, now_unix: u64) -> Row {
    let Entry { conversation, call_name, left, standing } = entry;
    let (mark, kept_for, body) = match standing {
        Standing::Open(snapshot) => (Mark::Open, HANDLE_KEPT, snapshot.to_json()),
        Standing::Parted(snapshot) => (Mark::Parted, LEGACY_KEPT, snapshot.to_json()),
        Standing::Closed { ending, transfer } => {
            let sequel = Sequel::of(ending, transfer);
            let body = serde_json::to_string(&sequel).expect("words and a number");
            (Mark::Closed, ENDINGS_KEPT, body)
        }
    };
    let kept_until_unix = now_unix.saturating_add(kept_for.as_secs());
    let ends_unix = now_unix.saturating_add(left.as_secs());
    let body = Secret::new(body);
    Row { conversation, call_name, mark, kept_until_unix, ends_unix, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Ending;

    fn journal(name: &str) -> Conversations {
        let name = format!("vocaris-rounds-{}-{name}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
        let settings = Settings { enabled: true, path };
        Conversations::new(&settings, Clock::start(), Arc::new(Shared::default())).unwrap().0
    }

    /// The call with this number is over.
    fn over(number: u64) -> Entry {
        Entry {
            conversation: CallId(number),
            call_name: Some(format!("CA{number}")),
            left: Duration::from_secs(60),
            standing: Standing::Closed { ending: Ending::CallerHungUp, transfer: None },
        }
    }

    #[test]
    fn all_that_may_wait_is_written_in_one_round() {
        let mut journal = journal("all");
        let (accept, _letters) = mailbox_without_bell();
        (0..=JOURNAL_WAITING_MAX as u64).for_each(|number| journal.keep(over(number)));
        journal.write_round(&accept);
        assert!(journal.order.is_empty() && journal.waiting.is_empty());
        let entries = &journal.shared.journal.entries;
        assert_eq!(entries.of("written"), JOURNAL_WAITING_MAX as u64);
        assert_eq!(entries.of("lost"), 1);
    }

    #[test]
    fn who_claims_a_conversation_gets_the_newest_that_is_known_of_it() {
        let mut journal = journal("newest");
        let (accept, letters) = mailbox_without_bell();
        journal.keep(over(1));
        for whose in [Whose::Call("CA1".to_owned()), Whose::Conversation(CallId(1))] {
            journal.answer(7, whose, Wish::Claim, Nanos::ZERO, &accept);
            let letter = letters.take();
            let is_over = |recalled: &Recalled| matches!(recalled, Recalled::Over(Sequel::Hangup));
            assert!(
                matches!(&letter, Some(AcceptLetter::Recalled { ticket: 7, recalled })
                    if is_over(recalled)),
                "{letter:?}"
            );
            journal.keep(over(1));
        }
    }
}
