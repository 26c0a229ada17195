//! Which visits are possible: opening hours, breaks, holidays, the grid, and the clock's changes.
//!
//! In:       a practice, a service, a local day; what is occupied.
//! Out:      [`Slot`]s, and why a wish is none ([`NotASlot`]).
//! Bounds:   a day has at most two slots for each [`GRAIN_MINUTES`] of its hours.
//! Not here: the clock, the store, words.
//!
//! A practice is open at every moment at which the clock on its wall shows a time within its hours.
//! So when the clock is put forward, hours inside the gap do not take place; when it is put back,
//! they take place twice. A visit begins on the grid, which starts anew at each opening, and lies
//! within hours that are open without a break; its buffers may reach beyond them. Buffers of
//! neighbours add up.

use std::ops::Range;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::config::Appointments as Practice;
use crate::config::appointments::{GRAIN_MINUTES, Service};

/// One cell of the store, in seconds: what is occupied is counted in cells since 1970.
pub const CELL_SECONDS: i64 = GRAIN_MINUTES as i64 * 60;
const DAY_SECONDS: i64 = 24 * 3600;

/// A possible visit, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Its first second.
    pub start_unix: i64,
    /// The second behind its last.
    pub end_unix: i64,
}

impl Slot {
    /// The cells it takes, its buffers included.
    pub fn cells(&self, service: &Service) -> Range<i64> {
        let from = self.start_unix - i64::from(service.before_minutes) * 60;
        let to = self.end_unix + i64::from(service.after_minutes) * 60;
        from.div_euclid(CELL_SECONDS)..(to + CELL_SECONDS - 1).div_euclid(CELL_SECONDS)
    }
}

/// Why no visit can begin at a local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotASlot {
    /// It is over.
    Past,
    /// Sooner than the practice's notice.
    TooSoon,
    /// Later than its horizon.
    TooFar,
    /// A holiday.
    Holiday,
    /// No opening hours on this day of the week.
    ClosedThatDay,
    /// The clock is put forward over this time.
    NoSuchTime,
    /// Outside of the opening hours, or the visit would not end within them.
    OutsideHours,
    /// Between two beginnings of the grid.
    NotOnGrid,
}

/// Hours that take place, with one offset from UTC, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    start: i64,
    end: i64,
    /// Local time is so many seconds ahead of UTC.
    offset: i64,
    /// When its hours open by the clock on the wall, as if that clock showed UTC.
    opens_local: i64,
}

/// The possible visits that begin on `date`, occupied or not, in their order.
pub fn slots_on(practice: &Practice, service: &Service, date: Date) -> Vec<Slot> {
    let mut open = Vec::new();
    // A visit that begins on `date` may go on after midnight; and where the clock is put back over
    // midnight, the day before comes once more.
    for day in [date.yesterday(), Ok(date), date.tomorrow()].into_iter().flatten() {
        open.extend(stretches(practice, service, day));
    }
    let open = joined(open);
    let length = i64::from(service.length_minutes) * 60;
    let step = i64::from(practice.slot_minutes) * 60;
    let mut slots = Vec::new();
    for stretch in stretches(practice, service, date) {
        let first = stretch.start + stretch.offset - stretch.opens_local;
        let mut start = stretch.start + (step - first.rem_euclid(step)).rem_euclid(step);
        while start < stretch.end {
            let slot = Slot { start_unix: start, end_unix: start + length };
            if open.iter().any(|open| open.start <= start && slot.end_unix <= open.end) {
                slots.push(slot);
            }
            start += step;
        }
    }
    slots.sort_unstable();
    slots
}

