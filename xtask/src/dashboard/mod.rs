//! A dashboard on the terminal: curves, numbers, how far it is, and the last notes. It lasts from the first step of training to the answer.

mod draw;
mod screen;
mod state;

use crate::output::{Terminal, note, print_report};
use crate::signals;
use beit::{Progress, StepReport, Task};
use screen::Screen;
use state::State;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Between two drawings of what changes all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// Here and not in whoever watches, so that every end of the program finds it.
static SHOWN: Mutex<Option<Shown>> = Mutex::new(None);

struct Shown {
    screen: Screen,
    state: State,
    drawn: Instant,
}

impl Shown {
    /// Draws, where that was not done just now or something is new that stays. What a terminal does not take is no reason to stop.
    fn draw(&mut self, now: bool) {
        if now || self.drawn.elapsed() >= PAUSE {
            self.drawn = Instant::now();
            let state = &self.state;
            self.screen.draw(|frame| draw::draw(frame, state));
        }
    }
}

/// Shows a run on the whole terminal, and before its first step and where there is none in lines.
pub(crate) struct Dashboard {
    lines: Terminal,
    json: bool,
    /// Whether the terminal would not show it.
    refused: Once,
}

impl Dashboard {
    pub(crate) fn new(lines: Terminal, json: bool) -> Self {
        Self { lines, json, refused: Once::new() }
    }

    /// Opens it, if it is not open and training begins.
    fn open(&self, task: &Task<'_>) {
        let mut shown = shown();
        if shown.is_some() || self.refused.is_completed() || !matches!(task, Task::Train { .. }) {
            return;
        }
        match Screen::open(end_by_panic) {
            Ok(screen) => {
                signals::end_after(screen::leave);
                *shown = Some(Shown { screen, state: State::default(), drawn: Instant::now() });
            }
            Err(error) => {
                // Before a note, which asks whether it is open.
                drop(shown);
                self.refused.call_once(|| {
                    note(&format!("--tui: the terminal cannot show it: {error}; lines follow"))
                });
            }
        }
    }
}

fn shown() -> MutexGuard<'static, Option<Shown>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes what is shown, and draws it; false where nothing is.
fn with(now: bool, change: impl FnOnce(&mut State)) -> bool {
    let mut shown = shown();
    let Some(shown) = shown.as_mut() else { return false };
    change(&mut shown.state);
    shown.draw(now);
    true
}

/// Takes a note, where the dashboard is open.
pub(crate) fn takes(line: &str) -> bool {
    with(true, |state| state.note(line))
}

/// Ends it, and says in lines what was said in it. Where it is not open, this does nothing.
pub(crate) fn close() {
    // No longer locked when the lines are said.
    let ended = shown().take();
    if let Some(Shown { screen, state, .. }) = ended {
        drop(screen);
        state.lines().iter().for_each(|line| note(line));
    }
}

/// The same while a panic ends the program: the thread that panics may be the one that draws.
fn end_by_panic() {
    screen::leave();
    if SHOWN.try_lock().is_ok() {
        close();
    }
}

impl Progress for Dashboard {
    fn note(&self, line: &str) {
        if !takes(line) {
            self.lines.note(line);
        }
    }

    fn begin(&self, task: &Task<'_>) {
        self.open(task);
        if !with(true, |state| state.begin(task)) {
            self.lines.begin(task);
        }
    }

    fn done(&self, amount: u64) {
        if !with(false, |state| state.done(amount)) {
            self.lines.done(amount);
        }
    }

    fn report(&self, report: &StepReport) {
        if !with(true, |state| state.report(report)) {
            return self.lines.report(report);
        }
        if self.json {
            print_report(report);
        }
    }

    fn end(&self) {
        if !with(true, State::end) {
            self.lines.end();
        }
    }

    fn stops(&self) -> bool {
        self.lines.stops()
    }
}
