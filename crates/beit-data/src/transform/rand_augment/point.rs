//! Operations that look at one value at a time, and at how often there is each.

use crate::image::Image;

impl Image {
    /// Spreads each channel from its least and greatest value to 0 and 255: `ImageOps.autocontrast`.
    pub(super) fn auto_contrast(&mut self) {
        self.map_channels(|counts| {
            let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
            let most = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
            if most <= least {
                return IDENTITY;
            }
            let scale = 255.0 / (most - least) as f64;
            let offset = -(least as f64) * scale;
            // The conversion of a float to an integer truncates and saturates.
            std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
        });
    }

    /// Makes the values of each channel equally frequent: `ImageOps.equalize`.
    pub(super) fn equalize(&mut self) {
        self.map_channels(|counts| {
            let total: usize = counts.iter().sum();
            let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
            let step = (total - last) / 255;
            if step == 0 {
                return IDENTITY;
            }
            let mut before = step / 2;
            std::array::from_fn(|value| {
                let becomes = before / step;
                before += counts[value];
                becomes.min(255) as u8
            })
        });
    }

    /// Keeps so many leading bits.
    pub(super) fn posterize(&mut self, bits: u32) {
        let mask = u8::MAX.checked_shl(8_u32.saturating_sub(bits)).unwrap_or(0);
        self.map_bytes(|value| value & mask);
    }

    /// Inverts values of `threshold` and more.
    pub(super) fn solarize(&mut self, threshold: u32) {
        self.map_bytes(|value| if u32::from(value) < threshold { value } else { 255 - value });
    }

    /// Adds to values below 128.
    pub(super) fn solarize_add(&mut self, amount: u8) {
        self.map_bytes(|value| if value < 128 { value.saturating_add(amount) } else { value });
    }

    /// Maps every value alike.
    pub(super) fn map_bytes(&mut self, map: impl Fn(u8) -> u8) {
        self.pixels_mut().iter_mut().for_each(|value| *value = map(*value));
    }

    /// Maps each channel by the table that is made of how often each value is in it.
    fn map_channels(&mut self, table: impl Fn(&[usize; 256]) -> [u8; 256]) {
        let mut counts = [[0; 256]; 3];
        for rgb in self.pixels().as_chunks::<3>().0 {
            (0..3).for_each(|c| counts[c][usize::from(rgb[c])] += 1);
        }
        let tables = counts.each_ref().map(table);
        for rgb in self.pixels_mut().as_chunks_mut::<3>().0 {
            (0..3).for_each(|c| rgb[c] = tables[c][usize::from(rgb[c])]);
        }
    }
}

/// The table that changes nothing.
const IDENTITY: [u8; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        table[value] = value as u8;
        value += 1;
    }
    table
};
