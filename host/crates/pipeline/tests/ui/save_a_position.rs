//! A store accepts nothing weaker than a safe point: not the position after the latest pull, for one.
use forwarder_pipeline::{CheckpointStore, Position};

async fn too_early(store: &dyn CheckpointStore, after_the_latest_pull: Position) {
    let _ = store.save(&after_the_latest_pull).await;
}

fn main() {}
