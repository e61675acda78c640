//! The memory of a row: this program once more, for that row alone.

use anyhow::{Context, bail};
use beit_bench::Row;
use std::process::Command;

/// With the most bytes that such a process held, where they are to be compared.
pub(super) fn measured(row: Row) -> anyhow::Result<Row> {
    if !row.alone {
        return Ok(row);
    }
    let peak_bytes = peak(&row.name)?;
    Ok(Row { peak_bytes, ..row })
}

/// Under the flags of this process, so that the row is the same.
fn peak(name: &str) -> anyhow::Result<Option<u64>> {
    let program = std::env::current_exe().context("this program cannot be found")?;
    let flags = std::env::args_os().skip(1);
    let output = Command::new(&program)
        .args(flags)
        .args(["--alone", name])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{name} alone: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} alone: no number of bytes"))
}
