//! A client of a few lines that shows what is really on the wire: header names in their case, targets
//! in either form, one connection for many requests.

use std::net::SocketAddr;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_record::encode::{Log, LogGroup};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header by its exact, case-sensitive name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .parse()
            .unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["errorCode"].as_str().unwrap().to_owned())
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Sends a request of the project `p`, whose logstore the tests call `store`.
    pub(crate) async fn call(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: p.sls.test\r\n");
        self.send(&head, body.as_bytes()).await.unwrap()
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, "").await
    }

    /// Sends request line and headers as given, each line with its end, and reads the answer; `None`
    /// if the connection closes before a whole one has come.
    pub(crate) async fn send(&mut self, head: &str, body: &[u8]) -> Option<Answer> {
        let length = if head.to_ascii_lowercase().contains("\r\ncontent-length:") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let request = [head.as_bytes(), length.as_bytes(), b"\r\n", body].concat();
        self.stream.write_all(&request).await.ok()?;
        self.answer().await
    }

    async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.read_more().await?,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = usize::try_from(answer.number("content-length")).unwrap();
        while self.unread.len() < length {
            self.read_more().await?;
        }
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    async fn read_more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.unread).await.ok()?;
        (read > 0).then_some(())
    }
}

/// A group of logs with one field `text` each.
pub(crate) fn group(texts: &[&str]) -> EncodedGroup {
    let log = |text: &&str| Log {
        time: 1_767_355_200,
        nanos: None,
        contents: vec![("text".to_owned(), (*text).to_owned())],
    };
    let logs = texts.iter().map(log).collect();
    EncodedGroup::from(&LogGroup { topic: "t".into(), source: "s".into(), tags: vec![], logs })
}