/// The visits that begin when the clock on the wall shows `time` on `date`: none, one, or two where
/// the clock is put back.
///
/// # Errors
/// Why there is none.
pub fn slots_at(
    practice: &Practice,
    service: &Service,
    now: Timestamp,
    date: Date,
    time: Time,
) -> Result<Vec<Slot>, NotASlot> {
    let wanted = DateTime::from_parts(date, time);
    let may_begin = may_begin(practice, now);
    if date < practice.time_zone.to_datetime(now).date() {
        return Err(NotASlot::Past);
    }
    if date > last_day(practice, now) {
        return Err(NotASlot::TooFar);
    }
    let (first, last) = moments(&practice.time_zone, wanted).ok_or(NotASlot::NoSuchTime)?;
    if last < now.as_second() {
        return Err(NotASlot::Past);
    }
    if last < may_begin.start {
        return Err(NotASlot::TooSoon);
    }
    if is_holiday(practice, date) {
        return Err(NotASlot::Holiday);
    }
    if hours_of(practice, service).on(date.weekday()).is_empty() {
        return Err(NotASlot::ClosedThatDay);
    }
    let slots = slots_on(practice, service, date);
    let begins = |slot: &Slot| {
        local(practice, slot.start_unix) == wanted && may_begin.contains(&slot.start_unix)
    };
    let found: Vec<Slot> = slots.iter().copied().filter(begins).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let step = i64::from(practice.slot_minutes) * 60;
    let is_between = slots.iter().any(|slot| (first - slot.start_unix).abs() < step);
    Err(if is_between { NotASlot::NotOnGrid } else { NotASlot::OutsideHours })
}

/// When a visit may begin that is booked now: from the notice on, to the end of the last day.
pub fn may_begin(practice: &Practice, now: Timestamp) -> Range<i64> {
    let from = now.as_second().saturating_add(practice.notice.as_secs() as i64);
    let behind = last_day(practice, now).saturating_add(1.day());
    let until = practice.time_zone.to_timestamp(behind.at(0, 0, 0, 0));
    from..until.map_or(i64::MAX, Timestamp::as_second)
}

/// The last day that can be booked.
pub fn last_day(practice: &Practice, now: Timestamp) -> Date {
    let today = practice.time_zone.to_datetime(now).date();
    today.saturating_add(i64::from(practice.horizon_days).days())
}

/// What the clock on the wall shows.
pub fn local(practice: &Practice, unix: i64) -> DateTime {
    let moment = Timestamp::from_second(unix).unwrap_or(Timestamp::MAX);
    practice.time_zone.to_datetime(moment)
}

/// Whether `cells` have room for one more: `occupied` counts the visits in each of `window`.
pub fn has_room(occupied: &[u16], window: &Range<i64>, cells: Range<i64>, capacity: u16) -> bool {
    cells.into_iter().all(|cell| {
        let index = usize::try_from(cell - window.start).ok();
        index.and_then(|index| occupied.get(index)).is_none_or(|&taken| taken < capacity)
    })
}

fn hours_of<'p>(
    practice: &'p Practice,
    service: &'p Service,
) -> &'p crate::config::appointments::WeekHours {
    service.hours.as_ref().unwrap_or(&practice.hours)
}

fn is_holiday(practice: &Practice, date: Date) -> bool {
    practice.holidays.iter().any(|holiday| holiday.first <= date && date <= holiday.last)
}

/// The first and the last moment at which the clock on the wall shows `wanted`.
fn moments(zone: &TimeZone, wanted: DateTime) -> Option<(i64, i64)> {
    let ambiguous = zone.to_ambiguous_timestamp(wanted);
    if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
        return None;
    }
    let first = zone.to_ambiguous_timestamp(wanted).earlier().ok()?;
    Some((first.as_second(), ambiguous.later().ok()?.as_second()))
}

/// The hours of `date` as they take place, cut where the clock changes.
fn stretches(practice: &Practice, service: &Service, date: Date) -> Vec<Stretch> {
    if is_holiday(practice, date) {
        return Vec::new();
    }
    let midnight_local = local_seconds(date);
    let mut found = Vec::new();
    for (from, until, offset) in offsets(&practice.time_zone, midnight_local) {
        for range in hours_of(practice, service).on(date.weekday()) {
            let opens_local = midnight_local + i64::from(range.opens_minute) * 60;
            let closes_local = midnight_local + i64::from(range.closes_minute) * 60;
            let start = from.max(opens_local - offset);
            let end = until.min(closes_local - offset);
            if start < end {
                found.push(Stretch { start, end, offset, opens_local });
            }
        }
    }
    found
}

