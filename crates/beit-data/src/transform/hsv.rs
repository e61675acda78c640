//! Hue, saturation and value.

/// A colour: hue in [0, 6), of which red is 0, green 2 and blue 4; saturation in 0..=1; value in 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hsv {
    pub(super) hue: f32,
    pub(super) saturation: f32,
    pub(super) value: f32,
}

impl Hsv {
    /// `V = max`, `S = (max - min) / max`, and `H` by which channels are the greatest and the least. Greys have hue 0.
    pub(super) fn of(rgb: [u8; 3]) -> Self {
        let [red, green, blue] = rgb.map(f32::from);
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let range = most - least;
        if range == 0.0 {
            return Self { hue: 0.0, saturation: 0.0, value: most };
        }
        let hue = if most == red {
            (green - blue) / range
        } else if most == green {
            2.0 + (blue - red) / range
        } else {
            4.0 + (red - green) / range
        };
        let hue = if hue < 0.0 { hue + 6.0 } else { hue };
        Self { hue, saturation: range / most, value: most }
    }

    /// Rounded to the nearest.
    pub(super) fn rgb(self) -> [u8; 3] {
        // How near the hue is to each channel's own: a channel at full value is within 1, one that is least beyond 2.
        let distance = |centre: f32| {
            let apart = (self.hue - centre).abs();
            apart.min(6.0 - apart)
        };
        [0.0, 2.0, 4.0].map(|centre| {
            let lacking = (distance(centre) - 1.0).clamp(0.0, 1.0);
            (self.value * (1.0 - self.saturation * lacking)).round() as u8
        })
    }

    /// The same with a hue turned by `turn`, which is more than -6 and less than 6.
    pub(super) fn turned(self, turn: f32) -> Self {
        let hue = self.hue + turn;
        let hue = if hue < 0.0 { hue + 6.0 } else { hue };
        Self { hue: if hue >= 6.0 { hue - 6.0 } else { hue }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python's `colorsys`.
    #[test]
    fn known_colours() {
        let rows = [
            ([255, 0, 0], 0.0, 1.0, 255.0),
            ([0, 255, 0], 2.0, 1.0, 255.0),
            ([0, 0, 255], 4.0, 1.0, 255.0),
            ([255, 0, 255], 5.0, 1.0, 255.0),
            ([128, 128, 128], 0.0, 0.0, 128.0),
            ([0, 0, 0], 0.0, 0.0, 0.0),
            ([200, 100, 50], 1.0 / 3.0, 0.75, 200.0),
            ([10, 40, 30], 2.0 + 2.0 / 3.0, 0.75, 40.0),
        ];
        for (rgb, hue, saturation, value) in rows {
            let hsv = Hsv::of(rgb);
            let error =
                (hsv.hue - hue).abs() + (hsv.saturation - saturation).abs() + (hsv.value - value).abs();
            // A few roundings of numbers up to 255.
            assert!(error < 1e-5, "{rgb:?}: {hsv:?}");
        }
    }

    #[test]
    fn colours_come_back() {
        for code in (0..1_u32 << 24).step_by(7) {
            let [_, red, green, blue] = code.to_be_bytes();
            assert_eq!(Hsv::of([red, green, blue]).rgb(), [red, green, blue]);
        }
    }

    #[test]
    fn a_third_of_a_turn_moves_the_channels_on() {
        assert_eq!(Hsv::of([200, 100, 50]).turned(2.0).rgb(), [50, 200, 100]);
        assert_eq!(Hsv::of([200, 100, 50]).turned(-2.0).rgb(), [100, 50, 200]);
        assert_eq!(Hsv::of([200, 100, 50]).turned(-5.9).turned(5.9).rgb(), [200, 100, 50]);
    }
}
