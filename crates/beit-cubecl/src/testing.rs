//! For tests: how one that needs a device says that it did not run, and kernels in CUDA C++.

pub use crate::kernels::native::{Native, Source};

use crate::precision::OpenError;
use std::io::Write;

/// Says on stderr, past the test harness, that `what` did not run, and why.
///
/// # Panics
///
/// Where `BEIT_REQUIRE_GPU` is 1, or is a part of `what` (`BEIT_REQUIRE_GPU=f32`): the caller then expects a device.
pub fn not_run(what: &str, error: &OpenError) {
    let required = std::env::var("BEIT_REQUIRE_GPU").unwrap_or_default();
    let fails = required == "1" || (!required.is_empty() && what.contains(&required));
    assert!(!fails, "BEIT_REQUIRE_GPU={required}, but {what} cannot run: {error}");
    // The test harness hides what `eprintln!` writes in tests that pass.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}: {error}");
}
