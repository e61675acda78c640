//! JPEG in four channels of which the last are coarser than the first, put together from its planes. What decodes other pictures
//! knows no coarser black.

use libjpeg_turbo_rs::decode::{color, upsample};
use libjpeg_turbo_rs::{ColorSpace, ComponentInfo, Decoder, FrameHeader};

use super::said;

/// Channels of CMYK.
const INKS: usize = 4;

/// Whether black of a picture of four channels is as fine as the first channel, and the two between are alike.
pub(super) fn is_evenly_sampled(frame: &FrameHeader) -> bool {
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|channel| sampling(&frame.components[channel]));
    fourth == first && third == second && (0..2).all(|side| first[side] % second[side].max(1) == 0)
}

/// Decodes a picture of four channels, whatever their sampling, as it lies in the file: `[height, width, 4]`.
pub(super) fn decode(decoder: Decoder<'_>) -> Result<Vec<u8>, String> {
    let (frame, space) = (decoder.header().clone(), decoder.jpeg_color_space());
    let raw = decoder.decode_raw().map_err(said)?;
    let size = [frame.height(), frame.width()];
    let finest = [0, 1].map(|side| frame.components.iter().map(|c| sampling(c)[side]).max().unwrap_or(1));
    let mut pixels = vec![0; size[0] * size[1] * INKS];
    for (channel, component) in frame.components.iter().enumerate() {
        let sampling = sampling(component);
        let coarse = [0, 1].map(|side| (size[side] * sampling[side]).div_ceil(finest[side]));
        let plane = Plane { samples: &raw.planes[channel], stride: raw.plane_widths[channel], size: coarse };
        let (fine, stride) = plane.enlarged(size, finest, sampling);
        for (row, values) in pixels.chunks_exact_mut(size[1] * INKS).zip(fine.chunks(stride)) {
            row.iter_mut().skip(channel).step_by(INKS).zip(values).for_each(|(to, &from)| *to = from);
        }
    }
    if space == ColorSpace::Ycck {
        for pixel in pixels.chunks_exact_mut(INKS) {
            let [y, cb, cr, black] = [0, 1, 2, 3].map(|channel| [pixel[channel]]);
            color::ycck_to_cmyk_row(&y, &cb, &cr, &black, pixel, 1);
        }
    }
    Ok(pixels)
}

/// `[down, across]`.
fn sampling(component: &ComponentInfo) -> [usize; 2] {
    [component.vertical_sampling.into(), component.horizontal_sampling.into()]
}

/// A channel as it is coded.
struct Plane<'a> {
    samples: &'a [u8],
    /// Samples of a row, those beside the picture too.
    stride: usize,
    /// `[height, width]` of what belongs to the picture.
    size: [usize; 2],
}

impl Plane<'_> {
    /// The channel in a size of at least `size`, and how long its rows are. Doubled sides are smoothed as libjpeg does.
    fn enlarged(&self, size: [usize; 2], finest: [usize; 2], sampling: [usize; 2]) -> (Vec<u8>, usize) {
        let [height, width] = self.size;
        let is = |down: usize, across: usize| finest == [sampling[0] * down, sampling[1] * across];
        let stride = if is(1, 2) || is(2, 2) { 2 * width } else { size[1] };
        let mut fine = vec![0; stride * size[0].next_multiple_of(2)];
        if is(2, 2) {
            upsample::fancy_h2v2_strided(self.samples, width, self.stride, height, &mut fine, stride);
        } else if is(1, 2) {
            let rows = self.samples.chunks(self.stride).take(height);
            rows.zip(fine.chunks_exact_mut(stride))
                .for_each(|(from, to)| upsample::fancy_h2v1(&from[..width], width, to, stride));
        } else {
            for (y, row) in fine.chunks_exact_mut(stride).take(size[0]).enumerate() {
                let from = &self.samples[y * sampling[0] / finest[0] * self.stride..];
                row.iter_mut().enumerate().for_each(|(x, to)| *to = from[x * sampling[1] / finest[1]]);
            }
        }
        (fine, stride)
    }
}
