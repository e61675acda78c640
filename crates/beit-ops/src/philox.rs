//! Philox 4x32-10, the counter-based generator of Salmon et al. (SC 2011): four words from a counter and a key, the same on
//! every device and for every order of evaluation.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The four words at `counter` under `key`.
#[inline(always)]
pub const fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut x0, mut x1, mut x2, mut x3] = counter;
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < ROUNDS {
        let a = MULTIPLIERS[0] as u64 * x0 as u64;
        let b = MULTIPLIERS[1] as u64 * x2 as u64;
        (x0, x1, x2, x3) = ((b >> 32) as u32 ^ x1 ^ k0, b as u32, (a >> 32) as u32 ^ x3 ^ k1, a as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [x0, x1, x2, x3]
}

/// Four uniforms in the open interval (0, 1) for elements `4·block .. 4·block + 4` of the stream `(seed, step)`.
///
/// The upper 23 bits of each word plus one half, times 2^-23: exact in f32, and never 0 or 1.
#[inline(always)]
pub fn uniforms(seed: u64, step: u64, block: u64) -> [f32; 4] {
    let counter = [block as u32, (block >> 32) as u32, step as u32, (step >> 32) as u32];
    philox4x32(counter, [seed as u32, (seed >> 32) as u32])
        .map(|word| ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with the Random123 library.
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = [u32::MAX; 4];
        assert_eq!(philox4x32(ones, [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let key = [0xa409_3822, 0x299f_31d0];
        assert_eq!(philox4x32(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn uniforms_stay_inside() {
        let mut sum = 0.0;
        for block in 0..25_000 {
            for u in uniforms(7, 3, block) {
                assert!(u > 0.0 && u < 1.0);
                sum += f64::from(u);
            }
        }
        // 100,000 uniforms: the mean has a deviation of 0.0009.
        assert!((sum / 100_000.0 - 0.5).abs() < 0.004);
    }
}
