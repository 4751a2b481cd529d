//! What becomes of each row of a batch: decided on a compute thread, carried out by the shard.
//!
//! Load, transform, route, encode, in one job, so that the bytes stay in one core's cache and the batch
//! crosses threads once. The plan accounts for every row, and refuses to exist if it cannot: a row that no
//! side knows of would be lost without a word.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::{Cause, DeadLetter, EncodeReport};
use forwarder_record::{Batch, Encoded, RowIx};
use futures_util::future::join_all;
use thiserror::Error;
use tracing::warn;

use crate::batch_handle::{BatchHandle, BlockCharge};
use crate::budget::Permit;
use crate::buffer_pool::BufferPool;
use crate::compute::Died;
use crate::dead_letter::PendingLetters;
use crate::deliver::{EncodedBatch, EncodedChunk, SinkQueue};
use crate::destinations::Destinations;
use crate::lease_gate::LeaseGate;
use crate::ledger::Ticket;
use crate::ledger::sealed::{Proof, Settlement};
use crate::metrics as meters;
use crate::refusals::{Milestone, Refusals, RejectAccount, TooManyRefused};
use crate::source::{Load, Unreadable};
use crate::transform::{Halt, Rejected, Transform, TransformReport};

/// Receipt for rows that were dropped on purpose. Made in this file only.
#[derive(Debug)]
pub struct Filtered(());

impl Proof for Filtered {
    fn settlement(&self) -> Settlement {
        Settlement::Filtered
    }
}

/// A pulled block with what was admitted for it, ready for the compute stage.
pub(crate) struct PulledBlock {
    pub(crate) load: Box<dyn Load>,
    pub(crate) charge: BlockCharge,
}

/// What the compute stage made of a block, or of a part of it.
pub(crate) enum Planned {
    /// Its rows have their destinations.
    Plan(Plan),
    /// As a whole it would take more memory than there is: to be made part by part.
    TooLarge(BlockRest),
}

/// What is still to be read of a block.
pub(crate) struct BlockRest {
    load: Box<dyn Load>,
    block: Arc<BlockCharge>,
    /// Size of the block, unless it was counted with an earlier part.
    raw_bytes: usize,
    /// How often the room for the next part is halved, because parts turned out too large lately.
    halvings: u32,
    /// Whether the next part is a single log that the budget did not bear together with what else was held.
    needs_all: bool,
}

impl BlockRest {
    /// A block of which nothing was made yet.
    fn whole(load: Box<dyn Load>, block: BlockCharge, raw_bytes: usize) -> Self {
        Self { load, block: Arc::new(block), raw_bytes, halvings: 0, needs_all: false }
    }

    /// What follows a part of the block that came to its end.
    fn following(load: Box<dyn Load>, block: Arc<BlockCharge>, halvings: u32) -> Self {
        Self { load, block, raw_bytes: 0, halvings, needs_all: false }
    }

    /// Waits for the memory that the next part may take.
    pub(crate) async fn admit(self) -> BlockPart {
        let block = &self.block.permit;
        let permit = if self.needs_all { block.part_alone().await } else { block.part().await };
        BlockPart { rest: self, permit }
    }
}

/// A part of a block with what was admitted for it, ready for the compute stage.
pub(crate) struct BlockPart {
    rest: BlockRest,
    permit: Permit,
}

/// Most bytes of table and text that are made of a block in one go, before it is known whether the budget bears
/// them: what blocks of ordinary logs come to, and no more than a few of the largest for each thread.
const fn room_of_block(raw_bytes: u64) -> usize {
    const TIMES_THE_BLOCK: usize = 6;
    const FLOOR: usize = 64 << 10;
    const CEILING: usize = 16 << 20;
    let room = (raw_bytes as usize).saturating_mul(TIMES_THE_BLOCK).saturating_add(FLOOR);
    if room < CEILING { room } else { CEILING }
}

/// Text of the rows that are encoded between two looks at the memory they take. Escaping may multiply it by seven.
const TEXT_PER_LOOK: usize = 1 << 20;

/// What a sink may write for a row in addition to its text: names, times, templates.
const ENVELOPE: usize = 256;

