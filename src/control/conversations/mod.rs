//! The journal of conversations: what outlives the process, so that a caller whose relay is gone
//! goes on with another, or with the next.
//!
//! In:       entries of calls; questions of the accept thread.
//! Out:      batches on the shelf; answers; the news that another process goes on with a
//!           conversation of ours.
//! Bounds:   [`JOURNAL_WAITING_MAX`] conversations whose newest entry waits, [`JOURNAL_BATCH_MAX`]
//!           of them, or [`BATCH_BYTES_MAX`], in one transaction, [`ROUND_MAX`] of those every
//!           [`JOURNAL_BATCH_EVERY`]; [`ASKERS_MAX`] questions asked again every [`ASK_AGAIN`], for
//!           [`HELD_FOR`]; [`WRITE_MAX`] for a transaction, and for a question as long as somebody
//!           waits for its answer; [`FINISH_MAX`] and [`BUSY_AT_END_MAX`] at the end.
//! Not here: what an entry holds (`call::journal`), who comes back (`accept::recall`), media: a
//!           shelf that is slow, full or gone costs entries, which are counted, and no call
//!           anything.
//!
//! | file | what it holds |
//! |---|---|
//! | `shelf` | the few operations that a store must offer, and which stores there are |
//! | `sqlite` | one file of this host |
//! | `alive` | which processes of this host live |
//! | `postgres` | a database of several hosts |
//!
//! One thread writes and asks, one transaction after the other: what is asked comes in between two
//! of them, so that no question waits for a whole round.

mod alive;
pub mod postgres;
pub mod shelf;
pub mod sqlite;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::store::StoreError;
use crate::call::{CallId, Entry, Snapshot, SnapshotError, Standing};
use crate::clock::{Clock, Nanos, unix_seconds};
use crate::config::{Journal as Settings, Secret, StoreUrl};
use crate::limits::{
    ENDINGS_KEPT, HANDLE_KEPT, JOURNAL_BATCH_EVERY, JOURNAL_BATCH_MAX, JOURNAL_WAITING_MAX,
    LEGACY_KEPT, RECALLS_WAITING_MAX,
};
use crate::mail::{
    AcceptLetter, JournalLetter, Mailbox, Postbox, Purpose, Recall, Recalled, Right, Sequel, Whose,
    mailbox_without_bell,
};
use crate::metrics::Shared;
pub use shelf::{Found, Mark, Row, Shelf};

/// Questions about conversations that another process still holds: as many as may wait at all.
const ASKERS_MAX: usize = RECALLS_WAITING_MAX;
/// Transactions of one round: enough for all that may wait.
const ROUND_MAX: usize = JOURNAL_WAITING_MAX / JOURNAL_BATCH_MAX;
/// Bytes of one transaction, where it has more than one row.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// For a transaction of a shelf that knows such a bound. Then it is as if it were refused.
const WRITE_MAX: Duration = Duration::from_millis(1_500);
/// For all that waits at the end. Then it is lost, and counted.
const FINISH_MAX: Duration = Duration::from_millis(2_500);
/// How often a shelf that another process keeps locked is tried again at the end. Then what waits
/// is lost, and counted.
const BUSY_AT_END_MAX: u32 = 4;
/// How often such a question is asked again: that process may be about to hear of its caller's end;
/// and how often a database that is away is tried again at the end.
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
    /// Entries so far, which gives each state its number.
    states: u64,
    askers: Vec<Asker>,
    ask_after: Nanos,
    write_after: Nanos,
    /// When the round that is being written began, and its transactions so far.
    round: (Nanos, usize),
    purge_after: Nanos,
    tell_after: Nanos,
}

/// A question; it is asked again while another process holds the conversation.
#[derive(Debug)]
struct Asker {
    ticket: u64,
    whose: Whose,
    purpose: Purpose,
    /// Until when it is asked again.
    held_until: Nanos,
    /// Until when somebody waits for the answer.
    until: Nanos,
}

