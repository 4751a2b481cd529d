//! The committed logs that everything is measured on.
//!
//! A file holds log groups, each behind its length (four bytes, little endian), compressed as one lz4 block
//! behind its decompressed length (likewise). `cargo bench --bench throughput -- --write-corpus` made them
//! from the emulator's samples; they are committed so that figures stay comparable when the samples change.

use std::path::PathBuf;

use bytes::Bytes;
use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::samples::{Kind, Samples};
use forwarder_record::encode::log_group_list;

use crate::jobs::Shape;

/// About a megabyte each: more than any cache keeps, little enough to commit.
const LOGS: [(Shape, Kind, u64); 2] =
    [(Shape::Access, Kind::WebAccess, 1_400), (Shape::Audit, Kind::ActionTrail, 600)];

/// Log groups, and the block that one pull of all of them is.
pub(crate) struct Corpus {
    pub(crate) groups: Vec<EncodedGroup>,
    /// The `LogGroupList` of all groups.
    pub(crate) block: Bytes,
    /// The same, as it travels.
    pub(crate) packed: Vec<u8>,
}

impl Corpus {
    pub(crate) fn read(shape: Shape) -> Self {
        let file = std::fs::read(path(shape)).expect("the corpus is committed");
        let (length, packed) = file.split_first_chunk().expect("a length comes first");
        let plain = lz4_flex::block::decompress(packed, u32::from_le_bytes(*length) as usize);
        let plain = plain.expect("the corpus is an lz4 block");
        let mut rest = plain.as_slice();
        let mut groups = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (group, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            groups.push(EncodedGroup::from_encoded(group).expect("the corpus holds log groups"));
            rest = after;
        }
        let block = Bytes::from(log_group_list(groups.iter().map(EncodedGroup::encoded)));
        let packed = lz4_flex::block::compress(&block);
        Self { groups, block, packed }
    }
}

/// Makes the files again.
pub(crate) fn write() {
    for (shape, kind, logs) in LOGS {
        let mut plain = Vec::new();
        for group in Samples::of(kind, 1).id_key(None).groups(logs) {
            plain.extend_from_slice(&(group.encoded().len() as u32).to_le_bytes());
            plain.extend_from_slice(group.encoded());
        }
        let mut file = (plain.len() as u32).to_le_bytes().to_vec();
        file.extend(lz4_flex::block::compress(&plain));
        std::fs::write(path(shape), file).expect("the folder of the corpus is writable");
    }
}

fn path(shape: Shape) -> PathBuf {
    let name = match shape {
        Shape::Access => "access.lz4",
        Shape::Audit => "audit.lz4",
    };
    [env!("CARGO_MANIFEST_DIR"), "corpus", name].iter().collect()
}
