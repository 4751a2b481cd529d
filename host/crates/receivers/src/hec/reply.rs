//! What the collector says: the catalogue of reply codes, and the HTTP answer around them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use serde_json::{Map, Value};

/// Declares the catalogue as one table: name, code, HTTP status, text.
macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $text:literal;)*) => {
        /// A HEC reply code, of those this receiver can give.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($name = $code,)* }

        impl Code {
            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    Success = 0, OK, "Success";
    TokenDisabled = 1, FORBIDDEN, "Token disabled";
    TokenRequired = 2, UNAUTHORIZED, "Token is required";
    InvalidAuthorization = 3, UNAUTHORIZED, "Invalid authorization";
    InvalidToken = 4, FORBIDDEN, "Invalid token";
    NoData = 5, BAD_REQUEST, "No data";
    InvalidFormat = 6, BAD_REQUEST, "Invalid data format";
    IncorrectIndex = 7, BAD_REQUEST, "Incorrect index";
    Busy = 9, SERVICE_UNAVAILABLE, "Server is busy";
    ChannelMissing = 10, BAD_REQUEST, "Data channel is missing";
    InvalidChannel = 11, BAD_REQUEST, "Invalid data channel";
    EventRequired = 12, BAD_REQUEST, "Event field is required";
    EventBlank = 13, BAD_REQUEST, "Event field cannot be blank";
    AckDisabled = 14, BAD_REQUEST, "ACK is disabled";
    IndexedFields = 15, BAD_REQUEST, "Error in handling indexed fields";
    QueryStringToken = 16, BAD_REQUEST, "Query string authorization is not enabled";
    Healthy = 17, OK, "HEC is healthy";
    HealthInvalidToken = 21, BAD_REQUEST, "Invalid token";
    HealthTokenDisabled = 22, BAD_REQUEST, "Token disabled";
    NearCapacity = 24, OK, "Queue is approaching its capacity limit";
    AckChannelFull = 27, TOO_MANY_REQUESTS, "ACK channel is at capacity";
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<Code>,
    content_type: &'static str,
    extra: Option<(header::HeaderName, HeaderValue)>,
    body: String,
    is_endless: bool,
}

/// The body of an answer: as it is, or never ending.
pub(crate) type ReplyBody = Either<Full<Bytes>, Endless>;

/// A body without an end, sent slowly.
pub(crate) struct Endless {
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Endless {
    const PAUSE: Duration = Duration::from_millis(20);

    fn new() -> Self {
        Self { pause: Box::pin(tokio::time::sleep(Self::PAUSE)) }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        self.pause = Box::pin(tokio::time::sleep(Self::PAUSE));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"and so on ")))))
    }
}

impl Reply {
    /// A bare code.
    pub(crate) fn code(code: Code) -> Self {
        Self::with(code, Map::new())
    }

    /// A code that names the event at fault, counted from 0 within the request.
    pub(crate) fn event(code: Code, index: usize) -> Self {
        Self::with(code, Map::from_iter([("invalid-event-number".to_owned(), index.into())]))
    }

    /// An accepted request, with its ack id if the token has acknowledgement on.
    pub(crate) fn accepted(code: Code, ack_id: Option<u64>) -> Self {
        Self::with(code, ack_id.map(|id| ("ackId".to_owned(), id.into())).into_iter().collect())
    }

    /// The answer to a question about ack ids.
    pub(crate) fn acks(answers: impl IntoIterator<Item = (u64, bool)>) -> Self {
        let acks: Map<_, _> =
            answers.into_iter().map(|(id, indexed)| (id.to_string(), indexed.into())).collect();
        let body = Value::from(Map::from_iter([("acks".to_owned(), acks.into())])).to_string();
        Self { body, ..Self::text(StatusCode::OK, "application/json", "") }
    }

    /// Too large: splunkd answers in plain text, not with a HEC code.
    pub(crate) fn too_large(length: u64, limit: u64) -> Self {
        let body = format!("Content-Length of {length} too large (maximum is {limit})");
        Self::text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", body)
    }

    /// What Splunk Web says on its own port to someone who expected a collector there.
    pub(crate) fn splunk_web() -> Self {
        let body = "<!doctype html><html><head><title>303 See Other</title></head><body>\
                    <h1>See Other</h1><p>The resource has moved temporarily.</p></body></html>";
        let location = HeaderValue::from_static("/en-US/account/login");
        Self::text(StatusCode::SEE_OTHER, "text/html; charset=UTF-8", body)
            .header(header::LOCATION, location)
    }

    /// An answer from something in front of Splunk, without a HEC body.
    pub(crate) fn text(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<String>,
    ) -> Self {
        let (code, extra, is_endless) = (None, None, false);
        Self { status, code, content_type, extra, body: body.into(), is_endless }
    }

    /// An answer whose body never ends.
    pub(crate) fn endless(status: StatusCode) -> Self {
        Self { is_endless: true, ..Self::text(status, "text/plain", "") }
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.extra = Some((name, value));
        self
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let body = if self.is_endless {
            Either::Right(Endless::new())
        } else {
            Either::Left(Full::new(Bytes::from(self.body)))
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.extend(self.extra);
        response
    }

    fn with(code: Code, more: Map<String, Value>) -> Self {
        let mut body = Map::new();
        body.insert("text".to_owned(), code.text().into());
        body.insert("code".to_owned(), (code as u8).into());
        body.extend(more);
        Self {
            code: Some(code),
            ..Self::text(code.status(), "application/json", Value::from(body).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_read_as_splunk_writes_them() {
        assert_eq!(Reply::code(Code::Success).body, r#"{"text":"Success","code":0}"#);
        assert_eq!(
            Reply::event(Code::InvalidFormat, 2).body,
            r#"{"text":"Invalid data format","code":6,"invalid-event-number":2}"#
        );
        assert_eq!(
            Reply::accepted(Code::Success, Some(7)).body,
            r#"{"text":"Success","code":0,"ackId":7}"#
        );
        assert_eq!(Reply::acks([(0, true), (1, false)]).body, r#"{"acks":{"0":true,"1":false}}"#);
    }
}
