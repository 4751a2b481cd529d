//! A safe point has one maker.
use forwarder_pipeline::{Position, SafePoint, ShardId};

fn main() {
    let _ = SafePoint { shard: ShardId::new("audit", 7), seq: 1, next: Position::new("cursor") };
}
