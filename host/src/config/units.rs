//! How durations and sizes are written: a number and its unit, such as `"1.5s"` or `"64MiB"`.

use std::time::Duration;

/// Reads `"250ms"`, `"5s"`, `"2m"`, `"1h"` or `"7d"`; a fraction is allowed.
///
/// # Errors
/// A fragment that says what is wrong with the text.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "" => return Err(format!("`{text}` has no unit: write `{text}s` for seconds")),
        _ => return Err(format!("`{unit}` is not a unit of time: use ms, s, m, h or d")),
    };
    Duration::try_from_secs_f64(number * seconds_per_unit)
        .map_err(|_| format!("`{text}` is too long"))
}

/// Reads `"512KiB"`, `"64MiB"`, `"1GB"` or `"1000B"` as bytes: `Ki`, `Mi`, `Gi` are powers of 1024,
/// `k`, `M`, `G` of 1000.
///
/// # Errors
/// A fragment that says what is wrong with the text.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let bytes_per_unit = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "" => {
            return Err(format!(
                "`{text}` has no unit: write `{text}B` for bytes, or KiB, MiB, GiB"
            ));
        }
        _ => {
            return Err(format!(
                "`{unit}` is not a unit of size: use B, kB, MB, GB, KiB, MiB or GiB"
            ));
        }
    };
    let bytes = number * bytes_per_unit;
    if bytes < 9e15 {
        Ok(bytes.round() as u64) // exact: not negative by `split`, and below 2^53
    } else {
        Err(format!("`{text}` is more than can be counted"))
    }
}

/// A number that is finite and not negative, and the rest.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((number, unit.trim())),
        _ => Err(format!("`{text}` does not start with a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1.5 s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["5", "", "s", "-1s", "5 parsecs", "1..2s", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_carry_their_unit() {
        for (text, bytes) in
            [("1000B", 1_000), ("64MiB", 67_108_864), ("1 GB", 1_000_000_000), ("0.5KiB", 512)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["64", "64M", "MiB", "-1B", "9999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
