//! What a dashboard knows.

use crate::output::{Clock, measures, pace, plain};
use beit::{StepReport, Task};
use indicatif::{HumanBytes, HumanDuration};

/// Of more points every other one goes.
const MOST_POINTS: usize = 2000;

#[derive(Default)]
pub(super) struct State {
    /// `tokenizer`, `pretrain` or `finetune`.
    pub(super) phase: &'static str,
    /// Steps done and steps of the run.
    pub(super) steps: [u64; 2],
    clock: Clock,
    /// Steps and values.
    pub(super) loss: Vec<(f64, f64)>,
    pub(super) accuracy: Vec<(f64, f64)>,
    /// The newest.
    pub(super) report: Option<StepReport>,
    /// What is done besides training: so much of so much, of what.
    pub(super) beside: Option<([u64; 2], String)>,
    notes: Vec<String>,
}

impl State {
    pub(super) fn note(&mut self, note: &str) {
        self.notes.extend(plain(note).lines().map(str::to_owned));
    }

    /// The notes, oldest first.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What stays on the terminal when it ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let report = self.report.as_ref().map(|report| {
            let StepReport { phase, step, total, .. } = report;
            format!("{phase} {step}/{total}  {}  {}", measures(report), pace(report))
        });
        self.notes.iter().cloned().chain(report).collect()
    }

    /// Training goes on in parts: what it measured before stays.
    pub(super) fn begin(&mut self, task: &Task<'_>) {
        match *task {
            Task::Train { phase, done, total } if self.phase == phase => self.steps = [done, total],
            Task::Train { phase, done, total } => {
                let notes = std::mem::take(&mut self.notes);
                let clock = Clock::at(done);
                *self = Self { phase, steps: [done, total], clock, notes, ..Self::default() };
            }
            Task::Images { total } => self.beside = Some(([0, total], "images".to_owned())),
            Task::Fetch { file, bytes } => {
                let what = plain(&format!("of {file}, {}", HumanBytes(bytes))).into_owned();
                self.beside = Some(([0, bytes], what));
            }
            _ => {}
        }
    }

    pub(super) fn done(&mut self, amount: u64) {
        match &mut self.beside {
            Some(([done, _], _)) => *done = amount,
            None => self.steps[0] = amount,
        }
    }

    pub(super) fn report(&mut self, report: &StepReport) {
        let at = report.step as f64;
        push(&mut self.loss, (at, report.loss));
        report.accuracy.into_iter().for_each(|accuracy| push(&mut self.accuracy, (at, accuracy)));
        self.report = Some(report.clone());
    }

    pub(super) fn end(&mut self) {
        self.beside = None;
    }

    /// How far it is, from 0 to 1, and in words.
    pub(super) fn progress(&self) -> (f64, String) {
        let of = |[done, total]: [u64; 2]| (done as f64 / total.max(1) as f64).clamp(0.0, 1.0);
        if let Some((amounts, what)) = &self.beside {
            return (of(*amounts), format!("{}/{} {what}", amounts[0], amounts[1]));
        }
        let [done, total] = self.steps;
        let left = HumanDuration(self.clock.left(done, total));
        (of(self.steps), format!("{done}/{total} steps, {left} left"))
    }
}

fn push(points: &mut Vec<(f64, f64)>, point: (f64, f64)) {
    if !point.1.is_finite() {
        return;
    }
    if points.len() >= MOST_POINTS {
        let mut keep = false;
        points.retain(|_| {
            keep = !keep;
            keep
        });
    }
    points.push(point);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_points_become_fewer() {
        let mut state = State::default();
        for step in 0..10 * MOST_POINTS as u64 {
            state.report(&StepReport { step, loss: 1.0, ..StepReport::default() });
        }
        assert!((MOST_POINTS / 2..=MOST_POINTS).contains(&state.loss.len()), "{}", state.loss.len());
        assert_eq!(state.loss.last().map(|point| point.0), Some(10.0 * MOST_POINTS as f64 - 1.0));
        assert!(state.loss.is_sorted_by(|one, next| one.0 < next.0) && state.accuracy.is_empty());
        state.report(&StepReport { loss: f64::NAN, ..StepReport::default() });
        assert!(state.loss.iter().all(|point| point.1 == 1.0), "what is not finite is no point");
    }

    #[test]
    fn a_phase_that_goes_on_keeps_its_curve() {
        let train = |phase, done| Task::Train { phase, done, total: 10 };
        let mut state = State::default();
        state.begin(&train("tokenizer", 0));
        state.report(&StepReport { step: 1, loss: 9.0, ..StepReport::default() });
        state.note("first\nsecond\u{1b}[2J");
        state.begin(&train("pretrain", 4));
        assert!(state.loss.is_empty() && state.report.is_none());
        state.report(&StepReport {
            phase: "pretrain",
            step: 5,
            total: 10,
            loss: 2.0,
            ..StepReport::default()
        });
        state.begin(&Task::Images { total: 8 });
        state.done(2);
        assert_eq!(state.progress(), (0.25, "2/8 images".to_owned()));
        state.end();
        state.begin(&train("pretrain", 5));
        assert_eq!((state.loss.len(), state.steps), (1, [5, 10]));
        assert!(state.progress().1.starts_with("5/10 steps, "));
        let lines = state.lines();
        assert_eq!(lines[..2], ["first".to_owned(), "second\\u{1b}[2J".to_owned()]);
        assert!(lines[2].starts_with("pretrain 5/10  loss 2.000"), "{lines:?}");
    }
}
