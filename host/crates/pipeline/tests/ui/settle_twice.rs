//! A share is given up by value, and a ticket is sealed by value.
use forwarder_pipeline::Delivered;
use forwarder_pipeline::ledger::{Share, Ticket};

fn twice(ticket: Ticket, share: Share, one: Delivered, another: Delivered) {
    share.settle(one);
    share.settle(another);
    ticket.seal();
    ticket.share(1);
}

fn main() {}
