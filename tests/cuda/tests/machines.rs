//! Both machines on kernels that are right, and on kernels that are wrong in every way that must be found.

// Launches that are not checked are what beit-cubecl does.
#![allow(unsafe_code)]
// The kernel language has no `is_multiple_of`.
#![allow(clippy::manual_is_multiple_of)]

use cubecl::prelude::*;
use cuda_check::{Compiled, Emulated, Sm, compile_source, records, violations};
use half::bf16;

/// `y = x²`, in vectors.
#[cube(launch_unchecked)]
fn square<F: Float, N: Size>(x: &Array<Vector<F, N>>, y: &mut Array<Vector<F, N>>) {
    if ABSOLUTE_POS < x.len() {
        y[ABSOLUTE_POS] = x[ABSOLUTE_POS] * x[ABSOLUTE_POS];
    }
}

/// The sum of each row of 32 · `dim` columns, through shuffles and shared memory.
#[cube(launch_unchecked)]
fn row_sums<F: Float>(x: &Array<F>, y: &mut Array<f32>, scale: f32, #[comptime] dim: usize) {
    let mut parts = SharedMemory::<f32>::new(dim);
    let sum = plane_sum(f32::cast_from(x[CUBE_POS * CUBE_DIM as usize + UNIT_POS as usize]));
    if UNIT_POS_X == 0 {
        parts[UNIT_POS_Y as usize] = sum;
    }
    sync_cube();
    let mut all = 0.0f32;
    for i in 0..dim {
        all += parts[i];
    }
    if UNIT_POS == 0 {
        y[CUBE_POS] = all * scale;
    }
}

/// `C = A · Bᵀ` of 16 x 16, staged in shared memory, stored as `E`.
#[cube(launch_unchecked)]
fn tile<E: Float>(a: &Array<E>, b: &Array<E>, c: &mut Array<f32>, d: &mut Array<E>, #[comptime] k: u32) {
    let mut left = SharedMemory::<E>::new(comptime!(16 * k as usize));
    let mut i = UNIT_POS;
    while i < 16 * k {
        left[i as usize] = a[i as usize];
        i += CUBE_DIM;
    }
    sync_cube();
    let acc = cmma::Matrix::<f32>::from_value(
        cmma::MatrixIdent::Accumulator,
        16usize,
        16usize,
        16usize,
        cmma::MatrixLayout::Undefined,
        0.0,
    );
    for s in 0..comptime!(k as usize / 16) {
        let x = cmma::Matrix::<E>::from_slice(
            cmma::MatrixIdent::A,
            16usize,
            16usize,
            16usize,
            cmma::MatrixLayout::RowMajor,
            &left.slice(s * 16, comptime!(16 * k as usize)),
            k,
        );
        let y = cmma::Matrix::<E>::from_slice(
            cmma::MatrixIdent::B,
            16usize,
            16usize,
            16usize,
            cmma::MatrixLayout::ColMajor,
            &b.slice(s * 16, b.len()),
            k,
        );
        cmma::execute::<E, E, f32, f32>(&x, &y, &acc, &acc);
    }
    cmma::store(&mut c.to_slice_mut(), &acc, 16, cmma::MatrixLayout::RowMajor);
    let narrow = cmma::cast::<f32, E>(&acc);
    cmma::store(&mut d.to_slice_mut(), &narrow, 16, cmma::MatrixLayout::RowMajor);
}

