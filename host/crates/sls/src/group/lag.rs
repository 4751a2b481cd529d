//! How far behind a shard is: from an answer itself, else by asking now and then, in a task that nothing waits
//! for. It serves a metric, and must not delay what it measures.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::shard_context::ShardContext;
use crate::api::PullHead;
use crate::cursor::Cursor;
use crate::error::Chain;

/// How often the service is asked for the time of a position when its answers do not say.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// How long that question may take.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// The measuring of one shard.
#[derive(Default)]
pub(super) struct Lag {
    /// When the service was last asked.
    asked: Option<Instant>,
    /// At most one question; given up with the shard.
    question: JoinSet<()>,
}

impl Lag {
    /// Measures by an answer.
    pub(super) fn note(&mut self, context: &Arc<ShardContext>, head: &PullHead) {
        let client = &context.membership.single;
        let received = if head.at_end() { Some(client.server_time()) } else { head.cursor_time() };
        if let Some(received) = received {
            self.question.abort_all();
            context.metrics.lag(client.server_time().saturating_sub(received));
            return;
        }
        while self.question.try_join_next().is_some() {}
        let due = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if due && self.question.is_empty() {
            self.asked = Some(Instant::now());
            let question = ask(Arc::clone(context), head.next_cursor().clone());
            self.question.spawn(question.in_current_span());
        }
    }
}

/// Asks when the logs at a position were received, and notes their age.
async fn ask(context: Arc<ShardContext>, next: Cursor) {
    let client = context.membership.single.within(ASK_LIMIT);
    let logstore = &context.membership.config.logstore;
    match client.get_cursor_time(logstore, context.shard, &next).await {
        Ok(received) => context.metrics.lag(client.server_time().saturating_sub(received)),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "the age of what is read is not known")
        }
    }
}
