//! Batches for tests, and encoded rows taken apart again.

use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Edits, Encoded, Limits, Origin, RowIx, SliceLimits};

/// Fields of one log.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// One log per entry: time, nanoseconds, fields. Topic `t`, source `10.0.0.1`, cursor 7.
pub(crate) fn batch(logs: &[(u32, u32, Fields<'_>)]) -> Batch {
    let group = LogGroup {
        topic: "t".into(),
        source: "10.0.0.1".into(),
        tags: Vec::new(),
        logs: logs.iter().map(|&(time, nanos, fields)| log(time, nanos, fields)).collect(),
    };
    decode(&group)
}

fn log(time: u32, nanos: u32, fields: Fields<'_>) -> Log {
    let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    Log { time, nanos: (nanos > 0).then_some(nanos), contents: fields.iter().map(owned).collect() }
}

/// A batch of one group.
pub(crate) fn decode(group: &LogGroup) -> Batch {
    let block = log_group_list([group.encode().as_slice()]).into();
    let origin = Origin {
        project: "p".into(),
        logstore: "l".into(),
        shard: 3,
        first_cursor: Some(7),
        ..Origin::default()
    };
    Batch::decode(block, origin, &Limits::default()).unwrap()
}

/// Applies edits to every row.
pub(crate) fn edit(batch: &mut Batch, edits: impl Fn(&mut Edits)) {
    for slice in batch.slices(SliceLimits::default(), |_| true) {
        let mut wanted = Edits::new(slice.rows().len());
        edits(&mut wanted);
        batch.apply(&slice, &wanted).unwrap();
    }
}

/// All rows of a batch.
pub(crate) fn rows(batch: &Batch) -> Vec<RowIx> {
    batch.rows().map(|row| row.ix()).collect()
}

/// The text of each encoded row.
pub(crate) fn texts(encoded: &Encoded) -> Vec<String> {
    let mut start = 0;
    let text = |&end: &u32| {
        let row = &encoded.bytes[start..end as usize];
        start = end as usize;
        String::from_utf8(row.to_vec()).unwrap()
    };
    encoded.ends().iter().map(text).collect()
}
