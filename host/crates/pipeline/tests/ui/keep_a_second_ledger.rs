//! A ledger of one's own would settle what was not delivered.
use forwarder_pipeline::ledger::Ledger;
use forwarder_pipeline::{Position, ShardId};

fn main() {
    let ledger = Ledger::new(ShardId::new("audit", 7));
    ledger.open(Position::new("cursor")).seal();
    let _ = ledger.safe_point();
}
