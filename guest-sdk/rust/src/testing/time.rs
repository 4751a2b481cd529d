//! The forms in which `__time__` may be written, as the forwarder reads them.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// 9999-12-31T23:59:59Z, the last second that the forwarder takes.
const LAST_SECOND: u64 = 253_402_300_799;

/// How many of a unit make a second, the coarsest first.
const UNITS: [u64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// Nanoseconds since 1970: of decimal seconds, of a whole number of a finer unit, or of RFC 3339, without a zone in
/// UTC.
pub(super) fn nanoseconds(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let is_civil = text.as_bytes().get(4) == Some(&b'-');
    let nanos = if is_civil { civil(text) } else { epoch(text) }?;
    (nanos / 1_000_000_000 <= LAST_SECOND).then_some(nanos)
}

fn epoch(text: &str) -> Option<u64> {
    let Some((seconds, fraction)) = text.split_once('.') else {
        let number = digits(text)?;
        let unit = UNITS.into_iter().find(|unit| number / unit <= LAST_SECOND)?;
        return number.checked_mul(1_000_000_000 / unit);
    };
    digits(fraction).filter(|_| fraction.len() <= 9)?;
    let nanos = digits(&format!("{fraction:0<9}"))?;
    digits(seconds)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn civil(text: &str) -> Option<u64> {
    const CLOCK: usize = "2026-01-02T03:04:05".len();
    let (clock, rest) = text.split_at_checked(CLOCK)?;
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let fraction = rest.strip_suffix(zone)?;
    let nanos = match fraction.strip_prefix(['.', ',']) {
        None if fraction.is_empty() => 0,
        Some(fraction) => digits(&format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)))
            .filter(|_| digits(fraction.get(..1).unwrap_or_default()).is_some())?,
        None => return None,
    };
    // A leap second is the first of the next minute; the library takes it for the last of this one.
    let leap = u64::from(clock.ends_with(":60"));
    let local: DateTime = clock.parse().ok()?;
    let instant = TimeZone::fixed(offset(zone.trim_ascii_start())?).to_timestamp(local).ok()?;
    let seconds = u64::try_from(instant.as_second()).ok()?.checked_add(leap)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A zone's distance from UTC.
fn offset(zone: &str) -> Option<Offset> {
    if matches!(zone, "" | "Z" | "z" | "UTC") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at_checked(2)?,
        5 => rest.split_once(':')?,
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes).filter(|&minutes| minutes < 60)?);
    let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    Offset::from_seconds(sign * seconds).ok()
}

fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
