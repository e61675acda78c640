//! Affine maps of a picture, with the bytes of Pillow's `Image.transform(size, AFFINE, …, BICUBIC)`.

use crate::image::Image;

/// Where a pixel comes from: the pixel in column i and row j from `(xx (i + 1/2) + xy (j + 1/2) + x, yx (i + 1/2) + yy (j + 1/2) + y)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) xx: f64,
    pub(super) xy: f64,
    pub(super) x: f64,
    pub(super) yx: f64,
    pub(super) yy: f64,
    pub(super) y: f64,
}

/// Pixels of the output that are made at once: enough for vectors of any length.
const PIXELS: usize = 16;
/// Each has its three channels and one number of no meaning, so that it is read and written as a whole.
const LANES: usize = 4 * PIXELS;

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
            move || {
                let [keeps_rows, keeps_columns] = self.keeps();
                match (keeps_rows, keeps_columns) {
                    (true, _) => self.fill::<1, 4>(image.pixels(), size, fill, out),
                    (false, true) => self.fill::<4, 1>(image.pixels(), size, fill, out),
                    (false, false) => self.fill::<4, 4>(image.pixels(), size, fill, out),
                }
            },
        );
        Image::new(size[0], size[1], out)
    }

    /// Whether every pixel comes from the middle of a row, and of a column. Then there is nothing to mix across them.
    fn keeps(&self) -> [bool; 2] {
        let whole = |along: f64, across: f64, by: f64| along == 1.0 && across == 0.0 && by.fract() == 0.0;
        [whole(self.yy, self.yx, self.y), whole(self.xx, self.xy, self.x)]
    }

    /// Each pixel from so many rows and columns.
    #[inline(always)]
    fn fill<const ROWS: usize, const COLUMNS: usize>(
        &self,
        pixels: &[u8],
        size: [usize; 2],
        fill: [u8; 3],
        mut out: Vec<u8>,
    ) -> Vec<u8> {
        let [height, width] = size;
        let mut near = Near { bytes: [[[0; LANES]; COLUMNS]; ROWS], dx: [0.0; LANES], dy: [0.0; LANES] };
        let mut values = [0; LANES];
        for (y, row) in out.as_chunks_mut::<3>().0.chunks_exact_mut(width).enumerate() {
            for (chunk, out) in row.chunks_mut(PIXELS).enumerate() {
                let mut outside = [false; PIXELS];
                for (i, outside) in outside.iter_mut().enumerate().take(out.len()) {
                    let (x, y) = self.from((chunk * PIXELS + i) as f64 + 0.5, y as f64 + 0.5);
                    *outside = !(x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64);
                    if !*outside {
                        near.put(i, pixels, size, (split(x - 0.5), split(y - 0.5)));
                    }
                }
                near.mix(&mut values);
                let made = values.as_chunks::<4>().0.iter().zip(outside);
                for (out, (&[red, green, blue, _], outside)) in out.iter_mut().zip(made) {
                    *out = if outside { fill } else { [red, green, blue] };
                }
            }
        }
        out
    }

    /// Where the middle of a pixel comes from.
    #[inline(always)]
    fn from(&self, x: f64, y: f64) -> (f64, f64) {
        (self.xx * x + self.xy * y + self.x, self.yx * x + self.yy * y + self.y)
    }
}

/// The neighbours of some pixels, lane by lane, and how far behind the second column and row of them each pixel is.
struct Near<const ROWS: usize, const COLUMNS: usize> {
    bytes: [[[u8; LANES]; COLUMNS]; ROWS],
    dx: [f64; LANES],
    dy: [f64; LANES],
}

impl<const ROWS: usize, const COLUMNS: usize> Near<ROWS, COLUMNS> {
    /// Sets the neighbours of pixel `i`, the nearest ones where the picture ends.
    #[inline(always)]
    fn put(
        &mut self,
        i: usize,
        pixels: &[u8],
        [height, width]: [usize; 2],
        at: ((isize, f64), (isize, f64)),
    ) {
        let ((column, dx), (row, dy)) = at;
        let lanes = 4 * i..4 * i + 4;
        self.dx[lanes.clone()].fill(dx);
        self.dy[lanes.clone()].fill(dy);
        for (r, bytes) in self.bytes.iter_mut().enumerate() {
            let row = clamped(first(row, ROWS) + r as isize, height);
            let row = &pixels[row * width * 3..][..width * 3];
            let column = first(column, COLUMNS);
            // Where the byte behind the last is there, each pixel is read at once with what follows it.
            let inside = if column < 0 { None } else { row.get(column as usize * 3..) };
            match inside.and_then(|near| near.get(..3 * COLUMNS + 1)) {
                Some(near) => {
                    for (c, bytes) in bytes.iter_mut().enumerate() {
                        bytes[lanes.clone()].copy_from_slice(&near[3 * c..3 * c + 4]);
                    }
                }
                None => {
                    for (c, bytes) in bytes.iter_mut().enumerate() {
                        let at = 3 * clamped(column + c as isize, width);
                        bytes[lanes.start..lanes.start + 3].copy_from_slice(&row[at..at + 3]);
                    }
                }
            }
        }
    }

    /// Along the rows, then across them.
    #[inline(always)]
    fn mix(&self, values: &mut [u8; LANES]) {
        let mut along = [[0.0; LANES]; ROWS];
        for (along, bytes) in along.iter_mut().zip(&self.bytes) {
            for i in 0..LANES {
                let value = |column: usize| f64::from(bytes[column][i]);
                along[i] = match COLUMNS {
                    1 => value(0),
                    _ => cubic([value(0), value(1), value(2), value(3)], self.dx[i]),
                };
            }
        }
        for i in 0..LANES {
            let value = match ROWS {
                1 => along[0][i],
                _ => cubic([along[0][i], along[1][i], along[2][i], along[3][i]], self.dy[i]),
            };
            // The conversion of a float to an integer truncates and saturates.
            values[i] = value as u8;
        }
    }
}

/// The first of so many neighbours, of which one is the place itself.
#[inline(always)]
fn first(place: isize, of: usize) -> isize {
    if of == 1 { place } else { place - 1 }
}

/// To 15 decimals, as Python's `round`.
fn rounded(x: f64) -> f64 {
    format!("{x:.15}").parse().unwrap_or(x)
}

/// The whole number below a place in the picture, and what is above it.
#[inline(always)]
fn split(x: f64) -> (isize, f64) {
    let whole = x.floor();
    (whole as isize, x - whole)
}

/// The nearest place inside.
#[inline(always)]
fn clamped(at: isize, of: usize) -> usize {
    at.clamp(0, of as isize - 1) as usize
}

/// The cubic convolution with a = -1 at `d` of 0 to 1 behind the second value, with Pillow's steps.
#[inline(always)]
fn cubic([v1, v2, v3, v4]: [f64; 4], d: f64) -> f64 {
    let p2 = -v1 + v3;
    let p3 = 2.0 * (v1 - v2) + v3 - v4;
    let p4 = -v1 + v2 - v3 + v4;
    v2 + d * (p2 + d * (p3 + d * p4))
}
