//! The five tools.
//!
//! In:       a tool's name and arguments, who calls, the time.
//! Out:      an [`Answer`]: `ok`, a `status`, a sentence to `say`, fields; free times instead where
//!           a wish cannot be met.
//! Bounds:   [`TIMES_MAX`] times of a day, [`OFFERS_MAX`] others, [`OWN_MAX`] of a caller's own
//!           appointments.
//! Not here: reading arguments (`arguments`), which visits are possible (`hours`).
//!
//! | status | `ok` | meaning |
//! |---|---|---|
//! | `free`, `none_free` | true | the times of a day, or the next ones |
//! | `booked`, `moved`, `cancelled`, `found` | true | done, and kept |
//! | `already_booked`, `already_cancelled` | true | it was so before: nothing changed |
//! | `taken`, `not_possible` | false | that time cannot be had, with `reason`; `alternatives` can |
//! | `bad_arguments` | false | `argument` is wrong |
//! | `not_found`, `which_one`, `need_name`, `too_many_attempts` | false | whose appointment? |
//! | `too_many` | false | the caller has booked enough |
//! | `unavailable` | false | the book cannot be read or written: nothing has changed |
//! | `unsure` | false | the database was lost in the middle: it may have been done |

use std::ops::Range;

use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Fault};
use super::hours::{
    CELL_SECONDS, NotASlot, Slot, has_room, last_day, local, may_begin, slots_at, slots_on,
};
use super::store::{Booking, Ledger, NewBooking, Place, Status};
use super::{Answer, Appointments, BookError, CallerFacts, GUESSES_MAX, words};
use crate::call::telling_number;
use crate::config::Appointments as Practice;
use crate::config::appointments::Service;
use crate::control::database::DatabaseError;
use crate::control::store::StoreError;

/// Free times of one day that are told.
const TIMES_MAX: usize = 48;
/// Free times that are offered instead of another, or without a day.
const OFFERS_MAX: usize = 4;
/// Free times that are said aloud.
const SAID_MAX: usize = 3;
/// Appointments whose fields are told: they fit into one result for the model.
const SHOWN_MAX: usize = 6;
/// Coming appointments of one caller: more are not booked.
const OWN_MAX: u32 = 10;

/// Why a tool does not do what it was asked.
enum No {
    Argument(Fault),
    Slot(NotASlot, Box<Service>, Date, Time),
    Taken(Box<Service>, Date, Time),
    NotFound,
    NeedName,
    WhichOne(Vec<Booking>),
    TooManyAttempts,
    TooMany,
    Gone,
    UnknownTool,
    Book(BookError),
}

impl From<Fault> for No {
    fn from(fault: Fault) -> No {
        No::Argument(fault)
    }
}

impl From<BookError> for No {
    fn from(error: BookError) -> No {
        No::Book(error)
    }
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> No {
        No::Book(error.into())
    }
}

/// Answers one use of a tool.
pub(super) fn answer(
    book: &mut Appointments,
    now: Timestamp,
    tool: &str,
    arguments: &Value,
    caller: &CallerFacts,
) -> Answer {
    let is_home = book.bring_home();
    let mut desk = Desk { book, now, caller };
    let arguments = is_home.map_err(No::from).and_then(|()| Ok(Arguments::new(arguments)?));
    let done = arguments.and_then(|arguments| match tool {
        "check_availability" => desk.check(arguments),
        "book_appointment" => desk.book(arguments),
        "reschedule_appointment" => desk.reschedule(arguments),
        "cancel_appointment" => desk.cancel(arguments),
        "find_appointment" => desk.find(arguments),
        _ => Err(No::UnknownTool),
    });
    done.unwrap_or_else(|no| desk.refuse(no))
}

/// One use of a tool.
struct Desk<'a> {
    book: &'a mut Appointments,
    now: Timestamp,
    caller: &'a CallerFacts,
}

/// The time of one transaction's work: everything it needs but the book.
#[derive(Clone, Copy)]
struct Work<'a> {
    practice: &'a Practice,
    now_unix: i64,
    caller: &'a CallerFacts,
    today: Date,
}

