//! Windows of the model's size that cover a picture of another.

/// Windows along both sides of a picture.
///
/// They lie a stride apart; the last of a side is moved back into the picture (mmsegmentation, `slide_inference`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Height and width of a window.
    pub size: [usize; 2],
    /// Distance of neighbours, down and across.
    pub stride: [usize; 2],
}

impl Windows {
    /// Two thirds of the size apart, as in the released configurations: 341 for 512, 426 for 640.
    #[must_use]
    pub fn of_size(size: [usize; 2]) -> Self {
        Self { size, stride: size.map(|side| (2 * side / 3).max(1)) }
    }

    /// The upper left corners of the windows of a picture that is as large as a window at least: rows first.
    #[must_use]
    pub fn corners(&self, picture: [usize; 2]) -> Vec<[usize; 2]> {
        let [rows, columns] = [0, 1].map(|side| starts(picture[side], self.size[side], self.stride[side]));
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| [row, column])).collect()
    }

    /// What a picture is padded to: a window at least.
    #[must_use]
    pub fn padded(&self, picture: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|side| picture[side].max(self.size[side]))
    }
}

fn starts(picture: usize, window: usize, stride: usize) -> Vec<usize> {
    let count = picture.saturating_sub(window).div_ceil(stride) + 1;
    (0..count).map(|i| (i * stride).min(picture.saturating_sub(window))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_strides() {
        assert_eq!(Windows::of_size([512, 512]).stride, [341, 341]);
        assert_eq!(Windows::of_size([640, 640]).stride, [426, 426]);
    }

    /// mmsegmentation: `max(H - crop + stride - 1, 0) // stride + 1` windows, the last moved back.
    #[test]
    fn the_last_window_is_moved_back() {
        assert_eq!(starts(512, 512, 341), [0]);
        assert_eq!(starts(513, 512, 341), [0, 1]);
        assert_eq!(starts(853, 512, 341), [0, 341]);
        assert_eq!(starts(854, 512, 341), [0, 341, 342]);
        assert_eq!(starts(300, 512, 341), [0]);
        for picture in 1..60 {
            for (window, stride) in [(7, 3), (10, 10), (12, 5)] {
                let found = starts(picture, window, stride);
                let expected = (picture + stride - 1).saturating_sub(window) / stride + 1;
                assert_eq!(found.len(), expected, "{picture} in windows of {window} by {stride}");
                assert!(found.iter().all(|&start| start + window <= picture.max(window)));
            }
        }
    }
}
