//! `forwarder group`: how far a consumer group is, and moving it by hand.
//!
//! Reads the same config as a run, so that what is shown and moved is what a run would read. A group that
//! is at work should be stopped before its checkpoints are moved: its consumers save theirs again.

use clap::{Args, Subcommand};
use forwarder_sls::api::{Checkpoint, CursorFrom};
use forwarder_sls::{Chain, Client, Cursor};
use jiff::Timestamp;

use super::run::{install_tls, runtime};
use super::{ConfigArgs, has_reader, say};
use crate::config::secret::process;
use crate::config::source::SourceConfig;
use crate::config::{self, Request};
use crate::exit::{Exit, Failure};
use crate::first_use::FirstUse;
use crate::printable::printable;
use crate::problem::{Place, Problem};
use crate::wiring::source;

/// What to do with a consumer group.
#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Show how far each shard is, and how old what it reads next is
    Status(GroupArgs),
    /// Move shards: the next consumer starts there
    Set(SetArgs),
    /// Delete the group with all its checkpoints
    Delete(GroupArgs),
}

/// Which group.
#[derive(Debug, Args)]
pub(super) struct GroupArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The source whose group is meant; needed where the config has several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// Where to.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// The shard; all shards unless given
    #[arg(long, value_name = "NUMBER")]
    shard: Option<u32>,
    /// begin, end, or a time of reception such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "WHERE", value_parser = place)]
    to: CursorFrom,
}

fn place(text: &str) -> Result<CursorFrom, String> {
    match text {
        "begin" => Ok(CursorFrom::Begin),
        "end" => Ok(CursorFrom::End),
        time => time
            .parse::<Timestamp>()
            .map(|instant| CursorFrom::Time(instant.as_second()))
            .map_err(|_| "use begin, end or a time such as 2026-01-01T00:00:00Z".to_owned()),
    }
}

/// Does it.
pub(super) fn group(command: GroupCommand) -> Result<Exit, Failure> {
    install_tls();
    runtime()?.block_on(async {
        match command {
            GroupCommand::Status(args) => Group::of(args).await?.status().await,
            GroupCommand::Set(args) => Group::of(args.group).await?.set(args.shard, args.to).await,
            GroupCommand::Delete(args) => Group::of(args).await?.delete().await,
        }
    })?;
    Ok(Exit::Success)
}

/// The group of one source.
struct Group {
    source: SourceConfig,
    client: Client,
    first_use: FirstUse,
}

impl Group {
    async fn of(args: GroupArgs) -> Result<Self, Failure> {
        let request = Request { sinks_optional: true, ..args.config.into_request() };
        let checked = config::check(&request, &process);
        let config = checked.config.map_err(|problems| Failure { exit: Exit::Config, problems })?;
        let source = chosen(config.sources, args.source.as_deref())?;
        let SourceConfig { project, logstore, consumer_group, .. } = &source;
        Ok(Self {
            first_use: FirstUse::of(&config.process.state_dir, project, logstore, consumer_group),
            client: source::client(&source).await?,
            source,
        })
    }

    async fn status(&self) -> Result<(), Failure> {
        let SourceConfig { logstore, consumer_group: group, .. } = &self.source;
        let shards = self.client.list_shards(logstore).await.map_err(|e| self.refused(&e))?;
        let checkpoints = self.client.get_checkpoints(logstore, group, None).await;
        let checkpoints = checkpoints.map_err(|cause| self.refused(&cause))?;
        say(format_args!(
            "{:>5}  {:>10}  {:<20}  {:<24}  consumer",
            "shard", "behind", "saved", "next"
        ));
        // Each shard costs requests: none for a reader like `head` that has left.
        for shard in shards.into_iter().take_while(|_| has_reader()) {
            let none =
                Checkpoint { shard: shard.id, cursor: None, updated: 0, consumer: String::new() };
            let found = checkpoints.iter().find(|checkpoint| checkpoint.shard == shard.id);
            self.show(found.unwrap_or(&none)).await;
        }
        Ok(())
    }

