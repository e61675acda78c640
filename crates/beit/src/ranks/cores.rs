//! The cores of a machine, shared by its ranks.

use std::num::NonZero;

/// Threads for one of so many ranks on this machine: its share of the cores, or the cores that the launcher has bound it to.
pub(super) fn share(ranks: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    if is_bound() { cores } else { (cores / ranks.max(1)).max(1) }
}

/// Whether this process may use fewer cores than who started it, so that others have the rest.
#[cfg(target_os = "linux")]
fn is_bound() -> bool {
    use rustix::thread::sched_getaffinity;
    let count = |process| sched_getaffinity(process).map(|set| set.count());
    match (count(None), rustix::process::getppid().map(|parent| count(Some(parent)))) {
        (Ok(own), Some(Ok(parent))) => own < parent,
        _ => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_bound() -> bool {
    false
}

/// Starts a process on part `part` of so many equal parts of the cores that this one may use, where there are enough and the system can
/// do that.
#[cfg(target_os = "linux")]
pub(super) fn on_a_part<T>(part: usize, of: usize, start: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(whole) = sched_getaffinity(None) else { return start() };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| whole.is_set(core)).collect();
    let each = cores.len() / of.max(1);
    if each == 0 {
        return start();
    }
    let mut own = CpuSet::new();
    cores[part * each..][..each].iter().for_each(|&core| own.set(core));
    // A process begins with the cores of the thread that started it.
    let bound = sched_setaffinity(None, &own);
    let started = start();
    if bound.is_ok() {
        let _ = sched_setaffinity(None, &whole);
    }
    started
}

#[cfg(not(target_os = "linux"))]
pub(super) fn on_a_part<T>(_: usize, _: usize, start: impl FnOnce() -> T) -> T {
    start()
}
