//! A batch is settled at most once: its ticket and shares cannot be copied.
use forwarder_pipeline::ledger::{Share, Ticket};

fn twice(ticket: Ticket, share: Share) -> (Ticket, Share) {
    (ticket.clone(), share.clone())
}

fn main() {}