    async fn show(&self, checkpoint: &Checkpoint) {
        let Checkpoint { shard, cursor, updated, consumer } = checkpoint;
        let nothing = || "-".to_owned();
        let behind = match cursor {
            Some(cursor) => self.behind(*shard, cursor).await.unwrap_or_else(nothing),
            None => nothing(),
        };
        let saved = match updated {
            0 => nothing(),
            micros => Timestamp::from_microsecond(*micros).map_or_else(
                |_| nothing(),
                |instant| {
                    Timestamp::from_second(instant.as_second()).unwrap_or(instant).to_string()
                },
            ),
        };
        let next = cursor.as_ref().map_or_else(nothing, ToString::to_string);
        let (next, consumer) = (printable(&next), printable(consumer));
        say(format_args!("{shard:>5}  {behind:>10}  {saved:<20}  {next:<24}  {consumer}"));
    }

    /// The age of what is read next; nothing where that is the end of the shard.
    async fn behind(&self, shard: u32, cursor: &Cursor) -> Option<String> {
        let logstore = &self.source.logstore;
        let end = self.client.get_cursor(logstore, shard, CursorFrom::End).await.ok()?;
        if cursor.reaches(&end) {
            return Some("0 s".to_owned());
        }
        let received = self.client.get_cursor_time(logstore, shard, cursor).await.ok()?;
        Some(format!("{} s", self.client.server_time().saturating_sub(received).max(0)))
    }

    async fn set(&self, shard: Option<u32>, to: CursorFrom) -> Result<(), Failure> {
        let SourceConfig { logstore, consumer_group: group, .. } = &self.source;
        let shards = self.client.list_shards(logstore).await.map_err(|e| self.refused(&e))?;
        let shards: Vec<u32> = shards.iter().map(|found| found.id).collect();
        if let Some(wanted) = shard.filter(|wanted| !shards.contains(wanted)) {
            let there = shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let problem = Problem::new(format!("logstore `{logstore}` has no shard {wanted}"));
            return Err(Failure::new(Exit::Usage, problem.help(format!("its shards are {there}"))));
        }
        for id in shards.into_iter().filter(|id| shard.is_none_or(|wanted| wanted == *id)) {
            let cursor = self.client.get_cursor(logstore, id, to).await;
            let cursor = cursor.map_err(|cause| self.refused(&cause))?;
            let moved = self.client.force_checkpoint(logstore, group, id, &cursor).await;
            moved.map_err(|cause| self.refused(&cause))?;
            say(format_args!("shard {id}: next is {cursor}"));
        }
        Ok(())
    }

    async fn delete(&self) -> Result<(), Failure> {
        let SourceConfig { logstore, consumer_group: group, .. } = &self.source;
        let deleted = self.client.delete_consumer_group(logstore, group).await;
        deleted.map_err(|cause| self.refused(&cause))?;
        if let Err(cause) = self.first_use.forget() {
            let problem =
                Problem::new(format!("the group is deleted, but not its first use: {cause}"));
            return Err(Failure::new(Exit::Config, problem));
        }
        say(format_args!("deleted consumer group `{group}`"));
        Ok(())
    }

    fn refused(&self, cause: &forwarder_sls::Error) -> Failure {
        let message = format!("source `{}`: {}", self.source.name, Chain(cause));
        Failure::new(Exit::Source, Problem::new(message))
    }
}

fn chosen(mut sources: Vec<SourceConfig>, name: Option<&str>) -> Result<SourceConfig, Failure> {
    let names: Vec<_> = sources.iter().map(|source| format!("`{}`", source.name)).collect();
    let at = Place::CommandLine("--source".to_owned());
    let wrong = |message: String| {
        let help = format!("name one of {}", names.join(", "));
        Failure::new(Exit::Usage, Problem::new(message).at(&at).help(help))
    };
    let found = match name {
        Some(name) => sources.iter().position(|source| source.name == name),
        None if sources.len() == 1 => Some(0),
        None => return Err(wrong("the config has several sources".to_owned())),
    };
    match found {
        Some(ix) => Ok(sources.swap_remove(ix)),
        None => Err(wrong(format!("there is no source `{}`", name.unwrap_or_default()))),
    }
}
