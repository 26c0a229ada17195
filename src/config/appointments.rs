//! `[appointments]`: the practice that appointments are booked at, and the tools that book them.
//!
//! In:       the section of the file; for a demo without one, a sample practice.
//! Out:      [`Appointments`], in which every service has hours it fits into; what a model is told
//!           of the five tools ([`declarations`]).
//! Bounds:   [`SERVICES_MAX`], [`HOLIDAYS_MAX`], [`RANGES_MAX`]; lengths on a grid of
//!           [`GRAIN_MINUTES`].
//! Not here: which times are free (`control::appointments::hours`), what the tools answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use toml::de::DeValue;

use super::Secret;
use super::settings::{Key, Settings, Table, Written};
use super::values;

/// Every length and every opening hour is a multiple of so many minutes.
pub const GRAIN_MINUTES: u16 = 5;
/// Services of one practice. Above: an error.
pub const SERVICES_MAX: usize = 32;
/// Holidays, single days or ranges of them. Above: an error.
pub const HOLIDAYS_MAX: usize = 400;
/// Opening hours of one day, with the breaks between them. Above: an error.
pub const RANGES_MAX: usize = 8;
/// Appointments that may stand side by side.
pub const CAPACITY_MAX: u16 = 64;
/// The longest visit, and the longest buffer before or after it.
pub const LENGTH_MAX: Duration = Duration::from_secs(12 * 3600);
/// How far ahead the farthest appointment may be.
pub const HORIZON_DAYS_MAX: u16 = 732;

const LENGTH_MAX_MINUTES: u16 = (LENGTH_MAX.as_secs() / 60) as u16;
const DAY_MINUTES: u16 = 24 * 60;
const NAME_MAX_CHARS: usize = 60;
/// A token that opens a list of names must not be guessed.
const TOKEN_MIN_BYTES: usize = 16;
const NOTICE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// As the file names the days, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The demo's feed is opened with this word: what it shows has been made up by whoever tries it.
const SAMPLE_TOKEN: &str = "demo";

/// A practice: what can be booked there, and when.
#[derive(Clone, Debug)]
pub struct Appointments {
    /// Whether appointments are taken at all.
    pub enabled: bool,
    /// The zone of the opening hours and of every time that is said. It has an IANA name.
    pub time_zone: TimeZone,
    /// When visits may take place.
    pub hours: WeekHours,
    /// Days without any.
    pub holidays: Vec<Holiday>,
    /// Distance of the possible beginnings, from each opening on.
    pub slot_minutes: u16,
    /// The least time from the booking to the visit.
    pub notice: Duration,
    /// The last day that can be booked is so many days after today.
    pub horizon_days: u16,
    /// What can be booked; not empty where appointments are taken.
    pub services: Vec<Service>,
    /// Opens the calendar feed; `None`: nothing does.
    pub calendar_token: Option<Secret>,
}

/// One kind of visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, as callers and calendars hear and see it.
    pub name: String,
    /// The person, room or chair it takes: services that name the same one share its places. Empty
    /// where none is named: then all such services share one.
    pub resource: String,
    /// How many visits its resource takes side by side.
    pub capacity: u16,
    /// How long a visit is.
    pub length_minutes: u16,
    /// Kept free before each visit.
    pub before_minutes: u16,
    /// Kept free after each visit.
    pub after_minutes: u16,
    /// Its own hours, instead of the practice's.
    pub hours: Option<WeekHours>,
}

/// Opening hours by day of the week, Monday first, each day's in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeekHours(pub [Vec<DayRange>; 7]);

impl WeekHours {
    /// Those of one day.
    pub fn on(&self, day: Weekday) -> &[DayRange] {
        &self.0[day.to_monday_zero_offset() as usize]
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// The longest visit that fits into one day's hours.
    fn longest_minutes(&self) -> u16 {
        let of_day = |ranges: &Vec<DayRange>| {
            let (mut longest, mut since, mut until) = (0, 0, 0);
            for range in ranges {
                since = if range.opens_minute == until { since } else { range.opens_minute };
                until = range.closes_minute;
                longest = longest.max(until - since);
            }
            longest
        };
        self.0.iter().map(of_day).max().unwrap_or(0)
    }
}

/// Opening hours between two breaks, in minutes since midnight by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    /// The first minute.
    pub opens_minute: u16,
    /// The minute behind the last; at most 1440.
    pub closes_minute: u16,
}

/// Days without opening hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holiday {
    /// The first.
    pub first: Date,
    /// The last; the same for a single day.
    pub last: Date,
}