/// Every row of a batch with its destination.
pub(crate) struct Plan {
    handle: Arc<BatchHandle>,
    /// Size of the block, decompressed; with its first part only.
    raw_bytes: usize,
    /// What follows in the same block.
    rest: Option<BlockRest>,
    /// Per sink that gets any: its encoded rows.
    written: Vec<(SinkQueue, Arc<EncodedBatch>)>,
    /// Shares that all of it comes to: a row has one for each sink it is routed to, and one if it goes nowhere.
    shares: usize,
    /// Rows dropped on purpose: by plugins, by rules, or because nothing is left in them.
    filtered: usize,
    letters: Vec<DeadLetter>,
    /// Rows that each plugin was given, and those of them that it refused.
    by_plugin: Vec<(Arc<str>, usize, Refusals)>,
    /// Per sink that any were routed to.
    unsent: Vec<Unsent>,
}

/// Rows of a batch that a sink does not send.
struct Unsent {
    queue: SinkQueue,
    /// Rows that were routed to it.
    given: usize,
    /// Of these, rows that cannot be written in its protocol.
    unfit: Refusals,
    /// Of these, rows in which nothing is left to send.
    blank: usize,
}

/// Why a shard must pause at a batch.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Halted(#[from] Halt),
    #[error("plugin `{plugin}`: {cause}")]
    PluginRefuses { plugin: Arc<str>, cause: TooManyRefused },
    #[error("sink `{sink}`: {cause}")]
    SinkRefuses { sink: Arc<str>, cause: TooManyRefused },
    #[error(
        "{gone} rows left the batch but the plugins account for {counted} (a bug in the forwarder)"
    )]
    Miscounted { gone: usize, counted: usize },
    #[error(
        "sink `{sink}` was given {given} rows and accounts for {counted} (a bug in the forwarder)"
    )]
    MiscountedBySink { sink: Arc<str>, given: usize, counted: usize },
    #[error("a batch comes to {wanted} shares and its plan to {planned} (a bug in the forwarder)")]
    Misplanned { wanted: usize, planned: usize },
    #[error(
        "a block of {raw} bytes is more than 4 GiB as sink `{sink}` writes it; take away what is repeated in \
         its rows (a long tag, topic or field name), or pull smaller blocks"
    )]
    Overfull { sink: Arc<str>, raw: usize },
    #[error(transparent)]
    Died(#[from] Died),
}

impl Fault {
    /// When to try again, if that does not need an operator.
    pub(crate) const fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Halted(halt) => halt.retry_in,
            _ => None,
        }
    }
}

impl Plan {
    /// The compute job: makes a batch of the block and a plan for the batch. If that takes more memory than the
    /// budget bears, nothing is kept of it.
    pub(crate) fn make(
        pulled: PulledBlock,
        transform: &mut dyn Transform,
        to: &Destinations,
    ) -> Result<Planned, Fault> {
        let PulledBlock { mut load, mut charge } = pulled;
        let batch = load.read(room_of_block(charge.permit.raw()))?;
        let raw_bytes = batch.raw_bytes();
        let made = Draft::make(batch, transform, to, |held| charge.permit.cover(held as u64))?;
        let Some(draft) = made else {
            charge.permit.holds_block_only();
            return Ok(Planned::TooLarge(BlockRest::whole(load, charge, raw_bytes)));
        };
        if load.advance() {
            let block = Arc::new(charge);
            let rest = BlockRest::following(load, Arc::clone(&block), 0);
            return Ok(Planned::Plan(draft.plan(block, None, raw_bytes, Some(rest))));
        }
        charge.permit.holds(draft.held as u64);
        Ok(Planned::Plan(draft.plan(Arc::new(charge), None, raw_bytes, None)))
    }

