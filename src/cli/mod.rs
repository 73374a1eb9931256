//! What people type.

use std::process::ExitCode;

use clap::Parser;

mod verbs;

/// The container and pod state database, mounted as a filesystem
#[derive(Parser)]
#[command(name = "ctrfs", version)]
struct Ctrfs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Other(verbs::Verb),
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    match Ctrfs::parse().verb {
        Verb::Other(verb) => verb.run(),
    }
}
