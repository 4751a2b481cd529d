//! Consumer groups: list, create, update, delete, heartbeat, checkpoints.

use std::collections::BTreeSet;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{MAX_GRANTED, MAX_LISTED};
use crate::call::Call;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::names::{ConsumerName, GroupName, LogstoreName};

/// A consumer group as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Its name. (When writing, the service calls this field `consumerGroup`.)
    pub name: String,
    /// Seconds after which a silent consumer is removed.
    pub timeout: u32,
    /// Whether a shard waits until those it came from are consumed.
    #[serde(default)]
    pub order: bool,
}

/// Where a group stands in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// Which shard.
    pub shard: u32,
    /// The next log group to read; `None` if nothing was ever saved.
    #[serde(rename = "checkpoint", deserialize_with = "cursor_or_empty")]
    pub cursor: Option<Cursor>,
    /// When it was saved, in *microseconds* since the epoch; 0 if never.
    #[serde(rename = "updateTime", default)]
    pub updated: i64,
    /// Who saved it; empty if no consumer did.
    #[serde(default)]
    pub consumer: String,
}

fn cursor_or_empty<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Cursor>, D::Error> {
    let text = Option::<String>::deserialize(input)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::new(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Client {
    /// The groups of a logstore. Safe to repeat.
    ///
    /// # Errors
    ///
    /// Refused with `LogStoreNotExist`, or for want of permission.
    pub async fn list_consumer_groups(&self, logstore: &LogstoreName) -> Result<Vec<Group>, Error> {
        let path = format!("/logstores/{logstore}/consumergroups");
        let action = "log:ListConsumerGroup";
        let call = Call::new("ListConsumerGroup", action, Method::GET, path);
        self.fetch_list::<_, MAX_LISTED>(&call).await
    }

    /// Creates a group. A repetition finds it existing, which is why a caller should take
    /// [`Error::already_exists`] for success.
    ///
    /// # Errors
    ///
    /// Refused with `ConsumerGroupAlreadyExist`, or a quota on the number of groups.
    pub(crate) async fn create_consumer_group(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        timeout_seconds: u32,
        order: bool,
    ) -> Result<(), Error> {
        let path = format!("/logstores/{logstore}/consumergroups");
        let body =
            json!({"consumerGroup": group.as_str(), "timeout": timeout_seconds, "order": order});
        let action = "log:CreateConsumerGroup";
        let call = Call::new("CreateConsumerGroup", action, Method::POST, path).json(&body);
        self.fetch_nothing(&call).await
    }

    /// Changes a group's options; `None` leaves one as it is. Safe to repeat.
    ///
    /// # Errors
    ///
    /// Refused with `ConsumerGroupNotExist`.
    pub(crate) async fn update_consumer_group(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        timeout_seconds: Option<u32>,
        order: Option<bool>,
    ) -> Result<(), Error> {
        let mut body = Map::new();
        body.extend(timeout_seconds.map(|seconds| ("timeout".into(), seconds.into())));
        body.extend(order.map(|order| ("order".into(), order.into())));
        let call = group_call("UpdateConsumerGroup", Method::PUT, logstore, group)
            .json(&Value::Object(body));
        self.fetch_nothing(&call).await
    }

    /// Deletes a group with its checkpoints. Succeeds if there is none.
    ///
    /// # Errors
    ///
    /// Refused with `LogStoreNotExist`, or for want of permission.
    pub async fn delete_consumer_group(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
    ) -> Result<(), Error> {
        let call = group_call("DeleteConsumerGroup", Method::DELETE, logstore, group);
        match self.fetch_nothing(&call).await {
            Err(error) if error.group_missing() => Ok(()),
            outcome => outcome,
        }
    }

    /// Says that `consumer` is alive and still works on `shards`; returns the shards it may hold from
    /// now on. Safe to repeat.
    ///
    /// # Errors
    ///
    /// [`Error::membership_lost`]: the consumer has expired and must begin again with no shards.
    /// [`Error::group_missing`]: the group was deleted.
    pub async fn heartbeat(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        consumer: &ConsumerName,
        shards: &[u32],
    ) -> Result<Vec<u32>, Error> {
        let call = group_call("HeartBeat", Method::POST, logstore, group)
            .param("type", "heartbeat")
            .param("consumer", consumer.as_str())
            .json(&json!(shards));
        self.fetch_list::<_, MAX_GRANTED>(&call).await
    }

    /// Saves a checkpoint, but only while `consumer` holds the shard: it is never forced, because a
    /// forced one overwrites the progress of the consumer that holds the shard by now. Safe to repeat.
    ///
    /// # Errors
    ///
    /// [`Error::ownership_lost`]: another consumer holds the shard. [`Error::shard_missing`]: it does not exist.
    pub(crate) async fn update_checkpoint(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        consumer: &ConsumerName,
        shard: u32,
        cursor: &Cursor,
    ) -> Result<(), Error> {
        let call = group_call("UpdateCheckPoint", Method::POST, logstore, group)
            .param("type", "checkpoint")
            .param("consumer", consumer.as_str())
            .param("forceSuccess", "false")
            .json(&json!({"shard": shard, "checkpoint": cursor.as_str()}));
        self.fetch_nothing(&call).await
    }

    /// Sets a checkpoint whether or not a consumer holds the shard: for an operator who moves a stopped group.
    ///
    /// # Errors
    ///
    /// Refused with `InvalidShardCheckPoint`, `ShardNotExist` or `ConsumerGroupNotExist`.
    pub async fn force_checkpoint(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        shard: u32,
        cursor: &Cursor,
    ) -> Result<(), Error> {
        let call = group_call("UpdateCheckPoint", Method::POST, logstore, group)
            .param("type", "checkpoint")
            .param("consumer", "")
            .param("forceSuccess", "true")
            .json(&json!({"shard": shard, "checkpoint": cursor.as_str()}));
        self.fetch_nothing(&call).await
    }

    /// The checkpoints of one shard (an empty list if the shard is unknown) or of all. Safe to repeat.
    ///
    /// # Errors
    ///
    /// [`Error::group_missing`], or for want of permission. [`Error::Malformed`] if the answer is about another
    /// shard than the one asked for, or twice about one: none of it may be taken for "no checkpoint".
    pub async fn get_checkpoints(
        &self,
        logstore: &LogstoreName,
        group: &GroupName,
        shard: Option<u32>,
    ) -> Result<Vec<Checkpoint>, Error> {
        let mut call = group_call("GetCheckPoint", Method::GET, logstore, group);
        if let Some(shard) = shard {
            call = call.param("shard", shard.to_string());
        }
        let stored: Vec<Checkpoint> = self.fetch_list::<_, MAX_LISTED>(&call).await?;
        match misplaced(&stored, shard) {
            Some(fault) => Err(Error::Malformed { call: self.call_to(call.name), fault }),
            None => Ok(stored),
        }
    }
}

/// What does not fit together in a list of checkpoints.
fn misplaced(stored: &[Checkpoint], asked: Option<u32>) -> Option<String> {
    let mut seen = BTreeSet::new();
    stored.iter().map(|checkpoint| checkpoint.shard).find_map(|shard| {
        if asked.is_some_and(|asked| asked != shard) {
            Some(format!("a checkpoint of shard {shard}, which was not asked for"))
        } else if !seen.insert(shard) {
            Some(format!("two checkpoints of shard {shard}"))
        } else {
            None
        }
    })
}

fn group_call(
    name: &'static str,
    method: Method,
    logstore: &LogstoreName,
    group: &GroupName,
) -> Call {
    let action = match name {
        "HeartBeat" => "log:ConsumerGroupHeartBeat",
        "UpdateCheckPoint" => "log:ConsumerGroupUpdateCheckPoint",
        "GetCheckPoint" => "log:GetConsumerGroupCheckPoint",
        "DeleteConsumerGroup" => "log:DeleteConsumerGroup",
        _ => "log:UpdateConsumerGroup",
    };
    Call::new(name, action, method, format!("/logstores/{logstore}/consumergroups/{group}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_checkpoint_is_none() {
        let text = r#"[{"shard":0,"checkpoint":"","updateTime":0,"consumer":""},
                       {"shard":1,"checkpoint":"MTI=","updateTime":1524224984800922,"consumer":"c"}]"#;
        let read: Vec<Checkpoint> = serde_json::from_str(text).unwrap();
        assert_eq!(read[0].cursor, None);
        assert_eq!(read[1].cursor, Some(Cursor::at(12)));
        assert_eq!(read[1].updated, 1_524_224_984_800_922);
    }
}
