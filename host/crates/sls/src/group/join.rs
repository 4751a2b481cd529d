//! Before the first heartbeat: the group must exist, and its options are compared before they are touched.
//!
//! Official clients update an existing group on every start, so deployments with different options
//! overwrite each other's without end. Here an option that is not configured is taken as it is found.
//!
//! A group that is not there yet has not been used by anyone. With a start at the end, that is put on record
//! before the group is created, see `start.rs`. One list that leaves the group out is one answer: a second one has to
//! say the same, and if the service then refuses to create the group because it exists, the record is removed.

use std::time::{Duration, Instant};

use crate::api::Group;
use crate::client::Client;
use crate::error::{Chain, ConfigError, Error};
use crate::group::{GroupConfig, Start};
use crate::names::GroupName;

/// Timeout of a group we create, unless configured: takeover within a minute, several lost beats allowed.
const DEFAULT_TIMEOUT: u32 = 60;

/// Timeout to assume where the group's may not be read: the shortest that an official client sets.
const ASSUMED_TIMEOUT: Duration = Duration::from_secs(40);

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The service refused, or was not to be reached.
    #[error("cannot join consumer group `{group}`")]
    Service {
        /// Which group.
        group: GroupName,
        /// Why.
        #[source]
        source: Error,
    },
    /// There is no such group, and we may not create it.
    #[error("consumer group `{0}` does not exist; create it, or set `manage_group = true`")]
    NoGroup(GroupName),
    /// The connection for heartbeats cannot be set up.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl JoinError {
    /// Whether the same attempt may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Service { source, .. } if source.is_retryable())
    }

    pub(super) fn service(config: &GroupConfig) -> impl FnOnce(Error) -> Self {
        let group = config.group.clone();
        |source| Self::Service { group, source }
    }
}

/// Makes sure that the group exists; returns its timeout.
pub(super) async fn ensure_group(
    client: &Client,
    config: &GroupConfig,
) -> Result<Duration, JoinError> {
    let asked = Instant::now();
    let to_record = config.start == Start::End && config.first_use.known().is_none();
    let found = match find(client, config).await {
        Ok(None) if config.manage_group && to_record => find(client, config).await,
        found => found,
    };
    match found {
        Ok(Some(group)) => Ok(compare(client, config, &group).await),
        Ok(None) if config.manage_group => {
            if to_record {
                keep_first_use(client, config, asked);
            }
            let (timeout, creator) = create(client, config).await?;
            if to_record && creator == GroupCreator::Before {
                config.first_use.forget();
            }
            Ok(timeout)
        }
        Ok(None) => Err(JoinError::NoGroup(config.group.clone())),
        // A key that may consume need not be allowed to list.
        Err(error) if error.auth() && !error.clock_skew() && may_be_permission(&error) => {
            unlisted(client, config, error).await
        }
        Err(error) => Err(JoinError::service(config)(error)),
    }
}

/// The group as the service has it.
pub(super) async fn find(client: &Client, config: &GroupConfig) -> Result<Option<Group>, Error> {
    let groups = client.list_consumer_groups(&config.logstore).await?;
    Ok(groups.into_iter().find(|group| group.name == config.group.as_str()))
}

/// The group was not there when this began: that time is before its first use.
fn keep_first_use(client: &Client, config: &GroupConfig, began: Instant) {
    // The service's clock is known from its answer, so it is read now and set back.
    let took = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX).saturating_add(1);
    config.first_use.record(client.earliest_time().saturating_sub(took));
}

/// Who created a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupCreator {
    /// This process.
    Here,
    /// This process in an attempt whose outcome is not known, or another one.
    Unclear,
    /// It was there before the first attempt: an earlier process, or another consumer that was faster.
    Before,
}

/// Creates the group; returns its timeout.
async fn create(
    client: &Client,
    config: &GroupConfig,
) -> Result<(Duration, GroupCreator), JoinError> {
    let timeout = configured_timeout(config).unwrap_or(DEFAULT_TIMEOUT);
    let order = config.in_order.unwrap_or(false);
    let GroupConfig { logstore, group, .. } = config;
    // The first attempt by itself: only what it is answered says whether the group was there before.
    let first = client.trying_once().create_consumer_group(logstore, group, timeout, order).await;
    let (created, creator) = match first {
        Err(error) if error.is_retryable() || error.is_damaged() => {
            let creator =
                if error.had_no_effect() { GroupCreator::Before } else { GroupCreator::Unclear };
            (client.create_consumer_group(logstore, group, timeout, order).await, creator)
        }
        first => (first, GroupCreator::Before),
    };
    match created {
        Ok(()) => tracing::info!(%group, timeout, order, "created the consumer group"),
        Err(error) if error.already_exists() => {
            // Perhaps with other options.
            return match find(client, config).await {
                Ok(Some(found)) => Ok((compare(client, config, &found).await, creator)),
                Ok(None) => Ok((unseen(config, &error), creator)),
                Err(cause) => Ok((unseen(config, &cause), creator)),
            };
        }
        Err(error) => return Err(JoinError::service(config)(error)),
    }
    Ok((Duration::from_secs(timeout.into()), GroupCreator::Here))
}

