//! There is no fourth way to settle rows.
use forwarder_pipeline::ledger::{Receipt, Share};

struct TakeMyWord;

impl Receipt for TakeMyWord {}

fn pretend(share: Share) {
    share.settle(TakeMyWord);
}

fn main() {}
