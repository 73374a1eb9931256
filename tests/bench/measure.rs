//! Timing, medians and the table.

use std::time::Instant;

/// Seconds that one call takes, over `count` of them.
pub(crate) fn per_call(count: usize, mut call: impl FnMut(usize)) -> f64 {
    let begun = Instant::now();
    (0..count).for_each(&mut call);
    begun.elapsed().as_secs_f64() / count as f64
}

/// Seconds that one call takes.
pub(crate) fn once(call: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    call();
    begun.elapsed().as_secs_f64()
}

/// The middle one.
pub(crate) fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_unstable_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// The medians of two measures, taken in turns.
pub(crate) fn in_turns(runs: usize, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) -> (f64, f64) {
    let [ours, theirs] = all_in_turns(runs, [&mut ours, &mut theirs]);
    (ours, theirs)
}

/// The medians of several measures, taken in turns.
pub(crate) fn all_in_turns<const N: usize>(runs: usize, mut measures: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut taken = [(); N].map(|()| Vec::new());
    for _ in 0..runs {
        taken.iter_mut().zip(&mut measures).for_each(|(taken, measure)| taken.push(measure()));
    }
    taken.map(median)
}

/// What a figure counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Unit::Seconds if value >= 1e-3 => significant(value * 1e3, "ms"),
            Unit::Seconds => significant(value * 1e6, "µs"),
            Unit::Bytes => significant(value / f64::from(1 << 20), "MiB"),
            Unit::Times => format!("{value:.1} times"),
        }
    }
}

fn significant(value: f64, unit: &str) -> String {
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} {unit}")
}

/// A measured line of the table.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) ours: f64,
    /// The figure beside ours, and what it is one of.
    pub(crate) beside: Option<(f64, &'static str)>,
    pub(crate) unit: Unit,
    /// What was measured when ctrfs was designed.
    pub(crate) design: &'static str,
}

/// The table, printed as it grows.
pub(crate) struct Report;

impl Report {
    pub(crate) fn begin() -> Report {
        println!("| | ctrfs | beside it | ratio | designed for |");
        println!("|---|---:|---:|---:|---:|");
        Report
    }

    pub(crate) fn add(&mut self, line: &Line) {
        let Line { name, ours, beside, unit, design } = line;
        let (other, ratio) = match beside {
            Some((theirs, what)) => (format!("{} {what}", unit.show(*theirs)), format!("{:.2}", ours / theirs)),
            None => (String::new(), String::new()),
        };
        println!("| {name} | {} | {other} | {ratio} | {design} |", unit.show(*ours));
    }

    /// A line of seconds with what it stands beside.
    pub(crate) fn seconds(
        &mut self,
        name: &'static str,
        medians: (f64, f64),
        what: &'static str,
        design: &'static str,
    ) {
        let beside = Some((medians.1, what));
        self.add(&Line { name, ours: medians.0, beside, unit: Unit::Seconds, design });
    }
}