/// Where a unit is, and ten times that.
#[cube(launch_unchecked)]
fn positions(y: &mut Array<u32>) {
    let i = (UNIT_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    y[3 * i] = UNIT_POS_PLANE;
    y[3 * i + 1] = 10 * PLANE_POS;
    y[3 * i + 2] = 10 * UNIT_POS_PLANE + UNIT_POS_Y;
}

fn emulated() -> ComputeClient<Emulated> {
    Emulated::client(&Sm(80))
}

#[test]
fn vectors() {
    let client = emulated();
    let x: Vec<f32> = (0..1000).map(|i| i as f32 / 8.0).collect();
    let (hx, hy) = (client.create_from_slice(f32::as_bytes(&x)), client.empty(4 * x.len()));
    unsafe {
        square::launch_unchecked::<f32, Emulated>(
            &client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(256),
            4,
            ArrayArg::from_raw_parts(hx, x.len()),
            ArrayArg::from_raw_parts(hy.clone(), x.len()),
        );
    }
    let y = client.read_one(hy).unwrap();
    assert_eq!(f32::from_bytes(&y), x.iter().map(|x| x * x).collect::<Vec<_>>());
}

#[test]
fn planes_and_shared_memory() {
    let client = emulated();
    let x: Vec<bf16> = (0..3 * 128).map(|i| bf16::from_f32((i % 50) as f32)).collect();
    let (hx, hy) = (client.create_from_slice(bf16::as_bytes(&x)), client.empty(12));
    unsafe {
        row_sums::launch_unchecked::<bf16, Emulated>(
            &client,
            CubeCount::Static(3, 1, 1),
            CubeDim::new_2d(32, 4),
            ArrayArg::from_raw_parts(hx, x.len()),
            ArrayArg::from_raw_parts(hy.clone(), 3),
            0.5,
            4,
        );
    }
    let want: Vec<f32> = x.chunks(128).map(|row| row.iter().map(|x| x.to_f32()).sum::<f32>() * 0.5).collect();
    assert_eq!(f32::from_bytes(&client.read_one(hy).unwrap()), want);
}

#[test]
fn tensor_cores() {
    let client = emulated();
    let k = 48;
    let values =
        |n: usize| (0..16 * k).map(|i| bf16::from_f32(((i * n) % 19) as f32 / 8.0 - 1.0)).collect::<Vec<_>>();
    let (a, b) = (values(7), values(11));
    let (ha, hb) =
        (client.create_from_slice(bf16::as_bytes(&a)), client.create_from_slice(bf16::as_bytes(&b)));
    let (hc, hd) = (client.empty(1024), client.empty(512));
    unsafe {
        tile::launch_unchecked::<bf16, Emulated>(
            &client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(32),
            ArrayArg::from_raw_parts(ha, a.len()),
            ArrayArg::from_raw_parts(hb, b.len()),
            ArrayArg::from_raw_parts(hc.clone(), 256),
            ArrayArg::from_raw_parts(hd.clone(), 256),
            k as u32,
        );
    }
    let dot = |i: usize| -> f32 {
        let (x, y) = (&a[i / 16 * k..][..k], &b[i % 16 * k..][..k]);
        x.iter().zip(y).map(|(x, y)| x.to_f32() * y.to_f32()).sum()
    };
    let want: Vec<f32> = (0..256).map(dot).collect();
    assert_eq!(f32::from_bytes(&client.read_one(hc).unwrap()), want);
    let narrow: Vec<bf16> = want.iter().map(|&x| bf16::from_f32(x)).collect();
    assert_eq!(bf16::from_bytes(&client.read_one(hd).unwrap()), narrow);
}

/// CubeCL 0.10.0 pastes `threadIdx.x / warpSize` and `… % warpSize` without parentheses: a product on the left is divided, and
/// planes are counted along x only. Kernels must not use them; this test fails when they may.
#[test]
fn positions_of_planes_are_pasted_without_parentheses() {
    let client = emulated();
    let y = client.empty(4 * 3 * 64);
    // SAFETY: the buffer has three elements for each unit.
    unsafe {
        positions::launch_unchecked::<Emulated>(
            &client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_2d(32, 2),
            ArrayArg::from_raw_parts(y.clone(), 3 * 64),
        );
    }
    // Of the unit (5, 1): the plane's unit 5, ten times plane 1, ten times unit 5 and one.
    let y = u32::from_bytes(&client.read_one(y).unwrap()).to_vec();
    let (want, got) = ([5, 10, 51], [5, 10 * 5 / 32, 10 * 37 % 32 + 1]);
    assert_ne!(want, got);
    assert_eq!(y[3 * 37..3 * 38], got);
}

/// Reads what the neighbour writes: with the barrier or without it.
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
    /// Half of the block waits for the other.
    Barrier,
    /// Half of a warp waits for the other.
    Lanes,
    /// A thread writes after the end of a buffer.
    Buffer,
    /// A thread writes after the end of shared memory.
    Shared,
    /// A fragment begins where no fragment may begin.
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
fn a_missing_barrier_gives_other_numbers() {
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
        f32::from_bytes(&client.read_one(y).unwrap()).to_vec()
    };
    let want: Vec<f32> = (0..64).map(|i| ((i + 1) % 64) as f32).collect();
    assert_eq!(run(true), want);
    assert!(run(false).iter().any(|x| x.is_nan()), "shared memory that nothing was written to is NaN");
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
    let (cubes, units) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(1));
    // SAFETY: nothing is executed.
    unsafe {
        unrolled::launch_unchecked::<R>(client, cubes, units, ArrayArg::from_raw_parts(y.clone(), 64), 3);
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

/// CUDA does not launch nothing.
#[test]
fn a_grid_of_nothing_is_reported() {
    let client = emulated();
    let y = client.empty(256);
    let (cubes, units) = (CubeCount::Static(1, 0, 1), CubeDim::new_1d(64));
    // SAFETY: nothing is executed.
    unsafe {
        positions::launch_unchecked::<Emulated>(
            &client,
            cubes,
            units,
            ArrayArg::from_raw_parts(y.clone(), 64),
        );
    }
    let error = format!("{:?}", client.read_one(y).expect_err("the launch fails"));
    assert!(error.contains("Positions: a grid of [1, 0, 1] cubes"), "{error}");
}

const BROKEN: &str =
    "extern \"C\" __global__ void broken(float *x) {\n    x[0] = 1;\n    x[1] = nothing;\n}\n";

#[test]
fn a_source_that_does_not_compile_is_named_with_its_line() {
    for sm in [80, 90] {
        let error = compile_source(BROKEN, "broken", Sm(sm)).unwrap_err();
        assert!(error.contains("broken(3): error") && error.contains("3 |     x[1] = nothing;"), "{error}");
    }
}

/// A kernel with more shared memory than any device has is found, whether the memory is declared with its size or not.
#[test]
fn too_much_shared_memory_is_reported() {
    let source = "extern \"C\" __global__ void big(float *x) {\n    __shared__ float y[60000];\n    y[threadIdx.x] = x[0];\n    \
                  __syncthreads();\n    x[1] = y[threadIdx.y];\n}\n";
    let error = compile_source(source, "big", Sm(80)).unwrap_err();
    assert!(error.contains("big") && error.contains("0x3a980 bytes"), "{error}");
}

#[cube(launch_unchecked)]
fn hungry(y: &mut Array<f32>, #[comptime] floats: usize) {
    let mut shared = SharedMemory::<f32>::new(floats);
    shared[UNIT_POS as usize] = 1.0;
    sync_cube();
    y[UNIT_POS as usize] = shared[floats - 1 - UNIT_POS as usize];
}

#[test]
fn kernels_are_compiled_and_measured() {
    let floats = 45_000;
    for sm in [80, 90] {
        let client = Compiled::client(&Sm(sm));
        let y = client.empty(256);
        for _ in 0..2 {
            unsafe {
                hungry::launch_unchecked::<Compiled>(
                    &client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim::new_1d(64),
                    ArrayArg::from_raw_parts(y.clone(), 64),
                    floats,
                );
            }
        }
        cubecl_common::future::block_on(client.sync()).unwrap();
    }
    let records: Vec<_> = records().into_iter().filter(|r| r.name.starts_with("Hungry")).collect();
    assert_eq!(records.len(), 2, "one for each architecture, though each was launched twice");
    for record in &records {
        let (resources, cubin) = record.result.clone().unwrap();
        assert!(resources.registers > 4 && resources.spill_stores == 0 && cubin > 1000, "{record:?}");
        assert_eq!((record.threads, record.dynamic_shared), (64, 4 * floats));
    }
    // 180000 bytes: too much for 163 KB, not for 227 KB.
    assert_eq!(violations(&records[0], &[]), ["180000 bytes of shared memory, 166912 are there"]);
    assert_eq!(violations(&records[1], &[]), [""; 0]);
}
