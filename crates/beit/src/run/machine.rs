//! The machine that a run begins on.

use crate::memory::{Memory, readable};
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// The processor where the system tells it, the cores that this process may use, and the memory of the machine or its container.
pub(super) fn sentence() -> String {
    let kinds = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(kinds).ok();
    let brand = system.as_ref().and_then(|system| system.cpus().first()).map_or("", |cpu| cpu.brand().trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Memory { machine, container, .. } = Memory::here();
    let memory = readable(container.map_or(machine, |most| most.min(machine)).into());
    let parts = [brand.to_owned(), format!("{cores} cores"), format!("{memory} of memory")];
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(", ")
}
