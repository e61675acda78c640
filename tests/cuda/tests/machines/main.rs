//! Both machines on kernels that are right, and on kernels with every fault that must be found.

// Launches that are not checked are what beit-cubecl does.
#![allow(unsafe_code)]
// The kernel language has no `is_multiple_of`.
#![allow(clippy::manual_is_multiple_of)]

mod background;
mod compiled;
mod faults;
mod numbers;

use cubecl::prelude::*;
use cuda_check::{Emulated, Sm};

/// The emulator of an A100.
fn emulated() -> ComputeClient<Emulated> {
    Emulated::client(&Sm(80))
}
