//! Affine maps of a picture, with the bytes of Pillow's `Image.transform(size, AFFINE, …, BICUBIC)`.

use crate::image::Image;

/// Where a pixel comes from: `(xx (x + 1/2) + xy (y + 1/2) + x0, yx (x + 1/2) + yy (y + 1/2) + y0)` for the output's column x and row y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) xx: f64,
    pub(super) xy: f64,
    pub(super) x: f64,
    pub(super) yx: f64,
    pub(super) yy: f64,
    pub(super) y: f64,
}

/// The three channels of a pixel and a byte of no meaning, so that they fill a vector.
type Pixel = [u8; 4];

impl Affine {
    /// Every pixel stays in its place.
    pub(super) const IDENTITY: Self = Self { xx: 1.0, xy: 0.0, x: 0.0, yx: 0.0, yy: 1.0, y: 0.0 };

    /// Turns counter-clockwise about the centre of a picture, with the steps of `Image.rotate`; none where nothing turns.
    pub(super) fn rotation(degrees: f64, height: f64, width: f64) -> Option<Self> {
        let degrees = degrees.rem_euclid(360.0);
        if degrees == 0.0 {
            return None;
        }
        let angle = -degrees.to_radians();
        let (xx, xy) = (rounded(angle.cos()), rounded(angle.sin()));
        let (yx, yy) = (rounded(-angle.sin()), rounded(angle.cos()));
        let centre = [width / 2.0, height / 2.0];
        let back = |[x, y]: [f64; 2]| x * -centre[0] + y * -centre[1];
        Some(Self { xx, xy, x: back([xx, xy]) + centre[0], yx, yy, y: back([yx, yy]) + centre[1] })
    }

    /// The picture of the same size that is moved; pixels that come from outside of it are `fill`.
    pub(super) fn warp(&self, image: &Image, fill: [u8; 3]) -> Image {
        let size = [image.height(), image.width()];
        let out = vec![0; size[0] * size[1] * 3];
        // A closure that gives away what it owns is inlined whole. What is not, is compiled for the oldest machine.
        let out = pulp::Arch::new().dispatch(
            #[inline(always)]
            move || self.fill(image.pixels(), size, fill, out),
        );
        Image::new(size[0], size[1], out)
    }

    #[inline(always)]
    fn fill(&self, pixels: &[u8], size: [usize; 2], fill: [u8; 3], mut out: Vec<u8>) -> Vec<u8> {
        for (y, row) in out.as_chunks_mut::<3>().0.chunks_exact_mut(size[1]).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = self.pixel(pixels, size, [x, y]).unwrap_or(fill);
            }
        }
        out
    }

    /// One pixel of the output; none where it comes from outside.
    #[inline(always)]
    fn pixel(&self, pixels: &[u8], [height, width]: [usize; 2], at: [usize; 2]) -> Option<[u8; 3]> {
        let (x, y) = (at[0] as f64 + 0.5, at[1] as f64 + 0.5);
        let (x, y) = (self.xx * x + self.xy * y + self.x, self.yx * x + self.yy * y + self.y);
        if !(x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64) {
            return None;
        }
        let ((column, dx), (row, dy)) = (split(x - 0.5), split(y - 0.5));
        let near = |i: isize| line(pixels, width, clamped(row - 1 + i, height));
        let (near, columns) = ([near(0), near(1), near(2), near(3)], column - 1);
        // At a distance of 0 the other rows or columns have no weight.
        let value = if dy == 0.0 {
            along(near[1], columns, dx)
        } else if dx == 0.0 {
            across(near, columns, dy)
        } else {
            both(near, columns, dx, dy)
        };
        // The conversion of a float to an integer truncates and saturates.
        Some([value[0] as u8, value[1] as u8, value[2] as u8])
    }
}

/// To 15 decimals, as Python's `round`.
fn rounded(x: f64) -> f64 {
    format!("{x:.15}").parse().unwrap_or(x)
}

/// The whole number below, and what is above it.
#[inline(always)]
fn split(x: f64) -> (isize, f64) {
    // Not below -1/2.
    let whole = if x < 0.0 { -1 } else { x as isize };
    (whole, x - whole as f64)
}

/// The nearest place inside.
#[inline(always)]
fn clamped(at: isize, of: usize) -> usize {
    at.clamp(0, of as isize - 1) as usize
}

#[inline(always)]
fn line(pixels: &[u8], width: usize, row: usize) -> &[u8] {
    &pixels[row * width * 3..][..width * 3]
}

/// Four pixels of a row from `first` on, the nearest ones where it ends.
#[inline(always)]
fn neighbours(row: &[u8], first: isize) -> [Pixel; 4] {
    // With the byte behind the last each is read at once.
    let inside = if first < 0 { None } else { row.get(first as usize * 3..first as usize * 3 + 13) };
    match inside {
        Some(near) => [0, 3, 6, 9].map(
            #[inline(always)]
            |at| [near[at], near[at + 1], near[at + 2], near[at + 3]],
        ),
        None => [pixel(row, first), pixel(row, first + 1), pixel(row, first + 2), pixel(row, first + 3)],
    }
}

/// The nearest pixel of a row.
#[inline(always)]
fn pixel(row: &[u8], at: isize) -> Pixel {
    let at = 3 * clamped(at, row.len() / 3);
    [row[at], row[at + 1], row[at + 2], 0]
}

#[inline(always)]
fn wide(pixel: Pixel) -> [f64; 4] {
    [f64::from(pixel[0]), f64::from(pixel[1]), f64::from(pixel[2]), f64::from(pixel[3])]
}

/// Along one row.
#[inline(always)]
fn along(row: &[u8], first: isize, dx: f64) -> [f64; 4] {
    let [a, b, c, d] = neighbours(row, first);
    cubic(&[wide(a), wide(b), wide(c), wide(d)], dx)
}

/// Down the second of four columns.
#[inline(always)]
fn across([a, b, c, d]: [&[u8]; 4], first: isize, dy: f64) -> [f64; 4] {
    let second =
        [neighbours(a, first)[1], neighbours(b, first)[1], neighbours(c, first)[1], neighbours(d, first)[1]];
    cubic(&[wide(second[0]), wide(second[1]), wide(second[2]), wide(second[3])], dy)
}

/// Along four rows, then across them.
#[inline(always)]
fn both([a, b, c, d]: [&[u8]; 4], first: isize, dx: f64, dy: f64) -> [f64; 4] {
    cubic(&[along(a, first, dx), along(b, first, dx), along(c, first, dx), along(d, first, dx)], dy)
}

/// The cubic convolution with a = -1 at `d` of 0 to 1 behind the second value, with Pillow's steps.
#[inline(always)]
fn cubic(v: &[[f64; 4]; 4], d: f64) -> [f64; 4] {
    let mut out = [0.0; 4];
    for i in 0..4 {
        let [v1, v2, v3, v4] = [v[0][i], v[1][i], v[2][i], v[3][i]];
        let p2 = -v1 + v3;
        let p3 = 2.0 * (v1 - v2) + v3 - v4;
        let p4 = -v1 + v2 - v3 + v4;
        out[i] = v2 + d * (p2 + d * (p3 + d * p4));
    }
    out
}
