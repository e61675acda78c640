//! Ink as light, as the Python Imaging Library reckons it.

/// Rewrites `pixels [N, 4]` as RGB where they lie, `ink` saying how much ink a value is.
pub(super) fn rewrite(pixels: &mut Vec<u8>, ink: impl Fn(u8) -> u8) {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        let inks = [0, 1, 2, 3].map(|channel| ink(pixels[pixel * 4 + channel]));
        pixels[pixel * 3..][..3].copy_from_slice(&colour(inks));
    }
    pixels.truncate(count * 3);
    pixels.shrink_to_fit();
}

/// A pixel of CMYK as RGB. Light of a channel is what its ink leaves of what black leaves: `k' - c k' / 255`, `k' = 255 - k`.
pub(super) fn colour([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| light(ink, 255 - black))
}

/// `left - ink left / 255`, rounded to the nearest, as `MULDIV255` of that library is.
fn light(ink: u8, left: u8) -> u8 {
    let product = u32::from(ink) * u32::from(left) + 128;
    left - (((product >> 8) + product) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Image.frombytes("CMYK", ..).convert("RGB")` of Pillow 13.
    #[test]
    fn ink_is_light_as_pillow_says() {
        let mut pixels = vec![0, 0, 0, 0, 255, 128, 1, 0, 10, 100, 200, 77, 1, 2, 3, 254, 9, 9, 9, 255];
        rewrite(&mut pixels, |value| value);
        assert_eq!(pixels, PILLOW);
        let mut inverted = [255, 255, 255, 255, 0, 127, 254, 255].to_vec();
        rewrite(&mut inverted, |value| 255 - value);
        assert_eq!(inverted, PILLOW[..6]);
    }

    const PILLOW: [u8; 15] = [255, 255, 255, 0, 127, 254, 171, 108, 38, 1, 1, 1, 0, 0, 0];
}
