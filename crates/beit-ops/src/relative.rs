//! Relative position: which row of the bias table a pair of tokens reads.

/// Rows of a relative position bias table for a `[height, width]` window of patches: `(2h-1)(2w-1) + 3`.
///
/// The last three rows are \[CLS\] to patch, patch to \[CLS\], and \[CLS\] to \[CLS\].
pub const fn relative_position_rows([height, width]: [usize; 2]) -> usize {
    (2 * height - 1) * (2 * width - 1) + 3
}

/// The row of the bias table for query token `q` and key token `k`; token 0 is \[CLS\], token `1 + r·width + c` the patch at
/// row `r` and column `c`.
///
/// `(r_q - r_k + h-1)(2w-1) + (c_q - c_k + w-1)` between patches (BEiT appendix; the released `beit/modeling_finetune.py`).
///
/// ```
/// assert_eq!(beit_ops::relative_position_index([14, 14], 1, 2), 363);
/// ```
pub const fn relative_position_index(window: [usize; 2], q: usize, k: usize) -> usize {
    let [height, width] = window;
    let rows = relative_position_rows(window);
    match (q, k) {
        (0, 0) => rows - 1,
        (_, 0) => rows - 2,
        (0, _) => rows - 3,
        _ => {
            let (q, k) = (q - 1, k - 1);
            let down = q / width + height - 1 - k / width;
            let right = q % width + width - 1 - k % width;
            down * (2 * width - 1) + right
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries and the sum that the released code gives for a 14x14 window.
    #[test]
    fn official_index_matrix() {
        let index = |q, k| relative_position_index([14, 14], q, k);
        let entries = [
            ((0, 0), 731),
            ((0, 5), 729),
            ((5, 0), 730),
            ((1, 1), 364),
            ((1, 2), 363),
            ((2, 1), 365),
            ((1, 15), 337),
            ((15, 1), 391),
            ((196, 1), 728),
            ((1, 196), 0),
        ];
        for ((q, k), want) in entries {
            assert_eq!(index(q, k), want, "index of ({q}, {k})");
        }
        let sum: usize = (0..197).flat_map(|q| (0..197).map(move |k| index(q, k))).sum();
        assert_eq!(sum, 14_270_119);
        assert_eq!(relative_position_rows([14, 14]), 732);
    }

    #[test]
    fn rectangular_window_uses_every_row() {
        let window = [2, 5];
        let mut seen = [false; relative_position_rows([2, 5])];
        for q in 0..11 {
            for k in 0..11 {
                seen[relative_position_index(window, q, k)] = true;
            }
        }
        assert!(seen.iter().all(|&s| s));
    }
}