impl Default for Appointments {
    /// None are taken.
    fn default() -> Appointments {
        Appointments {
            enabled: false,
            time_zone: TimeZone::UTC,
            hours: WeekHours::default(),
            holidays: Vec::new(),
            slot_minutes: 15,
            notice: Duration::from_secs(3600),
            horizon_days: 90,
            services: Vec::new(),
            calendar_token: None,
        }
    }
}

impl Appointments {
    /// A small practice for the demo, open every day, in this machine's time zone.
    pub fn sample() -> Appointments {
        let range = |opens: u16, closes: u16| DayRange {
            opens_minute: opens * 60,
            closes_minute: closes * 60,
        };
        let service = |name: &str, length_minutes, after_minutes| Service {
            name: name.to_owned(),
            resource: String::new(),
            capacity: 1,
            length_minutes,
            before_minutes: 0,
            after_minutes,
            hours: None,
        };
        let system = TimeZone::system();
        let is_named = system.iana_name().is_some() && !system.is_unknown();
        Appointments {
            enabled: true,
            time_zone: if is_named { system } else { TimeZone::UTC },
            hours: WeekHours(std::array::from_fn(|_| vec![range(8, 12), range(13, 18)])),
            services: vec![service("Consultation", 30, 0), service("Treatment", 60, 15)],
            calendar_token: Some(Secret::new(SAMPLE_TOKEN.to_owned())),
            ..Appointments::default()
        }
    }

    /// The IANA name of the time zone.
    pub fn zone_name(&self) -> &str {
        self.time_zone.iana_name().unwrap_or("UTC")
    }
}

// ------------------------------------------------------------------------------------- the tools

/// What a model is told of the tools: name, description, and parameters as a JSON Schema object.
///
/// Empty where no appointments are taken. A parameter `service` is there only where there is more
/// than one.
pub fn declarations(practice: &Appointments) -> Vec<(&'static str, String, Value)> {
    if !practice.enabled {
        return Vec::new();
    }
    let zone = practice.zone_name();
    let read_out = "Answers with `say`, a sentence to tell the caller in their language.";
    vec![
        (
            "check_availability",
            format!(
                "Finds free appointment times. Call it before offering any time. With `date`: the \
                 free times of that day; without: the next free times. Times are local, in {zone}. \
                 {read_out}"
            ),
            parameters(practice, true, &["date?", "time?"]),
        ),
        (
            "book_appointment",
            format!(
                "Books an appointment. Call it once the caller has agreed to service, date and \
                 time and given a name. It is booked only if `ok` is true: then tell the caller \
                 date, time and reference. If not, offer the `alternatives`. {read_out}"
            ),
            parameters(practice, true, &["date", "time", "name", "note?"]),
        ),
        (
            "reschedule_appointment",
            format!(
                "Moves an appointment of the caller to another date and time. Without `reference` \
                 it is the caller's only one, known by their telephone number; from another \
                 telephone `reference` and `name` are needed. It is moved only if `ok` is true. \
                 {read_out}"
            ),
            parameters(practice, false, &["date", "time", "reference?", "name?"]),
        ),
        (
            "cancel_appointment",
            format!(
                "Cancels an appointment of the caller, once they have confirmed that they want \
                 this. Without `reference` it is the caller's only one; from another telephone \
                 `reference` and `name` are needed. It is cancelled only if `ok` is true. \
                 {read_out}"
            ),
            parameters(practice, false, &["reference?", "name?"]),
        ),
        (
            "find_appointment",
            format!(
                "Finds the caller's own coming appointments, by their telephone number; from \
                 another telephone by `reference` and `name`. {read_out}"
            ),
            parameters(practice, false, &["reference?", "name?"]),
        ),
    ]
}

