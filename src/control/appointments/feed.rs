//! The calendar thread: answers `GET /calendar.ics`, and forgets what is too old.
//!
//! In:       [`CalendarLetter`]s of the accept thread.
//! Out:      the feed, by mail to the accept thread.
//! Bounds:   [`crate::limits::FIGURES_WAITING_MAX`] requests waiting, by the accept thread; a feed
//!           is written anew only when the book has changed.
//! Not here: who may read the feed (`accept::routes`), its text (`calendar`).
//!
//! It has a connection to the store of its own: readers wait for no writer there, and neither the
//! tools nor the journal wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use super::store::Shown;
use super::{Appointments, calendar};
use crate::control::store::StoreError;
use crate::mail::{
    AcceptLetter, CalendarLetter, CalendarPage, Mailbox, Postbox, mailbox_without_bell,
};

/// How often it looks for what is to be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(6 * 3600);

/// The calendar thread's room.
#[derive(Debug)]
pub struct Feed {
    mailbox: Mailbox<CalendarLetter>,
    book: Appointments,
    /// The last feed.
    written: Option<Written>,
}

/// A feed, and what it was made of.
#[derive(Clone, Debug)]
struct Written {
    changes: i64,
    shown: Shown,
    text: Arc<str>,
    tag: String,
}

impl Feed {
    /// Over a book of its own.
    pub fn new(book: Appointments) -> (Feed, Postbox<CalendarLetter>) {
        let (postbox, mailbox) = mailbox_without_bell();
        (Feed { mailbox, book, written: None }, postbox)
    }

    /// Reads letters until it is asked to stop, or nobody is left who could write.
    pub fn run(mut self, accept: &Postbox<AcceptLetter>) {
        let mut forget_at = Instant::now();
        loop {
            if Instant::now() >= forget_at {
                // What is left is for the next round: a letter does not wait for all of it.
                let is_more = self.forget(Timestamp::now());
                forget_at = Instant::now() + if is_more { Duration::ZERO } else { FORGET_EVERY };
            }
            match self.mailbox.wait(forget_at.saturating_duration_since(Instant::now())) {
                Some(CalendarLetter::Ask { ticket, known }) => {
                    let page = self.page(Timestamp::now(), known.as_deref());
                    if accept.post(AcceptLetter::Calendar { ticket, page }).is_err() {
                        log::warn!("calendar {ticket} is lost: the accept thread takes no letters");
                    }
                }
                Some(CalendarLetter::Stop) => return,
                None if Instant::now() < forget_at => return,
                None => {}
            }
        }
    }

    /// The feed, for a reader who has that with the tags `known`.
    pub fn page(&mut self, now: Timestamp, known: Option<&str>) -> CalendarPage {
        let written = match self.fresh(now) {
            Ok(written) => written,
            Err(error) => {
                log::error!("event=calendar_unavailable: {error}");
                return CalendarPage::Unavailable;
            }
        };
        let tags = known.into_iter().flat_map(|known| known.split(','));
        let mut tags = tags.map(|tag| tag.trim().trim_start_matches("W/"));
        match tags.any(|tag| tag == "*" || tag == written.tag) {
            true => CalendarPage::Unchanged { tag: written.tag },
            false => CalendarPage::Text { text: written.text, tag: written.tag },
        }
    }

    fn fresh(&mut self, now: Timestamp) -> Result<Written, StoreError> {
        // Before the book is read: a change in between makes the next feed, not none.
        let changes = self.book.foreign_changes()?;
        let shown = calendar::shown(now.as_second());
        if let Some(written) = &self.written
            && (written.changes, written.shown) == (changes, shown)
        {
            return Ok(written.clone());
        }
        let text = self.book.calendar(now)?;
        let sum = digest(&SHA256, text.as_bytes());
        let hex: String = sum.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("\"{hex}\"");
        let written = Written { changes, shown, text: text.into(), tag };
        self.written = Some(written.clone());
        Ok(written)
    }

    /// Returns whether there is more to forget.
    fn forget(&mut self, now: Timestamp) -> bool {
        // Its own changes are not among those it is told of.
        self.written = None;
        match self.book.forget(now) {
            Ok(forgotten) => {
                if forgotten.bookings > 0 {
                    log::info!("event=appointments_forgotten count={}", forgotten.bookings);
                }
                forgotten.is_full()
            }
            Err(error) => {
                log::warn!("old appointments are not forgotten: {error}");
                false
            }
        }
    }
}