/// Whether what is there at `url` can be the journal. It is only looked at.
///
/// # Errors
/// Why it cannot.
pub fn try_open(url: &StoreUrl) -> Result<(), StoreError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::try_open(path),
        StoreUrl::Postgres(settings) => postgres::try_open(settings),
    }
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
        let shelf = Shelf::open(&settings.url)?;
        let (postbox, mailbox) = mailbox_without_bell();
        let conversations = Conversations {
            mailbox,
            clock,
            shared,
            shelf,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            states: 0,
            askers: Vec::new(),
            ask_after: Nanos::ZERO,
            write_after: Nanos::ZERO,
            round: (Nanos::ZERO, 0),
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
        let write = if self.waiting.is_empty() { Nanos::NEVER } else { self.write_after };
        let ask = if self.askers.is_empty() { Nanos::NEVER } else { self.ask_after };
        write.min(ask).min(self.purge_after)
    }

    /// Sees to what is due.
    fn attend(&mut self, accept: &Postbox<AcceptLetter>) {
        let now = self.clock.now();
        if !self.askers.is_empty() && now >= self.ask_after {
            self.ask_after = now.plus(ASK_AGAIN);
            self.ask_again(accept);
        }
        if !self.waiting.is_empty() && now >= self.write_after {
            self.go_on_writing(now, accept);
        }
        if now >= self.purge_after {
            self.purge_after = now.plus(PURGE_EVERY);
            self.shelf.bound(WRITE_MAX);
            if let Err(error) = self.shelf.purge(unix_seconds()) {
                self.tell(error);
            }
        }
    }

    /// Those who wait for a holder's last words, as many as there is time for; the others go first
    /// then.
    fn ask_again(&mut self, accept: &Postbox<AcceptLetter>) {
        let mut askers = std::mem::take(&mut self.askers).into_iter();
        while self.clock.now() < self.ask_after
            && let Some(asker) = askers.next()
        {
            self.answer(asker, accept);
        }
        let asked = std::mem::replace(&mut self.askers, askers.collect());
        self.askers.extend(asked);
    }

    /// Everything that waits is written, as far as the shelf takes it.
    fn finish(&mut self, accept: &Postbox<AcceptLetter>) {
        let mut tries = 0;
        let until = self.clock.now().plus(FINISH_MAX);
        self.shelf.bound(FINISH_MAX);
        while !self.waiting.is_empty() {
            let names = self.next_batch();
            match self.write(&names, accept) {
                Ok(()) => {}
                Err(StoreError::Busy) if tries < BUSY_AT_END_MAX => tries += 1,
                // It is away, or was just now and is left alone for a moment.
                Err(error) if error.is_for_now() && self.clock.now() < until => {
                    thread::sleep(ASK_AGAIN);
                }
                Err(_) => break,
            }
        }
        self.shared.journal.entries.add("lost", self.waiting.len() as u64);
    }

    /// One transaction of the round, and the next one is due at once if there is more.
    fn go_on_writing(&mut self, now: Nanos, accept: &Postbox<AcceptLetter>) {
        let (begun_at, count) = self.round;
        if count == 0 || now >= begun_at.plus(JOURNAL_BATCH_EVERY) {
            self.round = (now, 0);
        }
        let names = self.next_batch();
        self.shelf.bound(WRITE_MAX);
        let written = self.write(&names, accept);
        self.round.1 += 1;
        let goes_on = !self.waiting.is_empty() && self.round.1 < ROUND_MAX;
        match written {
            Ok(()) if goes_on => self.write_after = now,
            Ok(()) => {
                self.write_after = self.round.0.plus(JOURNAL_BATCH_EVERY);
                self.round.1 = 0;
            }
            Err(_) => {
                self.write_after = self.clock.now().plus(RETRY);
                self.round.1 = 0;
            }
        }
    }

    /// Returns whether there is more to come.
    fn take(&mut self, letter: JournalLetter, accept: &Postbox<AcceptLetter>) -> bool {
        match letter {
            JournalLetter::Entry(entry) => self.keep(*entry),
            JournalLetter::Ask { ticket, whose, purpose, until } => {
                let held_until = self.clock.now().plus(HELD_FOR);
                self.answer(Asker { ticket, whose, purpose, held_until, until }, accept);
            }
            JournalLetter::Stop => return false,
        }
        true
    }

    /// The newest entry of a conversation takes the place of the one before.
    fn keep(&mut self, entry: Entry) {
        let conversation = entry.conversation;
        self.states += 1;
        let row = row(entry, self.states, unix_seconds());
        if let Some((_, waiting)) = self.waiting.get_mut(&conversation) {
            // One that comes late is of a stream that another has taken the place of.
            if row.generation >= waiting.generation {
                *waiting = row;
            }
            return self.shared.journal.entries.count("replaced");
        }
        if self.waiting.len() == JOURNAL_WAITING_MAX {
            return self.shared.journal.entries.count("lost");
        }
        self.waiting.insert(conversation, (self.clock.now(), row));
        self.order.push_back(conversation);
    }

    /// Those that have waited longest.
    fn next_batch(&self) -> Vec<CallId> {
        let mut bytes = 0;
        let waits = |name: &&CallId| self.waiting.contains_key(name);
        let fits = |name: &&CallId| {
            let is_first = bytes == 0;
            bytes += self.waiting[*name].1.body.reveal().len();
            is_first || bytes <= BATCH_BYTES_MAX
        };
        let longest = self.order.iter().filter(waits).take(JOURNAL_BATCH_MAX);
        longest.take_while(fits).copied().collect()
    }

    /// One transaction.
    ///
    /// # Errors
    /// Why the shelf did not take it: it waits on.
    fn write(
        &mut self,
        names: &[CallId],
        accept: &Postbox<AcceptLetter>,
    ) -> Result<(), StoreError> {
        let batch: Vec<&Row> = names.iter().map(|name| &self.waiting[name].1).collect();
        let oldest = names.iter().map(|name| self.waiting[name].0).min().unwrap_or(Nanos::ZERO);
        let written = self.shelf.write(unix_seconds(), &batch);
        let lag_ms = self.clock.now().since(oldest).as_millis() as u64;
        self.shared.journal.lag_ms.store(lag_ms, Ordering::Relaxed);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.shared.journal.entries.add("refused", names.len() as u64);
                self.tell(error);
                return Err(error);
            }
        };
        for (&conversation, is_written) in names.iter().zip(written) {
            let (_, Row { generation, .. }) = self.waiting.remove(&conversation).expect("in it");
            self.shared.journal.entries.count(if is_written { "written" } else { "superseded" });
            if !is_written {
                // A letter lost: the orphan ends by itself, once its phone is silent.
                let _ = accept.post(AcceptLetter::TakenElsewhere { conversation, generation });
            }
        }
        self.order.retain(|name| self.waiting.contains_key(name));
        Ok(())
    }

    /// What waits to be written of whom is asked for.
    fn unwritten(&self, whose: &Whose) -> Vec<CallId> {
        let is_its = |id: &CallId, row: &Row| match whose {
            Whose::Conversation(asked) => id == asked,
            Whose::Call(name) => row.call_name.as_ref() == Some(name),
        };
        let waiting = self.waiting.iter().filter(|(id, (_, row))| is_its(id, row));
        waiting.map(|(&id, _)| id).collect()
    }

    fn answer(&mut self, asker: Asker, accept: &Postbox<AcceptLetter>) {
        let now = self.clock.now();
        let Asker { ticket, whose, purpose, held_until, until } = asker;
        // Whoever asked is told by the accept thread that it is late, and counted there.
        if now >= until {
            return;
        }
        self.shelf.bound(until.since(now));
        let (recalled, outcome) = match self.find(&whose, purpose, now >= held_until, accept) {
            Ok(Found::Held { .. }) if now < held_until && self.askers.len() < ASKERS_MAX => {
                return self.askers.push(Asker { ticket, whose, purpose, held_until, until });
            }
            Ok(found) => recalled(found),
            Err(error) => {
                self.tell(error);
                (Recalled::Unasked, "error")
            }
        };
        self.shared.journal.recalls.count(outcome);
        // A letter lost: whoever asked goes on when its time is up.
        let _ = accept.post(AcceptLetter::Recalled { ticket, recalled });
    }

    /// `insists`: it has been asked for long enough.
    fn find(
        &mut self,
        whose: &Whose,
        purpose: Purpose,
        insists: bool,
        accept: &Postbox<AcceptLetter>,
    ) -> Result<Found, StoreError> {
        let now_unix = unix_seconds();
        let Purpose::Claim(right) = purpose else { return self.shelf.look(whose, now_unix) };
        // What is claimed is the newest that we know of it. What cannot be written waits on.
        let unwritten = self.unwritten(whose);
        if !unwritten.is_empty() {
            let _ = self.write(&unwritten, accept);
        }
        let past = if let Right::Past(generation) = right { Some(generation) } else { None };
        match self.shelf.claim(whose, past, now_unix)? {
            Found::Held { generation } if right == Right::Own && insists => {
                self.shelf.claim(whose, Some(generation), now_unix)
            }
            found => Ok(found),
        }
    }

    fn tell(&mut self, error: StoreError) {
        let now = self.clock.now();
        if now >= self.tell_after {
            log::warn!("event=journal_failed: {error}");
            self.tell_after = now.plus(TELL_EVERY);
        }
    }
}

