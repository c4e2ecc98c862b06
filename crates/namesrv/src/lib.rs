//! Name server: where topics are.
