//! The classes of the pixels of one picture.

use super::Windows;
use crate::error::{Error, Result};
use beit_data::Planes;
use beit_heads::Segmenter;
use beit_heads::segmenter::HeadRunning;
use beit_ops::{Corners, Ops};
use std::ops::Range;

/// Windows that the model sees at once, at most.
const TOGETHER: usize = 4;
/// Logits that are resized at once, at most, where a row has fewer: 64 MiB of f32.
const TOGETHER_ELEMENTS: usize = 16 * 1024 * 1024;

/// A picture at one size, mirrored or not.
#[derive(Clone, Debug)]
pub struct View {
    /// Its pixels.
    pub planes: Planes,
    /// Whether left and right were exchanged.
    pub mirrored: bool,
}

/// The class of every pixel of a picture of the size `to`, row by row from the top left.
///
/// The logits of each view are those of its windows, enlarged to the size of a window and averaged where windows overlap, then resized
/// to the picture's own size. Of several views, their probabilities are averaged (mmsegmentation, `aug_test`).
///
/// A photograph has too many pixels for the logits of all of them, so the last resizing is done for some rows at a time.
///
/// # Errors
///
/// The device, or logits that are not finite.
pub fn segment<O: Ops>(
    ops: &O,
    (model, running): (&Segmenter<O::Tensor>, &HeadRunning<O::Tensor>),
    views: &[View],
    windows: &Windows,
    to: [usize; 2],
) -> Result<Vec<u8>> {
    let classes = model.config().classes;
    let job = Job { ops, model, running, windows, classes };
    let logits = |view: &View| Ok(Seen { logits: job.logits(&view.planes)?, mirrored: view.mirrored });
    let seen = views.iter().map(logits).collect::<Result<Vec<_>>>()?;
    let together = (TOGETHER_ELEMENTS / (to[1] * classes)).clamp(1, to[0]);
    let mut found = Vec::with_capacity(to[0] * to[1]);
    for first in (0..to[0]).step_by(together) {
        found.extend(job.classes_of_rows(&seen, to, first..to[0].min(first + together))?);
    }
    Ok(found)
}

/// Numbers that are held at once, at least, to see so many views `[H, W]` in these windows: their logits, and those of the greatest of
/// them while its windows are added up.
#[must_use]
pub fn numbers_held(views: &[[usize; 2]], windows: &Windows, classes: usize) -> u128 {
    let of = |&view: &[usize; 2]| windows.padded(view).map(|side| side as u128).iter().product::<u128>();
    let greatest = views.iter().map(of).max().unwrap_or(0);
    (views.iter().map(of).sum::<u128>() + greatest) * classes as u128
}

/// What the model says to a view.
struct Seen<T> {
    /// `[1, h, w, V]` of the size of the view.
    logits: T,
    mirrored: bool,
}

/// Adds `softmax(logits)`.
fn add_probabilities(sums: &mut [f32], logits: &[f32]) {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|x| (x - greatest).exp()).collect();
    let total: f32 = weights.iter().sum();
    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / total);
}

/// The class of the greatest value; the first of equals.
fn most_likely(values: &[f32]) -> u8 {
    let greater = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).reduce(greater).unwrap_or(0) as u8
}

struct Job<'a, O: Ops> {
    ops: &'a O,
    model: &'a Segmenter<O::Tensor>,
    running: &'a HeadRunning<O::Tensor>,
    windows: &'a Windows,
    classes: usize,
}

