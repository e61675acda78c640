//! Kernels with faults, and what the machines report of them.

use crate::emulated;
use crate::numbers::positions;
use cubecl::prelude::*;
use cuda_check::{Compiled, Emulated, Sm, records, violations};

/// Reads what the neighbour writes, with a barrier between or without.
#[cube(launch_unchecked)]
fn neighbour(y: &mut Array<f32>, #[comptime] barrier: bool) {
    let mut shared = SharedMemory::<f32>::new(64usize);
    shared[UNIT_POS as usize] = f32::cast_from(UNIT_POS);
    if barrier {
        sync_cube();
    }
    y[UNIT_POS as usize] = shared[(UNIT_POS as usize + 1) % 64];
}

/// The ways in which [`wrong`] is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    /// Half of the block does not reach a barrier.
    Barrier,
    /// Half of a warp does not reach a shuffle.
    Lanes,
    /// A thread writes after the end of a buffer.
    Buffer,
    /// A thread writes after the end of shared memory.
    Shared,
    /// A fragment begins at an address that is not aligned.
    Fragment,
}

#[cube(launch_unchecked)]
fn wrong(y: &mut Array<f32>, n: u32, #[comptime] fault: Fault) {
    let mut shared = SharedMemory::<f32>::new(264usize);
    shared[UNIT_POS as usize] = 1.0;
    match fault {
        Fault::Barrier => {
            if UNIT_POS < 32 {
                sync_cube();
            }
        }
        Fault::Lanes => {
            if UNIT_POS % 2 == 0 {
                y[UNIT_POS as usize] = plane_sum(1.0f32);
            }
        }
        Fault::Buffer => y[(UNIT_POS + n) as usize] = 1.0,
        Fault::Shared => shared[(UNIT_POS + 4 * n) as usize] = 1.0,
        Fault::Fragment => {
            let acc = cmma::Matrix::<f32>::from_value(
                cmma::MatrixIdent::Accumulator,
                16usize,
                16usize,
                16usize,
                cmma::MatrixLayout::Undefined,
                0.0,
            );
            cmma::store(&mut shared.slice_mut(1, 264), &acc, 16, cmma::MatrixLayout::RowMajor);
        }
    }
    y[UNIT_POS as usize] = shared[UNIT_POS as usize];
}

#[test]
fn a_missing_barrier_is_reported() {
    let client = emulated();
    let run = |barrier| {
        let y = client.empty(256);
        let out = unsafe { ArrayArg::from_raw_parts(y.clone(), 64) };
        unsafe {
            neighbour::launch_unchecked::<Emulated>(
                &client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(64),
                out,
                barrier,
            );
        }
        client.read_one(y).map(|y| f32::from_bytes(&y).to_vec()).map_err(|error| format!("{error:?}"))
    };
    let want: Vec<f32> = (0..64).map(|i| ((i + 1) % 64) as f32).collect();
    assert_eq!(run(true), Ok(want));
    let error = run(false).expect_err("what the neighbour has written depends on the order");
    assert!(error.contains("Neighbour: buffer 0 of 256 bytes: byte 0 differs from run to run"), "{error}");
}

#[test]
fn wrong_kernels_are_reported() {
    let client = emulated();
    let report = |fault| {
        let y = client.empty(256);
        unsafe {
            wrong::launch_unchecked::<Emulated>(
                &client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(64),
                ArrayArg::from_raw_parts(y.clone(), 64),
                60,
                fault,
            );
        }
        format!("{:?}", client.read_one(y).expect_err("the launch fails"))
    };
    for (fault, message) in [
        (Fault::Barrier, "a barrier that not all threads meet"),
        (Fault::Lanes, "threads of a warp wait in a shuffle"),
        (Fault::Buffer, "buffer 0 of 256 bytes: byte 256 is written"),
        (Fault::Shared, "writes 0 bytes beyond its 1056 bytes of shared memory"),
        (Fault::Fragment, "the address"),
    ] {
        let got = report(fault);
        assert!(got.contains(message) && got.contains("Wrong"), "{fault:?}: {got}");
    }
}

/// CubeCL cannot expand this: the end of an unrolled loop must be known.
#[cube(launch_unchecked)]
fn unrolled(y: &mut Array<f32>, n: u32) {
    #[unroll]
    for i in 0..n {
        y[i as usize] = 1.0;
    }
}

fn launch_unrolled<R: Runtime>(client: &ComputeClient<R>) -> String {
    let y = client.empty(256);
    let (grid, block) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(1));
    // SAFETY: nothing is executed.
    unsafe {
        unrolled::launch_unchecked::<R>(client, grid, block, ArrayArg::from_raw_parts(y.clone(), 64), 3);
    }
    client.read_one(y).map_or_else(|error| format!("{error:?}"), |_| String::new())
}

#[test]
fn a_kernel_that_cannot_be_expanded_is_reported() {
    let error = launch_unrolled(&emulated());
    assert!(error.contains("Unrolled: CubeCL panics: Only constant end"), "{error}");
    launch_unrolled(&Compiled::client(&Sm(80)));
    let records = records();
    let record = records.iter().find(|r| r.name == "Unrolled").expect("it has a record");
    assert!(violations(record, &[])[0].contains("Only constant end"));
}

/// CUDA refuses an empty grid.
#[test]
fn a_grid_of_nothing_is_reported() {
    let client = emulated();
    let y = client.empty(256);
    let (grid, block) = (CubeCount::Static(1, 0, 1), CubeDim::new_1d(64));
    // SAFETY: nothing is executed.
    unsafe {
        positions::launch_unchecked::<Emulated>(
            &client,
            grid,
            block,
            ArrayArg::from_raw_parts(y.clone(), 64),
        );
    }
    let error = format!("{:?}", client.read_one(y).expect_err("the launch fails"));
    assert!(error.contains("Positions: a grid of [1, 0, 1] cubes"), "{error}");
}