impl Desk<'_> {
    fn practice(&self) -> &Practice {
        &self.book.practice
    }

    fn today(&self) -> Date {
        self.practice().time_zone.to_datetime(self.now).date()
    }

    // ------------------------------------------------------------------------------- the tools

    fn check(&mut self, arguments: Arguments<'_>) -> Result<Answer, No> {
        let service = arguments.service(self.practice())?.clone();
        let (date, time) = (arguments.date()?, arguments.time()?);
        let Some(date) = date else {
            let offers = self.next_free(&service, self.today(), OFFERS_MAX)?;
            return Ok(self.offer(&service, None, &offers));
        };
        if date < self.today() {
            return Err(No::Slot(NotASlot::Past, Box::new(service), date, Time::midnight()));
        }
        if date > last_day(self.practice(), self.now) {
            return Err(No::Slot(NotASlot::TooFar, Box::new(service), date, Time::midnight()));
        }
        let mut free = self.free_on(&service, date)?;
        if let Some(time) = time {
            let wanted = date.to_datetime(time);
            let distance =
                |slot: &Slot| local(self.practice(), slot.start_unix).duration_since(wanted).abs();
            free.sort_by_key(distance);
        }
        free.truncate(TIMES_MAX);
        if free.is_empty() {
            let tomorrow = date.saturating_add(1.day());
            let offers = self.next_free(&service, tomorrow, OFFERS_MAX)?;
            return Ok(self.offer(&service, Some(date), &offers));
        }
        Ok(self.times(&service, date, time, &free))
    }

    fn book(&mut self, arguments: Arguments<'_>) -> Result<Answer, No> {
        let service = arguments.service(self.practice())?.clone();
        let date = arguments.date()?.ok_or(Fault::Missing("date"))?;
        let time = arguments.time()?.ok_or(Fault::Missing("time"))?;
        let name = arguments.name()?.ok_or(Fault::Missing("name"))?;
        let note = arguments.note()?;
        let slots = self.slots(&service, date, time)?;
        self.changing(|ledger, work| {
            let number = own_number(work.caller);
            let call = &work.caller.call;
            let own = ledger.coming_of(work.now_unix, number, call, OWN_MAX)?;
            let is_same = |booking: &&Booking| {
                booking.service == service.name
                    && slots.iter().any(|slot| slot.start_unix == booking.start_unix)
                    && booking.name.to_lowercase() == name.to_lowercase()
            };
            if let Some(same) = own.iter().find(is_same) {
                return Ok(work.done("already_booked", "That is booked already:", same));
            }
            if own.len() >= OWN_MAX as usize {
                return Err(No::TooMany);
            }
            at_home(ledger, work, &service)?;
            for slot in &slots {
                let place = place(&service, *slot);
                let new = NewBooking {
                    service: &service.name,
                    place,
                    name: &name,
                    note: note.as_deref(),
                    number,
                    call,
                };
                if !room_for(ledger, &new.place, None)? {
                    continue;
                }
                let booked = ledger.book(work.now_unix, &new)?;
                return Ok(work.done("booked", "It is booked:", &booked));
            }
            Err(No::Taken(Box::new(service.clone()), date, time))
        })
    }

    fn reschedule(&mut self, arguments: Arguments<'_>) -> Result<Answer, No> {
        let date = arguments.date()?.ok_or(Fault::Missing("date"))?;
        let time = arguments.time()?.ok_or(Fault::Missing("time"))?;
        if let Some(first) = self.first_answer()? {
            return Ok(first);
        }
        let booking = self.own_one(arguments)?;
        let is_its = |service: &&Service| service.name == booking.service;
        let service = self.practice().services.iter().find(is_its).cloned().ok_or(No::Gone)?;
        let slots = self.slots(&service, date, time)?;
        self.changing(|ledger, work| {
            let standing = ledger.by_reference(&booking.reference)?;
            let standing = standing.filter(|one| one.status == Status::Confirmed);
            let standing = standing.ok_or(No::NotFound)?;
            if slots.iter().any(|slot| slot.start_unix == standing.start_unix) {
                return Ok(work.done("already_booked", "That is its time already:", &standing));
            }
            at_home(ledger, work, &service)?;
            for slot in &slots {
                let place = place(&service, *slot);
                if room_for(ledger, &place, Some(standing.id))? {
                    let moved = ledger.move_to(work.now_unix, standing.id, &place)?;
                    return Ok(work.done("moved", "It has been moved:", &moved));
                }
            }
            Err(No::Taken(Box::new(service.clone()), date, time))
        })
    }

    fn cancel(&mut self, arguments: Arguments<'_>) -> Result<Answer, No> {
        if let Some(first) = self.first_answer()? {
            return Ok(first);
        }
        let booking = self.own_one(arguments)?;
        self.changing(|ledger, work| {
            let standing = ledger.by_reference(&booking.reference)?.ok_or(No::NotFound)?;
            if standing.status == Status::Cancelled {
                return Ok(work.done("already_cancelled", "It was cancelled before:", &standing));
            }
            let cancelled = ledger.cancel(work.now_unix, standing.id)?;
            Ok(work.done("cancelled", "It has been cancelled:", &cancelled))
        })
    }

    fn find(&mut self, arguments: Arguments<'_>) -> Result<Answer, No> {
        let found = match arguments.reference()? {
            Some(reference) => vec![self.by_reference(&reference, arguments)?],
            None => self.own()?,
        };
        let first = found.first().ok_or(No::NotFound)?;
        let practice = self.practice();
        let said: Vec<String> = found
            .iter()
            .take(SAID_MAX)
            .map(|one| {
                let at = words::moment(local(practice, one.start_unix), self.today());
                let off = if one.status == Status::Cancelled { ", cancelled" } else { "" };
                format!("{} on {at}{off}", one.service)
            })
            .collect();
        let say = match found.len() {
            1 => {
                let reference = words::spelt(&first.reference);
                format!("There is one appointment: {}. Its reference is {reference}.", said[0])
            }
            count => {
                let listed = words::listed(&said, "and");
                format!("There are {count} appointments. The next: {listed}.")
            }
        };
        let fields: Vec<Value> =
            found.iter().take(SHOWN_MAX).map(|one| words::appointment(practice, one)).collect();
        Ok(told(true, "found", &say, [("appointments", Value::Array(fields))]))
    }

    // ------------------------------------------------------------------------------- changing

    /// Does `work` in one transaction, unless it was done before: then its answer comes again.
    fn changing(
        &mut self,
        work: impl FnOnce(&Ledger<'_>, Work<'_>) -> Result<Answer, No>,
    ) -> Result<Answer, No> {
        let today = self.today();
        let (now_unix, caller) = (self.now.as_second(), self.caller);
        let Appointments { store, practice, .. } = &mut *self.book;
        let mut refused = None;
        let answer = store.transact(|ledger| {
            if let Some(first) = first_answer(ledger, caller)? {
                return Ok(Some(first));
            }
            match work(ledger, Work { practice, now_unix, caller, today }) {
                Ok(answer) => {
                    if !caller.key.is_empty() {
                        ledger.keep_answer(now_unix, &caller.key, &answer.json.to_string())?;
                    }
                    Ok(Some(answer))
                }
                Err(No::Book(error)) => Err(error),
                Err(no) => {
                    refused = Some(no);
                    Ok(None)
                }
            }
        })?;
        match (answer, refused) {
            (Some(answer), _) => Ok(answer),
            (None, Some(no)) => Err(no),
            (None, None) => Err(No::NotFound),
        }
    }

    fn first_answer(&self) -> Result<Option<Answer>, No> {
        Ok(first_answer(&self.book.ledger(), self.caller)?)
    }

    // ---------------------------------------------------------------------- whose appointment

    /// The caller's own, by number or call.
    fn own(&self) -> Result<Vec<Booking>, No> {
        let number = own_number(self.caller);
        let now_unix = self.now.as_second();
        Ok(self.book.ledger().coming_of(now_unix, number, &self.caller.call, OWN_MAX)?)
    }

    /// The one that is meant, where the caller may change it.
    fn own_one(&mut self, arguments: Arguments<'_>) -> Result<Booking, No> {
        let booking = match arguments.reference()? {
            Some(reference) => self.by_reference(&reference, arguments)?,
            None => {
                let mut own = self.own()?;
                if own.len() > 1 {
                    return Err(No::WhichOne(own));
                }
                own.pop().ok_or(No::NotFound)?
            }
        };
        if booking.start_unix <= self.now.as_second() {
            return Err(No::NotFound);
        }
        Ok(booking)
    }

    /// The one with this reference: the caller's own, or one whose name they know.
    fn by_reference(&mut self, reference: &str, arguments: Arguments<'_>) -> Result<Booking, No> {
        let name = arguments.name()?;
        if self.book.guesses(&self.caller.call) >= GUESSES_MAX {
            return Err(No::TooManyAttempts);
        }
        let found = self.book.ledger().by_reference(reference)?;
        let number = own_number(self.caller);
        let is_own = |booking: &Booking| {
            booking.call == self.caller.call
                || (number.is_some() && booking.number.as_deref() == number)
        };
        match (found, name) {
            (Some(booking), _) if is_own(&booking) => Ok(booking),
            (_, None) => Err(No::NeedName),
            (Some(booking), Some(name)) if is_same_name(&booking.name, &name) => Ok(booking),
            _ => {
                self.book.count_guess(&self.caller.call);
                Err(No::NotFound)
            }
        }
    }

    // -------------------------------------------------------------------------------- free times

    /// Visits that could begin at this local time, occupied or not.
    fn slots(&self, service: &Service, date: Date, time: Time) -> Result<Vec<Slot>, No> {
        slots_at(self.practice(), service, self.now, date, time)
            .map_err(|why| No::Slot(why, Box::new(service.clone()), date, time))
    }

    /// The free visits of one day.
    fn free_on(&self, service: &Service, date: Date) -> Result<Vec<Slot>, StoreError> {
        let may_begin = may_begin(self.practice(), self.now);
        let mut slots = slots_on(self.practice(), service, date);
        slots.retain(|slot| may_begin.contains(&slot.start_unix));
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
            return Ok(slots);
        };
        let window = first.cells(service).start..last.cells(service).end;
        let occupied = self.book.ledger().occupied(&service.resource, &window, None)?;
        slots.retain(|slot| has_room(&occupied, &window, slot.cells(service), service.capacity));
        Ok(slots)
    }

    /// The first free visits from `date` on: two a day at the most, so that there is a choice.
    fn next_free(
        &self,
        service: &Service,
        date: Date,
        limit: usize,
    ) -> Result<Vec<Slot>, StoreError> {
        const A_DAY: usize = 2;
        let last = last_day(self.practice(), self.now);
        let mut found = Vec::new();
        let mut date = date.max(self.today());
        while date <= last && found.len() < limit {
            let free = self.free_on(service, date)?;
            let half = free.len() / 2;
            let spread = free.iter().enumerate().filter(|&(at, _)| at == 0 || at == half);
            found.extend(spread.map(|(_, slot)| *slot).take(A_DAY.min(limit - found.len())));
            date = match date.tomorrow() {
                Ok(tomorrow) => tomorrow,
                Err(_) => break,
            };
        }
        Ok(found)
    }

    /// Free visits near a wish that cannot be met: those of its day first.
    fn alternatives(
        &self,
        service: &Service,
        date: Date,
        time: Time,
    ) -> Result<Vec<Slot>, StoreError> {
        let wanted = date.to_datetime(time);
        let last = last_day(self.practice(), self.now);
        let mut near = match date >= self.today() && date <= last {
            true => self.free_on(service, date)?,
            false => Vec::new(),
        };
        let distance =
            |slot: &Slot| local(self.practice(), slot.start_unix).duration_since(wanted).abs();
        near.sort_by_key(distance);
        near.truncate(OFFERS_MAX);
        if near.len() < OFFERS_MAX {
            let from = if date > last { self.today() } else { date.saturating_add(1.day()) };
            near.extend(self.next_free(service, from, OFFERS_MAX - near.len())?);
        }
        near.sort_unstable();
        near.dedup();
        Ok(near)
    }

    // ------------------------------------------------------------------------------- in words

    /// The next free visits; `none_on`: a day that has none.
    fn offer(&self, service: &Service, none_on: Option<Date>, offers: &[Slot]) -> Answer {
        let none =
            none_on.map(|date| format!("Nothing is free on {}. ", words::day(date, self.today())));
        let say = format!("{}{}", none.unwrap_or_default(), self.next_said(offers));
        let status = if none_on.is_some() || offers.is_empty() { "none_free" } else { "free" };
        let fields = [("service", json!(service.name)), ("next", self.offers(offers))];
        told(true, status, &say, fields)
    }

    fn next_said(&self, offers: &[Slot]) -> String {
        if offers.is_empty() {
            let last = words::day(last_day(self.practice(), self.now), self.today());
            return format!("Nothing is free up to {last}.");
        }
        let said: Vec<String> = offers
            .iter()
            .take(SAID_MAX)
            .map(|slot| words::moment(local(self.practice(), slot.start_unix), self.today()))
            .collect();
        format!("The next free times are: {}.", words::listed(&said, "or"))
    }

    fn offers(&self, slots: &[Slot]) -> Value {
        let offer = |slot: &Slot| words::offer(local(self.practice(), slot.start_unix));
        Value::Array(slots.iter().map(offer).collect())
    }

    /// The free times of a day, those nearest to `wanted` first.
    fn times(&self, service: &Service, date: Date, wanted: Option<Time>, free: &[Slot]) -> Answer {
        let mut times: Vec<String> =
            free.iter().map(|slot| words::time(local(self.practice(), slot.start_unix))).collect();
        let day = words::day(date, self.today());
        let wish = wanted.map(|time| words::time(date.to_datetime(time)));
        let is_free = wish.as_ref().map(|wish| times.contains(wish));
        let said = words::listed(&times[..times.len().min(SAID_MAX)], "or");
        let say = match (&wish, is_free) {
            (Some(wish), Some(true)) => format!("{day} at {wish} is free."),
            (Some(wish), _) => format!("{day} at {wish} is not free, but {said}."),
            _ if times.len() <= SAID_MAX => format!("On {day} there is: {said}."),
            _ => {
                let (first, last) = (&times[0], &times[times.len() - 1]);
                format!("On {day} there are {} times, from {first} to {last}.", times.len())
            }
        };
        times.sort_unstable();
        times.dedup();
        let mut fields = vec![
            ("service", json!(service.name)),
            ("date", json!(date.to_string())),
            ("times", json!(times)),
        ];
        fields.extend(is_free.map(|is_free| ("is_free", json!(is_free))));
        told(true, "free", &say, fields)
    }

    fn refuse(&mut self, no: No) -> Answer {
        match self.refusal(no) {
            Ok(answer) => answer,
            Err(error) => unavailable(error),
        }
    }

    fn refusal(&self, no: No) -> Result<Answer, BookError> {
        let plain = |status, say: &str| Ok(told(false, status, say, []));
        match no {
            No::Argument(fault) => {
                let argument = fault.argument().map(|name| ("argument", json!(name)));
                Ok(told(false, "bad_arguments", &fault.say(self.practice()), argument))
            }
            No::Slot(why, service, date, time) => {
                let (reason, say) = self.why(why, &service, date);
                self.instead("not_possible", reason, &say, &service, date, time)
            }
            No::Taken(service, date, time) => {
                let at = words::moment(date.to_datetime(time), self.today());
                let say = format!("{at} is taken.");
                self.instead("taken", "taken", &say, &service, date, time)
            }
            No::NotFound => plain(
                "not_found",
                "No such coming appointment was found. Whoever booked from another telephone \
                 needs the reference and the name.",
            ),
            No::NeedName => plain("need_name", "Please ask for the name it was booked under."),
            No::WhichOne(own) => {
                let fields =
                    own.iter().take(SHOWN_MAX).map(|one| words::appointment(self.practice(), one));
                let fields = Value::Array(fields.collect());
                let say = "There are several appointments: please ask which one is meant, and \
                           name its reference.";
                Ok(told(false, "which_one", say, [("appointments", fields)]))
            }
            No::TooManyAttempts => plain(
                "too_many_attempts",
                "That was tried too often in this call. The practice itself can help.",
            ),
            No::TooMany => plain(
                "too_many",
                "This caller has booked as many appointments as one may. The practice itself can \
                 help.",
            ),
            No::Gone => plain(
                "not_possible",
                "This kind of appointment is not offered any more. Cancel it and book another.",
            ),
            No::UnknownTool => plain("bad_arguments", "There is no such tool."),
            No::Book(error) => Err(error),
        }
    }

    fn why(&self, why: NotASlot, service: &Service, date: Date) -> (&'static str, String) {
        let day = words::day(date, self.today());
        let length = service.length_minutes;
        match why {
            NotASlot::Past => ("past", "That time is over.".to_owned()),
            NotASlot::TooSoon => {
                ("too_soon", "That is too soon: the practice needs more notice.".to_owned())
            }
            NotASlot::TooFar => {
                let last = words::day(last_day(self.practice(), self.now), self.today());
                ("too_far", format!("That is too far ahead: the last day is {last}."))
            }
            NotASlot::Holiday => ("holiday", format!("The practice is closed on {day}.")),
            NotASlot::ClosedThatDay => {
                let weekday = date.strftime("%A");
                ("closed", format!("The practice is not open on a {weekday}."))
            }
            NotASlot::NoSuchTime => {
                ("no_such_time", "The clocks are put forward then: no such time.".to_owned())
            }
            NotASlot::OutsideHours => (
                "outside_hours",
                format!("That is outside the opening hours: a visit takes {length} minutes."),
            ),
            NotASlot::NotOnGrid => {
                ("not_on_grid", "Appointments do not begin at that minute.".to_owned())
            }
        }
    }

    /// A refusal with what can be had instead.
    fn instead(
        &self,
        status: &'static str,
        reason: &str,
        say: &str,
        service: &Service,
        date: Date,
        time: Time,
    ) -> Result<Answer, BookError> {
        let alternatives = self.alternatives(service, date, time)?;
        let say = format!("{say} {}", self.next_said(&alternatives));
        let fields = [("reason", json!(reason)), ("alternatives", self.offers(&alternatives))];
        Ok(told(false, status, &say, fields))
    }
}

