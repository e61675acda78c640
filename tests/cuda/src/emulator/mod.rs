//! The machine that executes CUDA C++ on the CPU.

mod buffers;
mod library;

use crate::{Kernel, Launch, Machine, Sm};
use buffers::Copies;
use library::{Builder, Library};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

/// Compiles kernels with the C++ compiler of the system and runs them.
#[derive(Debug)]
pub struct Emulator {
    /// By the source as it is compared, and the bytes of shared memory: a library has the places of its own arrays.
    libraries: HashMap<(String, usize), Result<Arc<Library>, String>>,
}

impl Machine for Emulator {
    const EXECUTES: bool = true;

    fn new(_: Sm) -> Self {
        Self { libraries: HashMap::new() }
    }

    fn launch(&mut self, launch: Launch) -> Result<(), String> {
        let kernel = &launch.kernel;
        let built = self.libraries.entry((kernel.compared.clone(), kernel.shared_memory));
        let library = built.or_insert_with(|| build(kernel).map(Arc::new)).clone();
        run(&launch, &*library?).map_err(|error| format!("{error}\n{}", quoted(kernel, &error)))
    }
}

fn build(kernel: &Kernel) -> Result<Library, String> {
    static BUILDER: OnceLock<Result<Builder, String>> = OnceLock::new();
    let builder = BUILDER.get_or_init(Builder::new).as_ref().map_err(Clone::clone)?;
    builder.build(kernel)
}

fn run(launch: &Launch, library: &Library) -> Result<(), String> {
    let kernel = &launch.kernel;
    let mut copies = Copies::new(&launch.buffers);
    let mut info = launch.info.clone();
    // The part of the shapes whose size is not known to the kernel goes by reference.
    let mut dynamic = info.split_off(launch.dynamic_info.min(info.len()));
    let mut dynamic_pointer = dynamic.as_mut_ptr();
    let mut pointers = copies.pointers();
    // As cuLaunchKernel takes them: the address of every argument, those that are passed by value too.
    let mut arguments: Vec<*mut c_void> = pointers.iter_mut().map(|p| (&raw mut *p).cast()).collect();
    if !dynamic.is_empty() {
        arguments.push((&raw mut dynamic_pointer).cast());
    }
    arguments.push(info.as_mut_ptr().cast());
    let result = library.run(&mut arguments, launch.cubes, kernel.cube_dim, kernel.shared_memory);
    copies.finish()?;
    result
}

/// The line of the source that an error names.
fn quoted(kernel: &Kernel, error: &str) -> String {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok();
    let lines = error.split("line ").skip(1).filter_map(number);
    let line = |n: usize| Some(format!("{n:>6} | {}", kernel.source.lines().nth(n.checked_sub(1)?)?));
    lines.filter_map(line).collect::<Vec<_>>().join("\n")
}
