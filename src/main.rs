//! The one binary: `ctrfs`, and `mount.ctrfs` when called by that name.

fn main() -> std::process::ExitCode {
    ctrfs::cli::main()
}