/// The offsets from UTC on the day that begins at `midnight_local`: each from, until, and how far
/// ahead local time is.
fn offsets(zone: &TimeZone, midnight_local: i64) -> Vec<(i64, i64, i64)> {
    // No zone is more than 26 hours away from UTC.
    let (from, until) = (midnight_local - 26 * 3600, midnight_local + DAY_SECONDS + 26 * 3600);
    let Ok(begin) = Timestamp::from_second(from) else { return Vec::new() };
    let mut pieces = vec![(from, until, i64::from(zone.to_offset(begin).seconds()))];
    for transition in zone.following(begin) {
        let at = transition.timestamp().as_second();
        if at >= until {
            break;
        }
        if let Some(last) = pieces.last_mut() {
            last.1 = at;
        }
        pieces.push((at, until, i64::from(transition.offset().seconds())));
    }
    pieces
}

/// Midnight of `date` as if its clock showed UTC.
fn local_seconds(date: Date) -> i64 {
    let midnight = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0));
    midnight.map_or(i64::MIN / 2, Timestamp::as_second)
}

/// Hours that follow one another without a break, as one.
fn joined(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable_by_key(|stretch| stretch.start);
    let mut open = Vec::<Stretch>::new();
    for stretch in stretches {
        match open.last_mut() {
            Some(last) if last.end >= stretch.start => last.end = last.end.max(stretch.end),
            _ => open.push(stretch),
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::appointments::{DayRange, Holiday, WeekHours};

    const ZONES: [&str; 7] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "UTC",
        "America/Havana",
        "Africa/Cairo",
    ];

    fn range(opens_minute: u16, closes_minute: u16) -> DayRange {
        DayRange { opens_minute, closes_minute }
    }

    fn service(length_minutes: u16) -> Service {
        Service {
            name: "Visit".into(),
            resource: String::new(),
            capacity: 1,
            length_minutes,
            before_minutes: 0,
            after_minutes: 0,
            hours: None,
        }
    }

    fn practice(zone: &str, ranges: &[DayRange]) -> Practice {
        Practice {
            enabled: true,
            time_zone: TimeZone::get(zone).unwrap(),
            hours: WeekHours(std::array::from_fn(|_| ranges.to_vec())),
            notice: Duration::ZERO,
            services: vec![service(30)],
            ..Practice::default()
        }
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn wall(practice: &Practice, slots: &[Slot]) -> Vec<String> {
        let time = |slot: &Slot| local(practice, slot.start_unix).time();
        slots.iter().map(|slot| time(slot).strftime("%H:%M").to_string()).collect()
    }

    #[test]
    fn a_plain_day_has_visits_on_the_grid_of_each_opening_and_none_into_a_break() {
        let mut practice = practice("Europe/Berlin", &[range(540, 660), range(670, 725)]);
        practice.slot_minutes = 30;
        let slots = slots_on(&practice, &service(45), day("2027-03-01"));
        assert_eq!(wall(&practice, &slots), ["09:00", "09:30", "10:00", "11:10"]);
        assert_eq!(slots[0].start_unix, at("2027-03-01T08:00:00Z"));
    }

    #[test]
    fn hours_in_the_gap_do_not_take_place() {
        // 28 March 2027: 02:00 becomes 03:00.
        let practice = practice("Europe/Berlin", &[range(60, 240)]);
        let slots = slots_on(&practice, &service(60), day("2027-03-28"));
        let expected = ["01:00", "01:15", "01:30", "01:45", "03:00"];
        assert_eq!(wall(&practice, &slots), expected);
        // Across the gap a visit of an hour is an hour, not two.
        assert_eq!(slots[3].end_unix, at("2027-03-28T01:45:00Z"));
        let inside = super::tests::practice("Europe/Berlin", &[range(120, 180)]);
        assert!(slots_on(&inside, &service(5), day("2027-03-28")).is_empty());
    }

    #[test]
    fn hours_in_the_fold_take_place_twice() {
        // 31 October 2027: 03:00 becomes 02:00.
        let practice = practice("Europe/Berlin", &[range(120, 180)]);
        let slots = slots_on(&practice, &service(30), day("2027-10-31"));
        let expected = ["02:00", "02:15", "02:30", "02:45", "02:00", "02:15", "02:30"];
        assert_eq!(wall(&practice, &slots), expected);
        let now = Timestamp::from_second(at("2027-10-30T00:00:00Z")).unwrap();
        let time = Time::constant(2, 15, 0, 0);
        let both = slots_at(&practice, &service(30), now, day("2027-10-31"), time).unwrap();
        assert_eq!(both[1].start_unix - both[0].start_unix, 3600);
    }

    #[test]
    fn days_have_as_many_hours_as_their_clock_gives_them() {
        let all_day = |zone: &str, date: &str| {
            let practice = practice(zone, &[range(0, 1440)]);
            slots_on(&practice, &service(5), day(date)).len()
        };
        assert_eq!(all_day("Europe/Berlin", "2027-06-01"), 96);
        assert_eq!(all_day("Europe/Berlin", "2027-03-28"), 92);
        assert_eq!(all_day("Europe/Berlin", "2027-10-31"), 100);
        assert_eq!(all_day("Australia/Lord_Howe", "2027-04-04"), 98);
        assert_eq!(all_day("Asia/Kolkata", "2027-03-28"), 96);
    }

    #[test]
    fn a_visit_may_go_on_after_midnight_unless_that_is_a_holiday() {
        let mut practice = practice("UTC", &[range(0, 120), range(1320, 1440)]);
        practice.slot_minutes = 60;
        let evening = |practice: &Practice| {
            wall(practice, &slots_on(practice, &service(90), day("2027-05-01")))
        };
        assert_eq!(evening(&practice), ["00:00", "22:00", "23:00"]);
        let second = day("2027-05-02");
        practice.holidays = vec![Holiday { first: second, last: second }];
        assert_eq!(evening(&practice), ["00:00", "22:00"]);
    }

    #[test]
    fn a_wish_that_cannot_be_is_told_why() {
        let mut practice = practice("Europe/Berlin", &[range(540, 720)]);
        practice.hours.0[6].clear();
        practice.hours.0[5] = vec![range(120, 180)];
        practice.notice = Duration::from_secs(3600);
        practice.horizon_days = 300;
        let first = day("2027-05-01");
        practice.holidays = vec![Holiday { first, last: first }];
        let now = Timestamp::from_second(at("2027-03-01T09:00:00Z")).unwrap();
        let why = |date: &str, hour, minute| {
            let time = Time::constant(hour, minute, 0, 0);
            slots_at(&practice, &service(30), now, day(date), time).unwrap_err()
        };
        assert_eq!(why("2027-03-01", 9, 0), NotASlot::Past);
        assert_eq!(why("2027-03-01", 10, 30), NotASlot::TooSoon);
        assert_eq!(why("2027-12-27", 9, 0), NotASlot::TooFar);
        assert_eq!(why("2027-05-01", 9, 0), NotASlot::Holiday);
        assert_eq!(why("2027-03-07", 9, 0), NotASlot::ClosedThatDay);
        assert_eq!(why("2027-03-02", 9, 10), NotASlot::NotOnGrid);
        assert_eq!(why("2027-03-02", 13, 0), NotASlot::OutsideHours);
        assert_eq!(why("2027-03-02", 11, 45), NotASlot::OutsideHours);
        assert_eq!(why("2027-03-28", 2, 30), NotASlot::NoSuchTime);
    }

    #[test]
    fn a_place_is_free_while_fewer_than_the_capacity_stand_in_every_cell() {
        let occupied = [0, 1, 2, 1];
        let window = 10..14;
        assert!(has_room(&occupied, &window, 10..11, 1));
        assert!(!has_room(&occupied, &window, 10..12, 1));
        assert!(has_room(&occupied, &window, 10..12, 2));
        assert!(!has_room(&occupied, &window, 11..14, 2));
        assert!(has_room(&occupied, &window, 13..20, 2), "nothing is known beyond: nothing stands");
    }

    /// The slow way: looks at the clock on the wall in every minute.
    struct Watcher<'p> {
        practice: &'p Practice,
        service: &'p Service,
    }

    impl Watcher<'_> {
        fn shows(&self, unix: i64) -> DateTime {
            let moment = Timestamp::from_second(unix).unwrap();
            moment.to_zoned(self.practice.time_zone.clone()).datetime()
        }

        /// The hours that are open at this minute.
        fn open_range(&self, unix: i64) -> Option<DayRange> {
            let wall = self.shows(unix);
            let is_holiday = |day: &Holiday| (day.first..=day.last).contains(&wall.date());
            if self.practice.holidays.iter().any(is_holiday) {
                return None;
            }
            let minute = wall.hour() as u16 * 60 + wall.minute() as u16;
            let hours = self.service.hours.as_ref().unwrap_or(&self.practice.hours);
            let weekday = wall.date().weekday().to_monday_zero_offset();
            hours.0[weekday as usize]
                .iter()
                .find(|range| range.opens_minute <= minute && minute < range.closes_minute)
                .copied()
        }

        fn slots_on(&self, date: Date) -> Vec<Slot> {
            let noon = TimeZone::UTC.to_timestamp(date.at(12, 0, 0, 0)).unwrap().as_second();
            let length = i64::from(self.service.length_minutes);
            let is_open: Vec<bool> = (-48 * 60..72 * 60)
                .map(|minute| self.open_range(noon + minute * 60).is_some())
                .collect();
            let mut slots = Vec::new();
            for minute in -48 * 60..48 * 60 {
                let start_unix = noon + minute * 60;
                let wall = self.shows(start_unix);
                let Some(range) = self.open_range(start_unix) else { continue };
                let into = wall.hour() as u16 * 60 + wall.minute() as u16 - range.opens_minute;
                let index = (minute + 48 * 60) as usize;
                if wall.date() == date
                    && into.is_multiple_of(self.practice.slot_minutes)
                    && is_open[index..index + length as usize].iter().all(|&open| open)
                {
                    slots.push(Slot { start_unix, end_unix: start_unix + length * 60 });
                }
            }
            slots
        }
    }

    fn random_hours(random: &mut fastrand::Rng) -> WeekHours {
        WeekHours(std::array::from_fn(|_| {
            let mut edges: Vec<u16> =
                (0..2 * random.usize(0..4)).map(|_| random.u16(0..=288) * 5).collect();
            edges.sort_unstable();
            let pairs = edges.chunks(2).map(|pair| range(pair[0], pair[1]));
            pairs.filter(|range| range.opens_minute < range.closes_minute).collect()
        }))
    }

    #[test]
    fn slots_are_those_a_watcher_of_the_wall_clock_finds() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..140 {
            let zone = ZONES[round % ZONES.len()];
            let mut practice = practice(zone, &[]);
            practice.hours = random_hours(&mut random);
            practice.slot_minutes = [5, 10, 15, 20, 30, 45, 60, 90][random.usize(0..8)];
            let mut service = service(random.u16(1..=144) * 5);
            if random.bool() {
                service.length_minutes = random.u16(1..=12) * 5;
            }
            if random.u8(0..4) == 0 {
                service.hours = Some(random_hours(&mut random));
            }
            // Mostly around a change of the clock.
            let anywhere = Date::constant(2026, 1, 1).saturating_add(random.i64(0..1500).days());
            let begin = practice.time_zone.to_timestamp(anywhere.at(0, 0, 0, 0)).unwrap();
            let change = practice.time_zone.following(begin).next();
            let date = match change {
                Some(change) if random.u8(0..5) > 0 => {
                    let day = practice.time_zone.to_datetime(change.timestamp()).date();
                    day.saturating_add(random.i64(-1..=1).days())
                }
                _ => anywhere,
            };
            if random.u8(0..4) == 0 {
                let first = date.saturating_add(random.i64(-1..=1).days());
                practice.holidays = vec![Holiday { first, last: first }];
            }
            let watcher = Watcher { practice: &practice, service: &service };
            let found = slots_on(&practice, &service, date);
            assert_eq!(found, watcher.slots_on(date), "{zone} {date} {practice:?} {service:?}");
            for slot in &found {
                let cells = slot.cells(&service);
                assert!(cells.start * CELL_SECONDS <= slot.start_unix);
                assert!(cells.end * CELL_SECONDS >= slot.end_unix);
            }
        }
    }
}
