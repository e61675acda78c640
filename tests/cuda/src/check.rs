//! The machine that compiles and executes nothing.

use crate::{Kernel, Launch, Machine, Record, Resources, Sm, cache, nvrtc};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Compiles every variant of a kernel once, to machine code, and records the result.
#[derive(Debug)]
pub struct Check {
    sm: Sm,
    /// Results by what is compared: variants that do the same are compiled once.
    seen: HashMap<String, Result<(Resources, usize), String>>,
    variants: HashSet<usize>,
}

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());

/// Everything that was compiled so far in this process, in order of architecture and name.
pub fn records() -> Vec<Record> {
    let mut records = RECORDS.lock().expect("no holder of the lock panics").clone();
    records.sort_by(|a, b| (a.sm, &a.name, &a.variant).cmp(&(b.sm, &b.name, &b.variant)));
    records
}

impl Machine for Check {
    const EXECUTES: bool = false;

    fn new(sm: Sm) -> Self {
        Self { sm, seen: HashMap::new(), variants: HashSet::new() }
    }

    /// Never an error: a kernel that does not compile becomes a [`Record`], so that one run finds all of them.
    fn launch(&mut self, launch: Launch) -> Result<(), String> {
        let (sm, kernel) = (self.sm, &launch.kernel);
        // The server never drops a kernel, so each has an address of its own.
        if self.variants.insert(Arc::as_ptr(kernel) as usize) {
            let result = self.seen.entry(kernel.compared.clone());
            let result = result.or_insert_with(|| {
                cache::get_or(&kernel.compared, sm, || compile_source(&kernel.source, &kernel.entry, sm))
            });
            add(Record::new(sm, kernel, result.clone()));
        }
        Ok(())
    }

    fn refuse(&mut self, kernel: &Kernel, error: String) -> Result<(), String> {
        add(Record::new(self.sm, kernel, Err(error)));
        Ok(())
    }
}

/// Adds a record, unless there is an equal one.
fn add(record: Record) {
    let mut records = RECORDS.lock().expect("no holder of the lock panics");
    if !records.contains(&record) {
        records.push(record);
    }
}

/// Compiles CUDA C++ for a device.
///
/// # Errors
///
/// The compiler's log, with the lines of the source it is about.
pub fn compile_source(source: &str, name: &str, sm: Sm) -> Result<(Resources, usize), String> {
    let cubin = nvrtc::compile(source, name, &sm.architecture());
    let cubin = cubin.map_err(|log| format!("{log}\n{}", quoted(source, name, &log)))?;
    Ok((Resources::parse(&cubin.log)?, cubin.bytes.len()))
}

/// The lines that a log speaks of, as `name(12): error` does.
fn quoted(source: &str, name: &str, log: &str) -> String {
    let mut numbers: Vec<usize> = log
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('(')?.split(')').next()?.parse().ok())
        .collect();
    numbers.dedup();
    let line = |n: usize| Some(format!("{n:>6} | {}", source.lines().nth(n.checked_sub(1)?)?));
    numbers.into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
}
