//! What right kernels compute on the emulator.

use crate::emulated;
use cubecl::prelude::*;
use cuda_check::Emulated;
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

/// The lane of a thread, ten times its warp, and ten times its lane with a line added.
#[cube(launch_unchecked)]
pub(crate) fn positions(y: &mut Array<u32>) {
    let i = (UNIT_POS_Y * CUBE_DIM_X + UNIT_POS_X) as usize;
    y[3 * i] = UNIT_POS_PLANE;
    y[3 * i + 1] = 10 * PLANE_POS;
    y[3 * i + 2] = 10 * UNIT_POS_PLANE + UNIT_POS_Y;
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
fn warps_and_shared_memory() {
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
/// warps are counted along x only. Kernels must not use them; this test fails when CubeCL is corrected.
#[test]
fn positions_of_warps_are_pasted_without_parentheses() {
    let client = emulated();
    let y = client.empty(4 * 3 * 64);
    // SAFETY: the buffer has three elements for each thread.
    unsafe {
        positions::launch_unchecked::<Emulated>(
            &client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_2d(32, 2),
            ArrayArg::from_raw_parts(y.clone(), 3 * 64),
        );
    }
    // Of the thread (5, 1): lane 5, ten times warp 1, ten times lane 5 and one.
    let y = u32::from_bytes(&client.read_one(y).unwrap()).to_vec();
    let (want, got) = ([5, 10, 51], [5, 10 * 5 / 32, 10 * 37 % 32 + 1]);
    assert_ne!(want, got);
    assert_eq!(y[3 * 37..3 * 38], got);
}
