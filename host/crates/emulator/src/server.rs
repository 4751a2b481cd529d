//! HTTP/1.1 in front of the state: accept, read, check, answer.

pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod server_state;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use forwarder_listener::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::api::{self, Call};
use crate::sign_check;
use reply::{Reply, ReplyBody};
use request::ApiRequest;
use server_state::ServerState;

/// Connections served at once: those of a thousand consumers or more.
const MAX_CONNECTIONS: usize = 4_096;

/// Serves until the listener is closed.
pub(crate) fn start(port: TcpListener, shared: Arc<ServerState>) -> Listener {
    Listener::start(port, MAX_CONNECTIONS, move |stream, peer| {
        connection(stream, peer, Arc::clone(&shared))
    })
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<ServerState>) {
    // Without it, small replies wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request| answer(request, peer, Arc::clone(&shared)));
    // An error here is the client's doing, or a fault we were asked for; both end the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// Answers one request. An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<ServerState>,
) -> Result<Response<ReplyBody>, io::Error> {
    let id = shared.request_id();
    let outcome = match ApiRequest::read(request).await {
        Ok(request) => respond(&request, peer, &shared).await,
        Err(refusal) => Ok(refusal.into()),
    };
    shared.changed.notify_waiters();
    outcome.map(|reply: Reply| reply.into_response(&id, shared.clock.now()))
}

async fn respond(
    request: &ApiRequest,
    peer: SocketAddr,
    shared: &ServerState,
) -> Result<Reply, io::Error> {
    let (api, target) = match api::route(request) {
        Ok(found) => found,
        Err(refusal) => return Ok(refusal.into()),
    };
    shared.note_request(api, peer, request);
    let fault = shared.faults.take(api);
    if let Some(fault) = &fault
        && let ControlFlow::Break(instead) = fault.before().await
    {
        return instead;
    }
    let accepted = shared.signatures().clone();
    let reply = match sign_check::check(&accepted, request, shared.clock.now()) {
        Ok(()) => api::handle(api, Call { target, request, shared }).await,
        Err(refusal) => Err(refusal),
    };
    let reply = reply.unwrap_or_else(Reply::from);
    match fault {
        Some(fault) => fault.after(reply),
        None => Ok(reply),
    }
}
