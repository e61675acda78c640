//! The whole terminal, taken and given back.

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::{Frame, Terminal};
use std::io::{Stderr, stderr};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal of standard error, on a page of its own. When it is dropped, what was there before is there again.
pub(super) struct Screen(Terminal<CrosstermBackend<Stderr>>);

impl Screen {
    /// Takes the terminal; `panicked` is called where a panic ends the program. Signals are as before: nothing is read from the keyboard.
    pub(super) fn open(panicked: fn()) -> std::io::Result<Self> {
        on_panic(panicked);
        let terminal = Terminal::new(CrosstermBackend::new(stderr()))?;
        TAKEN.store(true, Ordering::SeqCst);
        keyboard::silence();
        // Nothing is asked of the terminal: an answer would come by the keyboard.
        if let Err(error) = execute!(stderr(), EnterAlternateScreen, Clear(ClearType::All), Hide) {
            leave();
            return Err(error);
        }
        Ok(Self(terminal))
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) {
        if TAKEN.load(Ordering::SeqCst) {
            let _ = self.0.draw(draw);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back, once.
pub(super) fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing.
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
        keyboard::restore();
    }
}

fn on_panic(panicked: fn()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            panicked();
            before(info);
        }));
    });
}

/// Keys that are pressed meanwhile are not written over the page. Ctrl-C stays a signal.
#[cfg(unix)]
mod keyboard {
    use rustix::process::getpgrp;
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
    use std::io::stderr;
    use std::sync::{Mutex, PoisonError};

    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    pub(super) fn silence() {
        // A process in the background, as one of several that train together is, would be stopped for it.
        if !tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp()) {
            return;
        }
        if let Ok(before) = tcgetattr(stderr()) {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            if tcsetattr(stderr(), OptionalActions::Now, &silent).is_ok() {
                *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            }
        }
    }

    pub(super) fn restore() {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(stderr(), OptionalActions::Flush, &before);
        }
    }
}

#[cfg(not(unix))]
mod keyboard {
    pub(super) fn silence() {}
    pub(super) fn restore() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back() {
        on_panic(leave);
        TAKEN.store(true, Ordering::SeqCst);
        assert!(std::thread::spawn(|| panic!("as asked for")).join().is_err());
        assert!(!TAKEN.load(Ordering::SeqCst));
    }
}
