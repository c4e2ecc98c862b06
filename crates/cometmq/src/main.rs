//! The `cometmq` binary.
fn main() {}
