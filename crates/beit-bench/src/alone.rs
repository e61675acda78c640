//! The memory of a row: what a process has held that did nothing else.

use crate::case::Case;
use crate::{BenchSettings, measure, segmentation};
use beit::{Device, Work};
use beit_ops::Ops;
use std::rc::Rc;

/// A row without others, on its way to a device.
pub(super) struct Alone<'a> {
    pub(super) settings: &'a BenchSettings,
    pub(super) name: &'a str,
}

impl Work for Alone<'_> {
    /// Errors of the bench itself.
    type Output = anyhow::Result<Option<u64>>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> beit::Result<Self::Output> {
        Ok(self.peak(&**ops))
    }
}

impl Alone<'_> {
    /// Calls as often as the first time takes: what is kept is there from the second call on.
    fn peak<O: Ops>(&self, ops: &O) -> anyhow::Result<Option<u64>> {
        let rows = segmentation::rows(self.settings)?;
        let Some(row) = rows.iter().find(|row| row.name() == self.name) else {
            anyhow::bail!(beit::Error::Setting(format!("--alone {}: no row has this name", self.name)));
        };
        let mut running = row.prepare(ops, measure::filled);
        measure::warm_up(&mut running);
        measure::seconds(ops, 1, &mut running)?;
        Ok(held())
    }
}

/// The greatest resident set of this process so far, in bytes, where the system tells.
fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_buffer_is_seen() {
        let before = held().expect("Linux tells");
        let buffer = vec![1_u8; 1 << 26];
        let after = held().expect("Linux tells");
        assert!(std::hint::black_box(&buffer)[9] == 1 && after >= before.max(1 << 26), "{before} {after}");
    }
}
