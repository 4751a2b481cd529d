//! Facility and severity: the two numbers in front of every message, and the names people give them.

use std::fmt;
use std::str::FromStr;

/// What part of a system speaks: 0 to 23 (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

/// How urgent it is: 0 (emergency) to 7 (debug).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity(u8);

impl Facility {
    /// `user`, the vendor sample's default.
    pub const USER: Self = Self(1);
}

impl Severity {
    /// `info`, the vendor sample's default.
    pub const INFO: Self = Self(6);
}

/// The number between `<` and `>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// What part of a system speaks.
    pub facility: Facility,
    /// How urgent it is.
    pub severity: Severity,
}

impl Default for Priority {
    fn default() -> Self {
        Self { facility: Facility::USER, severity: Severity::INFO }
    }
}

impl Priority {
    /// Facility times eight plus severity: 0 to 191.
    pub const fn value(self) -> u8 {
        self.facility.0 * 8 + self.severity.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.value())
    }
}

/// Each facility's usual name first, then other names in use, then the vendor sample's constant without
/// its `FAC_` prefix.
const FACILITIES: [&[&str]; 24] = [
    &["kern", "kernel"],
    &["user"],
    &["mail"],
    &["daemon", "system"],
    &["auth", "security"],
    &["syslog"],
    &["lpr", "printer"],
    &["news", "network"],
    &["uucp"],
    &["cron", "clock"],
    &["authpriv"],
    &["ftp"],
    &["ntp"],
    &["audit", "log_audit"],
    &["alert", "log_alert"],
    &["clock2"],
    &["local0"],
    &["local1"],
    &["local2"],
    &["local3"],
    &["local4"],
    &["local5"],
    &["local6"],
    &["local7"],
];

const SEVERITIES: [&[&str]; 8] = [
    &["emerg", "emergency", "panic"],
    &["alert"],
    &["crit", "critical", "fatal"],
    &["err", "error"],
    &["warning", "warn"],
    &["notice"],
    &["info", "informational", "information"],
    &["debug", "trace"],
];

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a syslog {kind}; one of {known}, or its number")]
pub struct UnknownName {
    given: String,
    kind: &'static str,
    known: String,
}

impl FromStr for Facility {
    type Err = UnknownName;

    /// Reads a name (`local0`), a number, or the vendor sample's constant (`FAC_LOCAL0`), in any case.
    fn from_str(given: &str) -> Result<Self, UnknownName> {
        // In the sample `FAC_AUTH` is number 10, while `auth` is 4 elsewhere.
        if given.eq_ignore_ascii_case("FAC_AUTH") {
            return Ok(Self(10));
        }
        find(given, "FAC_", &FACILITIES, "facility").map(Self)
    }
}

impl FromStr for Severity {
    type Err = UnknownName;

    /// Reads a name (`warning`), a number, or the vendor sample's constant (`SEV_WARNING`), in any case.
    fn from_str(given: &str) -> Result<Self, UnknownName> {
        find(given, "SEV_", &SEVERITIES, "severity").map(Self)
    }
}

fn find(
    given: &str,
    prefix: &str,
    names: &[&[&str]],
    kind: &'static str,
) -> Result<u8, UnknownName> {
    let lower = given.trim().to_ascii_lowercase();
    let name = lower.strip_prefix(&prefix.to_ascii_lowercase()).unwrap_or(&lower);
    let by_name = names.iter().position(|known| known.contains(&name));
    let by_number = name.parse::<usize>().ok().filter(|&number| number < names.len());
    by_name.or(by_number).and_then(|number| u8::try_from(number).ok()).ok_or_else(|| UnknownName {
        given: given.to_owned(),
        kind,
        known: names
            .iter()
            .filter_map(|known| known.first().copied())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_are_read_by_name_number_and_the_samples_constant() {
        for (given, number) in [
            ("kern", 0),
            ("user", 1),
            ("USER", 1),
            ("auth", 4),
            ("FAC_AUTH", 10),
            ("FAC_SECURITY", 4),
            ("FAC_KERNEL", 0),
            ("FAC_SYSTEM", 3),
            ("FAC_PRINTER", 6),
            ("FAC_NETWORK", 7),
            ("FAC_CLOCK", 9),
            ("FAC_LOG_AUDIT", 13),
            ("FAC_LOG_ALERT", 14),
            ("FAC_CLOCK2", 15),
            ("FAC_LOCAL7", 23),
            ("16", 16),
        ] {
            assert_eq!(given.parse(), Ok(Facility(number)), "{given}");
        }
        let message = "local8".parse::<Facility>().unwrap_err().to_string();
        assert!(message.contains("`local8`") && message.contains("local7"), "{message}");
        assert!("24".parse::<Facility>().is_err());
    }

    #[test]
    fn severities_are_read_by_name_number_and_the_samples_constant() {
        for (given, number) in [
            ("SEV_EMERGENCY", 0),
            ("SEV_ALERT", 1),
            ("SEV_CRITICAL", 2),
            ("SEV_ERROR", 3),
            ("SEV_WARNING", 4),
            ("SEV_NOTICE", 5),
            ("SEV_INFO", 6),
            ("SEV_DEBUG", 7),
            ("warn", 4),
            ("7", 7),
        ] {
            assert_eq!(given.parse(), Ok(Severity(number)), "{given}");
        }
        assert!("8".parse::<Severity>().is_err());
    }

    #[test]
    fn the_default_is_the_samples() {
        assert_eq!(Priority::default().to_string(), "<14>");
    }
}
