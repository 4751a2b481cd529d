//! A receipt is written by what took the rows, and by nothing else.
use forwarder_pipeline::ledger::Share;
use forwarder_pipeline::{DeadLettered, Delivered, Filtered};

fn pretend(one: Share, another: Share, third: Share) {
    one.settle(Delivered(()));
    another.settle(DeadLettered(()));
    third.settle(Filtered(()));
}

fn main() {}
