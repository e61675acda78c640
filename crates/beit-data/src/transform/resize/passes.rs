//! The two passes over pixels. Every sum is made in the order of its inputs, so that vector instructions change no sample.

use super::taps::Taps;
use super::value::Value;

/// Rows that the horizontal pass turns at once: long enough for vectors, few enough for a near cache.
const STRIP: usize = 32;

/// `values [H, width, channels] -> [H, taps.len(), channels]`
///
/// Turned by a quarter, neighbours in a row are rows, whose sums need no shuffling in vectors.
pub(super) fn horizontal<V: Value>(values: &[V], width: usize, channels: usize, taps: &Taps<V>) -> Vec<V> {
    let (stride, out_stride) = (width * channels, taps.len() * channels);
    let height = values.len() / stride;
    let mut out = vec![V::default(); height * out_stride];
    let strip = STRIP.min(height);
    let (mut columns, mut sums) =
        (vec![V::default(); strip * stride], vec![V::default(); strip * out_stride]);
    for (rows, out) in values.chunks(strip * stride).zip(out.chunks_mut(strip * out_stride)) {
        let (columns, sums) = (&mut columns[..rows.len()], &mut sums[..out.len()]);
        turn(rows, width, channels, columns);
        weigh(columns, taps, sums);
        turn(sums, out.len() / out_stride, channels, out);
    }
    out
}

/// `values [H, stride] -> [taps.len(), stride]`
pub(super) fn vertical<V: Value>(values: &[V], stride: usize, taps: &Taps<V>) -> Vec<V> {
    let mut out = vec![V::default(); taps.len() * stride];
    weigh(values, taps, &mut out);
    out
}

/// `values [H, width, channels] -> out [width, H, channels]`
fn turn<V: Value>(values: &[V], width: usize, channels: usize, out: &mut [V]) {
    match channels {
        1 => turn_of::<1, V>(values, width, out),
        3 => turn_of::<3, V>(values, width, out),
        4 => turn_of::<4, V>(values, width, out),
        _ => {
            let height = values.len() / (width * channels);
            for (x, column) in out.chunks_exact_mut(height * channels).enumerate() {
                let pixels = values[x * channels..].chunks(channels).step_by(width);
                pixels
                    .zip(column.chunks_exact_mut(channels))
                    .for_each(|(pixel, out)| out.copy_from_slice(pixel));
            }
        }
    }
}

/// Where the number of channels is known, a pixel is copied without a call.
fn turn_of<const C: usize, V: Value>(values: &[V], width: usize, out: &mut [V]) {
    let height = values.len() / (width * C);
    let pixels = values.as_chunks::<C>().0;
    for (x, column) in out.chunks_exact_mut(height * C).enumerate() {
        for (pixel, out) in pixels[x..].iter().step_by(width).zip(column.as_chunks_mut::<C>().0) {
            *out = *pixel;
        }
    }
}

/// `rows [H, stride] -> out [taps.len(), stride]`
fn weigh<V: Value>(rows: &[V], taps: &Taps<V>, out: &mut [V]) {
    let stride = out.len() / taps.len();
    let mut sums = vec![V::START; stride];
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

/// `sums[i] = START + sum over r of rows[r, i] weights[r]`
#[inline(always)]
fn weigh_rows<V: Value>(rows: &[V], weights: &[V::Number], sums: &mut [V::Number]) {
    sums.fill(V::START);
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
fn add<const N: usize, V: Value>(rows: &[V], weights: &[V::Number; N], sums: &mut [V::Number]) {
    let stride = sums.len();
    let rows: [&[V]; N] = core::array::from_fn(
        #[inline(always)]
        |r| &rows[r * stride..(r + 1) * stride],
    );
    for i in 0..stride {
        for r in 0..N {
            sums[i] += rows[r][i].number() * weights[r];
        }
    }
}

#[inline(always)]
fn narrow<V: Value>(sums: &[V::Number], out: &mut [V]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = V::of_sum(*sum);
    }
}

/// Runs `f` with the vector instructions that this machine has. What is not inlined into it is compiled for the oldest machine.
#[inline(always)]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
