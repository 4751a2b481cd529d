//! What can go wrong, by name: faults to inject into the answers of one API, so many times.
//!
//! A fault is taken when its API is called. Some answer in place of the service; others let it do its
//! work and spoil what comes out. Faults of the data itself need no injection: stored groups are
//! returned as given, invalid UTF-8 and all. Faults of the consumer group (forced expiry, frozen
//! assignment) and of the clock are methods of [`crate::Emulator`].

use std::io;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use crate::api_name::{Api, UnknownApi};
use crate::server::reply::Reply;
use crate::state::cursor::Cursor;

/// One thing that goes wrong with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Refuses with a status and an error code; the request has no effect.
    Refuse {
        /// HTTP status.
        status: u16,
        /// `errorCode`.
        code: String,
    },
    /// Answers as a gateway does, with an HTML page; the request has no effect.
    Html(u16),
    /// Closes the connection without an answer; the request has no effect.
    Reset,
    /// Answers, but late.
    Delay(Duration),
    /// Does as asked, then closes the connection without an answer: the client cannot know.
    LoseReply,
    /// Does as asked, and answers with a refusal all the same, as a gateway does whose patience ends.
    DoneButRefused {
        /// HTTP status.
        status: u16,
        /// `errorCode`.
        code: String,
    },
    /// Breaks off in the middle of the body.
    CutBody,
    /// Inverts a byte in the middle of the body.
    CorruptBody,
    /// Claims that the body unpacks to this many bytes.
    RawSize(u64),
    /// Claims another compression than was used.
    CompressType(String),
    /// Breaks off in the middle of the body, and announces no more than it sends.
    ShortenBody,
    /// Sets a header.
    SetHeader(String, String),
    /// Moves the next cursor this many log groups further than it should.
    MoveCursor(u64),
    /// Answers with another body.
    SetBody(String),
    /// Answers a heartbeat with this many shards.
    Grant(u32),
    /// Leaves out a header.
    OmitHeader(String),
    /// Answers a pull with no groups although the cursor moves on; what was there is never seen.
    HideGroups,
    /// Spoils one answer in several ways; of those that answer in place of the service, the first does. Has no form
    /// as text.
    Together(Vec<Self>),
}

impl Fault {
    /// Refuses with a status and an error code.
    pub fn refuse(status: u16, code: impl Into<String>) -> Self {
        Self::Refuse { status, code: code.into() }
    }

