//! The forms in which logs write a time: seconds since the epoch and finer units, and RFC 3339 with what is usually
//! left out of it.

use crate::origin::Time;

/// How many of the unit make a second, the coarsest first.
const UNITS: [u64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

impl Time {
    /// Reads a time as logs write it:
    ///
    /// * decimal seconds since 1970 with up to nine digits of fraction, or milliseconds, microseconds or nanoseconds: a
    ///   whole number past the year 9999 in one unit is of the next finer one;
    /// * RFC 3339, `2026-01-02T03:04:05.678+08:00`; a space may stand for the `T`, a comma for the point, the zone
    ///   may be written `+0800` or `+08`, and a time without a zone is UTC.
    ///
    /// `None` for anything else, and for what does not fall into the years 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        match text.as_bytes() {
            [_, _, _, _, b'-', ..] => civil(text),
            _ => epoch(text),
        }
    }
}

fn epoch(text: &str) -> Option<Time> {
    let Some((whole, fraction)) = text.split_once('.') else {
        let number = digits(text)?;
        let unit = UNITS.into_iter().find(|unit| number / unit <= Time::MAX_SECONDS)?;
        let nanos = number % unit * (1_000_000_000 / unit);
        return Some(Time { seconds: number / unit, nanos: u32::try_from(nanos).ok()? });
    };
    let seconds = digits(whole).filter(|&seconds| seconds <= Time::MAX_SECONDS)?;
    Some(Time { seconds, nanos: nanos(fraction)? })
}

/// `2026-01-02T03:04:05`, then a fraction and a zone, or neither.
fn civil(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let days = days(date)?;
    let (hour, minute, second) = clock_parts(clock)?;
    let (nanos, zone) = match rest.strip_prefix(['.', ',']) {
        None => (0, rest),
        Some(rest) => {
            let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            let (fraction, zone) = rest.split_at_checked(end)?;
            // Digits beyond nanoseconds are cut off.
            (nanos(fraction.get(..fraction.len().min(9))?)?, zone)
        }
    };
    let local = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = i64::try_from(local).ok()? - offset(zone.trim_ascii_start())?;
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds <= Time::MAX_SECONDS)?;
    Some(Time { seconds, nanos })
}

/// Days from 1970-01-01 to a date of the years 1970 to 9999, counted from 0000-03-01 in eras of 400 years, so that
/// leap days fall on the end of a year (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(date: &str) -> Option<u64> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=last_day).contains(&day) || parts.next().is_some() {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// `03:04:05`; a leap second is the first of the next minute.
fn clock_parts(clock: &str) -> Option<(u64, u64, u64)> {
    let [a, b, b':', c, d, b':', e, f] = clock.as_bytes() else { return None };
    let two = |tens: &u8, ones: &u8| {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        Some(digit(tens)? * 10 + digit(ones)?)
    };
    let (hour, minute, second) = (two(a, b)?, two(c, d)?, two(e, f)?);
    (hour < 24 && minute < 60 && second <= 60).then_some((hour, minute, second))
}

/// A zone's distance from UTC in seconds.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z" | "UTC") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let (hours, rest) = rest.split_at_checked(2)?;
    let minutes = rest.strip_prefix(':').unwrap_or(rest);
    if !(minutes.is_empty() && rest.is_empty() || minutes.len() == 2) {
        return None;
    }
    let hours = digits(hours).filter(|&hours| hours < 24)?;
    let minutes = if minutes.is_empty() { 0 } else { digits(minutes).filter(|&m| m < 60)? };
    i64::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| sign * seconds)
}

/// One to nine digits after the point.
fn nanos(fraction: &str) -> Option<u32> {
    let number = digits(fraction).filter(|_| fraction.len() <= 9)?;
    u32::try_from(number * 10u64.pow(9 - fraction.len() as u32)).ok()
}

fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_exactly_or_not_at_all() {
        for (text, seconds, nanos) in [
            ("1767323045", 1_767_323_045, 0),
            ("1767323045.5", 1_767_323_045, 500_000_000),
            ("0.000000001", 0, 1),
            ("253402300799", Time::MAX_SECONDS, 0),
            ("1767323045678", 1_767_323_045, 678_000_000),
            ("1767323045678901", 1_767_323_045, 678_901_000),
            ("1767323045678901234", 1_767_323_045, 678_901_234),
            ("2026-01-02T03:04:05Z", 1_767_323_045, 0),
            ("2026-01-02T11:04:05+08:00", 1_767_323_045, 0),
            ("2026-01-01T22:34:05-0430", 1_767_323_045, 0),
            ("2026-01-02 11:04:05,25+08", 1_767_323_045, 250_000_000),
            (" 2026-01-02t03:04:05.1234567891 ", 1_767_323_045, 123_456_789),
            ("2026-01-02 03:04:05 UTC", 1_767_323_045, 0),
            ("2024-02-29T23:59:60Z", 1_709_251_200, 0),
            ("1970-01-01T00:00:00", 0, 0),
            ("9999-12-31T23:59:59Z", Time::MAX_SECONDS, 0),
        ] {
            assert_eq!(Time::parse(text), Some(Time { seconds, nanos }), "{text:?}");
        }
        for bad in [
            "",
            "-1",
            "1.",
            ".5",
            "1e3",
            "1.1234567890",
            "１",
            "noon",
            "99999999999999999999",
            "2026-01-02",
            "2026-01-02T03:04",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-02T03:04:05+8",
            "2026-01-02T03:04:05+08:",
            "2026-01-02T03:04:05 CST",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-01-02T03:04:0é",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = 0;
        for year in 1970..=2400 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let found = days(&format!("{year:04}-{month:02}-{day:02}"));
                    if let Some(found) = found {
                        assert_eq!(found, expected, "{year}-{month}-{day}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, 157_420);
    }
}
