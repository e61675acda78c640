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

/// The three channels of a pixel and nothing, so that they fill a vector.
type Lanes = [f64; 4];

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
        let (height, width) = (image.height(), image.width());
        let mut out = vec![0; height * width * 3];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let input = image.pixels().as_chunks::<3>().0;
                for (y, row) in out.as_chunks_mut::<3>().0.chunks_exact_mut(width).enumerate() {
                    for (x, pixel) in row.iter_mut().enumerate() {
                        *pixel = self.pixel(input, [height, width], [x, y]).unwrap_or(fill);
                    }
                }
            },
        );
        Image::new(height, width, out)
    }

    /// One pixel of the output; none where it comes from outside.
    #[inline(always)]
    fn pixel(&self, input: &[[u8; 3]], [height, width]: [usize; 2], at: [usize; 2]) -> Option<[u8; 3]> {
        let [x, y] = at.map(|at| at as f64 + 0.5);
        let (x, y) = (self.xx * x + self.xy * y + self.x, self.yx * x + self.yy * y + self.y);
        if !(x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64) {
            return None;
        }
        let ((column, dx), (row, dy)) = (split(x - 0.5), split(y - 0.5));
        let inside = |first: isize, of: usize| -> [usize; 4] {
            std::array::from_fn(
                #[inline(always)]
                |i| (first - 1 + i as isize).clamp(0, of as isize - 1) as usize,
            )
        };
        let columns = inside(column, width);
        let across = |row: usize| {
            let pixels = &input[row * width..][..width];
            cubic(columns.map(|column| lanes(pixels[column])), dx)
        };
        let rows = inside(row, height);
        // Where the place is on a row, the others have no weight.
        let value = if dy == 0.0 { across(rows[1]) } else { cubic(rows.map(across), dy) };
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

#[inline(always)]
fn lanes([red, green, blue]: [u8; 3]) -> Lanes {
    [f64::from(red), f64::from(green), f64::from(blue), 0.0]
}

/// The cubic convolution with a = -1 at `d` of 0 to 1 behind the second value, with Pillow's steps.
#[inline(always)]
fn cubic(v: [Lanes; 4], d: f64) -> Lanes {
    std::array::from_fn(
        #[inline(always)]
        |i| {
            let [v1, v2, v3, v4] = [v[0][i], v[1][i], v[2][i], v[3][i]];
            let p2 = -v1 + v3;
            let p3 = 2.0 * (v1 - v2) + v3 - v4;
            let p4 = -v1 + v2 - v3 + v4;
            v2 + d * (p2 + d * (p3 + d * p4))
        },
    )
}
