//! What to do to the next requests, in the order a test asked for it.

use std::collections::VecDeque;
use std::time::Duration;

use super::reply::Reply;

/// What happens to one request to the event or raw endpoint.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Read it, keep nothing of it, and say this.
    Answer(Reply),
    /// Accept it, and warn that a queue fills up (code 24).
    NearCapacity,
    /// Accept it, and close the connection without a word.
    LoseResponse,
    /// Accept it, and lose its events before they are indexed.
    LoseBeforeIndexing,
    /// Accept it, and take this long to say so.
    Delay(Duration),
    /// Reset the connection after the first part of the body.
    Reset,
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    runs: VecDeque<(Step, u32)>,
}

impl Script {
    /// Appends `step` for the next `times` requests after those already spoken for.
    pub(crate) fn add(&mut self, step: Step, times: u32) {
        if times > 0 {
            self.runs.push_back((step, times));
        }
    }

    /// The step for the request at hand.
    pub(crate) fn next(&mut self) -> Option<Step> {
        let (step, times) = self.runs.front_mut()?;
        *times -= 1;
        let (step, used_up) = (step.clone(), *times == 0);
        if used_up {
            self.runs.pop_front();
        }
        Some(step)
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_the_order_and_number_asked_for() {
        let mut script = Script::default();
        script.add(Step::Reset, 2);
        script.add(Step::LoseResponse, 0);
        script.add(Step::NearCapacity, 1);

        let steps: Vec<_> = std::iter::from_fn(|| script.next()).collect();
        assert!(matches!(steps[..], [Step::Reset, Step::Reset, Step::NearCapacity]));
    }
}
