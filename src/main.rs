//! The one binary: `ctrfs`, and `mount.ctrfs` when called by that name.

#[global_allocator]
static ALLOCATOR: ctrfs::sys::memory::Prefaulting = ctrfs::sys::memory::Prefaulting;

fn main() -> std::process::ExitCode {
    ctrfs::cli::main()
}
