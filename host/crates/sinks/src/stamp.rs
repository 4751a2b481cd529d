//! Event times as text, from integers only: a binary float cannot hold 1700000000.123 and would print
//! 1700000000.1230001.

use forwarder_record::Time;

/// Appends a number in decimal.
#[expect(clippy::indexing_slicing, reason = "the start is found in the same array")]
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = at;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends the last `width` decimal digits of a number, with leading zeros. At most 9.
#[expect(clippy::indexing_slicing, reason = "the width is at most that of the array")]
fn push_padded(out: &mut Vec<u8>, mut number: u32, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[digits.len() - width..]);
}

/// Appends `.` and three, six or nine digits, whichever says it exactly; nothing for zero. With fewer
/// digits allowed (`max_digits`) the rest is cut off, never rounded up into the next second.
pub(crate) fn push_fraction(out: &mut Vec<u8>, nanos: u32, max_digits: usize) {
    let (number, width) = match nanos {
        0 => return,
        _ if nanos.is_multiple_of(1_000_000) => (nanos / 1_000_000, 3),
        _ if nanos.is_multiple_of(1_000) || max_digits < 9 => (nanos / 1_000, 6),
        _ => (nanos, 9),
    };
    out.push(b'.');
    push_padded(out, number, width);
}

/// Appends seconds since the epoch with an exact fraction, as a JSON number: the `time` of a HEC event.
pub(crate) fn push_epoch(out: &mut Vec<u8>, time: Time) {
    push_decimal(out, time.seconds);
    push_fraction(out, time.nanos, 9);
}

/// Writes civil times at one fixed distance from UTC. Logs come in the order of their times, so the text
/// of the last second is kept: most rows only differ from their neighbour in the fraction.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    offset_seconds: i64,
    style: TimeFormat,
    second: Option<u64>,
    text: Vec<u8>,
}

/// How a civil time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// `2023-11-14T22:13:20.123456Z`, RFC 5424 §6.2.3.
    Rfc5424,
    /// `Nov 14 22:13:20`, RFC 3164 §4.1.2: no year, no zone.
    Rfc3164,
}

impl Clock {
    pub(crate) fn new(style: TimeFormat, offset_minutes: i16) -> Self {
        Self {
            offset_seconds: i64::from(offset_minutes) * 60,
            style,
            second: None,
            text: Vec::new(),
        }
    }

