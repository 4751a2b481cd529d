//! What a plugin's function may return.

use std::fmt::Display;

/// The result of a plugin's function: nothing, or a `Result` with any error that can be displayed.
///
/// An error of a row function rejects that row; an error of a batch function means that the slice could
/// not be processed, which makes the forwarder try again and then look for the rows at fault.
pub trait Outcome {
    /// The error as text.
    ///
    /// # Errors
    ///
    /// Those of the function.
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
