//! What decoding a picture may take, reckoned from its header.

use ::image::metadata::Orientation;

/// Longest side of a picture, in pixels. Tables of resampling grow with a side, whatever the area: the picture must not be thin
/// without end.
const MAX_SIDE: u64 = 1 << 20;
/// Bytes of an RGB pixel.
const RGB: u64 = 3;

/// Most bytes that one picture may have in use at once.
#[derive(Clone, Copy)]
pub(super) struct Budget(pub(super) u64);

/// What a header says about the memory that its picture takes. Nothing has been allocated for it yet.
pub(super) struct Needs {
    /// `[height, width]`.
    pub(super) size: [u64; 2],
    /// Bytes that the decoder keeps beside the pixels that it gives.
    pub(super) working: u64,
    /// Bytes of the pixels that the decoder gives. They become RGB where they lie.
    pub(super) decoded: u64,
    /// How the picture is turned.
    pub(super) orientation: Orientation,
}

impl Budget {
    /// An error that says what was found and expected, where a picture is empty or takes too much.
    pub(super) fn check(self, needs: &Needs) -> Result<(), String> {
        let [height, width] = needs.size;
        if height == 0 || width == 0 {
            return Err(format!("it has {height} x {width} pixels"));
        }
        if height.max(width) > MAX_SIDE {
            return Err(format!("it has {height} x {width} pixels, expected sides of at most {MAX_SIDE}"));
        }
        let bytes = needs.peak();
        if bytes > self.0 {
            let most = self.0;
            return Err(format!(
                "its {height} x {width} pixels take {bytes} bytes of memory to decode, expected at most {most}"
            ));
        }
        Ok(())
    }

    /// What metadata may take: an eighth, which is far more than any profile has.
    pub(super) fn metadata(self) -> Self {
        Self(self.0 / 8)
    }

    /// What is left for the picture.
    pub(super) fn without_metadata(self) -> Self {
        Self(self.0 - self.metadata().0)
    }
}

impl Needs {
    /// Bytes of the picture as RGB.
    pub(super) fn rgb(&self) -> u64 {
        self.size[0].saturating_mul(self.size[1]).saturating_mul(RGB)
    }

    /// `[height, width]` once the picture stands upright.
    pub(super) fn upright(&self) -> [usize; 2] {
        let [height, width] = self.size.map(|side| side as usize);
        if turns_by_a_quarter(self.orientation) { [width, height] } else { [height, width] }
    }

    /// The greater of two moments: the decoder at work, and the picture being turned.
    fn peak(&self) -> u64 {
        let decoding = self.decoded.max(self.rgb()).saturating_add(self.working);
        let turned = if turns_by_a_quarter(self.orientation) { self.rgb() } else { 0 };
        decoding.max(self.rgb().saturating_add(turned))
    }
}

/// Whether height and width change places; then the turned picture lies beside the other.
pub(super) fn turns_by_a_quarter(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_moment_counts() {
        let rows = [
            // One byte a pixel becomes three where it lies; the decoder's own memory is beside it.
            ([10, 20], 50, 200, Orientation::NoTransforms, 650),
            ([10, 20], 50, 1600, Orientation::NoTransforms, 1650),
            ([10, 20], 50, 600, Orientation::Rotate90, 1200),
            ([10, 20], 50, 1600, Orientation::Rotate270FlipH, 1650),
            ([10, 20], 0, 600, Orientation::Rotate180, 600),
        ];
        for (size, working, decoded, orientation, bytes) in rows {
            let needs = Needs { size, working, decoded, orientation };
            assert!(Budget(bytes).check(&needs).is_ok(), "{size:?} {working} {decoded}");
            let text = Budget(bytes - 1).check(&needs).unwrap_err();
            assert!(text.contains(&format!("10 x 20 pixels take {bytes} bytes")), "{text}");
        }
    }

    #[test]
    fn no_side_is_without_end() {
        for (size, fits) in [([1, MAX_SIDE], true), ([1, MAX_SIDE + 1], false), ([u64::MAX, 1], false)] {
            let needs = Needs { size, working: 0, decoded: 0, orientation: Orientation::NoTransforms };
            assert_eq!(Budget(u64::MAX).check(&needs).is_ok(), fits, "{size:?}");
        }
    }
}
