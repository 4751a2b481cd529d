//! What all connections share: the service's state, and what stands around it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::Notify;

use crate::api_name::Api;
use crate::blocks::BlockCache;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::limits::Limits;
use crate::server::request::ApiRequest;
use crate::sign_check::SignatureCheck;
use crate::state::Service;
use crate::state::shard::Pulled;

/// The emulator behind its sockets.
#[derive(Debug)]
pub(crate) struct ServerState {
    service: Mutex<Service>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) blocks: BlockCache,
    pub(crate) faults: Faults,
    signatures: Mutex<SignatureCheck>,
    traffic: Mutex<Traffic>,
    /// The latest requests, if they are recorded, oldest first, and how many at most.
    record: (Mutex<VecDeque<RecordedRequest>>, usize),
    next_request: AtomicU64,
    /// Rung after every request and every change from outside.
    pub(crate) changed: Notify,
}

/// What has been asked and served so far.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Requests per API, refused ones included.
    pub requests: BTreeMap<Api, u64>,
    /// Log groups returned by PullLogs, before any query filtered them.
    pub pulled_groups: u64,
    /// Their uncompressed bytes.
    pub pulled_bytes: u64,
}

/// One request as it arrived, whatever was answered.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// What it called.
    pub api: Api,
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// Query parameters, decoded.
    pub params: BTreeMap<String, String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub body: Bytes,
}

impl ServerState {
    pub(crate) fn new(
        service: Service,
        clock: Clock,
        limits: Limits,
        signatures: SignatureCheck,
        record: usize,
    ) -> Self {
        Self {
            service: Mutex::new(service),
            clock,
            blocks: BlockCache::new(limits.block_cache_bytes),
            limits,
            faults: Faults::default(),
            signatures: Mutex::new(signatures),
            traffic: Mutex::default(),
            record: (Mutex::default(), record),
            next_request: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// The state. Never held across an await: the guard is not `Send`.
    pub(crate) fn service(&self) -> MutexGuard<'_, Service> {
        lock(&self.service)
    }

    pub(crate) fn signatures(&self) -> MutexGuard<'_, SignatureCheck> {
        lock(&self.signatures)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        lock(&self.traffic).clone()
    }

    /// Counts a request, and keeps it if requests are recorded.
    pub(crate) fn note_request(&self, api: Api, peer: SocketAddr, request: &ApiRequest) {
        *lock(&self.traffic).requests.entry(api).or_default() += 1;
        let (record, most) = &self.record;
        if *most == 0 {
            return;
        }
        let params = request.params.as_slice().iter().cloned().collect();
        let (headers, body) = (request.headers.clone(), request.body.clone());
        let mut record = lock(record);
        if record.len() == *most {
            record.pop_front();
        }
        record.push_back(RecordedRequest { api, peer, params, headers, body });
    }

    pub(crate) fn recorded(&self, api: Api) -> Vec<RecordedRequest> {
        lock(&self.record.0).iter().filter(|request| request.api == api).cloned().collect()
    }

    pub(crate) fn count_pull(&self, pulled: &Pulled) {
        let bytes: usize = pulled.groups.iter().map(|group| group.entry().len()).sum();
        let mut traffic = lock(&self.traffic);
        traffic.pulled_groups += pulled.groups.len() as u64;
        traffic.pulled_bytes += bytes as u64;
    }

    /// 24 upper-case hex digits, as the service numbers its requests.
    pub(crate) fn request_id(&self) -> String {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        format!("{:08X}{number:016X}", self.clock.now().seconds() & 0xffff_ffff)
    }
}

/// A panic in one request must not take the others down with it; the state stays consistent, because
/// no method of it leaves halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