/// A schema with these parameters; a `?` behind a name: it may be left out.
fn parameters(practice: &Appointments, of_service: bool, names: &[&str]) -> Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    if of_service && practice.services.len() > 1 {
        let names: Vec<&str> = practice.services.iter().map(|service| &*service.name).collect();
        let service = json!({"type": "string", "enum": names, "description": "The kind of visit"});
        properties.insert("service".to_owned(), service);
        required.push("service");
    }
    for name in names {
        let (name, is_required) =
            name.strip_suffix('?').map_or((*name, true), |name| (name, false));
        let description = match name {
            "date" => "Local date, YYYY-MM-DD",
            "time" => "Local time, 24 hours, HH:MM",
            "name" => "The caller's full name, as they say it",
            "note" => "What the practice should know beforehand, in a few words",
            _ => "The code of five letters and digits that the caller was given",
        };
        properties.insert(name.to_owned(), json!({"type": "string", "description": description}));
        if is_required {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

// ----------------------------------------------------------------------------------- the section

/// Reads `[appointments]`. In a demo that names neither services nor whether it takes appointments
/// at all, the sample practice stands where nothing is written.
pub(super) fn read(settings: &mut Settings<'_>, is_demo: bool) -> Appointments {
    const ENABLED: Key = Key::open("appointments", "enabled");
    const ZONE: Key = Key::open("appointments", "time_zone");
    const SERVICES: Key = Key::open("appointments", "services");
    const HOURS: Key = Key::open("appointments", "hours");
    let is_own = settings.is_written(ENABLED) || settings.is_in_file(SERVICES);
    let base = match is_demo && !is_own {
        true => Appointments::sample(),
        false => Appointments::default(),
    };
    let enabled = settings.read(ENABLED, values::truth).unwrap_or(base.enabled);
    let zone = settings.read(ZONE, time_zone);
    let hours =
        settings.take_table(HOURS, "appointments.hours").map(|table| week_hours(settings, table));
    let general = hours.clone().unwrap_or_else(|| base.hours.clone());
    let services = settings.take_tables(SERVICES, "appointments.services");
    let services = services.map(|tables| read_services(settings, tables, &general));
    if is_own && enabled {
        if !settings.is_written(ZONE) {
            settings.fail_missing(ZONE, "is missing: the zone of the hours, as Europe/Berlin");
        }
        if services.as_ref().is_none_or(Vec::is_empty) {
            settings.fail_missing(SERVICES, "is missing: write [[appointments.services]]");
        }
    }
    let grained = values::duration_of(GRAIN_MINUTES, GRAIN_MINUTES..=240);
    let horizon = settings.read(Key::open("appointments", "horizon"), whole_days);
    Appointments {
        enabled,
        time_zone: zone.unwrap_or(base.time_zone),
        hours: general,
        holidays: settings
            .read(Key::open("appointments", "holidays"), holidays)
            .unwrap_or(base.holidays),
        slot_minutes: settings
            .read(Key::open("appointments", "slot"), grained)
            .unwrap_or(base.slot_minutes),
        notice: settings
            .read(
                Key::open("appointments", "notice"),
                values::duration(Duration::ZERO..=NOTICE_MAX),
            )
            .unwrap_or(base.notice),
        horizon_days: horizon.unwrap_or(base.horizon_days),
        services: services.unwrap_or(base.services),
        calendar_token: settings
            .read(Key::guarded("appointments", "calendar_token"), long_token)
            .or(base.calendar_token),
    }
}

fn read_services<'s>(
    settings: &mut Settings<'s>,
    tables: Vec<Table<'s>>,
    general: &WeekHours,
) -> Vec<Service> {
    let (mut services, mut names) = (Vec::<Service>::new(), BTreeSet::new());
    let mut capacities = BTreeMap::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        let service = read_service(settings, &mut table);
        let hours = service.hours.as_ref().unwrap_or(general);
        if index == SERVICES_MAX {
            let advice = format!("there are more than {SERVICES_MAX} services");
            settings.fail_in(&mut table, "name", &advice);
        }
        if table.has("name") && !names.insert(service.name.to_lowercase()) {
            settings.fail_in(&mut table, "name", "another service has this name");
        }
        let of_resource = *capacities.entry(service.resource.clone()).or_insert(service.capacity);
        if of_resource != service.capacity {
            let advice = format!(
                "another service of the same resource has the capacity {of_resource}: services \
                 that share places have the same; give this one a resource of its own"
            );
            settings.fail_in(&mut table, "capacity", &advice);
        }
        if hours.is_empty() {
            settings.fail_in(&mut table, "hours", "no opening hours: set appointments.hours");
        } else if hours.longest_minutes() < service.length_minutes {
            let longest = hours.longest_minutes();
            let advice = format!("does not fit: no opening hours are longer than {longest}m");
            settings.fail_in(&mut table, "length", &advice);
        }
        settings.done_with(&table);
        services.push(service);
    }
    services
}

