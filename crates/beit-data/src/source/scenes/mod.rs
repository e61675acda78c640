//! Scenes with masks, composed from the embedded garments.

mod garment;
mod ground;

use super::Source;
use super::embedded::{CLASS_NAMES, garments};
use crate::error::Result;
use crate::image::Image;
use crate::mask::Mask;
use crate::rng::{Purpose, at_most, sample_rng};
use crate::split::Split;
use garment::Garment;

/// Pixels of each side.
const SIDE: usize = 64;
/// Most garments of a scene; there is at least one.
const MOST_GARMENTS: usize = 4;

/// RGB scenes of 64 x 64 pixels with one to four garments of Fashion-MNIST on textured ground, and the exact mask of each. Classes are the
/// ground and the ten garments. Garments of the split alone are shown in it. What a scene shows depends on (seed, split, number)
/// only.
///
/// Garments have their own greys, and the ground colours that are drawn at random: brightness does not say what is what, and colour does not
/// say which garment it is. Later garments lie on earlier ones, and the border may cut them.
pub struct Scenes {
    split: Split,
    seed: u64,
    len: usize,
    classes: Vec<String>,
}

impl Scenes {
    /// Scenes of a seed.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn new(split: Split, seed: u64, len: usize) -> Self {
        assert!(len > 0, "expected at least one scene");
        let classes = std::iter::once("ground").chain(CLASS_NAMES).map(str::to_owned).collect();
        Self { split, seed, len, classes }
    }

    /// 2,000 scenes for training or 500 for a test, of seed 0.
    #[must_use]
    pub fn standard(split: Split) -> Self {
        match split {
            Split::Train => Self::new(split, 0, 2000),
            Split::Test => Self::new(split, 0, 500),
        }
    }

    /// Picture and mask of scene `index`.
    ///
    /// # Panics
    ///
    /// If there are fewer scenes.
    #[must_use]
    pub fn scene(&self, index: usize) -> (Image, Mask) {
        assert!(index < self.len, "expected a scene below {}, found {index}", self.len);
        let mut rng = sample_rng(self.seed, self.split as u64, index as u64, Purpose::Scene);
        let mut pixels = ground::draw(SIDE, &mut rng);
        let mut ids = vec![0; SIDE * SIDE];
        let all = garments(self.split);
        for _ in 0..1 + at_most(&mut rng, MOST_GARMENTS - 1) {
            let number = at_most(&mut rng, all.len() - 1);
            let class = 1 + all.label(number).unwrap_or_default() as u8;
            let garment = Garment::draw(all.grey(number), &mut rng);
            garment.visible(SIDE, &mut rng, |at, colour| {
                pixels[at] = colour;
                ids[at] = class;
            });
        }
        (Image::new(SIDE, SIDE, pixels.into_flattened()), Mask::new(SIDE, SIDE, ids))
    }
}

impl Source for Scenes {
    fn len(&self) -> usize {
        self.len
    }

    fn image(&self, index: usize) -> Result<Image> {
        Ok(self.scene(index).0)
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn size(&self, _: usize) -> Result<[usize; 2]> {
        Ok([SIDE; 2])
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        Ok(Some(self.scene(index).1))
    }

    fn mask_classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        format!("scenes/{}#{index}", self.split)
    }
}
