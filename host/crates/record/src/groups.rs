//! How many log groups a block holds, without looking into them: to be compared with what its sender says.

use bytes::Bytes;

use crate::decode::DecodeError;
use crate::protobuf::{Value, fields};

/// Counts the log groups of a decompressed `LogGroupList`.
///
/// # Errors
///
/// The list itself is malformed, or longer than any block may be.
pub fn count_groups(block: &Bytes) -> Result<u64, DecodeError> {
    let mut groups = 0;
    for field in fields(block) {
        let (field, _) = field?;
        groups += u64::from(matches!((field.number, field.value), (1, Value::Bytes(_))));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_whatever_they_hold_and_a_list_that_is_cut_off_is_an_error() {
        // An empty group, a field that is not ours, a group of two bytes.
        let list = Bytes::from_static(&[0x0a, 0, 0x10, 7, 0x0a, 2, 0x12, 0]);
        assert_eq!(count_groups(&list).unwrap(), 2);
        assert_eq!(count_groups(&Bytes::new()).unwrap(), 0);
        assert!(count_groups(&list.slice(..7)).is_err());
    }
}
