//! Relative position tables.

use super::weights::Weights;
use super::{geometric, resize_grid, samples, spline};

/// Rows after the grid of offsets: from the \[CLS\] token, to it, and from it to itself.
const CLS_ROWS: usize = 3;

/// How a relative position table is brought to another window.
///
/// A table holds one value per head for each offset between two patches, so the offset of 1 must stay the offset of 1 in a larger
/// window. Resizing the table like a picture breaks that: unilm issue 376, where the authors say that linear interpolation
/// "significantly degraded" segmentation on ADE20K, is why they stretch only what is far away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableResize {
    /// As the released code does it (unilm, `beit/run_class_finetuning.py`): the learned offsets are spread out in a geometric
    /// sequence, ±1, ±(1 + q), ±(1 + q + q²)..., that reaches as far as the new window does, and a cubic spline through them gives
    /// the values at the new whole offsets. Offsets of 0 and ±1 keep exactly what was learned.
    ///
    /// The released code knows square windows only. Here each axis has its own sequence, an axis of equal length stays as it is,
    /// and where there are fewer than the 4 values of a cubic, which scipy refuses, the polynomial through them is taken. A smaller
    /// window reads the middle of the sequence with q = 1.01, so almost what was learned for its offsets, as the released code
    /// does.
    #[default]
    Geometric,
    /// As timm does it (1.0.31, `resize_rel_pos_bias_table`): the same sequence, with straight lines in place of the spline; its
    /// environment variable `TIMM_USE_SCIPY_INTERP=1` restores that.
    ///
    /// In timm an axis of equal length stays as it is only if the other does, too; otherwise it is read through q = 1.01, which we
    /// follow. What timm cannot load, a table of a window that is not square, has its true height and width here, as with timm's
    /// `old_window_size`.
    Timm,
    /// As transformers does it whenever it runs a model on another window (5.23, `BeitRelativePositionBias`, after MiDaS 3.1,
    /// arXiv:2307.14460): the grid of offsets is resized like a picture, bilinearly, `align_corners=False`, not antialiased. All
    /// offsets but 0 are stretched alike.
    ///
    /// If the window it was trained on is not square, transformers swaps its height and width in a reshape and so reads the table
    /// scrambled, even at its own size. Here it has its true height and width.
    Transformers,
}

impl TableResize {
    /// The weights of an axis of `from` offsets, for `to` of them. Both are odd: an axis of n patches has 2n - 1 offsets.
    fn axis(self, from: usize, to: usize) -> Weights {
        let [reach, new_reach] = [from / 2, to / 2];
        let learned = || geometric::learned_offsets(reach, new_reach);
        match self {
            Self::Geometric if from == to => Weights::identity(from),
            Self::Geometric => spline::cubic(&learned(), &geometric::offsets(new_reach)),
            Self::Timm => spline::linear(&learned(), &geometric::offsets(new_reach)),
            Self::Transformers => samples::linear(from, to),
        }
    }
}

/// Brings a relative position table from one window `[height, width]` of patches to another.
///
/// `table [(2h-1)(2w-1) + 3, heads] -> [(2h'-1)(2w'-1) + 3, heads]`
///
/// The last three rows, those of the \[CLS\] token, stay as they are. So does all of the table if the windows are equal.
///
/// # Panics
///
/// If the table does not have this many values, there are no heads, or a window has no patches.
#[must_use]
pub fn resize_relative_table(
    table: &[f32],
    heads: usize,
    from: [usize; 2],
    to: [usize; 2],
    method: TableResize,
) -> Vec<f32> {
    let [from, to] = [from, to].map(offsets);
    assert_eq!(
        table.len(),
        (from[0] * from[1] + CLS_ROWS) * heads,
        "values of {from:?} offsets, {heads} heads"
    );
    if from == to {
        return table.to_vec();
    }
    let (grid, cls) = table.split_at(table.len() - CLS_ROWS * heads);
    let axes = [0, 1].map(|axis| method.axis(from[axis], to[axis]));
    let mut resized = resize_grid(grid, heads, &axes);
    resized.extend(cls);
    resized
}

/// How many offsets there are between the patches of a window.
fn offsets(window: [usize; 2]) -> [usize; 2] {
    assert!(window.iter().all(|&patches| patches > 0), "a window of {window:?} patches");
    window.map(|patches| 2 * patches - 1)
}

#[cfg(test)]
mod tests;