impl<O: Ops> Job<'_, O> {
    /// The classes of some rows of a picture of the size `to`.
    fn classes_of_rows(
        &self,
        seen: &[Seen<O::Tensor>],
        to: [usize; 2],
        rows: Range<usize>,
    ) -> Result<Vec<u8>> {
        let (ops, classes) = (self.ops, self.classes);
        let pixels = [rows.len() * to[1], classes];
        let resized = |logits| ops.reshape(ops.resize_rows(logits, to, rows.clone(), Corners::Edges), pixels);
        if let [Seen { logits, mirrored: false }] = seen {
            let found = ops.read_ids(&ops.argmax_rows(&resized(logits)))?;
            return Ok(found.into_iter().map(|class| class as u8).collect());
        }
        let mut sums = vec![0.0; pixels[0] * classes];
        for Seen { logits, mirrored } in seen {
            let logits = ops.read(&resized(logits))?;
            for (pixel, logits) in logits.chunks_exact(classes).enumerate() {
                let (row, column) = (pixel / to[1], pixel % to[1]);
                let column = if *mirrored { to[1] - 1 - column } else { column };
                add_probabilities(&mut sums[(row * to[1] + column) * classes..][..classes], logits);
            }
        }
        Ok(sums.chunks_exact(classes).map(most_likely).collect())
    }

    /// `[1, h, w, V]` of the size of the view.
    fn logits(&self, planes: &Planes) -> Result<O::Tensor> {
        let picture = [planes.height, planes.width];
        if picture == self.windows.size {
            return self.of_windows(&planes.pixels);
        }
        let padded = pad(planes, self.windows.padded(picture));
        let corners = self.windows.corners([padded.height, padded.width]);
        let mut canvas = Canvas::new([padded.height, padded.width], self.classes);
        let a_window = self.windows.size.iter().product::<usize>() * self.classes;
        for corners in corners.chunks((TOGETHER_ELEMENTS / a_window).clamp(1, TOGETHER)) {
            let pixels: Vec<f32> =
                corners.iter().flat_map(|&corner| cut(&padded, corner, self.windows.size)).collect();
            let logits = self.ops.read(&self.of_windows(&pixels)?)?;
            let each = logits.len() / corners.len();
            for (&corner, logits) in corners.iter().zip(logits.chunks_exact(each)) {
                canvas.add(corner, self.windows.size, logits);
            }
        }
        let [height, width] = picture;
        Ok(self.ops.upload([1, height, width, self.classes], &canvas.into_mean(picture)))
    }

    /// `pixels [n, C, height, width] -> [n, height, width, V]` of windows.
    fn of_windows(&self, pixels: &[f32]) -> Result<O::Tensor> {
        let vit = self.model.vit.config();
        let images = self.ops.upload(vit.images(pixels.len() / vit.numbers()), pixels);
        let logits = self.model.infer(self.ops, &images, self.running);
        if !self.ops.read(&logits)?.iter().all(|x| x.is_finite()) {
            return Err(Error::PixelLogits);
        }
        let shape = self.ops.shape(&logits);
        let same = [shape[1], shape[2]] == self.windows.size;
        Ok(if same { logits } else { self.ops.resize(&logits, self.windows.size, Corners::Edges) })
    }
}

/// Logits of the pixels of a picture, added up over windows.
struct Canvas {
    width: usize,
    classes: usize,
    sums: Vec<f32>,
    /// How many windows show each pixel.
    shown: Vec<f32>,
}

impl Canvas {
    fn new([height, width]: [usize; 2], classes: usize) -> Self {
        let pixels = height * width;
        Self { width, classes, sums: vec![0.0; pixels * classes], shown: vec![0.0; pixels] }
    }

    /// Adds `logits [height, width, V]` of a window.
    fn add(&mut self, [top, left]: [usize; 2], size: [usize; 2], logits: &[f32]) {
        let row = size[1] * self.classes;
        for (y, logits) in logits.chunks_exact(row).enumerate() {
            let at = (top + y) * self.width + left;
            let sums = &mut self.sums[at * self.classes..][..row];
            sums.iter_mut().zip(logits).for_each(|(sum, x)| *sum += x);
            self.shown[at..at + size[1]].iter_mut().for_each(|shown| *shown += 1.0);
        }
    }

