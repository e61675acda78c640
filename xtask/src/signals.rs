//! Signals that ask for an end: training saves what it has first.

use signal_hook::SigId;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The signal that came; 0 for none.
static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// The signal by which schedulers ask for an end.
pub(crate) const TERM: u8 = signal_hook::consts::SIGTERM as u8;

/// What ends the program at the second signal, while nothing has to be put in order before.
static AT_ONCE: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// From now on the first signal that asks for an end is kept for [`received`]; a second one ends the program at once. Where that
/// cannot be had, each ends the program, as it usually does.
pub(crate) fn catch() {
    use signal_hook::flag;
    let received = RECEIVED.get_or_init(Arc::default);
    let second = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        // In this order, so that the first signal finds `second` unset and sets it.
        let Ok(id) = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second)) else {
            continue;
        };
        at_once().push(id);
        let _ = flag::register(signal, Arc::clone(&second))
            .and_then(|_| flag::register_usize(signal, Arc::clone(received), signal.unsigned_abs() as usize));
    }
}

fn at_once() -> MutexGuard<'static, Vec<SigId>> {
    AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a second signal ends the program after `order` has put things in order.
#[cfg(unix)]
pub(crate) fn end_after(order: fn()) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new(SIGNALS) else { return };
    let mut first = received().is_none();
    for id in at_once().drain(..) {
        signal_hook::low_level::unregister(id);
    }
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if !std::mem::take(&mut first) {
                order();
                std::process::exit(128 + signal);
            }
        }
    });
}

/// Elsewhere it ends at once.
#[cfg(not(unix))]
pub(crate) fn end_after(_: fn()) {}

/// The signal that asked for an end.
pub(crate) fn received() -> Option<u8> {
    let number = RECEIVED.get()?.load(Ordering::SeqCst);
    u8::try_from(number).ok().filter(|&signal| signal > 0)
}
