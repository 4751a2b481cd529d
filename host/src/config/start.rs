//! Where to start reading where no checkpoint exists: `"begin"`, `"end"` or a time.
//!
//! Times are server receive times, as everywhere in SLS. RFC 3339 is the form to write; the forms of
//! the vendor's sample (`2018-12-26 0:0:0`, Unix seconds) are read too, in `timezone` where they name
//! none. The resolved instant is logged at start, because a time without a zone is a guess.

use forwarder_sls::group::Start;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::raw::{Context, Section};

/// Reads `start`; absent means `"begin"`, since a forwarder that skips is worse than one that repeats.
pub(super) fn check(section: &mut Section, cx: &mut Context<'_>) -> Option<Start> {
    let absent = !section.has("start");
    let Some(found) = section.text("start", cx) else { return absent.then_some(Start::Begin) };
    match parse(&found.value, &cx.zone) {
        Ok(Parsed::Begin) => Some(Start::Begin),
        Ok(Parsed::End) => Some(Start::End),
        Ok(Parsed::At { instant, assumed_zone }) => {
            if assumed_zone {
                let zone = zone_name(&cx.zone);
                let message = format!("`{}` is read in {zone}: starting at {instant}", found.value);
                let help = format!("write \"{instant}\" to leave no doubt");
                cx.notice(&found.at, message, help);
            }
            Some(Start::Time(instant.as_second()))
        }
        Err(reason) => {
            let help = "write \"begin\", \"end\" or a time such as \"2026-01-01T00:00:00Z\"";
            cx.error(&found.at, format!("cannot read `start`: {reason}"), help);
            None
        }
    }
}

/// Reads `end`, the time at which a bounded run stops.
pub(super) fn end(section: &mut Section, cx: &mut Context<'_>) -> Option<i64> {
    let found = section.text("end", cx)?;
    match parse(&found.value, &cx.zone) {
        Ok(Parsed::At { instant, .. }) => Some(instant.as_second()),
        Ok(_) | Err(_) => {
            let help = "write a time such as \"2026-01-01T00:00:00Z\", or leave it out to continue indefinitely";
            cx.error(&found.at, format!("`end` cannot be `{}`", found.value), help);
            None
        }
    }
}

/// Reads the name of a zone (`Asia/Shanghai`) or an offset (`+08:00`).
///
/// # Errors
/// A fragment that says what is wrong.
pub(super) fn zone(text: &str) -> Result<TimeZone, String> {
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Ok(TimeZone::UTC);
    }
    let offset = format!("1970-01-01T00:00:00{text}");
    if let (true, Ok(instant)) = (text.starts_with(['+', '-']), offset.parse::<Timestamp>()) {
        let seconds = i32::try_from(-instant.as_second()).map_err(|_| "the offset is too large")?;
        return jiff::tz::Offset::from_seconds(seconds)
            .map(TimeZone::fixed)
            .map_err(|_| "the offset is too large".to_owned());
    }
    TimeZone::get(text).map_err(|_| format!("`{text}` is not a time zone this host knows"))
}

fn zone_name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None => zone.to_fixed_offset().map_or("the host's time zone".to_owned(), |o| o.to_string()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Begin,
    End,
    At {
        instant: Timestamp,
        /// The text named no zone.
        assumed_zone: bool,
    },
}

fn parse(text: &str, zone: &TimeZone) -> Result<Parsed, String> {
    let text = text.trim();
    let fixed = |instant| Ok(Parsed::At { instant, assumed_zone: false });
    if text.eq_ignore_ascii_case("begin") {
        return Ok(Parsed::Begin);
    }
    if text.eq_ignore_ascii_case("end") {
        return Ok(Parsed::End);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse::<i64>().map_err(|_| "the number of seconds is too large")?;
        let instant = Timestamp::from_second(seconds)
            .map_err(|_| "the number of seconds is too large; milliseconds, perhaps?")?;
        return fixed(instant);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return fixed(instant);
    }
    let civil = civil(text).ok_or_else(|| format!("`{text}` is not a time"))?;
    let instant =
        zone.to_timestamp(civil).map_err(|_| format!("`{text}` is out of the range of times"))?;
    Ok(Parsed::At { instant, assumed_zone: true })
}

/// `Y-M-D`, `Y-M-D h:m` or `Y-M-D h:m:s`, digits not padded; `T` and `/` are understood as well.
fn civil(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "0:0:0"));
    let mut date = date.split(['-', '/']);
    let year = date.next()?.parse().ok()?;
    let month = date.next()?.parse().ok()?;
    let day = date.next()?.parse().ok()?;
    let mut time = time.trim().split(':');
    let hour = time.next()?.parse().ok()?;
    let minute = time.next()?.parse().ok()?;
    let second = time.next().map_or(Some(0), |second| second.parse().ok())?;
    if date.next().is_some() || time.next().is_some() {
        return None;
    }
    let date = Date::new(year, month, day).ok()?;
    Some(date.to_datetime(jiff::civil::Time::new(hour, minute, second, 0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, assumed_zone: bool) -> Parsed {
        Parsed::At { instant: text.parse().unwrap(), assumed_zone }
    }

    #[test]
    fn every_form_of_a_start_is_read() {
        let shanghai = zone("+08:00").unwrap();
        for (text, expected) in [
            ("begin", Parsed::Begin),
            ("BEGIN", Parsed::Begin),
            ("end", Parsed::End),
            ("2026-01-01T00:00:00Z", at("2026-01-01T00:00:00Z", false)),
            ("2026-01-01T08:00:00+08:00", at("2026-01-01T00:00:00Z", false)),
            ("1545753600", at("2018-12-25T16:00:00Z", false)),
            ("2018-12-26 0:0:0", at("2018-12-25T16:00:00Z", true)),
            ("2018-12-26 00:00:00", at("2018-12-25T16:00:00Z", true)),
            ("2018-12-26", at("2018-12-25T16:00:00Z", true)),
            ("2018/12/26 1:30", at("2018-12-25T17:30:00Z", true)),
        ] {
            assert_eq!(parse(text, &shanghai), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2018-13-26", "2018-12-26 25:0:0", "99999999999999", "1-2"] {
            assert!(parse(text, &shanghai).is_err(), "{text}");
        }
    }

    #[test]
    fn zones_are_names_or_offsets() {
        assert_eq!(zone("UTC"), Ok(TimeZone::UTC));
        let civil = civil("2018-12-26").unwrap();
        let instant = |text: &str| zone(text).unwrap().to_timestamp(civil).unwrap().to_string();
        assert_eq!(instant("+08:00"), "2018-12-25T16:00:00Z");
        assert_eq!(instant("-05:30"), "2018-12-26T05:30:00Z");
        assert!(zone("Middle/Earth").is_err());
    }
}
