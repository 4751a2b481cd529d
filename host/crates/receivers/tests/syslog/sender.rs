//! A sender that writes what it is given, and nothing else.

use std::time::Duration;

use forwarder_receivers::syslog::SyslogReceiver;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Long enough for a busy machine; only a failing test waits this long.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn connect(receiver: &SyslogReceiver) -> TcpStream {
    TcpStream::connect(receiver.addr()).await.unwrap()
}

/// Sends `bytes` on a connection of their own.
pub(crate) async fn send(receiver: &SyslogReceiver, bytes: impl AsRef<[u8]>) {
    let mut stream = connect(receiver).await;
    stream.write_all(bytes.as_ref()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// A message with an id in its structured data.
pub(crate) fn message(id: &str) -> String {
    format!("<14>1 2023-11-14T22:13:20Z h a - - [sls@32473 id=\"{id}\"] body of {id}")
}

/// Messages one after another, each with its length in front.
pub(crate) fn counted<S: AsRef<[u8]>>(messages: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        let message = message.as_ref();
        stream.extend_from_slice(format!("{} ", message.len()).as_bytes());
        stream.extend_from_slice(message);
    }
    stream
}

/// Messages one after another, each with a line feed behind it.
pub(crate) fn lines<S: AsRef<str>>(messages: impl IntoIterator<Item = S>) -> String {
    messages.into_iter().map(|message| format!("{}\n", message.as_ref())).collect()
}
