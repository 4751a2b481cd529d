//! Pull responses, packed once and kept.
//!
//! A benchmark pulls the same corpus again and again, often with the same groups stored many times
//! over. So a block is kept under the identity of the groups in it, not under cursors: equal groups
//! that share their bytes share their packed block too, wherever they stand.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use forwarder_sls::wire;

use crate::log_group::EncodedGroup;

/// How a response body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BlockCompression {
    Plain,
    Lz4,
}

/// A LogGroupList, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// As it goes over the wire.
    pub(crate) body: Bytes,
    /// Bytes before compression.
    pub(crate) raw_size: usize,
}

/// The blocks packed lately, up to a number of bytes; the oldest go first.
#[derive(Debug)]
pub(crate) struct BlockCache {
    kept: Mutex<CachedBlocks>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct CachedBlocks {
    blocks: HashMap<Arc<Key>, Block>,
    oldest_first: VecDeque<Arc<Key>>,
    bytes: usize,
}

/// Which groups, in which order. The groups are held, so that an address means one group for as long
/// as the key lives.
#[derive(Debug)]
struct Key {
    groups: Vec<EncodedGroup>,
    compression: BlockCompression,
}

impl Key {
    fn addresses(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.entry().as_ptr().addr())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.compression == other.compression && self.addresses().eq(other.addresses())
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compression.hash(state);
        self.addresses().for_each(|address| address.hash(state));
    }
}

impl BlockCache {
    /// A cache of at most `capacity` packed bytes; 0 keeps nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { kept: Mutex::default(), capacity }
    }

    /// The block of `groups`, packed now if it was not kept.
    pub(crate) async fn get(
        &self,
        groups: Vec<EncodedGroup>,
        compression: BlockCompression,
    ) -> Block {
        if groups.is_empty() {
            return Block { body: Bytes::new(), raw_size: 0 };
        }
        let key = Arc::new(Key { groups, compression });
        if let Some(block) = self.lock().blocks.get(&key) {
            return block.clone();
        }
        let work = Arc::clone(&key);
        // Ten megabytes take some ten milliseconds: too long for a thread that serves sockets.
        let packed = tokio::task::spawn_blocking(move || work.pack()).await;
        // The task cannot fail unless the runtime is shutting down, and then the answer is not read.
        let Ok(block) = packed else { return Block { body: Bytes::new(), raw_size: 0 } };
        self.keep(key, block.clone());
        block
    }

    fn keep(&self, key: Arc<Key>, block: Block) {
        let mut kept = self.lock();
        if block.body.len() > self.capacity || kept.blocks.contains_key(&key) {
            return;
        }
        kept.bytes += block.body.len();
        kept.oldest_first.push_back(Arc::clone(&key));
        kept.blocks.insert(key, block);
        while kept.bytes > self.capacity {
            let Some(oldest) = kept.oldest_first.pop_front() else { break };
            let gone = kept.blocks.remove(&oldest).map_or(0, |block| block.body.len());
            kept.bytes -= gone;
        }
    }

    fn lock(&self) -> MutexGuard<'_, CachedBlocks> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn pack(&self) -> Block {
        let raw_size = self.groups.iter().map(|group| group.entry().len()).sum();
        let mut raw = Vec::with_capacity(raw_size);
        self.groups.iter().for_each(|group| raw.extend_from_slice(group.entry()));
        let body = match self.compression {
            BlockCompression::Plain => raw.into(),
            BlockCompression::Lz4 => wire::compress_lz4(&raw).into(),
        };
        Block { body, raw_size }
    }
}

#[cfg(test)]
mod tests {
    use forwarder_record::encode::LogGroup;

    use super::*;

    fn group(topic: &str) -> EncodedGroup {
        EncodedGroup::from(&LogGroup { topic: topic.repeat(100), ..Default::default() })
    }

    #[tokio::test]
    async fn the_same_groups_are_packed_once() {
        let cache = BlockCache::new(1 << 20);
        let groups = vec![group("a"), group("b")];
        let first = cache.get(groups.clone(), BlockCompression::Plain).await;
        let again = cache.get(groups.clone(), BlockCompression::Plain).await;
        assert_eq!(first.body.as_ptr(), again.body.as_ptr());
        assert_eq!(first.body, [groups[0].entry().as_ref(), groups[1].entry()].concat());

        let packed = cache.get(groups, BlockCompression::Lz4).await;
        assert_eq!(packed.raw_size, first.body.len());
        assert!(packed.body.len() < first.body.len());
    }

    #[tokio::test]
    async fn the_oldest_block_makes_room() {
        let (old, new) = (vec![group("old")], vec![group("new")]);
        let cache = BlockCache::new(old[0].entry().len());
        let first = cache.get(old.clone(), BlockCompression::Plain).await;
        cache.get(new, BlockCompression::Plain).await;
        assert_ne!(
            first.body.as_ptr(),
            cache.get(old, BlockCompression::Plain).await.body.as_ptr()
        );
    }
}
