//! The names of the APIs.

use std::fmt;
use std::str::FromStr;

macro_rules! apis {
    ($($variant:ident $name:literal $what:literal,)*) => {
        /// An API of the service, for counting requests and for injecting faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Api {
            $(#[doc = $what] $variant,)*
        }

        impl Api {
            /// Every API, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name by which a command line calls it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

apis! {
    ListShards "list-shards" "`GET /logstores/L/shards`",
    SplitShard "split-shard" "`POST /logstores/L/shards/S?action=split`",
    MergeShards "merge-shards" "`POST /logstores/L/shards/S?action=merge`",
    GetCursor "get-cursor" "`GET /logstores/L/shards/S?type=cursor`",
    GetCursorTime "get-cursor-time" "`GET /logstores/L/shards/S?type=cursor_time`",
    PullLogs "pull-logs" "`GET /logstores/L/shards/S?type=log` (or `logs`)",
    PutLogs "put-logs" "`POST /logstores/L/shards/lb`, `…/shards/route?key=`, or `/logstores/L`",
    ListConsumerGroup "list-consumer-group" "`GET /logstores/L/consumergroups`",
    CreateConsumerGroup "create-consumer-group" "`POST /logstores/L/consumergroups`",
    UpdateConsumerGroup "update-consumer-group" "`PUT /logstores/L/consumergroups/G`",
    DeleteConsumerGroup "delete-consumer-group" "`DELETE /logstores/L/consumergroups/G`",
    HeartBeat "heartbeat" "`POST /logstores/L/consumergroups/G?type=heartbeat`",
    UpdateCheckPoint "update-checkpoint" "`POST /logstores/L/consumergroups/G?type=checkpoint`",
    GetCheckPoint "get-checkpoint" "`GET /logstores/L/consumergroups/G`",
    CreateProject "create-project" "`POST /`",
    DeleteProject "delete-project" "`DELETE /`",
    CreateLogstore "create-logstore" "`POST /logstores`",
    DeleteLogstore "delete-logstore" "`DELETE /logstores/L`",
    PutConsumeProcessor "put-consume-processor" "`PUT /consumeprocessors/ID`",
    GetConsumeProcessor "get-consume-processor" "`GET /consumeprocessors/ID`",
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that [`Api::name`] does not give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no API is called `{0}`; try `pull-logs`, `heartbeat` or `update-checkpoint`")]
pub struct UnknownApi(String);

impl FromStr for Api {
    type Err = UnknownApi;

    fn from_str(name: &str) -> Result<Self, UnknownApi> {
        let found = Self::ALL.iter().find(|api| api.name() == name);
        found.copied().ok_or_else(|| UnknownApi(name.to_owned()))
    }
}
