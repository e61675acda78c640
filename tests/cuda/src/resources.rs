//! The registers and the shared memory that a compiled kernel needs, and whether a multiprocessor has them.

use crate::{Kernel, Sm};

/// What a warning says where products that should overlap are executed one after another, those of `wgmma` whose registers are touched
/// before they are waited for, or kept in memory; and where a warpgroup keeps registers that it should give up.
pub(crate) const REFUSED: [&str; 2] = ["serialized", "setmaxnreg"];

/// What the assembler reports of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Bytes of registers that a thread stores to memory for lack of registers.
    pub spill_stores: u32,
    /// Bytes that are loaded back.
    pub spill_loads: u32,
    /// Bytes of a thread's memory: spills, and arrays that are indexed at run time.
    pub stack: u32,
    /// Bytes of shared memory that are declared with their size.
    pub static_shared: u32,
}

impl Resources {
    /// Reads the log of `ptxas -v`.
    ///
    /// # Errors
    ///
    /// If there is no such report in it, or a warning that the instructions of tensor cores wait for one another, or that registers stay where they are.
    pub fn parse(log: &str) -> Result<Self, String> {
        if let Some(warning) = log.lines().find(|line| REFUSED.iter().any(|words| line.contains(words))) {
            return Err(warning.trim().to_owned());
        }
        let before = |what: &str| {
            let line = log.lines().find(|line| line.contains(what))?;
            line[..line.find(what)?].split_whitespace().next_back()?.parse().ok()
        };
        let report = |what: &str| before(what).ok_or_else(|| format!("no report of {what:?} in: {log}"));
        Ok(Self {
            registers: report(" registers")?,
            spill_stores: report(" bytes spill stores")?,
            spill_loads: report(" bytes spill loads")?,
            stack: report(" bytes stack frame")?,
            // Left out where there is none.
            static_shared: before(" bytes smem").unwrap_or(0),
        })
    }
}

/// A variant of a kernel on an architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The device.
    pub sm: Sm,
    /// Function and type parameters.
    pub name: String,
    /// What else it was specialised by.
    pub variant: String,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: usize,
    /// The result: what was measured and the size of the machine code, or the compiler's log.
    pub result: Result<(Resources, usize), String>,
}

impl Record {
    pub(crate) fn new(sm: Sm, kernel: &Kernel, result: Result<(Resources, usize), String>) -> Self {
        Self {
            sm,
            name: kernel.name.clone(),
            variant: kernel.variant.clone(),
            threads: kernel.cube_dim.iter().product(),
            dynamic_shared: kernel.shared_memory,
            result,
        }
    }
}

/// A kernel that may spill.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// The beginning of its name.
    pub name: &'static str,
    /// Bytes of spill stores that are accepted.
    pub bytes: u32,
    /// Why that is acceptable.
    pub reason: &'static str,
}

/// Registers of a multiprocessor, compute capability 8.0 and 9.0.
const REGISTERS: u32 = 65536;
/// Threads of a block.
const THREADS: u32 = 1024;
/// Registers are allocated in steps of this many for each thread.
const GRANULARITY: u32 = 8;

/// What is wrong with a kernel, one sentence each.
pub fn violations(record: &Record, allowed: &[Allowed]) -> Vec<String> {
    let (resources, _) = match &record.result {
        Ok(result) => result,
        Err(log) => return vec![log.clone()],
    };
    let mut found = Vec::new();
    let (threads, max) = (record.threads, record.sm.shared_memory());
    if threads > THREADS {
        found.push(format!("{threads} threads in a block, {THREADS} are allowed"));
    }
    let registers = resources.registers.next_multiple_of(GRANULARITY) * threads.next_multiple_of(32);
    if registers > REGISTERS {
        found.push(format!("{registers} registers in a block, {REGISTERS} are there"));
    }
    let shared = record.dynamic_shared + resources.static_shared as usize;
    if shared > max {
        found.push(format!("{shared} bytes of shared memory, {max} are there"));
    }
    let accepted = allowed.iter().filter(|a| record.name.starts_with(a.name)).map(|a| a.bytes).max();
    if resources.spill_stores > accepted.unwrap_or(0) {
        found.push(format!("{} bytes of registers are spilled", resources.spill_stores));
    }
    found
}
