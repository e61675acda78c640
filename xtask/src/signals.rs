//! Signals that ask for an end: training saves what it has first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The signal that came; 0 for none.
static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// The signal by which schedulers ask for an end.
pub(crate) const TERM: u8 = signal_hook::consts::SIGTERM as u8;

/// From now on the first signal that asks for an end is kept for [`received`]; a second one ends the program at once. Where that
/// cannot be had, each ends the program, as it usually does.
pub(crate) fn catch() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    let received = RECEIVED.get_or_init(Arc::default);
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order, so that the first signal finds `second` unset and sets it.
        let _ = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))
            .and_then(|_| flag::register(signal, Arc::clone(&second)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(received), signal.unsigned_abs() as usize));
    }
}

/// The signal that asked for an end.
pub(crate) fn received() -> Option<u8> {
    let number = RECEIVED.get()?.load(Ordering::SeqCst);
    u8::try_from(number).ok().filter(|&signal| signal > 0)
}