impl Work<'_> {
    fn done(&self, status: &'static str, what: &str, booking: &Booking) -> Answer {
        let at = words::moment(local(self.practice, booking.start_unix), self.today);
        let reference = words::spelt(&booking.reference);
        let say = format!(
            "{what} {} for {} on {at}. The reference is {reference}.",
            booking.service, booking.name
        );
        told(true, status, &say, [("appointment", words::appointment(self.practice, booking))])
    }
}

/// Puts an answer together.
fn told(
    ok: bool,
    status: &'static str,
    say: &str,
    fields: impl IntoIterator<Item = (&'static str, Value)>,
) -> Answer {
    let mut json = Map::new();
    json.insert("ok".to_owned(), json!(ok));
    json.insert("status".to_owned(), json!(status));
    json.insert("say".to_owned(), json!(say));
    json.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Answer { ok, label: status, json: Value::Object(json) }
}

/// The book cannot be had. Nothing has changed, and the caller is told so; or that nobody knows.
fn unavailable(error: BookError) -> Answer {
    log::error!("event=appointments_unavailable: {error}");
    if error == BookError::from(DatabaseError::Unsure) {
        let say = "The connection to the appointment book was lost in the middle: it is not known \
                   whether this was done. Please look for the appointment again in a minute, and \
                   tell the caller that it is not confirmed before you have found it.";
        return told(false, "unsure", say, []);
    }
    let say = "The appointment book cannot be used at the moment. Nothing was booked or changed. \
               Please tell the caller to try again later or to contact the practice directly.";
    told(false, "unavailable", say, [])
}

/// What this use of a tool was answered before.
fn first_answer(ledger: &Ledger<'_>, caller: &CallerFacts) -> Result<Option<Answer>, StoreError> {
    if caller.key.is_empty() {
        return Ok(None);
    }
    let first = ledger.first_answer(&caller.key)?;
    let json = first.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Damaged));
    Ok(json.transpose()?.map(|json| Answer { ok: true, label: "repeated", json }))
}

