//! What a person or a program sees: answers on stdout, everything else on stderr.

use crate::dashboard::{self, Dashboard};
use beit::{Contents, OutFile, Progress, StepReport, Task, Watch};
use clap::Args;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How a verb answers.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON on stdout: a line a report and an answer
    #[arg(long)]
    pub(crate) json: bool,
    /// Whether the run is shown on the whole terminal.
    #[arg(skip)]
    pub(crate) tui: bool,
}

/// How training is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// Show training on the whole terminal: curves, speed, how far it is, the last notes; plain lines where standard error is no terminal
    #[arg(long)]
    tui: bool,
}

impl Shown {
    /// An answer of a run that is shown so.
    pub(crate) const fn with(self, output: Output) -> Output {
        Output { tui: self.tui, ..output }
    }
}

impl Output {
    /// The answer of a verb: JSON on stdout where a program reads, else a sentence.
    pub(crate) fn answer(self, value: &impl Serialize, sentence: &str) -> anyhow::Result<()> {
        dashboard::close();
        let line = if self.json { serde_json::to_string(value)?.into() } else { plain(sentence) };
        match writeln!(std::io::stdout(), "{line}") {
            // Whoever read our answer has heard enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            done => Ok(done?),
        }
    }

    /// Shows progress on the terminal.
    pub(crate) fn watch(self) -> Watch {
        let lines = Terminal { json: self.json, bar: Mutex::default() };
        if !self.tui {
            return Watch::new(lines);
        }
        if !has_bar() {
            note("--tui: standard error is no terminal; lines follow");
            return Watch::new(lines);
        }
        if self.json && std::io::stdout().is_terminal() {
            note("--tui: standard output is the terminal too, and has JSON; lines follow");
            return Watch::new(lines);
        }
        Watch::new(Dashboard::new(lines, self.json))
    }
}

/// Whether a file may be replaced.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Overwrite {
    /// Replace the file if it is one of those that this verb writes
    #[arg(long)]
    overwrite: bool,
}

impl Overwrite {
    /// The same, or allowed without being asked for.
    pub(crate) const fn or(self, allowed: bool) -> Self {
        Self { overwrite: self.overwrite || allowed }
    }

    /// Refuses a file that cannot be written or must not be replaced.
    pub(crate) fn check(self, path: &Path, contents: Contents) -> beit::Result<()> {
        OutFile { path: path.to_owned(), overwrite: self.overwrite }.check(contents)
    }
}

/// What a file brings along must not command the terminal: characters that are no text are written out.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_command(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
}

fn is_command(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// A line for the person who watches. That nobody listens any more is no reason to stop.
pub(crate) fn note(line: &str) {
    if dashboard::takes(line) {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{}", plain(line));
}

/// A bar with rate and time left on a terminal; a plain line a report otherwise; JSON lines for a program.
pub(crate) struct Terminal {
    json: bool,
    bar: Mutex<Bar>,
}

struct Bar {
    bar: ProgressBar,
    clock: Clock,
    /// Whether the bar stays when it is full.
    stays: bool,
}

impl Default for Bar {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), clock: Clock::at(0), stays: false }
    }
}

/// When training began, and at which step.
pub(crate) struct Clock(Instant, u64);

impl Default for Clock {
    fn default() -> Self {
        Self::at(0)
    }
}

impl Clock {
    /// Begins now.
    pub(crate) fn at(step: u64) -> Self {
        Self(Instant::now(), step)
    }

    /// The time from `step` to `total`, at the speed so far.
    pub(crate) fn left(&self, step: u64, total: u64) -> Duration {
        let Self(begin, done) = self;
        let steps = step.saturating_sub(*done).max(1) as f64;
        begin.elapsed().mul_f64(total.saturating_sub(step) as f64 / steps)
    }
}

