//! Pixels of other kinds, as RGB of 8 bits.

use ::image::ColorType;

/// Rewrites the first `count` pixels of `kind` in `pixels` as RGB, where they lie, so that no second picture is needed.
/// `pixels [count · max(3, bytes of the kind)] -> [count, 3]`. Transparency is dropped; of 16 bits the upper eight stay.
pub(super) fn rewrite(pixels: &mut Vec<u8>, count: usize, kind: ColorType) {
    let bytes = usize::from(kind.bytes_per_pixel());
    let channels = usize::from(kind.channel_count());
    let step = bytes / channels;
    // Samples of 16 bits come in the machine's own order.
    let upper = if step == 2 && cfg!(target_endian = "little") { 1 } else { 0 };
    let offsets = if channels < 3 { [upper; 3] } else { [upper, step + upper, 2 * step + upper] };
    let mut rewrite = |pixel: usize| {
        let rgb = offsets.map(|offset| pixels[pixel * bytes + offset]);
        pixels[pixel * 3..][..3].copy_from_slice(&rgb);
    };
    match bytes {
        // What grows is rewritten from behind, so that nothing is overwritten before it is read.
        ..3 => (0..count).rev().for_each(&mut rewrite),
        _ if kind == ColorType::Rgb8 => {}
        _ => (0..count).for_each(&mut rewrite),
    }
    pixels.truncate(count * 3);
    pixels.shrink_to_fit();
}

/// Rewrites the first `count` of `pixels [count · 3]`, numbers of colours, as those colours, where they lie.
pub(super) fn look_up(pixels: &mut [u8], count: usize, palette: &[[u8; 3]; 256]) {
    for pixel in (0..count).rev() {
        let colour = palette[usize::from(pixels[pixel])];
        pixels[pixel * 3..][..3].copy_from_slice(&colour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_becomes_rgb_where_it_lies() {
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let rows = [
            (ColorType::L8, vec![7, 9], [7, 7, 7, 9, 9, 9]),
            (ColorType::La8, vec![7, 1, 9, 2], [7, 7, 7, 9, 9, 9]),
            (ColorType::Rgb8, vec![1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
            (ColorType::Rgba8, vec![1, 2, 3, 0, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6]),
            (ColorType::L16, words(&[0x07ff, 0x0900]), [7, 7, 7, 9, 9, 9]),
            (ColorType::La16, words(&[0x07ff, 1, 0x0980, 2]), [7, 7, 7, 9, 9, 9]),
            (ColorType::Rgb16, words(&[0x01ff, 0x02ff, 0x0300, 0x0400, 0x0500, 0x06ff]), [1, 2, 3, 4, 5, 6]),
            (
                ColorType::Rgba16,
                words(&[0x01ff, 0x02ff, 0x0300, 0xffff, 0x0400, 0x0500, 0x06ff, 0]),
                [1, 2, 3, 4, 5, 6],
            ),
        ];
        for (kind, mut pixels, expected) in rows {
            pixels.resize(pixels.len().max(6), 0);
            rewrite(&mut pixels, 2, kind);
            assert_eq!(pixels, expected, "{kind:?}");
        }
    }
}