    /// The same for a part of a block that has to be divided.
    pub(crate) fn make_part(
        part: BlockPart,
        transform: &mut dyn Transform,
        to: &Destinations,
    ) -> Result<Planned, Fault> {
        let BlockPart {
            rest: BlockRest { mut load, block, raw_bytes, halvings, needs_all },
            mut permit,
        } = part;
        // Its text is written out once for each sink at most.
        let room = permit.charged() as usize / (to.sinks.len() + 1);
        let room = if needs_all { 0 } else { room.checked_shr(halvings).unwrap_or(0) };
        let batch = load.read(room)?;
        let (shared, is_least) = (batch.raw_bytes(), batch.pulled_rows() <= 1);
        // One log cannot be divided, and what a plugin makes of it is bounded by what one call may make.
        let bears = |held: usize| {
            permit.cover(held.saturating_sub(shared) as u64) || (is_least && needs_all)
        };
        let Some(draft) = Draft::make(batch, transform, to, bears)? else {
            let halvings = halvings + 1;
            return Ok(Planned::TooLarge(BlockRest {
                load,
                block,
                raw_bytes,
                halvings,
                needs_all: is_least,
            }));
        };
        permit.holds(draft.held.saturating_sub(shared) as u64);
        let rest = load.advance();
        let rest = rest
            .then(|| BlockRest::following(load, Arc::clone(&block), halvings.saturating_sub(1)));
        Ok(Planned::Plan(draft.plan(block, Some(permit), raw_bytes, rest)))
    }

    /// Logs that were read.
    pub(crate) fn pulled_rows(&self) -> usize {
        self.handle.batch.pulled_rows()
    }

    /// Size of the block, decompressed; nothing if it was counted with an earlier part.
    pub(crate) const fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Splits the ticket, queues each sink's rows and writes the dead letters. Returns when all of it is
    /// handed over: the ticket and what follows in the block, if there is more. The future may be dropped: what
    /// was not handed over is then not settled.
    ///
    /// # Errors
    ///
    /// Too many rows were refused, or the plan leaves rows out. Nothing was handed over, and the ticket is gone: the shard
    /// holds.
    pub(crate) async fn carry_out(
        self,
        ticket: Ticket,
        gate: &Arc<LeaseGate>,
        to: &Destinations,
    ) -> Result<Option<(Ticket, BlockRest)>, Fault> {
        self.check_shares()?;
        self.admit_refusals(to)?;
        let Self { handle, written, filtered, letters, rest, .. } = self;
        ticket.share(filtered).settle(Filtered(()));
        let share = ticket.share(letters.len());
        let pending = PendingLetters { letters, share, gate: Arc::clone(gate) };
        let queued: Vec<_> = written
            .into_iter()
            .map(|(queue, rows)| {
                let share = ticket.share(rows.len());
                let chunk = EncodedChunk::whole(Arc::clone(&handle), rows, share, Arc::clone(gate));
                async move { queue.put(chunk).await }
            })
            .collect();
        let following = match rest {
            Some(rest) => Some((ticket, rest)),
            None => {
                ticket.seal();
                None
            }
        };
        drop(handle);
        // Side by side, so that a sink that takes nothing does not keep this batch from the others.
        join_all(queued).await;
        to.dead_letters.write(vec![pending]).await;
        Ok(following)
    }

    /// Whether every row is somewhere in the plan: what is in no share would be settled with the rest.
    fn check_shares(&self) -> Result<(), Fault> {
        let written: usize = self.written.iter().map(|(_, rows)| rows.len()).sum();
        let (wanted, planned) = (self.shares, self.filtered + self.letters.len() + written);
        if planned == wanted { Ok(()) } else { Err(Fault::Misplanned { wanted, planned }) }
    }

    fn admit_refusals(&self, to: &Destinations) -> Result<(), Fault> {
        let plugins: Vec<_> = self
            .by_plugin
            .iter()
            .map(|(plugin, seen, refused)| (plugin, to.plugins.of(plugin), *seen, refused))
            .collect();
        let by_plugins = plugins.iter().map(|(plugin, watch, seen, refused)| {
            let mut account = watch.account(*seen);
            let heard = account.hear(refused);
            let refuses = |cause| Fault::PluginRefuses { plugin: Arc::clone(plugin), cause };
            (account, heard.map_err(refuses))
        });
        let by_sinks = self.unsent.iter().map(|Unsent { queue, given, unfit, .. }| {
            let mut account = queue.unfit().account(*given);
            let heard = account.hear(unfit);
            let refuses = |cause| Fault::SinkRefuses { sink: Arc::clone(queue.name()), cause };
            (account, heard.map_err(refuses))
        });
        let mut accounts = Vec::new();
        for (account, heard) in by_plugins.chain(by_sinks) {
            accounts.push(account);
            if let Err(fault) = heard {
                // The batch is planned again later, and must not count twice by then.
                accounts.into_iter().for_each(RejectAccount::take_back);
                return Err(fault);
            }
        }
        for Unsent { queue, unfit, blank, .. } in &self.unsent {
            queue.meters().unfit_letters.increment(unfit.rows() as u64);
            queue.meters().blank.increment(*blank as u64);
            for Milestone { reason, letters, example } in queue.unfit().count_letters(unfit) {
                let sink = queue.name();
                warn!(%sink, reason, letters, error = %example, "rows do not fit the sink, writing dead letters");
            }
        }
        for (plugin, watch, _, refused) in &plugins {
            if refused.rows() > 0 {
                meters::plugin_dead_letters(plugin).increment(refused.rows() as u64);
            }
            for Milestone { reason, letters, example } in watch.count_letters(refused) {
                warn!(%plugin, reason, letters, error = %example, "rows refused by the plugin, writing dead letters");
            }
        }
        Ok(())
    }
}