/// The caller's number, where it is one that tells callers apart.
fn own_number(caller: &CallerFacts) -> Option<&str> {
    telling_number(caller.number.as_deref()?)
}

/// Whether the name a caller says is the one that was written down: every word of the shorter one
/// is in the longer.
fn is_same_name(written: &str, said: &str) -> bool {
    let words = |name: &str| -> Vec<String> {
        let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let (written, said) = (words(written), words(said));
    let (short, long) =
        if written.len() < said.len() { (&written, &said) } else { (&said, &written) };
    let is_telling = short.iter().any(|word| word.chars().count() > 1);
    is_telling && short.iter().all(|word| long.contains(word))
}

fn place(service: &Service, slot: Slot) -> Place<'_> {
    Place {
        resource: &service.resource,
        capacity: service.capacity,
        start_unix: slot.start_unix,
        end_unix: slot.end_unix,
        cells: slot.cells(service),
    }
}

/// Refuses where another program books this service at another resource: the same time would be
/// taken twice.
fn at_home(ledger: &Ledger<'_>, work: Work<'_>, service: &Service) -> Result<(), BookError> {
    match ledger.is_elsewhere(work.now_unix, &service.name, &service.resource)? {
        true => Err(BookError::Elsewhere),
        false => Ok(()),
    }
}

/// Whether every cell of a place has a seat, but for those of booking `but`.
fn room_for(ledger: &Ledger<'_>, place: &Place<'_>, but: Option<i64>) -> Result<bool, StoreError> {
    let window: Range<i64> = place.cells.clone();
    let occupied = ledger.occupied(place.resource, &window, but)?;
    Ok(has_room(&occupied, &window, window.clone(), place.capacity))
}

const _: () = assert!(CELL_SECONDS == 300, "the schema counts in cells of five minutes");
