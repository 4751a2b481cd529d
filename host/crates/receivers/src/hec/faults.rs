//! The ways a collector can be made to misbehave, each by the name an operator would give it.
//!
//! Methods that take a number of requests form a script: `busy_for(2)` then `lose_responses(1)` turns
//! two requests away and loses the answer to the third. Only requests to the event and raw endpoints
//! count. The other methods change a condition that lasts until it is changed back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use super::acks::{AckPolicy, Channels};
use super::auth::Access;
use super::envelope::Candidate;
use super::intake::{BadEvent, Poison};
use super::reply::{Code, Reply};
use super::script::{Script, Step};

/// The handle to a collector's misbehaviour. Clones act on the same collector.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<ActiveFaults>>);

/// What a web application firewall before the collector does not let through.
pub(crate) struct ContentFilter {
    pub(crate) reply: Reply,
    pub(crate) needle: String,
}

/// Refusals that have nothing to do with what is refused.
pub(crate) struct RandomRefusals {
    percent: u64,
    state: u64,
    replies: Vec<Reply>,
}

impl RandomRefusals {
    /// Whether the request at hand is refused, and how.
    fn refusal(&mut self) -> Option<Reply> {
        let is_refused = self.next() % 100 < self.percent;
        let turn = usize::try_from(self.next()).unwrap_or_default();
        let reply = self.replies.get(turn.checked_rem(self.replies.len())?);
        reply.filter(|_| is_refused).cloned()
    }

    /// SplitMix64, without its top bit.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) >> 1
    }
}

/// How the collector behaves at the moment.
pub(crate) struct ActiveFaults {
    pub(crate) access: Access,
    pub(crate) channels: Channels,
    pub(crate) poison: Option<Arc<Poison>>,
    pub(crate) max_content_length: u64,
    pub(crate) keep_before_bad: bool,
    /// What a balancer answers in place of the health page.
    pub(crate) health_page: Option<Reply>,
    pub(crate) content_filter: Option<Arc<ContentFilter>>,
    pub(crate) reset_above: Option<u64>,
    pub(crate) odd_connections_busy: bool,
    pub(crate) random_refusals: Option<RandomRefusals>,
    script: Script,
    discards: u64,
    lost_ack_replies: u32,
}

impl Faults {
    pub(crate) fn new(token: String, max_content_length: u64) -> Self {
        Self(Arc::new(Mutex::new(ActiveFaults {
            access: Access { token, disabled: false },
            channels: Channels::default(),
            poison: None,
            max_content_length,
            keep_before_bad: false,
            health_page: None,
            content_filter: None,
            reset_above: None,
            odd_connections_busy: false,
            random_refusals: None,
            script: Script::default(),
            discards: 0,
            lost_ack_replies: 0,
        })))
    }

    /// Turns the next requests away: 503, code 9.
    pub fn busy_for(&self, requests: u32) {
        self.script(Step::Answer(Reply::code(Code::Busy)), requests);
    }

    /// Turns the next requests away with code 9 that also names an event, as a collector does whose
    /// queue filled up in the middle of a request.
    pub fn busy_at_event(&self, requests: u32, index: usize) {
        self.script(Step::Answer(Reply::event(Code::Busy, index)), requests);
    }

    /// Answers 429 without a HEC body, as a proxy does; with `Retry-After` in whole seconds if given.
    pub fn throttle_for(&self, requests: u32, retry_after: Option<Duration>) {
        let mut reply = Reply::text(StatusCode::TOO_MANY_REQUESTS, "text/plain", "slow down");
        if let Some(after) = retry_after {
            reply = reply.header(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        self.script(Step::Answer(reply), requests);
    }

    /// Answers as Splunk Web does to those who mistake its port for the collector's: 303 and HTML.
    pub fn splunk_web_for(&self, requests: u32) {
        self.script(Step::Answer(Reply::splunk_web()), requests);
    }

    /// Answers with any status and a plain-text body. A status HTTP does not know becomes 500.
    pub fn answer_for(&self, requests: u32, status: u16, body: &str) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.script(Step::Answer(Reply::text(status, "text/plain", body)), requests);
    }

    /// Accepts the next requests with code 24 on a 200: a queue is filling up.
    pub fn near_capacity_for(&self, requests: u32) {
        self.script(Step::NearCapacity, requests);
    }

    /// Accepts the next requests and closes the connection instead of saying so.
    pub fn lose_responses(&self, requests: u32) {
        self.script(Step::LoseResponse, requests);
    }

    /// Says 200 to the next requests, and then loses their events as an indexer that crashes does:
    /// they are not recorded, and their ack ids are never true.
    pub fn lose_before_indexing(&self, requests: u32) {
        self.script(Step::LoseBeforeIndexing, requests);
    }

    /// Takes `delay` to answer the next requests, after having accepted them.
    pub fn delay_replies(&self, requests: u32, delay: Duration) {
        self.script(Step::Delay(delay), requests);
    }

    /// Resets the connection of the next requests in the middle of their bodies.
    pub fn reset_mid_body(&self, requests: u32) {
        self.script(Step::Reset, requests);
    }

    /// Forgets what is left of the script.
    pub fn end_script(&self) {
        self.active().script.clear();
    }

    /// Refuses the token with code 1 until [`enable_token`](Self::enable_token).
    pub fn disable_token(&self) {
        self.active().access.disabled = true;
    }

    /// Takes the token again.
    pub fn enable_token(&self) {
        self.active().access.disabled = false;
    }

    /// Takes this token instead; the one before is now wrong: code 4.
    pub fn rotate_token(&self, token: impl Into<String>) {
        self.active().access.token = token.into();
    }

    /// The token accepted at the moment.
    pub(crate) fn token(&self) -> String {
        self.active().access.token.clone()
    }

    /// Calls events for which `is_bad` holds invalid (code 6), and with them the request, until
    /// [`accept_all_events`](Self::accept_all_events). The predicate sees the envelope as it was sent.
    /// Not in [`Mode::Counts`](super::Mode::Counts), which reads no events.
    pub fn refuse_events(
        &self,
        naming: BadEvent,
        is_bad: impl Fn(&Candidate<'_>) -> bool + Send + Sync + 'static,
    ) {
        self.active().poison = Some(Arc::new(Poison { naming, is_bad: Box::new(is_bad) }));
    }

    /// Ends [`refuse_events`](Self::refuse_events).
    pub fn accept_all_events(&self) {
        self.active().poison = None;
    }

    /// Whether the events before a bad one stay, although the request is refused. Splunk has been seen
    /// to do either; off by default.
    pub fn keep_events_before_a_bad_one(&self, keep: bool) {
        self.active().keep_before_bad = keep;
    }

    /// Answers the health page with a web page of this status, as a balancer does that forwards nothing but
    /// events.
    pub fn hide_health(&self, status: u16) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND);
        let page = Reply::text(status, "text/html", "<html>no such page</html>");
        self.active().health_page = Some(page);
    }

