//! The log model: a batch is a table over one decompressed block.
