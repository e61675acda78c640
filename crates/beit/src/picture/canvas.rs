//! What pictures are drawn on: images, words and frames.

use beit_data::Image;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyleBuilder, Rectangle, StrokeAlignment};
use embedded_graphics::text::{Baseline, Text};
use std::convert::Infallible;

/// Letters of 6x10 pixels, those of western Europe; others are drawn as `?`.
const FONT: MonoFont<'_> = FONT_6X10;
/// Width of a letter.
pub(super) const LETTER: usize = FONT.character_size.width as usize;
/// Height of a line, with the space below it.
pub(super) const LINE: usize = FONT.character_size.height as usize + 2;
/// White.
pub(super) const BACKGROUND: u8 = 255;

/// RGB of 8 bits. What is drawn outside of it is not there.
pub(super) struct Canvas {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// White.
    pub(super) fn new([height, width]: [usize; 2]) -> Self {
        Self { height, width, pixels: vec![BACKGROUND; height * width * 3] }
    }

    /// A copy of an image, each pixel a square of `zoom` pixels.
    pub(super) fn of(image: &Image, zoom: usize) -> Self {
        let mut canvas = Self::new([image.height() * zoom, image.width() * zoom]);
        canvas.place(image, [0, 0], zoom);
        canvas
    }

    pub(super) fn into_image(self) -> Image {
        Image::new(self.height, self.width, self.pixels)
    }

    /// Draws an image, as it is [shown](Image::shown), with its top left corner at `[top, left]`.
    pub(super) fn place(&mut self, image: &Image, [top, left]: [usize; 2], zoom: usize) {
        let (image, width) = (image.shown(), image.width());
        for y in 0..image.height() * zoom {
            for x in 0..width * zoom {
                let from = &image.pixels()[(y / zoom * width + x / zoom) * 3..][..3];
                self.pixels[((top + y) * self.width + left + x) * 3..][..3].copy_from_slice(from);
            }
        }
    }

    /// Writes a line in black from `[top, left]` on.
    pub(super) fn write(&mut self, line: &str, [top, left]: [usize; 2]) {
        let style = MonoTextStyle::new(&FONT, Rgb888::BLACK);
        let at = Point::new(left as i32, top as i32);
        let Ok(_) = Text::with_baseline(line, at, style, Baseline::Top).draw(self);
    }

    /// Draws a rectangle's outline of one pixel.
    pub(super) fn frame(&mut self, [top, left]: [usize; 2], [height, width]: [usize; 2], [r, g, b]: [u8; 3]) {
        let (at, size) = (Point::new(left as i32, top as i32), Size::new(width as u32, height as u32));
        let style = PrimitiveStyleBuilder::new()
            .stroke_color(Rgb888::new(r, g, b))
            .stroke_width(1)
            .stroke_alignment(StrokeAlignment::Inside)
            .build();
        let Ok(()) = Rectangle::new(at, size).into_styled(style).draw(self);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y)) else { continue };
            if x < self.width && y < self.height {
                let rgb = [colour.r(), colour.g(), colour.b()];
                self.pixels[(y * self.width + x) * 3..][..3].copy_from_slice(&rgb);
            }
        }
        Ok(())
    }
}
