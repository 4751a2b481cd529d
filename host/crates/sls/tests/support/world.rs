//! The server's state, and what it answers to each call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use forwarder_sls::sign::{Authorization, v1, v4};
use forwarder_sls::wire::compress_lz4;
use forwarder_sls::{Cursor, ErrorCode};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::{KEY_ID, SECRET, full};

/// What can go wrong with one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A refusal in the service's form.
    Refuse(u16, &'static str),
    /// A refusal with an explanation.
    RefuseWith(u16, &'static str, String),
    /// A refusal in HTML, as a load balancer sends it.
    Html(u16),
    /// Status 200, but HTML.
    Nonsense,
    /// No answer ever.
    Hang,
    /// The right answer, late.
    Slow(Duration),
    /// The connection breaks within the body.
    Cut,
    /// The right answer with a header changed, or removed.
    Header(&'static str, Option<&'static str>),
    /// The right answer with another body.
    Body(Vec<u8>),
    /// The call has its effect, but the answer is a refusal.
    DoneButRefused(u16, &'static str),
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub api: &'static str,
    pub peer: SocketAddr,
    pub path: String,
    pub params: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A shard: log groups of opaque bytes, the first with cursor `base`.
#[derive(Default, Debug)]
pub struct ShardData {
    pub base: u64,
    pub groups: Vec<Vec<u8>>,
    /// Seconds at which each group was received.
    pub received: Vec<i64>,
    /// How many groups have expired.
    pub expired: usize,
}

impl ShardData {
    pub fn begin(&self) -> u64 {
        self.base + self.expired as u64
    }

    pub fn end(&self) -> u64 {
        self.base + self.groups.len() as u64
    }
}

#[derive(Debug)]
pub struct World {
    pub shards: BTreeMap<u32, ShardData>,
    /// Name, timeout in seconds, order.
    pub group: Option<(String, u32, bool)>,
    /// What heartbeats are answered with.
    pub grants: Vec<u32>,
    /// Consumers that have sent `[]` and were not expelled since.
    pub members: BTreeSet<String>,
    /// The last report of shards.
    pub report: Option<Vec<u32>>,
    pub checkpoints: BTreeMap<u32, (String, i64)>,
    pub faults: VecDeque<(&'static str, Fault)>,
    pub seen: Vec<Seen>,
    /// The secret that is accepted.
    pub secret: String,
    /// How far the server's clock is ahead.
    pub ahead: i64,
    /// Whether answers carry the helpful optional headers.
    pub helpful: bool,
    /// Whether a cursor that has expired is answered and not refused.
    pub lenient: bool,
}

pub enum Answer {
    Now(Response<Body>),
    Later(Duration, Response<Body>),
    Never,
}

/// A body that can break off in the middle.
pub enum Body {
    Whole(Full<Bytes>),
    Broken(Step),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            Self::Whole(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame.unwrap())))
            }
            Self::Broken(step @ Step::Begin) => {
                *step = Step::Flush;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
            }
            Self::Broken(step @ Step::Flush) => {
                *step = Step::Break;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Broken(Step::Break) => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Broken(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// How far a broken body got.
#[derive(Clone, Copy)]
pub enum Step {
    Begin,
    /// Waits once, so that the beginning is sent before the connection breaks.
    Flush,
    Break,
}

type Outcome = Result<Response<Body>, Response<Body>>;

impl World {
    pub fn new(shards: &[u32]) -> Self {
        let shards = shards.iter().map(|id| {
            (*id, ShardData { base: 1000 * (u64::from(*id) + 1), ..ShardData::default() })
        });
        Self {
            shards: shards.collect(),
            group: None,
            grants: Vec::new(),
            members: BTreeSet::new(),
            report: None,
            checkpoints: BTreeMap::new(),
            faults: VecDeque::new(),
            seen: Vec::new(),
            secret: SECRET.into(),
            ahead: 0,
            helpful: true,
            lenient: false,
        }
    }

    /// Appends log groups received now.
    pub fn write(&mut self, shard: u32, groups: &[&[u8]]) {
        let now = self.now();
        self.write_at(shard, groups, now);
    }

    pub fn write_at(&mut self, shard: u32, groups: &[&[u8]], received: i64) {
        let data = self.shards.get_mut(&shard).unwrap();
        data.groups.extend(groups.iter().map(|group| group.to_vec()));
        data.received.extend(vec![received; groups.len()]);
    }

    pub fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_secs()).unwrap() + self.ahead
    }

    pub fn answer(&mut self, peer: SocketAddr, parts: &Parts, body: &Bytes) -> Answer {
        let path = parts.uri.path().to_owned();
        let url = format!("http://x{path}?{}", parts.uri.query().unwrap_or_default());
        let params: BTreeMap<String, String> =
            reqwest::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
        let api = name(parts.method.as_str(), &path, &params);
        let headers = parts.headers.clone();
        let seen = Seen { api, peer, path, params, headers, body: body.clone() };
        self.seen.push(seen.clone());
        let at = self.faults.iter().position(|(name, _)| *name == api);
        let fault = at.and_then(|at| self.faults.remove(at)).map(|(_, fault)| fault);
        self.faulty(fault, parts, &seen)
    }

    fn faulty(&mut self, fault: Option<Fault>, parts: &Parts, seen: &Seen) -> Answer {
        let page = "<html>\n<body>Bad   Gateway</body></html>";
        let mut right = match &fault {
            Some(Fault::Refuse(status, code)) => self.refuse(*status, code, "by fault"),
            Some(Fault::RefuseWith(status, code, text)) => self.refuse(*status, code, text),
            Some(Fault::Html(status)) => self.respond(*status, full(page)),
            Some(Fault::Nonsense) => self.respond(200, full(page)),
            Some(Fault::Hang) => return Answer::Never,
            Some(Fault::DoneButRefused(status, code)) => {
                let _ = self.right(parts, seen);
                self.refuse(*status, code, "by fault")
            }
            _ => self.right(parts, seen).unwrap_or_else(|refusal| refusal),
        };
        match fault {
            Some(Fault::Slow(delay)) => return Answer::Later(delay, right),
            Some(Fault::Cut) => *right.body_mut() = Body::Broken(Step::Begin),
            Some(Fault::Body(bytes)) => *right.body_mut() = full(bytes),
            Some(Fault::Header(name, Some(value))) => {
                right.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            Some(Fault::Header(name, None)) => {
                right.headers_mut().remove(name);
            }
            _ => {}
        }
        Answer::Now(right)
    }

    fn right(&mut self, parts: &Parts, seen: &Seen) -> Outcome {
        self.verify(parts, seen)?;
        let json: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match seen.api {
            "ListShards" => Ok(self.json(&json!(
                self.shards
                    .keys()
                    // One range for all: each shard took over from those before it.
                    .map(|id| {
                        json!({"shardID": id, "status": "readwrite", "createTime": 1,
                            "inclusiveBeginKey": "00", "exclusiveEndKey": "ff"})
                    })
                    .collect::<Vec<_>>()
            ))),
            "GetCursor" => self.get_cursor(seen),
            "GetCursorTime" => self.get_cursor_time(seen),
            "PullLogs" => self.pull(seen),
            "ListConsumerGroup" => {
                let groups = self.group.iter().map(
                    |(name, timeout, order)| json!({"name": name, "timeout": timeout, "order": order}),
                );
                Ok(self.json(&groups.collect()))
            }
            "CreateConsumerGroup" => {
                if self.group.is_some() {
                    return Err(self.refuse_as(&ErrorCode::ConsumerGroupAlreadyExist));
                }
                let name = json["consumerGroup"].as_str().unwrap().to_owned();
                let timeout = json["timeout"].as_u64().unwrap() as u32;
                self.group = Some((name, timeout, json["order"].as_bool().unwrap()));
                Ok(self.respond(200, full("")))
            }
            "UpdateConsumerGroup" => {
                let Some((_, timeout, order)) = &mut self.group else {
                    return Err(self.refuse_as(&ErrorCode::ConsumerGroupNotExist));
                };
                *timeout = json["timeout"].as_u64().map_or(*timeout, |new| new as u32);
                *order = json["order"].as_bool().unwrap_or(*order);
                Ok(self.respond(200, full("")))
            }
            "HeartBeat" => self.heartbeat(seen, &json),
            "UpdateCheckPoint" => self.update_checkpoint(seen, &json),
            "GetCheckPoint" => self.get_checkpoint(seen),
            _ => Ok(self.respond(200, full(""))),
        }
    }

    fn heartbeat(&mut self, seen: &Seen, json: &Value) -> Outcome {
        let shards: Vec<u32> = serde_json::from_value(json.clone()).unwrap();
        if self.group.is_none() {
            return Err(self.refuse_as(&ErrorCode::ConsumerGroupNotExist));
        }
        let consumer = &seen.params["consumer"];
        if !self.members.contains(consumer) && !shards.is_empty() {
            return Err(self.refuse_as(&ErrorCode::NotExistConsumerWithBody));
        }
        self.members.insert(consumer.clone());
        self.report = Some(shards);
        Ok(self.json(&json!(self.grants)))
    }

    fn update_checkpoint(&mut self, seen: &Seen, json: &Value) -> Outcome {
        let shard = json["shard"].as_u64().unwrap() as u32;
        let forced = seen.params["forceSuccess"].eq_ignore_ascii_case("true");
        if !forced && !self.members.contains(&seen.params["consumer"]) {
            return Err(self.refuse_as(&ErrorCode::ConsumerNotExist));
        }
        let cursor = json["checkpoint"].as_str().unwrap().to_owned();
        self.checkpoints.insert(shard, (cursor, self.now() * 1_000_000));
        Ok(self.respond(200, full("")))
    }

    fn get_checkpoint(&mut self, seen: &Seen) -> Outcome {
        let wanted: Option<u32> = seen.params.get("shard").map(|id| id.parse().unwrap());
        let ids = self.shards.keys().copied().filter(|id| wanted.is_none_or(|it| it == *id));
        let entries = ids.map(|id| {
            let (cursor, updated) = self.checkpoints.get(&id).cloned().unwrap_or_default();
            json!({"shard": id, "checkpoint": cursor, "updateTime": updated, "consumer": ""})
        });
        Ok(self.json(&entries.collect()))
    }

    fn shard(&self, seen: &Seen) -> Result<&ShardData, Response<Body>> {
        let id = seen.path.rsplit('/').next().and_then(|id| id.parse::<u32>().ok());
        let data = id.and_then(|id| self.shards.get(&id));
        data.ok_or_else(|| self.refuse_as(&ErrorCode::ShardNotExist))
    }

    fn get_cursor(&mut self, seen: &Seen) -> Outcome {
        let data = self.shard(seen)?;
        let position = match seen.params["from"].as_str() {
            "begin" => data.begin(),
            "end" => data.end(),
            time => {
                let time: i64 = time.parse().unwrap();
                data.base + data.received.iter().take_while(|at| **at < time).count() as u64
            }
        };
        let position = position.max(data.begin());
        Ok(self.json(&json!({"cursor": Cursor::at(position).as_str()})))
    }

    fn position(&self, seen: &Seen) -> Result<(&ShardData, usize), Response<Body>> {
        let data = self.shard(seen)?;
        let position = Cursor::new(&seen.params["cursor"]).ok().and_then(|it| it.position());
        let oldest = if self.lenient { data.base } else { data.begin() };
        match position.filter(|at| (oldest..=data.end()).contains(at)) {
            Some(at) => Ok((data, (at - data.base) as usize)),
            None => Err(self.refuse_as(&ErrorCode::InvalidCursor)),
        }
    }

    fn get_cursor_time(&mut self, seen: &Seen) -> Outcome {
        let (data, at) = self.position(seen)?;
        match data.received.get(at) {
            Some(time) => Ok(self.json(&json!({"cursor_time": time}))),
            None => Err(self.refuse_as(&ErrorCode::InvalidCursor)),
        }
    }

    fn pull(&mut self, seen: &Seen) -> Outcome {
        let (data, from) = self.position(seen)?;
        let count: usize = seen.params["count"].parse().unwrap();
        let stop = seen.params.get("end_cursor").and_then(|end| Cursor::new(end).ok()?.position());
        let stop = stop.map_or(data.groups.len(), |stop| (stop - data.base) as usize);
        let to = (from + count).min(stop).min(data.groups.len()).max(from);
        let raw: Vec<u8> = data.groups[from..to].concat();
        // Groups of no bytes are what a filter leaves of others.
        let groups = data.groups[from..to].iter().filter(|group| !group.is_empty()).count();
        let next = Cursor::at(data.base + to as u64);
        let (at_end, last) = (to == data.groups.len(), data.base + to as u64);
        let time = data.received.get(to.saturating_sub(1)).copied().unwrap_or_default();
        let body = if raw.is_empty() { Vec::new() } else { compress_lz4(&raw) };
        let mut response = self.respond(200, full(body));
        let headers = response.headers_mut();
        headers.insert("x-log-cursor", next.as_str().parse().unwrap());
        headers.insert("x-log-count", HeaderValue::from(groups));
        headers.insert("x-log-bodyrawsize", HeaderValue::from(raw.len()));
        if !raw.is_empty() {
            headers.insert("x-log-compresstype", HeaderValue::from_static("lz4"));
        }
        if self.helpful {
            headers.insert("x-log-end-of-cursor", HeaderValue::from(u16::from(at_end)));
            headers.insert("x-log-cursor-time", HeaderValue::from(time));
            if to > from {
                headers.insert("x-log-read-last-cursor", HeaderValue::from(last - 1));
            }
        }
        Ok(response)
    }

    /// Checks address and signature as the service does.
    fn verify(&self, parts: &Parts, seen: &Seen) -> Result<(), Response<Body>> {
        let text = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert!(text("host").starts_with("proj."), "host is `{}`", text("host"));
        assert_eq!(text("x-log-apiversion"), "0.6.0");
        let params: Vec<_> = seen.params.iter().collect();
        let (method, path) = (&parts.method, &seen.path);
        let genuine = match Authorization::parse(text("authorization")) {
            Some(Authorization::V1 { key_id, signature }) => {
                let to_sign = v1::string_to_sign(method, path, &params, &parts.headers);
                key_id == KEY_ID && v1::signature(&self.secret, &to_sign) == signature
            }
            Some(Authorization::V4 { key_id, date, region, signature }) => {
                assert_eq!(text("x-log-content-sha256"), v4::payload_hash(&seen.body));
                let request = v4::canonical_request(method, path, &params, &parts.headers);
                let to_sign = v4::string_to_sign(&request, text("x-log-date"), &region);
                let key = v4::signing_key(&self.secret, &date, &region);
                key_id == KEY_ID && v4::signature(&key, &to_sign) == signature
            }
            _ => false,
        };
        if genuine { Ok(()) } else { Err(self.refuse_as(&ErrorCode::SignatureNotMatch)) }
    }

    fn json(&self, value: &Value) -> Response<Body> {
        self.respond(200, full(value.to_string()))
    }

    fn refuse_as(&self, code: &ErrorCode) -> Response<Body> {
        let status = match code {
            ErrorCode::ConsumerGroupNotExist
            | ErrorCode::ConsumerNotExist
            | ErrorCode::ShardNotExist => 404,
            ErrorCode::SignatureNotMatch => 401,
            _ => 400,
        };
        self.refuse(status, code.as_str(), "as it is")
    }

    fn refuse(&self, status: u16, code: &str, message: &str) -> Response<Body> {
        let body = json!({"errorCode": code, "errorMessage": message});
        self.respond(status, full(body.to_string()))
    }

    fn respond(&self, status: u16, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let headers = response.headers_mut();
        headers.insert("x-log-requestid", HeaderValue::from_static("5EA1F00D5EA1F00D5EA1F00D"));
        headers.insert("date", v1::http_date(self.now()).parse().unwrap());
        response
    }
}

/// The call a request is, by the service's reference.
fn name(method: &str, path: &str, params: &BTreeMap<String, String>) -> &'static str {
    let kind = params.get("type").map_or("", String::as_str);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice(), kind) {
        ("POST", [""], _) => "CreateProject",
        ("POST", ["logstores"], _) => "CreateLogstore",
        ("GET", ["logstores", _, "shards"], _) => "ListShards",
        ("GET", ["logstores", _, "shards", _], "cursor") => "GetCursor",
        ("GET", ["logstores", _, "shards", _], "cursor_time") => "GetCursorTime",
        ("GET", ["logstores", _, "shards", _], "log") => "PullLogs",
        ("POST", ["logstores", _, "shards", "lb" | "route"], _) => "PutLogs",
        ("POST", ["logstores", _, "shards", _], _) => "SplitShard",
        ("GET", ["logstores", _, "consumergroups"], _) => "ListConsumerGroup",
        ("POST", ["logstores", _, "consumergroups"], _) => "CreateConsumerGroup",
        ("PUT", ["logstores", _, "consumergroups", _], _) => "UpdateConsumerGroup",
        ("DELETE", ["logstores", _, "consumergroups", _], _) => "DeleteConsumerGroup",
        ("POST", ["logstores", _, "consumergroups", _], "heartbeat") => "HeartBeat",
        ("POST", ["logstores", _, "consumergroups", _], "checkpoint") => "UpdateCheckPoint",
        ("GET", ["logstores", _, "consumergroups", _], _) => "GetCheckPoint",
        _ => panic!("unknown call {method} {path} {params:?}"),
    }
}