    /// `[height, width, V]` of the upper left part of this size.
    fn into_mean(mut self, [height, width]: [usize; 2]) -> Vec<f32> {
        for (sums, shown) in self.sums.chunks_exact_mut(self.classes).zip(&self.shown) {
            sums.iter_mut().for_each(|sum| *sum /= shown);
        }
        let (line, part) = (self.width * self.classes, width * self.classes);
        for row in 0..height {
            self.sums.copy_within(row * line..row * line + part, row * part);
        }
        self.sums.truncate(height * part);
        self.sums
    }
}

/// Zeros, which are the mean colour, on the right and at the bottom.
fn pad(planes: &Planes, [height, width]: [usize; 2]) -> Planes {
    let mut pixels = Vec::new();
    for plane in planes.pixels.chunks_exact(planes.height * planes.width) {
        for row in plane.chunks_exact(planes.width) {
            pixels.extend_from_slice(row);
            pixels.resize(pixels.len() + width - planes.width, 0.0);
        }
        pixels.resize(pixels.len() + (height - planes.height) * width, 0.0);
    }
    Planes { pixels, height, width }
}

/// A window of every plane.
fn cut(planes: &Planes, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f32> {
    let mut pixels = Vec::new();
    for plane in planes.pixels.chunks_exact(planes.height * planes.width) {
        for row in plane.chunks_exact(planes.width).skip(top).take(height) {
            pixels.extend_from_slice(&row[left..left + width]);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_heads::{HeadConfig, SegmenterConfig};
    use beit_ops::Host;
    use beit_vit::{Config, Preset};

    const SIDE: usize = 16;

    fn model(ops: &Host<f32>) -> (Segmenter<Tensor>, HeadRunning<Tensor>) {
        let vit = Config { image: [SIDE; 2], ..Config::new(Preset::Tiny) };
        let config = SegmenterConfig::on(vit, 3, [0, 1, 2, 3], HeadConfig::setr_pup(8));
        let mut model = Segmenter::init(ops, &config, 3);
        // Scores of a new head hardly differ.
        let beit_heads::segmenter::Head::SetrPup(head) = &mut model.head else { unreachable!() };
        head.main.conv_seg.weight.iter_mut().for_each(|w| *w *= 100.0);
        (model, Segmenter::init_running(ops, &config))
    }

    type Tensor = <Host<f32> as beit_ops::Device>::Tensor;

    fn planes(height: usize, width: usize) -> Planes {
        let pixels = (0..3 * height * width).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
        Planes { pixels, height, width }
    }

    fn view(planes: Planes) -> View {
        View { planes, mirrored: false }
    }

    #[test]
    fn one_window_is_the_whole_picture() {
        let ops = Host::<f32>::new();
        let (model, running) = model(&ops);
        let windows = Windows { size: [SIDE; 2], stride: [5, 5] };
        let picture = planes(SIDE, SIDE);
        let job = Job { ops: &ops, model: &model, running: &running, windows: &windows, classes: 3 };
        let whole = job.of_windows(&picture.pixels).expect("finite");
        let mut canvas = Canvas::new([SIDE; 2], 3);
        canvas.add([0, 0], [SIDE; 2], &whole);
        assert_eq!(canvas.into_mean([SIDE; 2]), whole[..], "the mean over one window");
        let named = segment(&ops, (&model, &running), &[view(picture)], &windows, [SIDE; 2]);
        let classes: Vec<u8> = whole.chunks_exact(3).map(most_likely).collect();
        assert_eq!(named.expect("finite"), classes);
        assert!(classes.iter().any(|&class| class != classes[0]), "a model that tells nothing apart");
    }

    /// By hand: two windows, which share four columns.
    #[test]
    fn windows_are_averaged_where_they_overlap() {
        let ops = Host::<f32>::new();
        let (model, running) = model(&ops);
        let windows = Windows { size: [SIDE; 2], stride: [SIDE, 12] };
        let picture = planes(SIDE, 28);
        let job = Job { ops: &ops, model: &model, running: &running, windows: &windows, classes: 3 };
        let both = [0, 12]
            .map(|left| job.of_windows(&cut(&picture, [0, left], [SIDE; 2])).expect("finite").to_vec());
        let got = job.logits(&picture).expect("finite");
        for y in 0..SIDE {
            for x in 0..28 {
                let of = |window: usize, x: usize| both[window][(y * SIDE + x) * 3 + 1];
                let want = match x {
                    0..12 => of(0, x),
                    12..16 => (of(0, x) + of(1, x - 12)) / 2.0,
                    _ => of(1, x - 12),
                };
                assert!((got[(y * 28 + x) * 3 + 1] - want).abs() < 1e-5, "({x}, {y})");
            }
        }
    }

    #[test]
    fn rows_are_named_as_the_whole_picture_is() {
        let ops = Host::<f32>::new();
        let (model, running) = model(&ops);
        let windows = Windows::of_size([SIDE; 2]);
        let job = Job { ops: &ops, model: &model, running: &running, windows: &windows, classes: 3 };
        let (to, picture) = ([50, 37], planes(20, 28));
        for mirrored in [false, true] {
            let seen = [Seen { logits: job.logits(&picture).expect("finite"), mirrored }];
            let rows = |rows| job.classes_of_rows(&seen, to, rows).expect("finite");
            assert_eq!([rows(0..7), rows(7..49), rows(49..50)].concat(), rows(0..50));
        }
        assert_eq!(numbers_held(&[[20, 28], [9, 9]], &windows, 3), (2 * 20 * 28 + 16 * 16) * 3);
    }

    #[test]
    fn small_pictures_are_padded() {
        let ops = Host::<f32>::new();
        let (model, running) = model(&ops);
        let windows = Windows::of_size([SIDE; 2]);
        let named = segment(&ops, (&model, &running), &[view(planes(9, 30))], &windows, [18, 60]);
        assert_eq!(named.expect("finite").len(), 18 * 60);
    }

    /// A mirrored view of a mirrored picture is the picture: both views say the same.
    #[test]
    fn mirrored_views_are_turned_back() {
        let ops = Host::<f32>::new();
        let (model, running) = model(&ops);
        let windows = Windows::of_size([SIDE; 2]);
        let picture = planes(SIDE, SIDE);
        let rows = picture.pixels.chunks_exact(SIDE);
        let mirrored: Vec<f32> = rows.flat_map(|row| row.iter().rev().copied()).collect();
        let mirrored = Planes { pixels: mirrored, ..picture.clone() };
        let segment =
            |views: &[View]| segment(&ops, (&model, &running), views, &windows, [SIDE; 2]).expect("finite");
        let of_mirrored = segment(&[view(mirrored.clone())]);
        let turned: Vec<u8> =
            of_mirrored.chunks_exact(SIDE).flat_map(|row| row.iter().rev().copied()).collect();
        assert_eq!(segment(&[View { planes: mirrored.clone(), mirrored: true }]), turned);
        // Two views: the mean of both probabilities.
        let both = segment(&[view(picture.clone()), View { planes: mirrored, mirrored: true }]);
        let alone = segment(&[view(picture)]);
        let agreed = alone.iter().zip(&turned).zip(&both).filter(|((a, b), _)| a == b);
        assert!(agreed.clone().count() > 0 && agreed.clone().all(|((a, _), both)| a == both));
    }

    #[test]
    fn broken_models_do_not_answer() {
        let ops = Host::<f32>::new();
        let (mut model, running) = model(&ops);
        model.vit.blocks[3].mlp.fc2.weight[0] = f32::NAN;
        let windows = Windows::of_size([SIDE; 2]);
        let found = segment(&ops, (&model, &running), &[view(planes(SIDE, SIDE))], &windows, [SIDE; 2]);
        assert!(matches!(found, Err(Error::PixelLogits)), "{found:?}");
    }
}
