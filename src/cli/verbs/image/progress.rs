//! What people see of an import, on standard error: a bar on a terminal, else a line for each layer.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::driver::image::{Outcome, Step, Watch};

const KNOWN: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
const UNKNOWN: &str = "{prefix} {spinner} {bytes} {bytes_per_sec}";
/// How much of a digest is shown.
const SHORT: usize = 19;

/// Who looks on while an image is imported.
pub(super) struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    quiet: bool,
    cancelled: AtomicBool,
    begun: Instant,
    read: AtomicU64,
    layers: AtomicU64,
    new: AtomicU64,
}

impl Progress {
    /// Shows progress, or with `quiet` nothing but warnings.
    pub(super) fn new(quiet: bool) -> Progress {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::no_length().with_style(style(UNKNOWN)).with_prefix("image");
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress {
            bar,
            quiet,
            cancelled: AtomicBool::new(false),
            begun: Instant::now(),
            read: AtomicU64::new(0),
            layers: AtomicU64::new(0),
            new: AtomicU64::new(0),
        }
    }

    /// The import is wanted no more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Nothing is going on any more; what is said next needs the line.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Tells what the whole was.
    pub(super) fn conclude(&self, names: &[String]) {
        self.clear();
        let read = self.read.load(Ordering::Relaxed);
        let took = self.begun.elapsed().as_secs_f64();
        let name = if names.is_empty() { "an image without a name".to_owned() } else { names.join(", ") };
        let (layers, new) = (self.layers.load(Ordering::Relaxed), self.new.load(Ordering::Relaxed));
        let rate = HumanBytes((read as f64 / took.max(0.001)) as u64);
        let speed = if new == 0 { String::new() } else { format!(", {} in {took:.1} s, {rate}/s", HumanBytes(read)) };
        self.line(&format!("imported {name}; layers: {layers}, new: {new}{speed}"));
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(|| say(text)),
            _ => say(text),
        }
    }
}

/// Whether anybody listens does not matter.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl Watch for Progress {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn begin(&self, step: &Step) {
        let Some(bar) = &self.bar else { return };
        let (Step::Spool { size } | Step::Layer { size, .. }) = step;
        bar.reset();
        bar.set_prefix(title(step));
        match size {
            Some(size) => {
                bar.set_style(style(KNOWN));
                bar.set_length(*size);
            }
            None => {
                bar.set_style(style(UNKNOWN));
                bar.unset_length();
            }
        }
    }

    fn advance(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn warn(&self, warning: &str) {
        self.say(&format!("ctrfs: {warning}"));
    }

    fn end(&self, step: &Step, outcome: &Outcome) {
        let what = title(step);
        if matches!(step, Step::Layer { .. }) {
            self.layers.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            Outcome::Copied(bytes) => self.line(&format!("{what}: {}", HumanBytes(*bytes))),
            Outcome::Present => self.line(&format!("{what}: there already")),
            Outcome::New(held) => {
                self.new.fetch_add(1, Ordering::Relaxed);
                self.line(&format!("{what}: {} in {} entries", HumanBytes(held.size), held.entries));
            }
        }
    }
}

fn title(step: &Step) -> String {
    match step {
        Step::Spool { .. } => "archive".to_owned(),
        Step::Layer { number, of, diff_id, .. } => {
            let digest = diff_id.map(|digest| digest.to_string()).unwrap_or_default();
            format!("layer {number}/{of} {}", digest.get(..SHORT).unwrap_or(&digest)).trim_end().to_owned()
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template of ours that indicatif did not take would cost the bar its looks only.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, UNKNOWN, title};
    use crate::driver::hash::digest;
    use crate::driver::image::Step;

    #[test]
    fn templates_are_templates() {
        for template in [KNOWN, UNKNOWN] {
            assert!(indicatif::ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_layer_is_told_by_its_digest() {
        let layer = |diff_id| title(&Step::Layer { number: 1, of: 2, diff_id, size: None });
        assert_eq!(layer(Some(digest(b""))), "layer 1/2 sha256:e3b0c44298fc");
        assert_eq!(layer(None), "layer 1/2");
    }
}
