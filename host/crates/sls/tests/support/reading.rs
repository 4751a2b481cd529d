//! A consumer of one shard, as tests need it.

use std::time::Duration;

use bytes::Bytes;
use forwarder_record::Batch;
use forwarder_sls::group::{Pull, PullError, Puller};
use forwarder_sls::{ConsumerGroup, Cursor, GroupConfig, Lease};
use tokio::time::timeout;

use super::Sls;

/// Heartbeats and polls are quick.
pub fn config() -> GroupConfig {
    let group = "grp".parse().unwrap();
    let mut config = GroupConfig::new("store".parse().unwrap(), group, "c1".parse().unwrap());
    config.heartbeat_interval = Duration::from_millis(100);
    config.idle = (Duration::from_millis(5), Duration::from_millis(20));
    config
}

/// Joins and takes the first shard.
pub async fn holding(sls: &Sls, config: GroupConfig) -> (ConsumerGroup, Lease) {
    let mut group = ConsumerGroup::join(sls.client(), config).await.unwrap();
    let lease = lease(&mut group).await;
    (group, lease)
}

pub async fn lease(group: &mut ConsumerGroup) -> Lease {
    timeout(Duration::from_secs(20), group.next_lease()).await.unwrap().unwrap().unwrap()
}

/// The texts in a block, one after the other.
pub fn texts(block: Bytes) -> String {
    let batch = Batch::decode(block, Default::default(), &Default::default()).unwrap();
    batch.rows().filter_map(|row| row.get("text")).map(|cell| cell.value).collect()
}

/// Pulls until there is data; returns it with the cursor behind it.
pub async fn data(puller: &mut Puller) -> (String, Cursor) {
    let read = async {
        loop {
            if let Pull::Data(pulled) = puller.pull().await.unwrap() {
                let next = pulled.next_cursor().clone();
                if let Ok(body) = pulled.body().await {
                    return (texts(body), next);
                }
            }
        }
    };
    timeout(Duration::from_secs(20), read).await.unwrap()
}

/// Pulls until there is nothing more; returns why.
pub async fn ended(puller: &mut Puller) -> PullError {
    let read = async {
        loop {
            if let Err(error) = puller.pull().await {
                return error;
            }
        }
    };
    timeout(Duration::from_secs(20), read).await.unwrap()
}
