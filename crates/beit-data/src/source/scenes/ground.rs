use crate::rng::{SampleRng, between};

/// Cells along a side in the coarsest octave.
const COARSEST: usize = 2;
/// Octaves, each with cells half as long and half as strong as those of the one before.
const OCTAVES: u32 = 5;
/// Least and greatest value of a colour.
const COLOURS: [f64; 2] = [15.0, 240.0];

/// `[side · side]` pixels of a random texture between two random colours: value noise, which is smooth between random values at the
/// corners of cells.
pub(super) fn draw(side: usize, rng: &mut SampleRng) -> Vec<[u8; 3]> {
    let mut colour = || -> [f32; 3] { std::array::from_fn(|_| between(rng, COLOURS) as f32) };
    let (from, to) = (colour(), colour());
    let mut heights = vec![0.0; side * side];
    for octave in 0..OCTAVES {
        let cells = COARSEST << octave;
        let strength = 1.0 / (1 << octave) as f32;
        add(&mut heights, side, &Corners::draw(cells, rng), strength);
    }
    let (least, most) = heights.iter().fold((f32::MAX, f32::MIN), |(a, b), &h| (a.min(h), b.max(h)));
    let pixel = |height: f32| {
        let share = (height - least) / (most - least).max(f32::MIN_POSITIVE);
        std::array::from_fn(|c| (from[c] + share * (to[c] - from[c])).round() as u8)
    };
    heights.into_iter().map(pixel).collect()
}

/// Random values at the corners of cells.
struct Corners {
    cells: usize,
    /// `[cells + 1, cells + 1]`.
    values: Vec<f32>,
}

impl Corners {
    fn draw(cells: usize, rng: &mut SampleRng) -> Self {
        let values = (0..(cells + 1) * (cells + 1)).map(|_| between(rng, [0.0, 1.0]) as f32).collect();
        Self { cells, values }
    }
}

/// Adds an octave to `heights [side, side]`.
fn add(heights: &mut [f32], side: usize, corners: &Corners, strength: f32) {
    let places: Vec<(usize, f32)> = (0..side).map(|i| place(i, side, corners.cells)).collect();
    let stride = corners.cells + 1;
    for (row, &(y, down)) in heights.chunks_exact_mut(side).zip(&places) {
        let (above, below) = corners.values[y * stride..][..2 * stride].split_at(stride);
        for (height, &(x, right)) in row.iter_mut().zip(&places) {
            let mix = |values: &[f32]| values[x] + right * (values[x + 1] - values[x]);
            let (above, below) = (mix(above), mix(below));
            *height += strength * (above + down * (below - above));
        }
    }
}

/// The cell of pixel `i`, and how far the pixel is through it, from 0 to 1 and slow at both ends.
fn place(i: usize, side: usize, cells: usize) -> (usize, f32) {
    let at = (i as f32 + 0.5) * cells as f32 / side as f32;
    let cell = (at as usize).min(cells - 1);
    let through = at - cell as f32;
    (cell, through * through * (3.0 - 2.0 * through))
}
