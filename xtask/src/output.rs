//! What a person or a program sees: answers on stdout, everything else on stderr.

use beit_train::{Progress, StepReport};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line for the person who watches. That nobody listens any more is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The answer of a verb: JSON on stdout where a program reads, else a sentence.
pub(crate) fn answer(json: bool, value: &impl Serialize, sentence: &str) -> anyhow::Result<()> {
    let line = if json { serde_json::to_string(value)? } else { sentence.to_owned() };
    match writeln!(std::io::stdout(), "{line}") {
        // Whoever read our answer has heard enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// A bar with rate and time left on a terminal; a plain line a report otherwise; JSON lines for a program.
pub(crate) struct Terminal {
    json: bool,
    bar: ProgressBar,
    /// When the loop began, and at which step.
    begin: (Instant, u64),
}

impl Terminal {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, bar: ProgressBar::hidden(), begin: (Instant::now(), 0) }
    }

    /// At the speed so far.
    fn left(&self, step: u64, total: u64) -> Duration {
        let (begin, done) = self.begin;
        let steps = step.saturating_sub(done).max(1) as f64;
        begin.elapsed().mul_f64(total.saturating_sub(step) as f64 / steps)
    }

    fn has_bar() -> bool {
        std::io::stderr().is_terminal()
    }
}

impl Progress for Terminal {
    fn begin(&mut self, phase: &'static str, done: u64, total: u64) {
        self.begin = (Instant::now(), done);
        if !Self::has_bar() {
            return;
        }
        let template = "{prefix:>9} {wide_bar} {pos}/{len} steps, {per_sec}, {eta} left  {msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::new(total).with_style(style).with_prefix(phase).with_position(done);
        self.bar.reset_eta();
    }

    fn step(&mut self, step: u64) {
        self.bar.set_position(step);
    }

    fn report(&mut self, report: &StepReport) {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(report).unwrap_or_default());
        }
        if Self::has_bar() {
            self.bar.set_message(measures(report));
        } else if !self.json {
            let StepReport { phase, step, total, images_per_second, data_wait, .. } = report;
            note(&format!(
                "{phase} {step}/{total}, {} left  {}  {images_per_second:.0} images/s, {:.0} % waiting for data",
                HumanDuration(self.left(*step, *total)),
                measures(report),
                100.0 * data_wait
            ));
        }
    }

    fn end(&mut self) {
        self.bar.finish();
        if Self::has_bar() {
            // The bar leaves the cursor at its end.
            note("");
        }
    }
}

fn measures(report: &StepReport) -> String {
    let mut text = format!("loss {:.3}", report.loss);
    if let Some(accuracy) = report.accuracy {
        text += &format!(", accuracy {accuracy:.3}");
    }
    for (name, value) in &report.extra {
        text += &format!(", {name} {value:.3}");
    }
    text
}

/// A bar over images for verbs that do not train.
pub(crate) fn images_bar(total: usize) -> ProgressBar {
    if !Terminal::has_bar() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} images, {per_sec}, {eta} left");
    ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar over the bytes of a file that is fetched; a plain line where there is no terminal.
pub(crate) fn bytes_bar(file: &str, bytes: u64) -> ProgressBar {
    if !Terminal::has_bar() {
        note(&format!("fetching {file} ({})", indicatif::HumanBytes(bytes)));
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
    );
    ProgressBar::new(bytes)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(file.to_owned())
}