    /// Answers 413 to bodies above `bytes`, before or after decompression.
    pub fn limit_content(&self, bytes: u64) {
        self.active().max_content_length = bytes;
    }

    /// Drops one event of the next accepted request without a word; several calls add up.
    pub fn discard_one(&self) {
        self.active().discards += 1;
    }

    /// Answers with `status` and a web page to bodies that hold `needle`, as a web application firewall does,
    /// until [`pass_all_content`](Self::pass_all_content).
    pub fn filter_content(&self, status: u16, needle: &str) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let page =
            "<html><head><title>Forbidden</title></head><body>Request blocked.</body></html>";
        let reply = Reply::text(status, "text/html", page);
        let filter = ContentFilter { reply, needle: needle.to_owned() };
        self.active().content_filter = Some(Arc::new(filter));
    }

    /// Ends [`filter_content`](Self::filter_content).
    pub fn pass_all_content(&self) {
        self.active().content_filter = None;
    }

    /// Resets connections on which a body above `bytes` arrives, as some gateways do instead of answering.
    /// `None` ends it.
    pub fn reset_above(&self, bytes: Option<u64>) {
        self.active().reset_above = bytes;
    }

    /// Turns away every request on the first, third, fifth … connection with 503, code 9: a balancer that
    /// spreads connections over two nodes of which one is out of order.
    pub fn odd_connections_busy(&self, busy: bool) {
        self.active().odd_connections_busy = busy;
    }

    /// Refuses so many percent of the requests, at random and whatever is in them, each with one of these statuses and
    /// bodies: nodes behind a balancer that leave and return. `seed` makes it repeatable; 0 percent ends it.
    pub fn refuse_at_random(&self, percent: u64, seed: u64, answers: &[(u16, &str)]) {
        let reply = |&(status, body): &(u16, &str)| {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let kind = if body.starts_with('<') { "text/html" } else { "text/plain" };
            Reply::text(status, kind, body)
        };
        let replies = answers.iter().map(reply).collect();
        self.active().random_refusals = Some(RandomRefusals { percent, state: seed, replies });
    }

    /// Calls this event of the next requests invalid (code 6), whatever it is.
    pub fn blame_event(&self, requests: u32, index: usize) {
        self.script(Step::Answer(Reply::event(Code::InvalidFormat, index)), requests);
    }

    /// Answers the next requests with a status and a body that never ends, a few bytes at a time.
    pub fn endless_replies(&self, requests: u32, status: u16) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        self.script(Step::Answer(Reply::endless(status)), requests);
    }

    /// Decides when acknowledgements come; also for requests already accepted.
    pub fn acknowledge(&self, policy: AckPolicy) {
        self.active().channels.policy = policy;
    }

    /// Answers the next questions about acknowledgements, so that the ids count as reported, and closes
    /// the connection before the answer is out.
    pub fn lose_ack_replies(&self, replies: u32) {
        self.active().lost_ack_replies += replies;
    }

    /// Forgets all channels, as the clean-up of idle ones does; ack ids start again at 0.
    pub fn expire_channels(&self) {
        self.active().channels.expire();
    }

    pub(crate) fn active(&self) -> MutexGuard<'_, ActiveFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self, step: Step, requests: u32) {
        self.active().script.add(step, requests);
    }
}

impl ActiveFaults {
    /// What is to happen to the request at hand; `None` for the ordinary.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        let refused =
            || self.random_refusals.as_mut().and_then(RandomRefusals::refusal).map(Step::Answer);
        self.script.next().or_else(refused)
    }

    /// How many of the `held` events just accepted are to vanish.
    pub(crate) fn claim_discards(&mut self, held: u64) -> u64 {
        let now = self.discards.min(held);
        self.discards -= now;
        now
    }

    /// Whether the answer to the question at hand is to be lost.
    pub(crate) fn claim_lost_ack_reply(&mut self) -> bool {
        let lost = self.lost_ack_replies > 0;
        self.lost_ack_replies = self.lost_ack_replies.saturating_sub(1);
        lost
    }
}
