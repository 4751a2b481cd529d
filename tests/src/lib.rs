//! End-to-end, interop and command-line tests of the built program.
