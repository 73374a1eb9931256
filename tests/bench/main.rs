//! What ctrfs costs, measured beside what it stands in for, in one run: reading beside a tmpfs with the
//! same files, writing beside `pwrite` and `fdatasync` of one page where the store lies, importing beside
//! skopeo and podman, mounting beside the bare system calls.
//!
//! Prints a Markdown table. Every figure is the median of several runs, those of the two sides in turns.

#[path = "../support/mod.rs"]
mod support;

mod images;
mod machine;
mod measure;
mod opening;
mod population;
mod reading;
mod writing;

use std::time::Instant;

use measure::Report;
use population::{CONTAINERS, Population, SEED};
use support::Mounted;

fn main() {
    // `cargo test --all-targets` runs benchmarks too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let begun = Instant::now();
    if std::env::var_os("CTRFS_BENCH_IMAGES").is_some() {
        images::measure(&mut Report::begin());
        return;
    }
    if std::env::var_os("CTRFS_BENCH_MOUNTING").is_some() {
        images::measure_mounting(&mut Report::begin());
        return;
    }
    let mut tree = Mounted::new();
    println!("{}\n", machine::in_words(&tree.store));
    println!("{CONTAINERS} containers, seed {SEED}.\n");
    let population = Population::new(&tree);

    let mut report = Report::begin();
    reading::measure(&mut report, &mut tree, &population);
    opening::measure(&mut report, &tree, &population);
    writing::measure(&mut report, &tree, &population);
    opening::measure_memory(&mut report, &tree);
    images::measure(&mut report);
    println!("\nIt took {:.0} seconds.", begun.elapsed().as_secs_f64());
}