/// A plan whose memory has not been charged for yet.
struct Draft {
    batch: Batch,
    written: Vec<(SinkQueue, Arc<EncodedBatch>)>,
    shares: usize,
    filtered: usize,
    letters: Vec<DeadLetter>,
    by_plugin: Vec<(Arc<str>, usize, Refusals)>,
    unsent: Vec<Unsent>,
    /// Bytes of all of it.
    held: usize,
}

impl Draft {
    /// Transforms, routes and encodes. `bears` is asked with all bytes held, at every step that adds some; nothing
    /// comes of it once it says no.
    fn make(
        mut batch: Batch,
        transform: &mut dyn Transform,
        to: &Destinations,
        mut bears: impl FnMut(usize) -> bool,
    ) -> Result<Option<Self>, Fault> {
        if !bears(batch.held_bytes()) {
            return Ok(None);
        }
        let Some(outcome) = transform.apply(&mut batch, &mut bears)? else { return Ok(None) };
        batch.end_pass();
        check(&batch, &outcome)?;
        let by_plugin = per_plugin(&outcome);
        let gone = outcome.dropped + outcome.rejected.len();
        let refused = outcome.rejected.into_iter();
        let letters = refused.map(|Rejected { row, plugin, reason }| {
            DeadLetter::from_plugin(&plugin, &batch, row, reason)
        });
        let letters = letters.collect();
        let assigned = to.routes.assign(&batch);
        let routed: usize = assigned.per_sink.iter().map(Vec::len).sum();
        let held = batch.held_bytes();
        let mut draft = Self {
            batch,
            written: Vec::new(),
            shares: gone + assigned.nowhere + routed,
            filtered: outcome.dropped + assigned.nowhere,
            letters,
            by_plugin,
            unsent: Vec::new(),
            held,
        };
        for (rows, queue) in assigned.per_sink.into_iter().zip(&to.sinks) {
            if !rows.is_empty() && !draft.encode(queue, &to.pool, &rows, &mut bears)? {
                return Ok(None);
            }
        }
        draft.held += draft.letters.iter().map(DeadLetter::held_bytes).sum::<usize>();
        Ok(bears(draft.held).then_some(draft))
    }

    /// Adds the rows as one sink writes them; `false` if there is no room for them.
    fn encode(
        &mut self,
        queue: &SinkQueue,
        pool: &Arc<BufferPool>,
        rows: &[RowIx],
        mut bears: impl FnMut(usize) -> bool,
    ) -> Result<bool, Fault> {
        let Self { batch, letters, held, .. } = self;
        let bears = |bytes: usize| bears(*held + bytes);
        let Some(encoded) = encode(queue, pool, batch, rows, letters, bears)? else {
            return Ok(false);
        };
        self.filtered += encoded.blank;
        self.held += encoded.rows.held_bytes();
        let (given, unfit, blank) = (rows.len(), encoded.unfit, encoded.blank);
        self.unsent.push(Unsent { queue: queue.clone(), given, unfit, blank });
        self.written.push((queue.clone(), Arc::new(encoded.rows)));
        Ok(true)
    }

    fn plan(
        self,
        block: Arc<BlockCharge>,
        part: Option<Permit>,
        raw_bytes: usize,
        rest: Option<BlockRest>,
    ) -> Plan {
        let Self { batch, written, shares, filtered, letters, by_plugin, unsent, held: _ } = self;
        let handle = Arc::new(BatchHandle::new(batch, block, part));
        Plan { handle, raw_bytes, rest, written, shares, filtered, letters, by_plugin, unsent }
    }
}

