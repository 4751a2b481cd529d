//! Whose job is next: equal shares of processor time, whatever single jobs cost.
//!
//! Start-time fair queueing. Every lane has an account of the CPU time it was served; the lane with the least
//! is served next. A lane that had nothing to do starts at the level of the lane served last, so that idle
//! time is not saved up. What a job will cost is not known when it starts: the lane is charged what its
//! jobs cost lately, and the difference when the job has ended. Otherwise one lane could put long jobs on all
//! threads before the first of them is accounted for.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of a lane; dense, from zero.
pub(super) type LaneNumber = usize;

/// The jobs that wait, by lane.
pub(super) struct FairQueue<J> {
    lanes: Vec<Lane<J>>,
    /// The account of the lane served last, before that service.
    level: Duration,
}

struct Lane<J> {
    jobs: VecDeque<J>,
    running: usize,
    served: Duration,
    /// What a job of this lane cost lately.
    usual: Duration,
}

/// A job that is to be run now. [`FairQueue::finished`] must hear of its end.
pub(super) struct Taken<J> {
    pub(super) job: J,
    pub(super) lane: LaneNumber,
    charged: Duration,
}

/// What is needed of a taken job when it has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    lane: LaneNumber,
    charged: Duration,
}

impl<J> Taken<J> {
    pub(super) const fn ticket(&self) -> Ticket {
        Ticket { lane: self.lane, charged: self.charged }
    }
}

impl<J> FairQueue<J> {
    pub(super) const fn new() -> Self {
        Self { lanes: Vec::new(), level: Duration::ZERO }
    }

    /// A further lane.
    pub(super) fn add_lane(&mut self) -> LaneNumber {
        self.lanes.push(Lane {
            jobs: VecDeque::new(),
            running: 0,
            served: Duration::ZERO,
            usual: Duration::ZERO,
        });
        self.lanes.len() - 1
    }

    pub(super) fn push(&mut self, lane: LaneNumber, job: J) {
        let level = self.level;
        if let Some(lane) = self.lanes.get_mut(lane) {
            if lane.jobs.is_empty() && lane.running == 0 {
                lane.served = lane.served.max(level);
            }
            lane.jobs.push_back(job);
        }
    }

    /// The next job of the lane that was served least.
    pub(super) fn take(&mut self) -> Option<Taken<J>> {
        let waiting = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.jobs.is_empty());
        let (number, _) = waiting.min_by_key(|(_, lane)| lane.served)?;
        self.take_from(number)
    }

    /// The next job of one lane.
    pub(super) fn take_from(&mut self, number: LaneNumber) -> Option<Taken<J>> {
        let lane = self.lanes.get_mut(number)?;
        let job = lane.jobs.pop_front()?;
        self.level = self.level.max(lane.served);
        lane.running += 1;
        lane.served += lane.usual;
        Some(Taken { job, lane: number, charged: lane.usual })
    }

    /// Settles the account of a job that took `cpu`.
    pub(super) fn finished(&mut self, ticket: Ticket, cpu: Duration) {
        if let Some(lane) = self.lanes.get_mut(ticket.lane) {
            lane.running = lane.running.saturating_sub(1);
            lane.served = lane.served.saturating_sub(ticket.charged) + cpu;
            lane.usual = (lane.usual * 3 + cpu) / 4;
        }
    }

    pub(super) fn has_jobs(&self, lane: LaneNumber) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.jobs.is_empty())
    }

    /// Whether a lane waits and is not being served at all.
    pub(super) fn is_stranded(&self, lane: LaneNumber) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.jobs.is_empty() && lane.running == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Serves lanes that never run out of jobs, on one thread; returns the CPU time each got.
    fn served(costs: &[u64], total: u64) -> Vec<u64> {
        let mut queue = FairQueue::new();
        for cost in costs {
            let lane = queue.add_lane();
            queue.push(lane, *cost);
        }
        let mut got = vec![0; costs.len()];
        while got.iter().sum::<u64>() < total {
            let taken = queue.take().unwrap();
            got[taken.lane] += taken.job;
            queue.push(taken.lane, taken.job);
            queue.finished(taken.ticket(), Duration::from_millis(taken.job));
        }
        got
    }

    #[test]
    fn shares_are_of_time_and_not_of_jobs() {
        let got = served(&[1, 1_000, 10], 60_000);
        for share in got {
            assert!((18_000..=22_000).contains(&share), "{share} ms of 60 s for three lanes");
        }
    }

    #[test]
    fn a_lane_that_was_idle_has_saved_nothing_up() {
        let mut queue = FairQueue::new();
        let (busy, idle) = (queue.add_lane(), queue.add_lane());
        for _ in 0..100 {
            queue.push(busy, ());
            let taken = queue.take().unwrap();
            queue.finished(taken.ticket(), Duration::from_secs(1));
        }
        let mut turns = Vec::new();
        (0..20).for_each(|_| queue.push(idle, ()));
        (0..20).for_each(|_| queue.push(busy, ()));
        for _ in 0..20 {
            let taken = queue.take().unwrap();
            turns.push(taken.lane);
            queue.finished(taken.ticket(), Duration::from_secs(1));
        }
        let of_idle = turns.iter().filter(|lane| **lane == idle).count();
        assert!((9..=12).contains(&of_idle), "{turns:?}");
    }

    #[test]
    fn long_jobs_are_charged_before_they_have_ended() {
        let mut queue = FairQueue::new();
        let (slow, other) = (queue.add_lane(), queue.add_lane());
        queue.push(slow, ());
        let first = queue.take().unwrap();
        queue.finished(first.ticket(), Duration::from_secs(6));
        for _ in 0..4 {
            queue.push(slow, ());
            queue.push(other, ());
        }
        // Nothing ends: of the next threads, the other lane gets all that it wants before a second goes to the slow one.
        let lanes: Vec<_> = (0..5).map(|_| queue.take().unwrap().lane).collect();
        assert_eq!(lanes.iter().filter(|lane| **lane == slow).count(), 1, "{lanes:?}");
    }

    proptest! {
        #[test]
        fn no_lane_falls_behind_by_more_than_the_longest_jobs(
            costs in proptest::collection::vec(1_u64..500, 1..8),
        ) {
            let total = 100_000;
            let got = served(&costs, total);
            let fair = total / costs.len() as u64;
            let longest = *costs.iter().max().unwrap();
            for share in got {
                prop_assert!(share + 3 * longest >= fair, "{share} of {fair}, longest job {longest}");
            }
        }
    }
}
