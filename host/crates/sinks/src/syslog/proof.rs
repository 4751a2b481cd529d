//! What a sender hears of a body that it has handed over: at once, and when it is proven to be read.

use forwarder_connector::{Cause, Verdict};
use tokio::sync::oneshot;

/// What became of a body that was handed over.
#[derive(Debug)]
#[must_use = "rows may be settled only on `Delivered` or once they are confirmed"]
pub enum Sent {
    /// The receiver's kernel has it. Nothing proves yet that the receiver has read it.
    Accepted(PendingProof),
    /// There is nothing to wait for.
    Decided(Verdict),
}

/// The proof that a receiver has read a body, still to come. Meanwhile the client sends the body again on every
/// new connection; if this is dropped, it no longer does.
#[derive(Debug)]
pub struct PendingProof(pub(super) oneshot::Receiver<Decided>);

impl PendingProof {
    /// Waits for it. `None` if the client is gone and it will never come.
    ///
    /// # Errors
    ///
    /// Connections are lost again and again while nothing but this body is on them: its parts are to be sent, each
    /// alone, see [`Body::as_suspect`].
    pub async fn proof(self) -> Option<Result<Proof, Cause>> {
        self.0.await.ok()
    }
}

/// Why a body counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The receiver has read it.
    Read,
    /// None: the receiver's kernel has acknowledged it, and it has become as old as [`WindowLimits::age`](super::WindowLimits::age).
    Age,
}

/// What a sender hears that waits for a proof: it, or why the body is to be divided.
pub(super) type Decided = Result<Proof, Cause>;
