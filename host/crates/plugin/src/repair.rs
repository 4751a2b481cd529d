//! Finding the rows that a plugin cannot cope with.
//!
//! A slice that failed is tried once more on a fresh instance: the state of the old one may have been to
//! blame. If it fails again it is cut into many parts rather than two, because it is faults that are
//! scarce: a row among 1,024 is found in two rounds of 32 calls, that is by four faults in all, where
//! halving would take twelve, each of them perhaps a second of CPU.

use std::time::Duration;

use forwarder_record::{Batch, Edits, RowIx, Slice};

use crate::fault::Fault;
use crate::halt::HaltCause;
use crate::limits::thread_cpu_time;
use crate::options::OnError;
use crate::slot::InstanceSlot;

/// Parts that a slice at fault is cut into.
const PARTS: usize = 32;

/// A slice, or part of one, that is done with.
#[derive(Debug)]
pub(crate) enum Part {
    /// The plugin succeeded.
    Edited(Slice, Edits),
    /// The plugin fails on this row alone.
    AtFault(RowIx, Fault),
}

/// What a batch came to so far, in the order of rows, and whether there is memory for more.
pub(crate) struct Parts<'a> {
    pub(crate) done: Vec<Part>,
    /// Bytes of the batch and of the edits.
    held: usize,
    bears: &'a mut dyn FnMut(usize) -> bool,
}

impl<'a> Parts<'a> {
    /// Nothing yet.
    pub(crate) fn new(batch: &Batch, bears: &'a mut dyn FnMut(usize) -> bool) -> Self {
        Self { done: Vec::new(), held: batch.held_bytes(), bears }
    }

    /// Adds what a call came to.
    fn edited(&mut self, slice: Slice, edits: Edits) -> Result<(), HaltCause> {
        self.held = self.held.saturating_add(edits.bytes());
        if !edits.is_empty() && !(self.bears)(self.held) {
            return Err(HaltCause::TooLarge);
        }
        self.done.push(Part::Edited(slice, edits));
        Ok(())
    }
}

/// Runs a plugin on a slice and adds what it came to, in the order of rows. Returns the number of faults.
pub(crate) fn process(
    slot: &mut InstanceSlot,
    batch: &mut Batch,
    mut slice: Slice,
    parts: &mut Parts<'_>,
) -> Result<u32, HaltCause> {
    match slot.process(batch, &mut slice)? {
        Ok((edits, _)) => {
            parts.edited(slice, edits)?;
            Ok(0)
        }
        Err(fault) => {
            let mut search = FaultSearch::new(slot, fault)?;
            search.run(batch, slice, parts)?;
            Ok(search.faults)
        }
    }
}

/// The search for rows at fault in one slice.
struct FaultSearch<'a> {
    slot: &'a mut InstanceSlot,
    faults: u32,
    last: Fault,
    began: Duration,
    /// What applying the edits of the parts will take.
    work: Duration,
}

impl<'a> FaultSearch<'a> {
    fn new(slot: &'a mut InstanceSlot, first: Fault) -> Result<Self, HaltCause> {
        let (began, work) = (thread_cpu_time(), Duration::ZERO);
        let mut search = Self { slot, faults: 0, last: first.clone(), began, work };
        search.note(first)?;
        Ok(search)
    }

    fn run(
        &mut self,
        batch: &mut Batch,
        slice: Slice,
        parts: &mut Parts<'_>,
    ) -> Result<(), HaltCause> {
        // A stack, the next part on top. The slice itself comes first: the second try.
        let mut todo = vec![slice];
        while let Some(mut part) = todo.pop() {
            match self.slot.process(batch, &mut part)? {
                Ok((edits, work)) => {
                    self.work += work;
                    parts.edited(part, edits)?;
                    self.check()?;
                }
                Err(fault) => {
                    self.note(fault.clone())?;
                    match part.rows() {
                        [_] if self.slot.plugin().on_error == OnError::Halt => {
                            return Err(HaltCause::Policy(fault));
                        }
                        [row] => parts.done.push(Part::AtFault(*row, fault)),
                        // So that the first rows come off first.
                        _ => todo.extend(part.cut(batch, PARTS).rev()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts a fault, and gives up once there were too many or they cost too much.
    fn note(&mut self, fault: Fault) -> Result<(), HaltCause> {
        self.faults += 1;
        self.last = fault;
        self.check()
    }

    /// Parts that succeed cost time as well: a slice whose rows take too long together is no cheaper in pieces.
    fn check(&self) -> Result<(), HaltCause> {
        let limits = &self.slot.plugin().template.limits;
        let spent = thread_cpu_time().saturating_sub(self.began) + self.work;
        if self.faults > limits.faults_per_slice || spent > limits.repair_time {
            let last = self.last.clone();
            return Err(HaltCause::TooManyFaults { faults: self.faults, last });
        }
        Ok(())
    }
}
