//! Gumbel noise from Philox 4x32-10, the generator of [`beit_ops::philox`]: the same uniforms on every device.
//!
//! ```text
//! element e of a tensor     word e % 4 of block e / 4 of the stream (seed, step)
//!
//! counter  | e / 4 | 0 | step low | step high |  -- 10 rounds with key (seed low, seed high) -->  four words of 32 bits
//! ```
//!
//! A thread computes the block of its vector and needs nothing from other threads. A vector of 1, 2 or 4 elements lies in one
//! block.

use cubecl::prelude::*;

/// The constants of Salmon et al. (SC 2011).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: u32 = 10;

/// Where `1 - u` is below this, `-ln u` is a short series. `ln` of numbers near one is inexact on some devices.
const NEAR_ONE: f32 = 1.0 / 16.0;

/// `-ln(-ln u)` for vector `i` of the stream `(seed, step)`, low word before high word. `N` divides four.
#[cube]
pub(crate) fn gumbel<N: Size>(
    i: usize,
    seed_low: u32,
    seed_high: u32,
    step_low: u32,
    step_high: u32,
) -> Vector<f32, N> {
    let element = i * N::value();
    let mut x0 = u32::cast_from(element / 4);
    let mut x1 = 0u32;
    let mut x2 = step_low;
    let mut x3 = step_high;
    let mut k0 = seed_low;
    let mut k1 = seed_high;
    #[unroll]
    for _round in 0..ROUNDS {
        let (m0, m1) =
            (u32::new(comptime!(MULTIPLIERS[0] as i64)), u32::new(comptime!(MULTIPLIERS[1] as i64)));
        let (a_high, a_low) = (u32::mul_hi(x0, m0), x0 * m0);
        let (b_high, b_low) = (u32::mul_hi(x2, m1), x2 * m1);
        x0 = b_high ^ x1 ^ k0;
        x1 = b_low;
        x2 = a_high ^ x3 ^ k1;
        x3 = a_low;
        k0 += comptime!(WEYL[0]);
        k1 += comptime!(WEYL[1]);
    }
    let first = u32::cast_from(element % 4);
    let mut noise = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for k in 0..N::value() {
        let word = first + u32::cast_from(k);
        let word = select(word == 0, x0, select(word == 1, x1, select(word == 2, x2, x3)));
        noise[k] = gumbel_from_word(word);
    }
    noise
}

/// `-ln(-ln u)` with `u` the upper 23 bits of the word plus one half, times 2^-23.
#[cube]
fn gumbel_from_word(word: u32) -> f32 {
    let bits = word >> 9;
    let u = (f32::cast_from(bits) + 0.5) * comptime!(1.0 / 8_388_608.0);
    // Exact: u has 24 bits.
    let rest = 1.0 - u;
    let series = rest * (1.0 + rest * (0.5 + rest * (1.0 / 3.0 + rest * (0.25 + rest * (0.2 + rest / 6.0)))));
    let exponential = select(rest < NEAR_ONE, series, -u.ln());
    -exponential.ln()
}