const STEPS: &str = "{prefix:>9} {wide_bar} {pos}/{len} steps, {per_sec}, {eta} left  {msg}";
const IMAGES: &str = "{wide_bar} {pos}/{len} images, {per_sec}, {eta} left";
const BYTES: &str =
    "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";

fn bar(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

fn has_bar() -> bool {
    std::io::stderr().is_terminal()
}

impl Terminal {
    fn with(&self, change: impl FnOnce(&mut Bar)) {
        // A panic of another thread while it drew leaves a bar that can still be drawn.
        change(&mut self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Terminal {
    fn note(&self, line: &str) {
        self.with(|shown| shown.bar.suspend(|| note(line)));
    }

    fn begin(&self, task: &Task<'_>) {
        let drawn = match *task {
            Task::Train { phase, done, total } => {
                let bar = bar(total, STEPS).with_prefix(phase).with_position(done);
                bar.reset_eta();
                bar
            }
            Task::Images { total } => bar(total, IMAGES),
            Task::Fetch { file, bytes } => {
                if !has_bar() {
                    note(&format!("fetching {file} ({})", HumanBytes(bytes)));
                }
                bar(bytes, BYTES).with_message(file.to_owned())
            }
            _ => ProgressBar::hidden(),
        };
        let (done, stays) = match *task {
            Task::Train { done, .. } => (done, true),
            _ => (0, false),
        };
        self.with(|shown| {
            let bar = if has_bar() { drawn } else { ProgressBar::hidden() };
            *shown = Bar { bar, clock: Clock::at(done), stays };
        });
    }

    fn stops(&self) -> bool {
        crate::signals::received().is_some()
    }

    fn done(&self, amount: u64) {
        self.with(|shown| shown.bar.set_position(amount));
    }

    fn report(&self, report: &StepReport) {
        if self.json {
            print_report(report);
        }
        self.with(|shown| {
            if has_bar() {
                shown.bar.set_message(format!("{}  {}", measures(report), pace(report)));
            } else if !self.json {
                let StepReport { phase, step, total, .. } = report;
                note(&format!(
                    "{phase} {step}/{total}, {} left  {}  {}",
                    HumanDuration(shown.clock.left(*step, *total)),
                    measures(report),
                    pace(report)
                ));
            }
        });
    }

    fn end(&self) {
        self.with(|shown| {
            if !shown.stays {
                return shown.bar.finish_and_clear();
            }
            shown.bar.finish();
            if has_bar() {
                // The bar leaves the cursor at its end.
                note("");
            }
        });
    }
}

/// A line for a program.
pub(crate) fn print_report(report: &StepReport) {
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(report).unwrap_or_default());
}

/// How fast it goes, and what the time was spent on besides computing.
pub(crate) fn pace(report: &StepReport) -> String {
    format!("{:.0} images/s, {}", report.images_per_second, waits(report))
}

fn waits(report: &StepReport) -> String {
    let ready = report.batches_ready.map_or_else(String::new, |ready| format!(" ({ready:.1} batches ready)"));
    let data = format!("{:.0} % waiting for data{ready}", 100.0 * report.data_wait);
    match report.exchange {
        Some(exchange) => format!(
            "{data}, {:.0} % for gradients of other processes ({:.0} % of their sums hidden)",
            100.0 * exchange,
            100.0 * report.exchange_hidden.unwrap_or(0.0)
        ),
        None => data,
    }
}

/// What was measured.
pub(crate) fn measures(report: &StepReport) -> String {
    let mut text = format!("loss {:.3}", report.loss);
    if let Some(accuracy) = report.accuracy {
        text += &format!(", accuracy {accuracy:.3}");
    }
    for (name, value) in &report.extra {
        text += &format!(", {name} {value:.3}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_commands_to_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\u{9b}c\nd é"), "a\\u{1b}[2Jb\\r\\u{9b}c\nd é");
        assert!(matches!(plain("photo é.jpg"), Cow::Borrowed(_)));
    }
}
