//! Real syslog daemons at the far end: what they understand of what we send, and what they have after a kill.
//!
//! Our encoder and our own receiver were written by the same people, so they could be wrong together. rsyslog
//! and syslog-ng share nothing with either. They run unmodified, as children of the test, and write down every
//! message the way they have parsed it; that is compared with what was put into the service.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod awkward;
mod certificates;
mod daemon;
mod installed;
mod recipes;
mod sinks;
mod stories;
mod transcript;

/// Names of tests begin with the daemon's, so that one can be run where only one is installed.
mod rsyslog {
    use crate::recipes::rsyslog;
    use crate::stories;

    #[tokio::test(flavor = "multi_thread")]
    async fn understands_every_transport_framing_and_text() {
        stories::every_transport_framing_and_text(rsyslog).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_while_it_receives_has_everything_in_the_end() {
        stories::killed_while_it_receives(rsyslog).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn takes_whole_the_longest_messages_that_we_send() {
        stories::the_longest_messages(rsyslog).await;
    }
}

mod syslog_ng {
    use crate::recipes::syslog_ng;
    use crate::stories;

    #[tokio::test(flavor = "multi_thread")]
    async fn understands_every_transport_framing_and_text() {
        stories::every_transport_framing_and_text(syslog_ng).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_while_it_receives_has_everything_in_the_end() {
        stories::killed_while_it_receives(syslog_ng).await;
    }
}