    /// Appends a time. One that does not fall into the years 1970 to 9999 is written as `-`, the nil
    /// value.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, time: Time) {
        if self.second != Some(time.seconds) {
            self.second = Some(time.seconds);
            self.text.clear();
            self.render(time.seconds);
        }
        out.extend_from_slice(&self.text);
        if self.style == TimeFormat::Rfc5424 && !self.text.is_empty() {
            push_fraction(out, time.nanos, 6);
            self.push_zone(out);
        } else if self.text.is_empty() {
            out.push(b'-');
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a civil month is from 1 to 12")]
    fn render(&mut self, second: u64) {
        let Some(civil) = Civil::at(second, self.offset_seconds) else { return };
        let out = &mut self.text;
        match self.style {
            TimeFormat::Rfc5424 => {
                push_padded(out, civil.year, 4);
                out.push(b'-');
                push_padded(out, civil.month, 2);
                out.push(b'-');
                push_padded(out, civil.day, 2);
                out.push(b'T');
            }
            TimeFormat::Rfc3164 => {
                let name = MONTHS[civil.month as usize - 1];
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(if civil.day < 10 { b"  " } else { b" " });
                push_decimal(out, civil.day.into());
                out.push(b' ');
            }
        }
        push_padded(out, civil.second_of_day / 3600, 2);
        out.push(b':');
        push_padded(out, civil.second_of_day / 60 % 60, 2);
        out.push(b':');
        push_padded(out, civil.second_of_day % 60, 2);
    }

    fn push_zone(&self, out: &mut Vec<u8>) {
        if self.offset_seconds == 0 {
            out.push(b'Z');
            return;
        }
        out.push(if self.offset_seconds < 0 { b'-' } else { b'+' });
        let minutes = (self.offset_seconds.unsigned_abs() / 60) as u32;
        push_padded(out, minutes / 60, 2);
        out.push(b':');
        push_padded(out, minutes % 60, 2);
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second as a calendar shows it.
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    second_of_day: u32,
}

impl Civil {
    /// In the proleptic Gregorian calendar, counted from 0000-03-01 in eras of 400 years, so that leap
    /// days fall on the end of a year (Howard Hinnant, "chrono-compatible low-level date algorithms").
    fn at(second: u64, offset_seconds: i64) -> Option<Self> {
        let local = u64::try_from(i64::try_from(second).ok()?.checked_add(offset_seconds)?).ok()?;
        let days = local / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year <= 9999).then_some(Self {
            year: year as u32,
            month: month as u32,
            day: day as u32,
            second_of_day: (local % 86_400) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(seconds: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        push_epoch(&mut out, Time { seconds, nanos });
        String::from_utf8(out).unwrap()
    }

    fn civil(style: TimeFormat, offset: i16, seconds: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        Clock::new(style, offset).push(&mut out, Time { seconds, nanos });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn epoch_seconds_are_exact() {
        assert_eq!(epoch(0, 0), "0");
        assert_eq!(epoch(1_700_000_000, 0), "1700000000");
        assert_eq!(epoch(1_700_000_000, 123_000_000), "1700000000.123");
        assert_eq!(epoch(1_700_000_000, 1_000), "1700000000.000001");
        assert_eq!(epoch(1_700_000_000, 999_999_999), "1700000000.999999999");
        assert_eq!(epoch(u64::MAX, 0), u64::MAX.to_string());
    }

    #[test]
    fn civil_times_are_cut_to_microseconds_and_never_rounded() {
        let at = |nanos| civil(TimeFormat::Rfc5424, 0, 1_700_000_000, nanos);
        assert_eq!(at(0), "2023-11-14T22:13:20Z");
        assert_eq!(at(500_000_000), "2023-11-14T22:13:20.500Z");
        assert_eq!(at(123_456_789), "2023-11-14T22:13:20.123456Z");
        assert_eq!(at(999_999_999), "2023-11-14T22:13:20.999999Z");
        assert_eq!(civil(TimeFormat::Rfc5424, 480, 1_700_000_000, 0), "2023-11-15T06:13:20+08:00");
        assert_eq!(civil(TimeFormat::Rfc5424, -210, 1_700_000_000, 0), "2023-11-14T18:43:20-03:30");
    }

    #[test]
    fn what_the_calendar_cannot_show_is_nil() {
        assert_eq!(civil(TimeFormat::Rfc5424, 0, Time::MAX_SECONDS, 0), "9999-12-31T23:59:59Z");
        assert_eq!(civil(TimeFormat::Rfc5424, 60, Time::MAX_SECONDS, 0), "-");
        assert_eq!(civil(TimeFormat::Rfc5424, -60, 0, 0), "-");
        assert_eq!(civil(TimeFormat::Rfc5424, 0, u64::MAX, 0), "-");
    }

    #[test]
    fn a_clock_forgets_the_last_second_in_time() {
        let mut clock = Clock::new(TimeFormat::Rfc3164, 0);
        let mut out = Vec::new();
        for seconds in [1_700_000_000, 1_700_000_000, 1_696_489_449] {
            clock.push(&mut out, Time { seconds, nanos: 5 });
            out.push(b'|');
        }
        assert_eq!(out, b"Nov 14 22:13:20|Nov 14 22:13:20|Oct  5 07:04:09|");
    }

    proptest! {
        #[test]
        fn civil_times_are_those_of_another_implementation(
            seconds in 0u64..253_402_200_000, nanos in 0u32..1_000_000_000,
        ) {
            let written = civil(TimeFormat::Rfc5424, 0, seconds, nanos);
            let read: jiff::Timestamp = written.parse().unwrap();
            prop_assert_eq!(read.as_second(), i64::try_from(seconds).unwrap());
            prop_assert_eq!(read.subsec_nanosecond(), i32::try_from(nanos / 1_000 * 1_000).unwrap());
        }
    }
}
