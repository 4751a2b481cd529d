//! The program as a monitoring system sees it: health, readiness and metrics over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer of the admin server.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Head of the answer: status line and headers.
    pub head: String,
    /// Body of the answer.
    pub body: String,
}

impl Answer {
    /// Asks with one method for one path. A connection of its own, written by hand: the fewer libraries
    /// stand between a test and what the program says, the better.
    pub async fn to(address: SocketAddr, method: &str, path: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(Self { status, head: head.to_owned(), body: body.to_owned() })
    }
}

/// Samples of the Prometheus text format.
#[derive(Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// Names that were announced, with their type.
    types: BTreeMap<String, String>,
    /// Names that were explained.
    explained: BTreeSet<String>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads what `/metrics` answers.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
            {
                metrics.types.insert(name.to_owned(), kind.to_owned());
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                metrics.explained.extend(rest.split(' ').next().map(str::to_owned));
            } else if !line.is_empty() {
                let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// The sum of all samples of a metric that carry these labels; 0 if there is none, as it is for a
    /// counter that was not touched.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).is_some_and(|found| found == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(carries).map(|sample| sample.value).sum()
    }

    /// Every metric with its type and the names of its labels, one to a line, in order. What histograms
    /// add to their names is left out.
    pub fn shapes(&self) -> BTreeSet<String> {
        let shape = |sample: &Sample| {
            let (name, kind) = self.announced(&sample.name);
            let labels: Vec<_> =
                sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            format!("{kind} {name}{{{}}}", labels.join(","))
        };
        self.samples.iter().map(shape).collect()
    }

    /// Metrics about which `/metrics` says nothing in words.
    pub fn unexplained(&self) -> Vec<&str> {
        let names = self.types.keys().map(String::as_str);
        names.filter(|name| !self.explained.contains(*name)).collect()
    }

    fn announced<'a>(&'a self, name: &'a str) -> (&'a str, &'a str) {
        let known = |name| {
            self.types.get_key_value(name).map(|(name, kind)| (name.as_str(), kind.as_str()))
        };
        let of_histogram = ["_bucket", "_sum", "_count"];
        let base = of_histogram.iter().find_map(|end| known(name.strip_suffix(end)?));
        known(name).or(base).unwrap_or((name, "untyped"))
    }
}

/// `name{key="value",…} number`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (key, value) = pair.split_once("=\"")?;
        Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    let labels: Option<BTreeMap<_, _>> = labels.collect();
    Some(Sample { name: name.to_owned(), labels: labels?, value: value.parse().ok()? })
}
