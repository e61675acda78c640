//! The two passes over RGB pixels. Sums of whole numbers are exact in any order, so that vector instructions change no byte.

use super::taps::{PRECISION, Taps};

/// Rows that the horizontal pass takes at once: with three channels they fill three vectors of eight numbers.
const ROWS: usize = 8;

/// One column of `ROWS` rows.
type Column = [u8; ROWS * 3];

/// Columns of a row that the vertical pass sums at once, in registers.
const CHUNK: usize = 32;

/// `pixels [H, width, 3] -> [H, taps.len(), 3]`
pub(super) fn horizontal(pixels: &[u8], width: usize, taps: &Taps) -> Vec<u8> {
    let stride = taps.len() * 3;
    let mut out = vec![0; pixels.len() / (width * 3) * stride];
    let (mut columns, mut sums) = (vec![[0; ROWS * 3]; width], vec![[0; ROWS * 3]; taps.len()]);
    for (rows, out) in pixels.chunks(ROWS * width * 3).zip(out.chunks_mut(ROWS * stride)) {
        simd(
            #[inline(always)]
            || {
                gather(rows, &mut columns);
                weigh_columns(&columns, taps, &mut sums);
                scatter(&sums, out);
            },
        );
    }
    out
}

/// Rows to columns. What is missing of the last rows keeps what was there; nothing is made of it.
#[inline(always)]
fn gather(rows: &[u8], columns: &mut [Column]) {
    for (r, row) in rows.chunks_exact(columns.len() * 3).enumerate() {
        for (column, pixel) in columns.iter_mut().zip(row.as_chunks::<3>().0) {
            column[r * 3..r * 3 + 3].copy_from_slice(pixel);
        }
    }
}

#[inline(always)]
fn weigh_columns(columns: &[Column], taps: &Taps, sums: &mut [Column]) {
    for ((first, weights), out) in taps.iter().zip(sums) {
        let mut sum = [1 << (PRECISION - 1); ROWS * 3];
        for (column, &weight) in columns[first..first + weights.len()].iter().zip(weights) {
            for i in 0..ROWS * 3 {
                sum[i] += i32::from(column[i]) * weight;
            }
        }
        for i in 0..ROWS * 3 {
            out[i] = narrow(sum[i]);
        }
    }
}

/// Columns to rows.
#[inline(always)]
fn scatter(columns: &[Column], rows: &mut [u8]) {
    for (r, row) in rows.chunks_exact_mut(columns.len() * 3).enumerate() {
        for (pixel, column) in row.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
            pixel.copy_from_slice(&column[r * 3..r * 3 + 3]);
        }
    }
}

/// `pixels [H, width, 3] -> [taps.len(), width, 3]`
pub(super) fn vertical(pixels: &[u8], width: usize, taps: &Taps) -> Vec<u8> {
    let stride = width * 3;
    let mut out = vec![0; taps.len() * stride];
    simd(
        #[inline(always)]
        || {
            for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
                let rows = &pixels[first * stride..(first + weights.len()) * stride];
                if stride >= CHUNK {
                    weigh_rows::<CHUNK>(rows, weights, out)
                } else {
                    weigh_rows::<3>(rows, weights, out)
                }
            }
        },
    );
    out
}

/// `rows [weights.len(), out.len()] -> out`, `N` at a time. The last `N` begin early and are in part summed again.
#[inline(always)]
fn weigh_rows<const N: usize>(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    let stride = out.len();
    for start in (0..stride).step_by(N) {
        let start = start.min(stride - N);
        let mut sum = [1 << (PRECISION - 1); N];
        for (row, &weight) in rows.chunks_exact(stride).zip(weights) {
            let row = &row[start..start + N];
            for i in 0..N {
                sum[i] += i32::from(row[i]) * weight;
            }
        }
        for i in 0..N {
            out[start + i] = narrow(sum[i]);
        }
    }
}

#[inline(always)]
fn narrow(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Runs `f` with the vector instructions that this machine has. What is not inlined into it is compiled for the oldest machine.
#[inline(always)]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