/// Compares what plugins said with what they did.
fn check(batch: &Batch, outcome: &TransformReport) -> Result<(), Fault> {
    let gone = (batch.pulled_rows() + outcome.emitted).saturating_sub(batch.live_rows());
    let counted = outcome.dropped + outcome.rejected.len();
    if gone == counted { Ok(()) } else { Err(Fault::Miscounted { gone, counted }) }
}

/// Rows given to and refused by each plugin. One that refuses rows without having been given any is taken at
/// its word about the refusals only.
fn per_plugin(outcome: &TransformReport) -> Vec<(Arc<str>, usize, Refusals)> {
    let seen = outcome.seen.iter();
    let mut counts: Vec<_> =
        seen.map(|(plugin, rows)| (Arc::clone(plugin), *rows, Refusals::default())).collect();
    for Rejected { plugin, reason, .. } in &outcome.rejected {
        // A plugin's own words are not a bounded set: its refusals are one reason.
        let cause = Cause::new(PLUGIN_REASON, excerpt(reason));
        match counts.iter_mut().find(|(name, ..)| name == plugin) {
            Some((.., refused)) => refused.add(&cause),
            None => counts.push((Arc::clone(plugin), 0, Refusals::one(&cause))),
        }
    }
    counts
}

/// The reason by which the refusals of a plugin are counted.
const PLUGIN_REASON: &str = "rejected";

/// How much of a plugin's own words is logged.
const EXCERPT_CHARS: usize = 200;

/// The beginning of a plugin's words, on one line.
fn excerpt(words: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    words.chars().take(EXCERPT_CHARS).map(printable).collect()
}

struct EncodedRows {
    rows: EncodedBatch,
    blank: usize,
    unfit: Refusals,
}

/// Writes the rows for one sink; nothing if `bears`, asked with the bytes so far, says that it is too much.
fn encode(
    queue: &SinkQueue,
    pool: &Arc<BufferPool>,
    batch: &Batch,
    rows: &[RowIx],
    letters: &mut Vec<DeadLetter>,
    mut bears: impl FnMut(usize) -> bool,
) -> Result<Option<EncodedRows>, Fault> {
    let mut out = Encoded::default();
    // Bodies repeat most of what was pulled: one allocation for the rows at hand.
    out.bytes = pool.take(batch.text_bytes() / batch.pulled_rows().max(1) * rows.len());
    let mut report = EncodeReport::default();
    for rows in looks(batch, rows) {
        let EncodeReport { rejected, blank } = queue.sink().encode(batch, rows, &mut out);
        report.rejected.extend(rejected);
        report.blank += blank;
        if !bears(out.bytes.len()) {
            return Ok(None);
        }
    }
    if out.is_overfull() {
        return Err(Fault::Overfull { sink: Arc::clone(queue.name()), raw: batch.raw_bytes() });
    }
    let (bytes, ends, encoded) = out.into_parts();
    let (given, blank) = (rows.len(), report.blank);
    let counted = encoded.len() + report.rejected.len() + blank;
    if counted != given {
        return Err(Fault::MiscountedBySink { sink: Arc::clone(queue.name()), given, counted });
    }
    let sink = queue.name();
    let mut unfit = Refusals::default();
    for (row, cause) in report.rejected {
        unfit.add(&cause);
        letters.push(DeadLetter::from_sink(sink, batch, row, cause.to_string()));
    }
    Ok(Some(EncodedRows { rows: EncodedBatch::new(pool.lend(bytes), ends, encoded), blank, unfit }))
}

/// The rows in runs of [`TEXT_PER_LOOK`]; mostly one.
fn looks<'r>(batch: &Batch, rows: &'r [RowIx]) -> impl Iterator<Item = &'r [RowIx]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let mut text = 0;
        let fits = |ix: &&RowIx| {
            text += batch.row_text_bytes(**ix) + ENVELOPE;
            text <= TEXT_PER_LOOK
        };
        let run = left.iter().take_while(fits).count().max(1);
        let (run, rest) = left.split_at_checked(run)?;
        left = rest;
        Some(run)
    })
}
