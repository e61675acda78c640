//! Absolute position embeddings.

use super::{resize_grid, samples};

/// How absolute positions are brought to another window. All resize the grid of patches like a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PositionResize {
    /// As the released code (unilm, `beit/run_class_finetuning.py`) and transformers (5.23,
    /// `BeitEmbeddings.interpolate_pos_encoding`) do it: torch's bicubic, `align_corners=False`, kernel -0.75, not antialiased.
    ///
    /// Both know only positions learned on a square window.
    #[default]
    Bicubic,
    /// As timm does it (1.0.31, `resample_abs_pos_embed`): torch's antialiased bicubic. Its kernel is -0.5 and leaves out what is
    /// outside, so that it differs in larger windows, too.
    Antialiased,
}

/// Brings absolute positions from one window `[height, width]` of patches to another.
///
/// `pos [1, h w + 1, width] -> [1, h' w' + 1, width]`
///
/// The first row, that of the \[CLS\] token, stays as it is. So do all if the windows are equal.
///
/// # Panics
///
/// If there are not this many values, or a window has no patches, or the width is 0.
#[must_use]
pub fn resize_positions(
    pos: &[f32],
    width: usize,
    from: [usize; 2],
    to: [usize; 2],
    method: PositionResize,
) -> Vec<f32> {
    assert!(
        [from, to].iter().flatten().all(|&patches| patches > 0),
        "windows of {from:?} and {to:?} patches"
    );
    assert_eq!(pos.len(), (from[0] * from[1] + 1) * width, "values of {from:?} patches, width {width}");
    if from == to {
        return pos.to_vec();
    }
    let weights = match method {
        PositionResize::Bicubic => samples::cubic,
        PositionResize::Antialiased => samples::antialiased_cubic,
    };
    let (cls, patches) = pos.split_at(width);
    let axes = [0, 1].map(|axis| weights(from[axis], to[axis]));
    let mut resized = cls.to_vec();
    resized.extend(resize_grid(patches, width, &axes));
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHODS: [PositionResize; 2] = [PositionResize::Bicubic, PositionResize::Antialiased];

    fn positions(width: usize, [h, w]: [usize; 2]) -> Vec<f32> {
        (0..(h * w + 1) * width).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    #[test]
    fn the_class_token_keeps_its_position() {
        let pos = positions(3, [4, 5]);
        for method in METHODS {
            let got = resize_positions(&pos, 3, [4, 5], [6, 3], method);
            assert_eq!((got.len(), &got[..3]), (19 * 3, &pos[..3]));
        }
    }

    #[test]
    fn an_equal_window_or_axis_changes_nothing() {
        // Columns repeat the same value, so that only the other axis could show.
        let pos: Vec<f32> = [9.0, 1.0, 1.0, -2.0, -2.0, 0.5, 0.5].into();
        for method in METHODS {
            assert_eq!(resize_positions(&pos, 1, [3, 2], [3, 2], method), pos);
            let got = resize_positions(&pos, 1, [3, 2], [3, 3], method);
            let want = [9.0, 1.0, 1.0, 1.0, -2.0, -2.0, -2.0, 0.5, 0.5, 0.5];
            assert!(
                got.iter().zip(want).all(|(got, want)| (got - want).abs() <= f32::EPSILON * 2.0),
                "{got:?}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "values of [4, 5] patches, width 3")]
    fn a_wrong_number_of_values() {
        let _ = resize_positions(&[0.0; 60], 3, [4, 5], [6, 3], PositionResize::Bicubic);
    }
}
