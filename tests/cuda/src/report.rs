//! What was measured, for people and for spreadsheets.

use crate::Record;
use std::fmt::Write;
use std::path::Path;

const HEADER: [&str; 11] = [
    "arch",
    "threads",
    "regs",
    "stack",
    "spill st",
    "spill ld",
    "static sh",
    "dynamic sh",
    "cubin",
    "kernel",
    "variant",
];

fn cells(record: &Record) -> [String; 11] {
    let numbers = record.result.as_ref().map(|(r, cubin)| {
        [r.registers, r.stack, r.spill_stores, r.spill_loads, r.static_shared]
            .map(|n| n.to_string())
            .into_iter()
            .zip([cubin.to_string()].into_iter().cycle())
            .collect::<Vec<_>>()
    });
    let number = |i: usize| numbers.as_ref().map_or("-".into(), |n| n[i].0.clone());
    let cubin = numbers.as_ref().map_or("-".into(), |n| n[0].1.clone());
    [
        record.sm.architecture(),
        record.threads.to_string(),
        number(0),
        number(1),
        number(2),
        number(3),
        number(4),
        record.dynamic_shared.to_string(),
        cubin,
        record.name.clone(),
        record.variant.clone(),
    ]
}

/// One line for each kernel and architecture; the variant is left to [`write_csv`].
pub fn table(records: &[Record]) -> String {
    let mut rows = vec![HEADER.map(String::from)];
    rows.extend(records.iter().map(cells));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..9).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{cell:>width$}  ").expect("strings take everything");
        }
        writeln!(out, "{}", row[9]).expect("strings take everything");
    }
    out
}

/// The same with the variants.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_csv(records: &[Record], path: &Path) -> Result<(), csv::Error> {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(HEADER)?;
    for record in records {
        file.write_record(cells(record))?;
    }
    Ok(file.flush()?)
}