/// What the accept thread is told, and how it is counted.
fn recalled(found: Found) -> (Recalled, &'static str) {
    match found {
        Found::Nothing => (Recalled::Nothing, "nothing"),
        Found::Held { generation } => (Recalled::Held { generation }, "held"),
        Found::Waits { generation } => (Recalled::Waits { generation }, "waits"),
        Found::Over { body } => match serde_json::from_str(&body) {
            Ok(sequel) => (Recalled::Over(sequel), "over"),
            Err(_) => (Recalled::Nothing, "unreadable"),
        },
        Found::Kept { left, .. } if left.is_zero() => (Recalled::Nothing, "too_long"),
        Found::Kept { conversation, call_name, generation, left, body } => {
            match Snapshot::read(body.reveal()) {
                Ok(snapshot) => {
                    let recall = Recall { conversation, call_name, generation, left, snapshot };
                    (Recalled::Kept(Box::new(recall)), "claimed")
                }
                Err(SnapshotError::Unreadable) => (Recalled::Nothing, "unreadable"),
                Err(SnapshotError::OtherForm) => (Recalled::Nothing, "other_form"),
            }
        }
    }
}

/// An entry as it is written at the second `now_unix`, with the number of its state.
fn row(entry: Entry, state: u64, now_unix: u64) -> Row {
    let Entry { conversation, generation, call_name, left, standing } = entry;
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
    Row { conversation, call_name, generation, state, mark, kept_until_unix, ends_unix, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Ending;

    /// Nobody waits as long.
    const LATER: Nanos = Nanos::NEVER;

    fn journal(name: &str) -> Conversations {
        let name = format!("vocaris-rounds-{}-{name}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
        open(&path)
    }

    fn open(path: &std::path::Path) -> Conversations {
        let settings = Settings { enabled: true, url: StoreUrl::Sqlite(path.to_owned()) };
        Conversations::new(&settings, Clock::start(), Arc::new(Shared::default())).unwrap().0
    }

    /// The call with this number is over, as the stream of this generation knows.
    fn over_in(number: u64, generation: u32) -> Entry {
        Entry {
            conversation: CallId(number),
            generation,
            call_name: Some(format!("CA{number}")),
            left: Duration::from_secs(60),
            standing: Standing::Closed { ending: Ending::CallerHungUp, transfer: None },
        }
    }

    fn over(number: u64) -> Entry {
        over_in(number, 0)
    }

    fn claim(whose: Whose) -> Asker {
        let purpose = Purpose::Claim(Right::Free);
        Asker { ticket: 7, whose, purpose, held_until: Nanos::ZERO, until: LATER }
    }

    #[test]
    fn all_that_may_wait_is_written_in_one_round_that_questions_come_between() {
        let mut journal = journal("all");
        let (accept, _letters) = mailbox_without_bell();
        (0..=JOURNAL_WAITING_MAX as u64).for_each(|number| journal.keep(over(number)));
        let now = journal.clock.now();
        for transactions in 1..=ROUND_MAX {
            assert!(journal.next_due() <= now, "the next one is due at once");
            journal.go_on_writing(now, &accept);
            let written = journal.shared.journal.entries.of("written");
            assert_eq!(written, (transactions * JOURNAL_BATCH_MAX) as u64);
        }
        assert!(journal.order.is_empty() && journal.waiting.is_empty());
        assert_eq!(journal.write_after, now.plus(JOURNAL_BATCH_EVERY));
        assert_eq!(journal.shared.journal.entries.of("lost"), 1);
    }

    #[test]
    fn a_batch_of_long_entries_is_cut_and_one_that_is_too_long_goes_alone() {
        let mut journal = journal("long");
        for (number, bytes) in [(1, BATCH_BYTES_MAX + 1), (2, 9), (3, BATCH_BYTES_MAX), (4, 1)] {
            let body = Secret::new("x".repeat(bytes));
            let row = Row { body, ..row(over(number), number, 0) };
            journal.waiting.insert(CallId(number), (Nanos::ZERO, row));
            journal.order.push_back(CallId(number));
        }
        let (accept, _letters) = mailbox_without_bell();
        for batch in [[1].as_slice(), &[2], &[3], &[4]] {
            let names = journal.next_batch();
            assert_eq!(names, batch.iter().map(|&number| CallId(number)).collect::<Vec<_>>());
            journal.write(&names, &accept).unwrap();
        }
    }

    #[test]
    fn who_claims_a_conversation_gets_the_newest_that_is_known_of_it() {
        let mut journal = journal("newest");
        let (accept, letters) = mailbox_without_bell();
        journal.keep(over(1));
        for whose in [Whose::Call("CA1".to_owned()), Whose::Conversation(CallId(1))] {
            journal.answer(claim(whose), &accept);
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

    #[test]
    fn what_a_stream_says_late_is_not_kept_over_what_the_next_one_has_said() {
        let mut journal = journal("late");
        let (accept, letters) = mailbox_without_bell();
        journal.keep(over_in(1, 3));
        journal.keep(over_in(1, 2));
        assert_eq!(journal.waiting[&CallId(1)].1.generation, 3);
        journal.write(&[CallId(1)], &accept).unwrap();
        journal.keep(over_in(1, 2));
        journal.write(&[CallId(1)], &accept).unwrap();
        assert_eq!(journal.shared.journal.entries.of("superseded"), 1);
        let letter = letters.take();
        assert!(
            matches!(
                &letter,
                Some(AcceptLetter::TakenElsewhere { conversation: CallId(1), generation: 2 })
            ),
            "{letter:?}"
        );
    }

    #[test]
    fn each_thing_said_of_a_conversation_has_a_later_state_than_the_one_before() {
        let mut journal = journal("states");
        let (accept, _letters) = mailbox_without_bell();
        let mut last = 0;
        for number in [1, 2, 1, 1] {
            journal.keep(over(number));
            let state = journal.waiting[&CallId(number)].1.state;
            assert!(state > last, "{state} after {last}");
            last = state;
            if number == 2 {
                journal.write(&[CallId(1), CallId(2)], &accept).unwrap();
            }
        }
    }

    #[test]
    fn a_question_that_nobody_waits_for_any_more_is_not_asked() {
        let mut journal = journal("nobody");
        let (accept, letters) = mailbox_without_bell();
        let asker = Asker { until: Nanos::ZERO, ..claim(Whose::Conversation(CallId(1))) };
        journal.answer(asker, &accept);
        assert!(letters.take().is_none());
    }

    #[test]
    fn its_own_client_gets_a_conversation_from_whoever_still_believes_in_it_after_a_moment() {
        let name = format!("vocaris-rounds-{}-own.db", std::process::id());
        let (mut older, path) = (journal("own"), std::env::temp_dir().join(name));
        let (accept, letters) = mailbox_without_bell();
        let snapshot = "{\"form\":1,\"agent\":\"a\",\"to\":null,\"handle\":\"h\",\
                        \"has_spoken\":true,\"returns\":0,\"turns\":[],\
                        \"tools\":{\"finished\":[],\"answers\":[],\"notes\":[],\
                        \"next_ticket\":0,\"next_batch\":0}}";
        let standing = Standing::Open(Box::new(Snapshot::read(snapshot).unwrap()));
        older.keep(Entry { standing, ..over(1) });
        older.write(&[CallId(1)], &accept).unwrap();
        let mut newer = open(&path);
        for (held_until, right, is_its) in [
            (LATER, Right::Own, false),
            (Nanos::ZERO, Right::Free, false),
            (Nanos::ZERO, Right::Past(1), false),
            (Nanos::ZERO, Right::Own, true),
        ] {
            let asker = claim(Whose::Conversation(CallId(1)));
            let asker = Asker { held_until, purpose: Purpose::Claim(right), ..asker };
            newer.answer(asker, &accept);
            let waits = std::mem::take(&mut newer.askers).len();
            let letter = letters.take();
            let kept = match &letter {
                Some(AcceptLetter::Recalled { recalled: Recalled::Kept(recall), .. }) => {
                    Some(recall.generation)
                }
                _ => None,
            };
            assert_eq!(kept, is_its.then_some(1), "{right:?} {letter:?}");
            assert_eq!(waits == 1, held_until == LATER);
        }
    }
}
