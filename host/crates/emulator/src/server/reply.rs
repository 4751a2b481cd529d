//! A reply in the making, and the body that carries it.
//!
//! Header names are written in lower case: the official Python client looks them up in that form.
//! Success is exactly 200, because two of the clients treat every other status as an error.

use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use forwarder_sls::sign::v1;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, SERVER};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::clock::Timestamp;
use crate::refusal::Refusal;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Sends the first half of the body and closes the connection.
    pub(crate) cut: bool,
}

impl Reply {
    /// 200 with nothing in it.
    pub(crate) fn ok() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new(), cut: false }
    }

    /// 200 with a JSON document.
    pub(crate) fn json(document: &impl Serialize) -> Self {
        // Our documents hold strings, numbers and lists: there is nothing serde_json could refuse.
        let body = serde_json::to_vec(document).unwrap_or_default();
        Self::ok().with_body("application/json", body)
    }

    /// 200 with a protobuf message, packed or not.
    pub(crate) fn protobuf(body: Bytes) -> Self {
        Self::ok().with_body("application/x-protobuf", body)
    }

    /// A refusal with a status, an error code and an explanation.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        let document = json!({ "errorCode": code, "errorMessage": message });
        Self { status: status_of(status), ..Self::json(&document) }
    }

    /// What a gateway in front of the service answers when the service does not.
    pub(crate) fn html(status: u16) -> Self {
        let page = format!("<html>\n<body><h1>{status}</h1>  <hr>gateway</body></html>");
        Self { status: status_of(status), ..Self::ok() }.with_body("text/html", page)
    }

    /// Sets a header; a value that no header can carry is left out.
    pub(crate) fn header(&mut self, name: &'static str, value: impl Display) {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }

    /// The HTTP response; `request_id` goes into `x-log-requestid`, and `now` into `date` unless a fault has set that.
    pub(crate) fn into_response(mut self, request_id: &str, now: Timestamp) -> Response<ReplyBody> {
        self.header("x-log-requestid", request_id);
        if !self.headers.contains_key(DATE) {
            let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
            self.header(DATE.as_str(), v1::http_date(seconds));
        }
        self.headers.insert(SERVER, HeaderValue::from_static("forwarder-emulator"));
        self.headers.insert(CONTENT_LENGTH, self.body.len().into());
        let mut response = Response::new(ReplyBody::new(self.body, self.cut));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::refusal(refusal.status, refusal.code, &refusal.message)
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A body of known length that may break off halfway, as a fault.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    rest: Option<Bytes>,
    length: u64,
    cut: Option<Cut>,
}

/// How far a body got that breaks off.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// What was written is to be sent before the connection breaks.
    Flush,
    Break,
}

impl ReplyBody {
    fn new(body: Bytes, cut: bool) -> Self {
        let length = body.len() as u64;
        let sent = if cut { body.slice(..body.len() / 2) } else { body };
        let rest = Some(sent).filter(|sent| !sent.is_empty());
        Self { rest, length, cut: cut.then_some(Cut::Flush) }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.cut {
            Some(Cut::Flush) => {
                self.cut = Some(Cut::Break);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Cut::Break) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