/// Brings an existing group to the configured options, if there are any; returns its timeout.
async fn compare(client: &Client, config: &GroupConfig, found: &Group) -> Duration {
    let timeout = configured_timeout(config).filter(|timeout| *timeout != found.timeout);
    let order = config.in_order.filter(|order| *order != found.order);
    let kept = Duration::from_secs(found.timeout.into());
    if timeout.is_none() && order.is_none() {
        return kept;
    }
    let group = &config.group;
    if !config.manage_group {
        tracing::warn!(
            %group, found.timeout, found.order, timeout, order,
            "the consumer group exists with other options; they are kept, because `manage_group = false`"
        );
        return kept;
    }
    match client.update_consumer_group(&config.logstore, group, timeout, order).await {
        Ok(()) => {
            tracing::warn!(
                %group, found.timeout, found.order, timeout, order,
                "the consumer group existed with other options and was changed; if another deployment \
                 uses it with those, leave `timeout` and `in_order` out of one of them"
            );
            timeout.map_or(kept, |timeout| Duration::from_secs(timeout.into()))
        }
        Err(error) => {
            tracing::warn!(
                %group, error = %Chain(&error),
                "the consumer group exists with other options and cannot be changed; they are kept"
            );
            kept
        }
    }
}

/// Joins without having seen the group.
async fn unlisted(
    client: &Client,
    config: &GroupConfig,
    denied: Error,
) -> Result<Duration, JoinError> {
    if config.manage_group {
        let asked = Instant::now();
        let created = create(client, config).await;
        let (timeout, creator) = created.map_err(|_| JoinError::service(config)(denied))?;
        // Not before: whether the group was there cannot be seen. A process that ends right here leaves a group
        // without a record, which counts as used.
        if creator == GroupCreator::Here && config.start == Start::End {
            keep_first_use(client, config, asked);
        }
        return Ok(timeout);
    }
    let timeout = config.timeout.unwrap_or(ASSUMED_TIMEOUT);
    tracing::warn!(
        group = %config.group, ?timeout, error = %Chain(&denied),
        "may not list the consumer groups; assuming this timeout"
    );
    Ok(timeout)
}

/// The timeout to assume in a group that exists with options of its own, which cannot be seen: too
/// short a one costs heartbeats, too long a one makes two consumers work on the same shard.
fn unseen(config: &GroupConfig, cause: &Error) -> Duration {
    let timeout = config.timeout.map_or(ASSUMED_TIMEOUT, |timeout| timeout.min(ASSUMED_TIMEOUT));
    tracing::warn!(
        group = %config.group, ?timeout, error = %Chain(cause),
        "the consumer group exists, but its options cannot be read; assuming this timeout"
    );
    timeout
}

/// A wrong key is refused everywhere; only a missing permission is worth another call.
fn may_be_permission(error: &Error) -> bool {
    use crate::error::ErrorCode::{ProjectForbidden, Unauthorized};
    matches!(error.code(), Some(Unauthorized | ProjectForbidden))
        || error.refusal().is_some_and(|refusal| refusal.status == 403)
}

fn configured_timeout(config: &GroupConfig) -> Option<u32> {
    let seconds = config.timeout?.as_secs().max(1);
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CallTo;

    #[test]
    fn the_timeout_of_a_group_that_cannot_be_seen_is_assumed_to_be_short() {
        let names = ("store".parse().unwrap(), "grp".parse().unwrap(), "c1".parse().unwrap());
        let mut config = GroupConfig::new(names.0, names.1, names.2);
        let call = CallTo { name: "ListConsumerGroup", address: "http://x".into() };
        let cause = Error::TimedOut { call, after: Duration::ZERO };
        for (configured, expected) in [(None, 40), (Some(90), 40), (Some(15), 15)] {
            config.timeout = configured.map(Duration::from_secs);
            assert_eq!(unseen(&config, &cause), Duration::from_secs(expected), "{configured:?}");
        }
    }
}
