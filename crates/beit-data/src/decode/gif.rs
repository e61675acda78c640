//! GIF: the first frame on its screen, as the Python Imaging Library shows it.

use ::gif::{DecodeOptions, Decoder, MemoryLimit};
use ::image::RgbImage;
use ::image::metadata::Orientation;

use super::budget::{Budget, Needs};
use super::{rgb, said};

/// Whether a file begins as a GIF does.
pub(super) fn is_gif(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF8")
}

/// Where the first frame lies.
struct Place {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    /// Colour around it.
    around: u8,
}

/// Decodes the first frame. Transparent pixels show the colour that the palette has for them; where the frame leaves the screen,
/// the screen grows.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    let mut options = DecodeOptions::new();
    let metadata = budget.metadata().0.max(1);
    options.set_memory_limit(MemoryLimit::Bytes(metadata.try_into().expect("at least one")));
    let mut decoder = options.read_info(bytes).map_err(said)?;
    let screen = [decoder.height(), decoder.width()].map(usize::from);
    let place = first_frame(&mut decoder)?;
    let size = [screen[0].max(place.top + place.height), screen[1].max(place.left + place.width)];
    let area = (size[0] * size[1]) as u64;
    let working = (place.height * place.width) as u64;
    let size_u64 = size.map(|side| side as u64);
    let needs = Needs { size: size_u64, working, decoded: area, orientation: Orientation::NoTransforms };
    budget.without_metadata().check(&needs)?;

    let mut frame = vec![0; place.height * place.width];
    decoder.read_into_buffer(&mut frame).map_err(said)?;
    let mut pixels = vec![place.around; needs.rgb() as usize];
    for (from, to) in frame.chunks_exact(place.width).zip(pixels.chunks_exact_mut(size[1]).skip(place.top)) {
        to[place.left..][..place.width].copy_from_slice(from);
    }
    rgb::look_up(&mut pixels, area as usize, &palette(&decoder));
    Ok(RgbImage::from_raw(size[1] as u32, size[0] as u32, pixels)
        .expect("there are width x height x 3 bytes"))
}

fn first_frame(decoder: &mut Decoder<&[u8]>) -> Result<Place, String> {
    let frame = decoder.next_frame_info().map_err(said)?.ok_or("it has no picture")?;
    if frame.width == 0 || frame.height == 0 {
        return Err(format!("its first picture has {} x {} pixels", frame.height, frame.width));
    }
    let [top, left, height, width] = [frame.top, frame.left, frame.height, frame.width].map(usize::from);
    Ok(Place { top, left, height, width, around: frame.transparent.unwrap_or(0) })
}

/// Colours of the frame: its own, or those of all frames; black for numbers that have none.
fn palette(decoder: &Decoder<&[u8]>) -> [[u8; 3]; 256] {
    let own = decoder.current_frame_info().and_then(|frame| frame.palette.as_deref());
    let mut palette = [[0; 3]; 256];
    let colours = own.or(decoder.global_palette()).unwrap_or(&[]).chunks_exact(3);
    palette.iter_mut().zip(colours).for_each(|(to, from)| to.copy_from_slice(from));
    palette
}
