//! A port that is listened on and the connections behind it: accepted, bounded in number, ended together.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Pause after a failed `accept`: too many open files, for one, is an error that lasts.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Accepts connections until it is closed. Dropping it closes the port and every connection as well, but waits for none.
#[derive(Debug)]
pub struct Listener {
    stop: CancellationToken,
    accepting: JoinSet<()>,
}

impl Listener {
    /// Serves each connection in a task of its own. Where there are `most`, the oldest one is cut for a new one: clients
    /// that hold theirs open keep no other client from being served. Call it on a Tokio runtime.
    pub fn start<C: Future<Output = ()> + Send + 'static>(
        port: TcpListener,
        most: usize,
        serve: impl FnMut(TcpStream, SocketAddr) -> C + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(port, most, serve, stop.clone()));
        Self { stop, accepting }
    }

    /// Closes the port and cuts every connection, whatever it is doing; returns when all of them are gone.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.accepting.join_next().await.is_some() {}
    }
}

async fn accept<C: Future<Output = ()> + Send + 'static>(
    port: TcpListener,
    most: usize,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> C,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = port.accept() => match accepted {
                Ok((stream, peer)) => {
                    by_age.retain(|connection| !connection.is_finished());
                    if by_age.len() >= most && let Some(oldest) = by_age.pop_front() {
                        oldest.abort();
                    }
                    by_age.push_back(connections.spawn(serve(stream, peer)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
    }
    drop(port);
    connections.shutdown().await;
}
