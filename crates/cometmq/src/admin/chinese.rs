//! What `cometmq admin --help` says, in Chinese.

/// The same command with Chinese help, as far as it is here.
pub fn help(command: clap::Command) -> clap::Command {
    command
}

/// What a broker's setting means.
pub fn setting(_: &str) -> Option<&'static str> {
    None
}
