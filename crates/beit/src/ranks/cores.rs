//! The cores of a machine, shared by its ranks.

/// Which machine a process is on, and which of its cores it may use, as far as the system tells: a line to compare by.
pub(super) fn place() -> String {
    let (host, cores) = (host(), allowed());
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    format!("{host}\t{}", cores.join(","))
}

/// How many of the processes at these places are on the machine of one of them.
pub(super) fn on_the_machine_of(place: &str, all: &[String]) -> usize {
    let host = |place: &str| place.split('\t').next().map(str::to_owned);
    all.iter().filter(|other| host(other) == host(place)).count()
}

/// Threads for a process at a place, of those at all places: its share of the cores, unless a launcher has bound it to some of its own.
/// `cores` is how many the system says can be used, which a quota may lower.
pub(super) fn share(place: &str, all: &[String], cores: usize) -> usize {
    let allowed =
        place.split('\t').nth(1).map_or(0, |cores| cores.split(',').filter(|core| !core.is_empty()).count());
    let sharing = match allowed > cores || allowed == 0 {
        // The quota is for all processes of the machine, whichever cores they are bound to.
        true => on_the_machine_of(place, all),
        false => all.iter().filter(|other| *other == place).count(),
    };
    (cores / sharing.max(1)).max(1)
}

#[cfg(target_os = "linux")]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(target_os = "linux"))]
fn host() -> String {
    String::new()
}

/// The cores that this process may use; none where the system does not tell.
#[cfg(target_os = "linux")]
fn allowed() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let set = sched_getaffinity(None);
    set.map(|set| (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Vec<usize> {
    Vec::new()
}

/// Starts a process on part `part` of so many equal parts of the cores that this one may use, where there are enough and the system can
/// do that.
#[cfg(target_os = "linux")]
pub(super) fn on_a_part<T>(part: usize, of: usize, start: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(whole) = sched_getaffinity(None) else { return start() };
    let cores = allowed();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_by_who_may_use_the_same() {
        let all = |places: &[&str]| places.iter().map(|&place| place.to_owned()).collect::<Vec<_>>();
        let free = all(&["a\t0,1,2,3", "a\t0,1,2,3", "b\t0,1,2,3"]);
        assert_eq!([share(&free[0], &free, 4), share(&free[2], &free, 4)], [2, 4]);
        assert_eq!(on_the_machine_of(&free[0], &free), 2);
        // Bound by a launcher, each to its own, whether or not something started the process in between.
        let bound = all(&["a\t0,1", "a\t2,3"]);
        assert_eq!(share(&bound[0], &bound, 2), 2);
        // A container with the time of two cores on a machine of four.
        assert_eq!(share(&bound[0], &bound, 1), 1);
        assert_eq!(share(&free[0], &free, 2), 1);
        // More processes than cores, and a system that does not tell.
        assert_eq!(share("a\t0", &all(&["a\t0", "a\t0", "a\t0"]), 1), 1);
        assert_eq!(share("\t", &all(&["\t", "\t"]), 8), 4);
    }
}
