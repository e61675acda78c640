//! Rows of measurements, as a table or as JSON lines.

use crate::output::Output;
use beit::Device;
use beit_bench::Row;
use serde_json::json;

/// Prints rows as they come.
pub(super) struct Table {
    output: Output,
    device: Device,
    /// Whether the heading was printed.
    begun: bool,
    /// The best rate of a square product, in operations per second.
    peak: Option<f64>,
}

impl Table {
    pub(super) fn new(output: Output, device: &Device) -> Self {
        Self { output, device: device.clone(), begun: false, peak: None }
    }

    /// Prints a row. The others are compared with the square product, which comes first where it comes at all.
    pub(super) fn row(&mut self, row: Row) -> anyhow::Result<()> {
        if !self.begun && !self.output.json {
            self.output.answer(&(), &heading())?;
        }
        self.begun = true;
        if row.square {
            self.peak = Some(row.rate());
        }
        self.output.answer(&self.value(&row), &self.line(&row))
    }

    pub(super) fn end(&self) -> anyhow::Result<()> {
        // Where a peer only prepared, nothing was measured, and where few rows were wanted, no square product.
        let Some(peak) = self.peak.filter(|_| !self.output.json) else { return Ok(()) };
        let (name, precision) = (self.device.name(), self.device.precision());
        let peak = peak / 1e12;
        self.output
            .answer(&(), &format!("{name}, {precision}; shares are of {peak:.2} TFLOP/s, the square product"))
    }

    fn share(&self, row: &Row) -> Option<f64> {
        self.peak.filter(|_| row.flops > 0).map(|peak| row.rate() / peak)
    }

    fn value(&self, row: &Row) -> serde_json::Value {
        json!({
            "name": row.name,
            "device": self.device.name(),
            "precision": self.device.precision(),
            "seconds": row.seconds,
            "gflop": row.flops as f64 / 1e9,
            "gflop_per_second": (row.flops > 0).then(|| row.rate() / 1e9),
            "share_of_peak": self.share(row),
            "images_per_second": row.images_per_second(),
            "planned_bytes": row.planned_bytes,
            "taken_bytes": row.taken_bytes,
            "peer_seconds": row.peer_seconds,
            "times_as_fast_as_peer": row.ratio(),
            "peak_bytes": row.peak_bytes,
            "peer_peak_bytes": row.peer_peak_bytes,
        })
    }

    fn line(&self, row: &Row) -> String {
        let cell = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let rate = (row.flops > 0).then(|| row.rate() / 1e9);
        format!(
            "{:48} {:>10} {:>11} {:>7} {:>10} {:>8} {:>8} {:>10} {:>6} {:>8}",
            row.name,
            cell(Some(1e3 * row.seconds), 3),
            cell(rate, 1),
            cell(self.share(row).map(|share| 100.0 * share), 1),
            cell(row.images_per_second(), 1),
            cell(Some(gib(row.planned_bytes)), 2),
            cell(row.taken_bytes.or(row.peak_bytes).map(gib), 2),
            cell(row.peer_seconds.map(|seconds| 1e3 * seconds), 3),
            cell(row.ratio(), 2),
            cell(row.peer_peak_bytes.map(gib), 2),
        )
    }
}

fn heading() -> String {
    format!(
        "{:48} {:>10} {:>11} {:>7} {:>10} {:>8} {:>8} {:>10} {:>6} {:>8}",
        "", "ms", "GFLOP/s", "% peak", "images/s", "plan GiB", "GiB", "peer ms", "times", "peer GiB"
    )
}
