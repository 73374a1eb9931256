//! What people type.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod daemons;
mod mount;
mod verbs;

/// Exit status of a wrong command line.
const USAGE: u8 = 2;
/// The same of a mount helper, as mount(8) has it.
const HELPER_USAGE: u8 = 1;

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
    #[command(flatten)]
    Other(verbs::Verb),
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
            parsed::<mount::Helper>(&words, HELPER_USAGE, |helper| mount::mount(&helper.args, HELPER_USAGE))
        }
        _ => parsed(&words, USAGE, run),
    }
}

fn run(cli: Cli) -> ExitCode {
    match cli.verb {
        Verb::Mount(args) => mount::mount(&args, USAGE),
        Verb::Umount(args) => mount::umount(&args),
        Verb::Other(verb) => verb.run(),
        Verb::Keeper(args) => daemons::keeper(args),
        Verb::Server(args) => daemons::server(args),
    }
}

fn parsed<P: Parser>(words: &[impl AsRef<OsStr>], usage: u8, run: impl FnOnce(P) -> ExitCode) -> ExitCode {
    match P::try_parse_from(words.iter().map(AsRef::as_ref)) {
        Ok(command) => run(command),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { usage } else { 0 })
        }
    }
}

/// Says something on standard error, if anybody listens there.
fn tell(what: &dyn Display) {
    let _ = writeln!(io::stderr(), "ctrfs: {what}");
}