fn read_service<'s>(settings: &mut Settings<'s>, table: &mut Table<'s>) -> Service {
    let (least, longest) = (GRAIN_MINUTES, LENGTH_MAX_MINUTES);
    for name in ["name", "length"] {
        if !table.has(name) {
            settings.fail_in(table, name, "is missing: each service has a name and a length");
        }
    }
    let name = settings.read_in(table, "name", short_line);
    let resource = settings.read_in(table, "resource", short_line);
    let capacity = values::whole(1..=usize::from(CAPACITY_MAX));
    let capacity = settings.read_in(table, "capacity", capacity);
    let mut minutes = |name, least| {
        settings.read_in(table, name, values::duration_of(GRAIN_MINUTES, least..=longest))
    };
    let length = minutes("length", least);
    let (before, after) = (minutes("buffer_before", 0), minutes("buffer_after", 0));
    let hours = settings.table_in(table, "hours", "appointments.services.hours");
    Service {
        name: name.unwrap_or_default(),
        resource: resource.unwrap_or_default(),
        capacity: capacity.unwrap_or(1) as u16,
        length_minutes: length.unwrap_or(least),
        before_minutes: before.unwrap_or(0),
        after_minutes: after.unwrap_or(0),
        hours: hours.map(|table| week_hours(settings, table)),
    }
}

fn week_hours<'s>(settings: &mut Settings<'s>, mut table: Table<'s>) -> WeekHours {
    let hours = DAYS.map(|day| settings.read_in(&mut table, day, day_ranges).unwrap_or_default());
    settings.done_with(&table);
    WeekHours(hours)
}

// ------------------------------------------------------------------------------------ the values

/// An IANA time zone.
fn time_zone(written: &Written<'_>) -> Result<TimeZone, String> {
    let name = values::text(written)?;
    let zone = TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some());
    zone.ok_or_else(|| "no such time zone: write one such as Europe/Berlin or UTC".to_owned())
}

/// `["09:00-12:30", "13:30-17:00"]`, or one of them; an empty list is a day without.
fn day_ranges(written: &Written<'_>) -> Result<Vec<DayRange>, String> {
    let form = "must be hours such as [\"09:00-12:30\", \"13:30-17:00\"]";
    let texts: Vec<&str> = match written {
        Written::Toml(DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str());
            texts.collect::<Option<_>>().ok_or(form)?
        }
        one => vec![values::text(one).map_err(|_| form)?],
    };
    if texts.len() > RANGES_MAX {
        return Err(format!("must be at most {RANGES_MAX} hours a day"));
    }
    let mut ranges = Vec::<DayRange>::new();
    for text in texts {
        let (opens, closes) = text.split_once('-').ok_or(form)?;
        let minute = |text: &str| minute_of_day(text.trim()).ok_or(form);
        let (opens_minute, closes_minute) = (minute(opens)?, minute(closes)?);
        if opens_minute % GRAIN_MINUTES != 0 || closes_minute % GRAIN_MINUTES != 0 {
            return Err(format!("must be on multiples of {GRAIN_MINUTES} minutes"));
        }
        if opens_minute >= closes_minute {
            return Err("must open before they close; a night's hours end at 24:00".to_owned());
        }
        if ranges.last().is_some_and(|last| last.closes_minute > opens_minute) {
            return Err("must follow one another, the earlier first".to_owned());
        }
        ranges.push(DayRange { opens_minute, closes_minute });
    }
    Ok(ranges)
}

/// `HH:MM`, up to `24:00`.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str, lengths: &[usize]| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        (plain && lengths.contains(&digits.len())).then(|| digits.parse::<u16>().ok())?
    };
    let (hours, minutes) = (number(hours, &[1, 2])?, number(minutes, &[2])?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
}

/// `["2027-12-24..2028-01-02", "2027-05-01"]`, with or without quotes around single days.
fn holidays(written: &Written<'_>) -> Result<Vec<Holiday>, String> {
    let form = "must be a list of days such as \"2027-12-24\" or \"2027-12-24..2028-01-02\"";
    let Written::Toml(DeValue::Array(items)) = written else { return Err(form.to_owned()) };
    if items.len() > HOLIDAYS_MAX {
        return Err(format!("must be at most {HOLIDAYS_MAX} days or ranges of days"));
    }
    let holiday = |text: &str| {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let first: Date = first.trim().parse().ok()?;
        let last: Date = last.trim().parse().ok()?;
        (first <= last).then_some(Holiday { first, last })
    };
    let one = |item: &DeValue<'_>| {
        let text = match item {
            DeValue::Datetime(day) => day.to_string(),
            other => other.as_str().ok_or(form)?.to_owned(),
        };
        holiday(&text).ok_or_else(|| format!("{text:.40} is no such day or range; the list {form}"))
    };
    items.iter().map(|item| one(item.get_ref())).collect()
}

