//! The log model.
//!
//! A **block** is what one pull brought, decompressed: a `LogGroupList`. A **batch** is that block as a table: a row
//! per log, cells that are ranges into the block. A **slice** is the part of a batch that one plugin call sees,
//! by **column**; its **edits** are recorded and then applied to the batch. A **row** is what a sink walks. A
//! row's metadata (time, topic, source, origin, event id) is typed and cannot be forged by a field.
//!
//! Nothing here does I/O, reads a clock, or is asynchronous.

mod apply;
mod batch;
mod decode;
mod edits;
pub mod encode;
mod encoded;
mod groups;
pub mod json;
mod keys;
mod origin;
mod parts;
pub mod protobuf;
mod row;
mod slice;
mod text;
mod timestamp;
mod when;

pub use apply::Applied;
pub use batch::{Batch, Format, RowIx, RowState};
pub use decode::{BlockPosition, DecodeError, Limits};
pub use edits::{BadEdit, Edits, Values};
pub use encoded::{Encoded, row_start};
pub use groups::count_groups;
pub use keys::KeyId;
pub use origin::{EventId, Origin, Time};
pub use parts::BlockReader;
pub use row::{Cell, Row};
pub use slice::{Slice, SliceLimits};
pub use text::TextFull;
pub use when::{Condition, Pattern};
