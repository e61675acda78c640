//! Masks as people see them.

use std::io::{self, Write};

use super::Mask;
use crate::image::Image;

/// Colours of so many classes, at most 256, of which the last is that of ignored pixels: the colour map of PASCAL VOC. Bits 0, 1 and 2 of
/// a number are the highest bits of red, green and blue, bits 3, 4 and 5 the next, and so on.
///
/// ```
/// assert_eq!(beit_data::palette(4), [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]);
/// ```
#[must_use]
pub fn palette(classes: usize) -> Vec<[u8; 3]> {
    let channel = |class: usize, channel: usize| {
        (0..3).map(|place| ((class >> (3 * place + channel) & 1) as u8) << (7 - place)).sum()
    };
    (0..classes.min(256)).map(|class| std::array::from_fn(|c| channel(class, c))).collect()
}

impl Mask {
    /// Writes the mask as a PNG whose pixels are the numbers of classes, with these colours. Numbers beyond them have those of
    /// [`palette`].
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_png(&self, to: impl Write, colours: &[[u8; 3]]) -> io::Result<()> {
        let mut encoder = ::png::Encoder::new(to, self.width() as u32, self.height() as u32);
        encoder.set_color(::png::ColorType::Indexed);
        encoder.set_depth(::png::BitDepth::Eight);
        encoder.set_palette(all_colours(colours).as_flattened().to_vec());
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        writer.write_image_data(self.ids()).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)
    }
}

impl Image {
    /// The picture, as it is [shown](Self::shown), under its mask: `(1 - alpha) pixel + alpha colour`, rounded. Ignored pixels stay as they are. Numbers beyond the
    /// colours have those of [`palette`].
    ///
    /// # Panics
    ///
    /// If the mask has another size.
    #[must_use]
    pub fn overlaid(&self, mask: &Mask, colours: &[[u8; 3]], alpha: f32) -> Self {
        assert_eq!([self.height(), self.width()], [mask.height(), mask.width()], "sizes differ");
        let colours = all_colours(colours);
        let mut image = self.shown().into_owned();
        for (pixel, &id) in image.pixels_mut().as_chunks_mut::<3>().0.iter_mut().zip(mask.ids()) {
            if id != Mask::IGNORED {
                let colour = colours[usize::from(id)];
                let blend = |from: u8, to: u8| f32::from(from) + alpha * (f32::from(to) - f32::from(from));
                *pixel = std::array::from_fn(|c| blend(pixel[c], colour[c]).round() as u8);
            }
        }
        image
    }
}

/// A colour for every number.
fn all_colours(colours: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mut all = palette(256);
    all.iter_mut().zip(colours).for_each(|(all, colour)| *all = *colour);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the PASCAL VOC development kit.
    #[test]
    fn colours_are_those_of_pascal_voc() {
        let all = palette(300);
        let rows = [
            (7, [128, 128, 128]),
            (8, [64, 0, 0]),
            (15, [192, 128, 128]),
            (20, [0, 64, 128]),
            (255, [224, 224, 192]),
        ];
        for (class, colour) in rows {
            assert_eq!(all[class], colour, "{class}");
        }
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn an_overlay_mixes_all_but_ignored_pixels() {
        let image = Image::new(1, 3, vec![0, 100, 255, 0, 100, 255, 0, 100, 255]);
        let mask = Mask::new(1, 3, vec![0, 1, 255]);
        let seen = image.overlaid(&mask, &[[255, 0, 0]], 0.5);
        assert_eq!(seen.pixels(), [128, 50, 128, 64, 50, 128, 0, 100, 255]);
    }
}