/// `90d`: whole days.
fn whole_days(written: &Written<'_>) -> Result<u16, String> {
    const DAY: u64 = 24 * 3600;
    let form = format!("must be whole days such as \"90d\", from 1d to {HORIZON_DAYS_MAX}d");
    let length = values::text(written).ok().and_then(values::parse_duration);
    let days =
        length.filter(|length| length.subsec_nanos() == 0 && length.as_secs().is_multiple_of(DAY));
    let days = days.map(|length| length.as_secs() / DAY).unwrap_or(0);
    match (1..=u64::from(HORIZON_DAYS_MAX)).contains(&days) {
        true => Ok(days as u16),
        false => Err(form),
    }
}

/// A short line to be read out: no control characters.
fn short_line(written: &Written<'_>) -> Result<String, String> {
    let line = values::text(written)?.trim();
    let fits = (1..=NAME_MAX_CHARS).contains(&line.chars().count());
    match fits && !line.chars().any(char::is_control) {
        true => Ok(line.to_owned()),
        false => Err(format!("must be one line of 1 to {NAME_MAX_CHARS} characters")),
    }
}

/// A token that cannot be guessed.
fn long_token(written: &Written<'_>) -> Result<Secret, String> {
    let token = values::secret(written)?;
    match token.reveal().len() >= TOKEN_MIN_BYTES {
        true => Ok(token),
        false => Err(format!("must have at least {TOKEN_MIN_BYTES} characters: it opens names")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, SourceFile};

    const PRACTICE: &str = r#"
[gemini]
api_key = "key"
[appointments]
enabled = true
time_zone = "Europe/Berlin"
slot = "30m"
notice = "2h"
horizon = "60d"
holidays = [2027-05-01, "2027-12-24..2027-12-26"]
calendar_token = "0123456789abcdef"
[appointments.hours]
mon = ["09:00-12:30", "13:30-17:00"]
fri = "08:00-24:00"
[[appointments.services]]
name = "Check-up"
length = "30m"
buffer_before = "5m"
buffer_after = "10m"
[[appointments.services]]
name = "Hygiene"
length = "1h"
resource = "hygienist"
capacity = 2
hours = { sat = ["10:00-11:00", "11:00-12:00"] }
"#;

    fn read(file: &str) -> Result<Config, String> {
        let file = SourceFile { path: PathBuf::from("v.toml"), text: file.to_owned() };
        Config::read(Some(&file), []).map_err(|errors| errors.to_string())
    }

    fn practice(file: &str) -> Appointments {
        read(file).unwrap().appointments
    }

    #[test]
    fn a_practice_is_read_as_it_is_written() {
        let practice = practice(PRACTICE);
        assert!(practice.enabled);
        assert_eq!(practice.zone_name(), "Europe/Berlin");
        assert_eq!((practice.slot_minutes, practice.horizon_days), (30, 60));
        assert_eq!(practice.notice, Duration::from_secs(7200));
        let day = |text: &str| text.parse::<Date>().unwrap();
        let may = Holiday { first: day("2027-05-01"), last: day("2027-05-01") };
        let december = Holiday { first: day("2027-12-24"), last: day("2027-12-26") };
        assert_eq!(practice.holidays, [may, december]);
        let range = |opens_minute, closes_minute| DayRange { opens_minute, closes_minute };
        let monday = practice.hours.on(Weekday::Monday);
        assert_eq!(monday, [range(540, 750), range(810, 1020)]);
        assert_eq!(practice.hours.on(Weekday::Friday), [range(480, 1440)]);
        assert!(practice.hours.on(Weekday::Sunday).is_empty());
        let [checkup, hygiene] = &practice.services[..] else { panic!("two services") };
        assert_eq!((checkup.length_minutes, checkup.capacity), (30, 1));
        assert_eq!((checkup.before_minutes, checkup.after_minutes), (5, 10));
        assert_eq!((checkup.resource.as_str(), hygiene.resource.as_str()), ("", "hygienist"));
        assert_eq!(hygiene.hours.as_ref().unwrap().on(Weekday::Saturday).len(), 2);
        assert_eq!(practice.calendar_token.unwrap().reveal(), "0123456789abcdef");
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let file = r#"[appointments]
enabled = true
time_zone = "Europe/Atlantis"
slot = "7m"
notice = "31d"
horizon = "36h"
holidays = ["2027-02-30"]
calendar_token = "short"
colour = "red"
[appointments.hours]
mon = ["09:00-08:00"]
tue = ["09:00-12:00", "11:00-13:00"]
wed = ["09:02-12:00"]
thu = ["9-12"]
fri = "10:00-12:00"
someday = []
[[appointments.services]]
name = "A"
length = "3h"
[[appointments.services]]
name = "a"
length = "4m"
capacity = 2
price = 1
[[appointments.services]]
length = "30m"
resource = "x"
buffer_before = "1s"
hours = []
[[appointments.services]]
name = "B"
length = "30m"
resource = "y"
hours = { mon = [] }
"#;
        let told = read(file).unwrap_err();
        for expected in [
            "v.toml:3: appointments.time_zone = \"Europe/Atlantis\": no such time zone",
            "v.toml:4: appointments.slot = \"7m\": must be from 5m to 240m, in steps of 5m",
            "v.toml:5: appointments.notice",
            "v.toml:6: appointments.horizon = \"36h\": must be whole days",
            "v.toml:7: appointments.holidays: 2027-02-30 is no such day",
            "v.toml:8: appointments.calendar_token: must have at least 16",
            "v.toml:9: appointments.colour: no such key",
            "v.toml:11: appointments.hours.mon: must open before",
            "v.toml:12: appointments.hours.tue: must follow one another",
            "v.toml:13: appointments.hours.wed: must be on multiples",
            "v.toml:14: appointments.hours.thu: must be hours such as",
            "v.toml:16: appointments.hours.someday: no such key; here are: mon, tue",
            "v.toml:19: appointments.services.length = \"3h\": does not fit",
            "v.toml:21: appointments.services.name = \"a\": another service has this name",
            "v.toml:22: appointments.services.length = \"4m\": must be from 5m",
            "v.toml:23: appointments.services.capacity = 2: another service of the same",
            "v.toml:24: appointments.services.price: no such key",
            "v.toml:25: appointments.services.name: is missing",
            "v.toml:28: appointments.services.buffer_before = \"1s\"",
            "v.toml:29: appointments.services.hours: must be a table",
            "v.toml:34: appointments.services.hours: no opening hours",
        ] {
            assert!(told.contains(expected), "{expected}\nis not in\n{told}");
        }
        assert_eq!(told.lines().count(), 21, "{told}");
        assert!(!told.contains("short"), "a secret: {told}");
    }

    #[test]
    fn what_is_missing_is_told_too() {
        let told = read("[appointments]\nenabled = true\n").unwrap_err();
        assert!(told.contains("v.toml:1: appointments.time_zone: is missing"), "{told}");
        assert!(told.contains("v.toml:1: appointments.services: is missing"), "{told}");
        let told = read("[appointments]\nservices = 5\n").unwrap_err();
        assert!(told.contains("write it as [[appointments.services]]"), "{told}");
        let variable = [("VOCARIS_APPOINTMENTS_SERVICES".into(), "x".into())];
        assert!(Config::read(None, variable).unwrap_err().to_string().contains("sets nothing"));
    }

    #[test]
    fn a_demo_has_a_sample_practice_and_a_real_relay_has_none() {
        let demo = practice("");
        assert!(demo.enabled && !demo.services.is_empty());
        assert!(demo.time_zone.iana_name().is_some());
        assert_eq!(practice("[appointments]\nslot = \"10m\"\n").slot_minutes, 10);
        assert!(!practice("[appointments]\nenabled = false\n").enabled);
        assert!(!practice("[gemini]\napi_key = \"key\"\n").enabled);
        assert!(!practice("[gemini]\nurl = \"ws://127.0.0.1:9\"\n").enabled);
    }

    #[test]
    fn a_model_is_told_of_five_tools_and_of_services_only_where_there_is_a_choice() {
        let mut practice = practice(PRACTICE);
        let tools = declarations(&practice);
        assert_eq!(tools.len(), 5);
        for (name, description, parameters) in &tools {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(!description.contains("  "), "{description}");
            let properties = parameters["properties"].as_object().unwrap();
            for required in parameters["required"].as_array().unwrap() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{name}");
            }
        }
        let service = &tools[1].2["properties"]["service"];
        assert_eq!(service["enum"], json!(["Check-up", "Hygiene"]));
        practice.services.truncate(1);
        assert!(declarations(&practice)[1].2["properties"].get("service").is_none());
        practice.enabled = false;
        assert!(declarations(&practice).is_empty());
    }
}
