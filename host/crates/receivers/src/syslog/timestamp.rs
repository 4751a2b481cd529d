//! The two timestamps: RFC 5424 section 6.2.3 and RFC 3164 section 4.1.2, nothing more lenient.

use super::format_error::FormatError;
use super::message::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Length of `Mmm dd hh:mm:ss`.
const RFC3164_LENGTH: usize = 15;

/// `2023-11-14T22:13:20.123456+08:00`: upper-case T and Z, up to six digits of fraction, no second 60.
pub(super) fn rfc5424(text: &str) -> Result<Timestamp<'_>, FormatError> {
    let unix_micros = moment(text.as_bytes()).ok_or(FormatError::Timestamp)?;
    Ok(Timestamp { text, unix_micros: Some(unix_micros) })
}

fn moment(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', time @ ..] = date else { return None };
    let year = digits(&[*y1, *y2, *y3, *y4])?;
    let (month, day) = (digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    let seconds = clock(time)?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (micros, zone) = fraction(rest)?;
    let days = days_since_epoch(year, month, day);
    Some((days * 86_400 + seconds - offset(zone)?) * 1_000_000 + micros)
}

/// `hh:mm:ss` as seconds of the day.
fn clock(text: &[u8]) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// An optional fraction of one to six digits, as microseconds, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let scale = [100_000, 10_000, 1_000, 100, 10, 1].get(length.checked_sub(1)?)?;
    let (fraction, zone) = rest.split_at_checked(length)?;
    Some((digits(fraction)? * scale, zone))
}

/// `Z` or `+hh:mm`, in seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
            let seconds = (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)?;
            Some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Counting years from March puts the leap
/// day last, so that the days before a month follow from a linear formula.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `Nov 14 22:13:20` off the front of `text`, the day padded with a space; returns what follows.
pub(super) fn rfc3164(text: &str) -> Result<(Timestamp<'_>, &str), FormatError> {
    let (stamp, rest) = text.split_at_checked(RFC3164_LENGTH).ok_or(FormatError::Timestamp)?;
    let is_stamp = || {
        let (month, rest) = stamp.split_at_checked(3)?;
        let &[b' ', tens, ones, b' ', ref time @ ..] = rest.as_bytes() else { return None };
        clock(time)?;
        let day = if tens == b' ' { digits(&[ones])? } else { digits(&[tens, ones])? };
        let padded = tens != b'0';
        Some(padded && (1..=31).contains(&day) && MONTHS.contains(&month))
    };
    match is_stamp() {
        Some(true) => Ok((Timestamp { text: stamp, unix_micros: None }, rest)),
        _ => Err(FormatError::Timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        let micros = |text| rfc5424(text).unwrap().unix_micros.unwrap();
        assert_eq!(micros("1970-01-01T00:00:00Z"), 0);
        assert_eq!(micros("2023-11-14T22:13:20.5Z"), 1_700_000_000_500_000);
        assert_eq!(micros("2023-11-15T06:13:20.500+08:00"), 1_700_000_000_500_000);
        assert_eq!(micros("2023-11-14T17:43:20.000001-04:30"), 1_700_000_000_000_001);
        assert_eq!(micros("2024-02-29T00:00:00Z"), 1_709_164_800_000_000);
        assert_eq!(micros("2000-03-01T00:00:00Z"), 951_868_800_000_000);
    }

    #[test]
    fn what_rfc_5424_forbids_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14 22:13:20Z",
            "2023-11-14t22:13:20Z",
            "2023-11-14T22:13:20z",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:60Z",
            "2023-11-14T24:00:00Z",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-00T22:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.1234567Z",
            "2023-11-14T22:13:20+0800",
            "2023-11-14T22:13:20+08:60",
            "2023-11-14T22:13:2é",
        ] {
            assert_eq!(rfc5424(text), Err(FormatError::Timestamp), "{text}");
        }
    }

    #[test]
    fn an_rfc_3164_stamp_pads_its_day_with_a_space() {
        assert_eq!(rfc3164("Oct  5 07:04:09 rest").unwrap().1, " rest");
        assert_eq!(rfc3164("Nov 14 22:13:20").unwrap().0.text, "Nov 14 22:13:20");
        for text in ["Oct 05 07:04:09", "oct  5 07:04:09", "Oct 32 07:04:09", "Oct  5 7:04:09 "] {
            assert_eq!(rfc3164(text), Err(FormatError::Timestamp), "{text}");
        }
    }
}