    /// What happens before the request is looked at. Breaking means that the service never sees it.
    pub(crate) async fn before(&self) -> ControlFlow<Result<Reply, io::Error>> {
        match self {
            Self::Refuse { status, code } => {
                ControlFlow::Break(Ok(Reply::refusal(*status, code, "injected fault")))
            }
            Self::Html(status) => ControlFlow::Break(Ok(Reply::html(*status))),
            Self::Reset => ControlFlow::Break(Err(io::ErrorKind::ConnectionReset.into())),
            Self::Delay(delay) => {
                tokio::time::sleep(*delay).await;
                ControlFlow::Continue(())
            }
            Self::Together(faults) => {
                for fault in faults {
                    if let ControlFlow::Break(instead) = Box::pin(fault.before()).await {
                        return ControlFlow::Break(instead.and_then(|reply| self.after(reply)));
                    }
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// What happens to the service's answer. An error closes the connection instead of sending it.
    pub(crate) fn after(&self, mut reply: Reply) -> Result<Reply, io::Error> {
        match self {
            Self::LoseReply => return Err(io::ErrorKind::ConnectionReset.into()),
            Self::DoneButRefused { status, code } => {
                reply = Reply::refusal(*status, code, "injected fault");
            }
            Self::CutBody => reply.cut = true,
            Self::CorruptBody => {
                let mut body = Vec::from(reply.body);
                let middle = body.len() / 2;
                body.get_mut(middle..)
                    .unwrap_or_default()
                    .iter_mut()
                    .take(1)
                    .for_each(|b| *b = !*b);
                reply.body = body.into();
            }
            Self::RawSize(size) => reply.header("x-log-bodyrawsize", size),
            Self::CompressType(name) => reply.header("x-log-compresstype", name),
            Self::ShortenBody => reply.body.truncate(reply.body.len() / 2),
            Self::SetHeader(name, value) => {
                let header =
                    (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
                if let (Ok(name), Ok(value)) = header {
                    reply.headers.insert(name, value);
                }
            }
            Self::MoveCursor(groups) => {
                let text = reply.headers.get("x-log-cursor").and_then(|text| text.to_str().ok());
                if let Some(cursor) = text.and_then(Cursor::parse) {
                    let moved = cursor.number().saturating_add(*groups);
                    reply.header("x-log-cursor", Cursor::from_number(moved));
                }
            }
            Self::SetBody(text) => reply.body = text.clone().into(),
            Self::Grant(shards) => {
                let Reply { body, .. } = Reply::json(&(0..*shards).collect::<Vec<u32>>());
                reply.body = body;
            }
            Self::OmitHeader(name) => {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    reply.headers.remove(name);
                }
            }
            Self::HideGroups => {
                reply.body.clear();
                reply.header("x-log-count", 0);
                reply.header("x-log-bodyrawsize", 0);
            }
            Self::Together(faults) => {
                return faults.iter().try_fold(reply, |reply, fault| fault.after(reply));
            }
            Self::Refuse { .. } | Self::Html(_) | Self::Reset | Self::Delay(_) => {}
        }
        Ok(reply)
    }
}

/// A fault, where it strikes and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The API it strikes.
    pub api: Api,
    /// What goes wrong.
    pub fault: Fault,
    /// How many calls it strikes.
    pub times: u32,
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadInjection {
    /// Not of the form `API:FAULT` or `API:FAULT*TIMES`.
    #[error("write a fault as `API:FAULT*TIMES`, like `pull-logs:503*3`; got `{0}`")]
    Form(String),
    /// No such API.
    #[error(transparent)]
    Api(#[from] UnknownApi),
    /// No such fault.
    #[error(
        "no fault is called `{0}`; there are STATUS, STATUS/CODE, html-STATUS, reset, delay-MILLIS, \
         lose-reply, done-but-STATUS/CODE, cut-body, shorten-body, corrupt-body, raw-size-BYTES, compress-type-NAME, \
         header-NAME=VALUE, omit-HEADER, body-TEXT, move-cursor-GROUPS, grant-SHARDS and hide-groups"
    )]
    Fault(String),
}

/// Reads `API:FAULT` or `API:FAULT*TIMES`, for instance `heartbeat:503*2`, `pull-logs:403/ReadQuotaExceed`
/// or `update-checkpoint:delay-250`.
impl FromStr for Injection {
    type Err = BadInjection;

    fn from_str(text: &str) -> Result<Self, BadInjection> {
        let form = || BadInjection::Form(text.to_owned());
        let (api, rest) = text.split_once(':').ok_or_else(form)?;
        let (fault, times) = rest.rsplit_once('*').unwrap_or((rest, "1"));
        Ok(Self {
            api: api.parse()?,
            fault: fault.parse()?,
            times: times.parse().map_err(|_| form())?,
        })
    }
}

impl FromStr for Fault {
    type Err = BadInjection;

    fn from_str(name: &str) -> Result<Self, BadInjection> {
        let number = |prefix| name.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok());
        let text = |prefix| name.strip_prefix(prefix).map(str::to_owned);
        let (status, code) = name.split_once('/').unwrap_or((name, "Injected"));
        if let Ok(status @ 300..=599) = status.parse() {
            return Ok(Self::refuse(status, code));
        }
        if let Some(Ok(status @ 300..=599)) = status.strip_prefix("done-but-").map(str::parse) {
            return Ok(Self::DoneButRefused { status, code: code.to_owned() });
        }
        let found = match name {
            "reset" => Some(Self::Reset),
            "lose-reply" => Some(Self::LoseReply),
            "cut-body" => Some(Self::CutBody),
            "shorten-body" => Some(Self::ShortenBody),
            "corrupt-body" => Some(Self::CorruptBody),
            "hide-groups" => Some(Self::HideGroups),
            _ => None,
        };
        let status =
            || number("html-").and_then(|status| u16::try_from(status).ok()).map(Self::Html);
        found
            .or_else(status)
            .or_else(|| number("delay-").map(|millis| Self::Delay(Duration::from_millis(millis))))
            .or_else(|| number("raw-size-").map(Self::RawSize))
            .or_else(|| number("move-cursor-").map(Self::MoveCursor))
            .or_else(|| text("body-").map(Self::SetBody))
            .or_else(|| text("compress-type-").map(Self::CompressType))
            .or_else(|| text("omit-").map(Self::OmitHeader))
            .or_else(|| {
                let header = text("header-")?;
                let (name, value) = header.split_once('=')?;
                Some(Self::SetHeader(name.to_owned(), value.to_owned()))
            })
            .or_else(|| number("grant-").and_then(|n| u32::try_from(n).ok()).map(Self::Grant))
            .ok_or_else(|| BadInjection::Fault(name.to_owned()))
    }
}

/// The faults still to come.
#[derive(Debug, Default)]
pub struct Faults {
    pending: Mutex<Vec<Injection>>,
}

impl Faults {
    /// Lets the next `times` calls of `api` go wrong, after those injected before.
    pub fn inject(&self, api: Api, fault: Fault, times: u32) {
        self.add(Injection { api, fault, times });
    }

    /// The same, as read from text.
    pub fn add(&self, injection: Injection) {
        self.lock().push(injection);
    }

    /// Forgets all faults to come.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults are still to come.
    pub fn pending(&self) -> u64 {
        self.lock().iter().map(|injection| u64::from(injection.times)).sum()
    }

    /// The fault that strikes this call, if any.
    pub(crate) fn take(&self, api: Api) -> Option<Fault> {
        let mut pending = self.lock();
        pending.retain(|injection| injection.times > 0);
        let next = pending.iter_mut().find(|injection| injection.api == api)?;
        next.times -= 1;
        Some(next.fault.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Injection>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_called_by_name() {
        let read = |text: &str| text.parse::<Injection>().unwrap();
        let injection = read("pull-logs:503*3");
        assert_eq!((injection.api, injection.times), (Api::PullLogs, 3));
        assert_eq!(injection.fault, Fault::refuse(503, "Injected"));
        for (text, fault) in [
            ("heartbeat:403/ReadQuotaExceed", Fault::refuse(403, "ReadQuotaExceed")),
            (
                "heartbeat:done-but-500/InternalServerError",
                Fault::DoneButRefused { status: 500, code: "InternalServerError".into() },
            ),
            ("heartbeat:html-502", Fault::Html(502)),
            ("heartbeat:delay-250", Fault::Delay(Duration::from_millis(250))),
            ("heartbeat:raw-size-99", Fault::RawSize(99)),
            ("heartbeat:compress-type-zstd", Fault::CompressType("zstd".into())),
            ("heartbeat:omit-x-log-cursor", Fault::OmitHeader("x-log-cursor".into())),
            ("pull-logs:header-x-log-count=3", Fault::SetHeader("x-log-count".into(), "3".into())),
            ("pull-logs:shorten-body", Fault::ShortenBody),
            ("heartbeat:grant-9", Fault::Grant(9)),
            ("pull-logs:move-cursor-9", Fault::MoveCursor(9)),
            ("list-shards:body-[]", Fault::SetBody("[]".into())),
            ("heartbeat:reset", Fault::Reset),
        ] {
            assert_eq!(read(text).fault, fault, "{text}");
        }
        for text in ["503", "heartbeat:oops", "nothing:503", "heartbeat:503*x", "heartbeat:200"] {
            assert!(text.parse::<Injection>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_strikes_as_often_as_asked_and_only_its_api() {
        let faults = Faults::default();
        faults.inject(Api::HeartBeat, Fault::Reset, 2);
        faults.inject(Api::HeartBeat, Fault::Html(502), 1);
        assert_eq!(faults.take(Api::PullLogs), None);
        assert_eq!(faults.take(Api::HeartBeat), Some(Fault::Reset));
        assert_eq!(faults.pending(), 2);
        assert_eq!(faults.take(Api::HeartBeat), Some(Fault::Reset));
        assert_eq!(faults.take(Api::HeartBeat), Some(Fault::Html(502)));
        assert_eq!(faults.take(Api::HeartBeat), None);
    }
}
