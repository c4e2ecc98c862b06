//! x
use std::process::ExitCode;
/// x
#[derive(Debug, clap::Args)]
pub struct BenchArgs {}
/// x
pub async fn run(_: BenchArgs) -> ExitCode { ExitCode::SUCCESS }
