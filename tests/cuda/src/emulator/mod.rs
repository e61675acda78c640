//! The machine that executes CUDA C++ on the CPU.

mod buffers;
mod library;
mod orders;

use crate::tensor_map::Opaque;
use crate::{Kernel, Launch, Machine, Sm};
use buffers::Copies;
use library::{Builder, Library, Order, Run};
use orders::Launches;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

/// Compiles kernels with the C++ compiler of the system and runs them.
#[derive(Debug)]
pub struct Emulator {
    /// By the source as it is compared, and the bytes of shared memory: a library has the places of its own arrays.
    kernels: HashMap<(String, usize), Built>,
}

/// A kernel for the CPU.
#[derive(Debug)]
struct Built {
    library: Result<Arc<Library>, String>,
    /// How often it was launched with which grid and numbers.
    launches: HashMap<([u32; 3], Vec<u64>), usize>,
}

impl Built {
    /// Counts a launch; returns how many there were before.
    fn count(&mut self, launch: &Launch) -> Launches {
        let all = self.launches.values().sum();
        let alike = self.launches.entry((launch.cubes, launch.info.clone())).or_default();
        *alike += 1;
        Launches { all, alike: *alike - 1 }
    }
}

impl Machine for Emulator {
    const EXECUTES: bool = true;

    fn new(_: Sm) -> Self {
        Self { kernels: HashMap::new() }
    }

    fn launch(&mut self, launch: Launch) -> Result<(), String> {
        let kernel = &launch.kernel;
        let build = || Built { library: build(kernel).map(Arc::new), launches: HashMap::new() };
        let built = self.kernels.entry((kernel.compared.clone(), kernel.shared_memory)).or_insert_with(build);
        let before = built.count(&launch);
        let library = built.library.clone()?;
        execute(&launch, &library, before).map_err(|error| format!("{error}\n{}", quoted(kernel, &error)))
    }
}

fn build(kernel: &Kernel) -> Result<Library, String> {
    static BUILDER: OnceLock<Result<Builder, String>> = OnceLock::new();
    let builder = BUILDER.get_or_init(Builder::new).as_ref().map_err(Clone::clone)?;
    builder.build(kernel)
}

/// Runs all blocks, then some of them in other orders, which must give the same.
fn execute(launch: &Launch, library: &Library, before: Launches) -> Result<(), String> {
    let mut all = Copies::new(&launch.buffers);
    let result = run(launch, library, &mut all, Order::default(), &[]);
    all.untouched()?;
    result?;
    compare_orders(launch, library, &orders::of(launch, before), &all)?;
    all.finish();
    Ok(())
}

/// Runs some of the blocks in each order, and compares them with themselves as `all` ran.
fn compare_orders(
    launch: &Launch,
    library: &Library,
    orders: &[Order],
    all: &Copies<'_>,
) -> Result<(), String> {
    let blocks = orders::sample(launch.cubes);
    let some = |order| -> Result<Copies<'_>, String> {
        let mut copies = Copies::new(&launch.buffers);
        let result = run(launch, library, &mut copies, order, &blocks);
        let result = copies.untouched().and(result);
        result.map(|()| copies).map_err(|error| format!("{error} ({})", orders::words(order)))
    };
    let is_all = blocks.len() as u64 == orders::blocks(launch.cubes);
    let first = if is_all || orders.is_empty() { None } else { Some(some(Order::default())?) };
    for &order in orders {
        let agrees = some(order)?.agrees_with(first.as_ref().unwrap_or(all));
        agrees.map_err(|error| format!("{error} ({})", orders::words(order)))?;
    }
    Ok(())
}

/// Runs blocks of a launch on copies of its buffers; all where none is named.
fn run(
    launch: &Launch,
    library: &Library,
    copies: &mut Copies<'_>,
    order: Order,
    blocks: &[u64],
) -> Result<(), String> {
    let kernel = &launch.kernel;
    let mut info = launch.info.clone();
    // The part of the shapes whose size is not known to the kernel goes by reference.
    let mut dynamic = info.split_off(launch.dynamic_info.min(info.len()));
    let mut dynamic_pointer = dynamic.as_mut_ptr();
    let mut pointers = copies.pointers();
    let maps = launch.maps.iter().zip(&pointers).map(|(map, &pointer)| map.encode(pointer));
    let mut maps = maps.collect::<Result<Vec<Opaque>, String>>()?;
    // As cuLaunchKernel takes them: the address of every argument, those that are passed by value too.
    let mut arguments: Vec<*mut c_void> = maps.iter_mut().map(|map| (&raw mut *map).cast()).collect();
    arguments.extend(pointers.iter_mut().map(|p| (&raw mut *p).cast::<c_void>()));
    if !dynamic.is_empty() {
        arguments.push((&raw mut dynamic_pointer).cast());
    }
    arguments.push(info.as_mut_ptr().cast());
    let (dim, shared) = (kernel.cube_dim, kernel.shared_memory);
    library.run(&mut arguments, &Run { cubes: launch.cubes, dim, shared, order, blocks })
}

/// The line of the source that an error names.
fn quoted(kernel: &Kernel, error: &str) -> String {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok();
    let lines = error.split("line ").skip(1).filter_map(number);
    let line = |n: usize| Some(format!("{n:>6} | {}", kernel.source.lines().nth(n.checked_sub(1)?)?));
    lines.filter_map(line).collect::<Vec<_>>().join("\n")
}
