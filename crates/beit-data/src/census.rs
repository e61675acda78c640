//! Every mask of a set, looked at before anything is learnt from it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::ordered::Ordered;
use crate::pair::{read_mask, same_size};
use crate::source::Source;

/// What the masks of a set hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskCensus {
    /// Masks looked at.
    pub masks: usize,
    /// Pixels of each class, in the order of their numbers.
    pub pixels: Vec<u64>,
    /// Pixels without a class.
    pub ignored: u64,
    /// Masks without a single pixel that has a class.
    pub void: usize,
    /// The first of these.
    pub first_void: Option<String>,
    /// Pictures whose size cannot be read, so that nothing was compared with it. A loader leaves them out by name.
    pub unread_images: usize,
}

/// What one mask adds.
struct Counted {
    counts: [u64; 256],
    image_is_read: bool,
}

/// Reads the masks of the images `indices` of a source, on all cores: whether all are there, can be read, are as large as their images,
/// and have classes of the source alone. Images are not decoded where their header says their size. `go_on` is told how many masks are
/// done, and says whether to look at the rest.
///
/// # Errors
///
/// Those of the first bad mask in the order of `indices`, whichever thread met it: [`Error::NoMask`], [`Error::Mask`], [`Error::MaskSize`]. [`Error::TooFewMaskClasses`] where there is nothing to tell apart, and [`Error::NoValidPixel`] where no pixel of
/// any mask has a class. [`Error::Stopped`] where it was not to go on.
///
/// # Panics
///
/// If an index is not one of the source's, or the source panics.
pub fn check_masks(
    source: &Arc<dyn Source>,
    indices: &[usize],
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<MaskCensus> {
    assert!(indices.iter().all(|&index| index < source.len()), "an index is outside the source");
    let classes = source.mask_classes().len();
    let mut census = MaskCensus { pixels: vec![0; classes], ..MaskCensus::default() };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (shared, numbers) = (Arc::clone(source), indices.to_vec());
    let job = move |number: u64| count(&*shared, numbers[number as usize], classes);
    let all = Ordered::start(0..indices.len() as u64, workers, 4 * workers, job).map_err(Error::Thread)?;
    for (&index, counted) in indices.iter().zip(all) {
        let counted = counted.unwrap_or_else(|panic| panic!("{panic}"))?;
        census.add(&counted, || source.mask_name(index));
        if !go_on(census.masks) {
            return Err(Error::Stopped);
        }
    }
    census.check(source.mask_classes())
}

fn count(source: &dyn Source, index: usize, classes: usize) -> Result<Counted> {
    let mask = read_mask(source, index)?;
    if let Some((x, y, id)) = mask.beyond(classes) {
        let reason = format!(
            "pixel ({x}, {y}) has the number {id}; expected a class below {classes}, or {} to ignore it",
            Mask::IGNORED
        );
        return Err(Error::Mask { name: source.mask_name(index), reason });
    }
    let size = source.size(index);
    let image_is_read = size.is_ok();
    size.map_or(Ok(()), |size| same_size(source, index, size, &mask))?;
    Ok(Counted { counts: mask.histogram(), image_is_read })
}

impl MaskCensus {
    fn add(&mut self, counted: &Counted, name: impl FnOnce() -> String) {
        self.masks += 1;
        self.pixels.iter_mut().zip(&counted.counts).for_each(|(sum, count)| *sum += count);
        self.ignored += counted.counts[usize::from(Mask::IGNORED)];
        self.unread_images += usize::from(!counted.image_is_read);
        if counted.counts[..usize::from(Mask::IGNORED)].iter().all(|&count| count == 0) {
            self.void += 1;
            self.first_void.get_or_insert_with(name);
        }
    }

    fn check(self, names: &[String]) -> Result<Self> {
        if self.void == self.masks {
            return Err(Error::NoValidPixel {
                masks: self.masks,
                first: self.first_void.unwrap_or_default(),
            });
        }
        if names.len() < 2 {
            return Err(Error::TooFewMaskClasses { names: names.to_vec() });
        }
        Ok(self)
    }
}
