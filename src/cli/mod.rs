//! What people type.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod daemons;
mod mount;

/// Exit status of a wrong command line, as mount(8) has it.
const USAGE: u8 = 1;

/// The container and pod state database, mounted as a filesystem.
#[derive(Debug, Parser)]
#[command(name = "ctrfs", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Mount(mount::MountArgs),
    Umount(mount::UmountArgs),
    #[command(hide = true)]
    Keeper(daemons::KeeperArgs),
    #[command(hide = true)]
    Server(daemons::ServerArgs),
}

/// Does what the command line says, by the name the program was called by.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.first().map(|word| Path::new(word).file_name()) {
        // mount(8) looks for the second when it remounts, since that is the type in mountinfo.
        Some(Some(name)) if name == "mount.ctrfs" || name == "mount.fuse.ctrfs" => {
            parsed::<mount::Helper>(&words, |helper| mount::mount(&helper.args))
        }
        _ => parsed(&words, run),
    }
}

fn run(cli: Cli) -> ExitCode {
    match cli.verb {
        Verb::Mount(args) => mount::mount(&args),
        Verb::Umount(args) => mount::umount(&args),
        Verb::Keeper(args) => daemons::keeper(args),
        Verb::Server(args) => daemons::server(args),
    }
}

fn parsed<P: Parser>(words: &[impl AsRef<OsStr>], run: impl FnOnce(P) -> ExitCode) -> ExitCode {
    match P::try_parse_from(words.iter().map(AsRef::as_ref)) {
        Ok(command) => run(command),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
        }
    }
}
