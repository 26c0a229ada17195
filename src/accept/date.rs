//! The `Date` of an answer, RFC 9110 section 5.6.7.
//!
//! In:       seconds since 1970.
//! Out:      `Sun, 06 Nov 1994 08:49:37 GMT`.
//! Not here: the clock; calendars of people, which have time zones.

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Days of 400 years, after which the calendar repeats itself.
const ERA_DAYS: u64 = 146_097;

/// The date in the one form that HTTP writes.
pub(super) fn imf_fixdate(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / DAY_SECONDS, unix_seconds % DAY_SECONDS);
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[(days % 7) as usize];
    let month = MONTHS[month];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month (from 0) and day (from 1) of a day since 1970.
///
/// Years are counted from March on, so that the leap day is the last of its year: the months then
/// have 31, 30, 31, 30, 31 days over and over, 153 in five of them.
fn civil(days: u64) -> (u64, usize, u64) {
    // 1 March of the year 0 lies 719,468 days before 1970.
    let days = days + 719_468;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 10 } else { month + 2 };
    (400 * era + year + u64::from(is_next_year), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_the_rfc_writes_them() {
        // date -u -d @784111777 '+%a, %d %b %Y %T GMT'
        assert_eq!(imf_fixdate(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(imf_fixdate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(imf_fixdate(951_827_696), "Tue, 29 Feb 2000 12:34:56 GMT");
        assert_eq!(imf_fixdate(1_795_478_399), "Mon, 23 Nov 2026 23:59:59 GMT");
        assert_eq!(imf_fixdate(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_day_before() {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let length = |year, month| match month {
            1 if leap(year) => 29,
            1 => 28,
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..2 * ERA_DAYS {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month == 12 {
                (year, month) = (year + 1, 0);
            }
        }
    }
}
