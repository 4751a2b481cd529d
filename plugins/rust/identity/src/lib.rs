//! The smallest plugin: every log passes unchanged.
//!
//! What is not mentioned stays as it was, so a plugin that says nothing changes nothing, and nothing
//! crosses into the sandbox. Its cost is that of the call alone, which makes it the baseline of the
//! benchmarks. It takes no config.

use forwarder_guest::{Batch, plugin};

/// Asks for nothing.
pub fn identity(_: &mut Batch<'_>) {}

plugin!(identity);

#[cfg(test)]
mod tests {
    use forwarder_guest::testing::{self, Log};

    use super::identity;

    #[test]
    fn every_log_passes_unchanged_and_nothing_crosses() {
        let log = Log::new([("a", "1"), ("b", "{}")]).with_topic("t").at(7);
        let outcome = testing::run(identity, "", [log.clone(), log.clone()]);

        assert!(outcome.sent.iter().all(|sent| sent.log == log && sent.label.is_none()));
        assert_eq!(outcome.sent.len(), 2);
        assert!(outcome.calls.is_empty());
    }

    #[test]
    fn a_config_is_refused() {
        assert!(testing::try_run(identity, r#"{"parse":["event"]}"#, []).is_err());
    }
}
