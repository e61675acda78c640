//! The two passes over RGB pixels. Sums of whole numbers are exact in any order, so that vector instructions change no byte.

use super::taps::{PRECISION, Taps};

/// Rows that the horizontal pass turns at once: long enough for vectors, few enough for a near cache.
const STRIP: usize = 32;

/// `pixels [H, width, 3] -> [H, taps.len(), 3]`
///
/// Turned by a quarter, neighbours in a row are rows, whose sums need no shuffling in vectors.
pub(super) fn horizontal(pixels: &[u8], width: usize, taps: &Taps) -> Vec<u8> {
    let height = pixels.len() / (width * 3);
    let mut out = vec![0; height * taps.len() * 3];
    let strip = STRIP.min(height);
    let (mut columns, mut sums) = (vec![0; strip * width * 3], vec![0; strip * taps.len() * 3]);
    for (rows, out) in pixels.chunks(strip * width * 3).zip(out.chunks_mut(strip * taps.len() * 3)) {
        let (columns, sums) = (&mut columns[..rows.len()], &mut sums[..out.len()]);
        turn(rows, width, columns);
        weigh(columns, taps, sums);
        turn(sums, out.len() / (taps.len() * 3), out);
    }
    out
}

/// `pixels [H, width, 3] -> [taps.len(), width, 3]`
pub(super) fn vertical(pixels: &[u8], width: usize, taps: &Taps) -> Vec<u8> {
    let mut out = vec![0; taps.len() * width * 3];
    weigh(pixels, taps, &mut out);
    out
}

/// `pixels [H, width, 3] -> out [width, H, 3]`
fn turn(pixels: &[u8], width: usize, out: &mut [u8]) {
    let height = pixels.len() / (width * 3);
    let pixels = pixels.as_chunks::<3>().0;
    for (x, column) in out.chunks_exact_mut(height * 3).enumerate() {
        for (pixel, out) in pixels[x..].iter().step_by(width).zip(column.as_chunks_mut::<3>().0) {
            *out = *pixel;
        }
    }
}

/// `rows [H, stride] -> out [taps.len(), stride]`
fn weigh(rows: &[u8], taps: &Taps, out: &mut [u8]) {
    let stride = out.len() / taps.len();
    let mut sums = vec![0; stride];
    simd(
        #[inline(always)]
        || {
            for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
                let rows = &rows[first * stride..(first + weights.len()) * stride];
                weigh_rows(rows, weights, &mut sums);
                narrow(&sums, out);
            }
        },
    );
}

/// `sums[i] = 1/2 + sum over r of rows[r, i] weights[r]`
#[inline(always)]
fn weigh_rows(rows: &[u8], weights: &[i32], sums: &mut [i32]) {
    sums.fill(1 << (PRECISION - 1));
    let (fours, rest) = weights.as_chunks::<4>();
    let (of_fours, of_rest) = rows.split_at(fours.len() * 4 * sums.len());
    for (rows, weights) in of_fours.chunks_exact(4 * sums.len()).zip(fours) {
        add(rows, weights, sums);
    }
    match *rest {
        [] => {}
        [a] => add(of_rest, &[a], sums),
        [a, b] => add(of_rest, &[a, b], sums),
        [a, b, c] => add(of_rest, &[a, b, c], sums),
        _ => unreachable!("fewer than four are left"),
    }
}

/// Several rows at once, so that a sum is loaded and stored once for all of them.
#[inline(always)]
fn add<const N: usize>(rows: &[u8], weights: &[i32; N], sums: &mut [i32]) {
    let stride = sums.len();
    let rows: [&[u8]; N] = core::array::from_fn(
        #[inline(always)]
        |r| &rows[r * stride..(r + 1) * stride],
    );
    for i in 0..stride {
        for r in 0..N {
            sums[i] += i32::from(rows[r][i]) * weights[r];
        }
    }
}

#[inline(always)]
fn narrow(sums: &[i32], out: &mut [u8]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (sum >> PRECISION).clamp(0, 255) as u8;
    }
}

/// Runs `f` with the vector instructions that this machine has. What is not inlined into it is compiled for the oldest machine.
#[inline(always)]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
