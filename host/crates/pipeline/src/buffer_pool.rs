//! Used body buffers, kept for the next batch.
//!
//! A body is as large as a block, and large enough for the allocator to fetch from the kernel and give back
//! each time: without this, a tenth of the processor goes into clearing pages. What is kept is bounded, and
//! lent bytes are charged to the budget like any others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes of capacity that are kept at most, over all sinks.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// How many bytes more than twice the wanted a buffer may have.
const SPARE_BYTES: usize = 4 * 1024;

/// A few empty buffers.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// An empty buffer with room for `capacity` bytes, and not for many more: a sink may hold on to its rows for
    /// a while, and with them to the whole buffer.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let fitting = capacity..=capacity.saturating_mul(2).saturating_add(SPARE_BYTES);
        let mut buffers = self.buffers();
        match buffers.iter().position(|buffer| fitting.contains(&buffer.capacity())) {
            Some(fits) => buffers.swap_remove(fits),
            None => {
                // Makes room for what comes back larger.
                buffers.pop();
                drop(buffers);
                Vec::with_capacity(capacity)
            }
        }
    }

    /// Makes shared bytes of a buffer. The last of their views puts the buffer back.
    pub(crate) fn lend(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(PooledBuffer { bytes, pool: Arc::clone(self) })
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.buffers();
        let kept: usize = buffers.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= KEPT_BYTES {
            buffers.push(buffer);
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Nothing panics while the lock is held.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct PooledBuffer {
    bytes: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_view_and_empty() {
        let pool = Arc::new(BufferPool::default());
        let mut buffer = pool.take(1_000);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"row one, row two");
        let bytes = pool.lend(buffer);
        let view = bytes.slice(9..);
        drop(bytes);
        assert_eq!(view, "row two");
        assert!(pool.buffers().is_empty());
        drop(view);

        let again = pool.take(500);
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn what_is_kept_is_bounded_and_small_buffers_give_way() {
        let pool = Arc::new(BufferPool::default());
        let pooled: Vec<_> = (0..20).map(|_| pool.lend(pool.take(1 << 20))).collect();
        drop(pooled);
        let kept = |pool: &BufferPool| pool.buffers().iter().map(Vec::capacity).sum::<usize>();
        assert_eq!(kept(&pool), KEPT_BYTES);
        drop(pool.lend(pool.take(2 << 20)));
        drop(pool.lend(pool.take(2 << 20)));
        assert!(kept(&pool) <= KEPT_BYTES);
        assert!(pool.buffers().iter().any(|buffer| buffer.capacity() >= 2 << 20));
    }
}
