//! A look at some images of a set, at even distances: whether they can be learnt from.

use crate::error::chain;
use beit_data::{Samples, Source};
use flate2::Crc;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

/// Pictures with a shorter side below this many pixels show little.
const TINY: usize = 16;
/// So many names are kept of each kind of finding.
const NAMED: usize = 5;

/// What some images of a set are like.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Survey {
    /// Images of the set.
    pub images: usize,
    /// Classes of the set: of images, or of the pixels of masks.
    pub classes: usize,
    /// Images that were looked at.
    pub looked_at: usize,
    /// Of these, how many cannot be decoded.
    pub undecodable: usize,
    /// The first of them, and why.
    pub undecodable_first: Vec<String>,
    /// Shorter sides in pixels: the least, the median, the most.
    pub shorter_side: [usize; 3],
    /// Longer side by shorter side, at most.
    pub most_aspect: f64,
    /// How many have no colour; none of those that are read as they are.
    pub grey: usize,
    /// How many have a shorter side of less than sixteen pixels.
    pub tiny: usize,
    /// The first of them.
    pub tiny_first: Vec<String>,
    /// How many have the pixels of another that was looked at.
    pub duplicates: usize,
    /// The first of them, with the other.
    pub duplicates_first: Vec<[String; 2]>,
}

/// What one image is like.
struct Seen {
    index: usize,
    sides: [usize; 2],
    grey: bool,
    crc: u32,
}

impl Survey {
    /// Decodes so many images at even distances; all where there are no more.
    #[must_use]
    pub fn of(source: &dyn Source, sample: usize) -> Self {
        let images = source.len();
        let looked_at = images.min(sample.max(1));
        let indices = (0..looked_at).map(|i| (i as u128 * images as u128 / looked_at as u128) as usize);
        let seen: Vec<Result<Seen, String>> =
            indices.collect::<Vec<_>>().into_par_iter().map(|index| look(source, index)).collect();
        let classes = source.class_names().len().max(source.mask_classes().len());
        let mut survey = Self { images, classes, looked_at, ..Self::default() };
        let mut whole = Vec::new();
        for seen in seen {
            match seen {
                Ok(seen) => whole.push(seen),
                Err(problem) => named(&mut survey.undecodable, &mut survey.undecodable_first, problem),
            }
        }
        survey.measure(source, &whole);
        survey
    }

    fn measure(&mut self, source: &dyn Source, seen: &[Seen]) {
        let mut shorter: Vec<usize> = seen.iter().map(|seen| seen.shorter()).collect();
        shorter.sort_unstable();
        if let (Some(&least), Some(&most)) = (shorter.first(), shorter.last()) {
            self.shorter_side = [least, shorter[shorter.len() / 2], most];
        }
        self.most_aspect = seen.iter().map(Seen::aspect).fold(0.0, f64::max);
        self.grey = seen.iter().filter(|seen| seen.grey).count();
        for seen in seen.iter().filter(|seen| seen.shorter() < TINY) {
            named(&mut self.tiny, &mut self.tiny_first, source.name(seen.index));
        }
        let mut first: HashMap<([usize; 2], u32), usize> = HashMap::new();
        for seen in seen {
            let other = *first.entry((seen.sides, seen.crc)).or_insert(seen.index);
            if other != seen.index && same(source, other, seen.index) {
                let names = [other, seen.index].map(|index| source.name(index));
                named(&mut self.duplicates, &mut self.duplicates_first, names);
            }
        }
    }

    /// Share of the images that cannot be decoded.
    #[must_use]
    pub fn bad_share(&self) -> f64 {
        self.undecodable as f64 / self.looked_at.max(1) as f64
    }

    /// One sentence for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { images, looked_at, undecodable, shorter_side: [least, median, most], grey, .. } = self;
        let mut text = format!("{images} images, {looked_at} of them looked at: ");
        if undecodable < looked_at {
            text += &format!(
                "shorter sides of {least} to {most} pixels (median {median}), longer sides up to {:.1} times as long",
                self.most_aspect
            );
        }
        for (number, what) in [
            (*undecodable, "cannot be decoded"),
            (*grey, "without colour"),
            (self.tiny, "tiny"),
            (self.duplicates, "twice"),
        ] {
            if number > 0 {
                text += &format!(", {number} {what}");
            }
        }
        match self.undecodable_first.first() {
            Some(first) => text + &format!(" ({first})"),
            None => text,
        }
    }
}

/// Counts a finding, and keeps the first of its kind.
fn named<T>(number: &mut usize, first: &mut Vec<T>, finding: T) {
    *number += 1;
    if first.len() < NAMED {
        first.push(finding);
    }
}

fn look(source: &dyn Source, index: usize) -> Result<Seen, String> {
    let image = source.image(index).map_err(|error| chain(&error))?;
    let mut crc = Crc::new();
    match image.samples() {
        Samples::Bytes(bytes) => crc.update(bytes),
        Samples::Words(words) => words.iter().for_each(|word| crc.update(&word.to_ne_bytes())),
    }
    let grey =
        image.is_colour() && image.pixels().as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b);
    Ok(Seen { index, sides: [image.height(), image.width()], grey, crc: crc.sum() })
}

/// Whether two images have the same pixels: a checksum may be that of another.
fn same(source: &dyn Source, one: usize, other: usize) -> bool {
    let image = |index| source.image(index).ok();
    image(one).is_some_and(|one| Some(one) == image(other))
}

impl Seen {
    fn shorter(&self) -> usize {
        self.sides[0].min(self.sides[1])
    }

    fn aspect(&self) -> f64 {
        self.sides[0].max(self.sides[1]) as f64 / self.shorter().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_data::Split;
    use image::{Rgb, RgbImage};

    #[test]
    fn what_is_wrong_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join("train/a").join(name);
        std::fs::create_dir_all(path("")).expect("made");
        let picture = |w, h, shade: [u8; 3]| {
            RgbImage::from_fn(w, h, |x, _| Rgb(shade.map(|s| s.wrapping_add(x as u8))))
        };
        picture(40, 20, [1, 2, 3]).save(path("0.png")).expect("written");
        picture(40, 20, [1, 2, 3]).save(path("1.png")).expect("written");
        picture(30, 30, [7; 3]).save(path("2.png")).expect("written");
        picture(8, 64, [9, 1, 2]).save(path("3.png")).expect("written");
        std::fs::write(path("4.png"), b"no picture").expect("written");
        let source =
            beit_data::open(&format!("folder:{}", dir.path().display()), Split::Train).expect("a set");
        let survey = Survey::of(&*source, 200);
        let counts = [
            survey.images,
            survey.looked_at,
            survey.undecodable,
            survey.grey,
            survey.tiny,
            survey.duplicates,
        ];
        assert_eq!(counts, [5, 5, 1, 1, 1, 1], "{survey:?}");
        assert_eq!((survey.shorter_side, survey.most_aspect, survey.classes), ([8, 20, 30], 8.0, 1));
        assert!(
            survey.undecodable_first[0].contains("4.png") && survey.tiny_first[0].contains("3.png"),
            "{survey:?}"
        );
        assert!(
            survey.duplicates_first[0][0].contains("0.png")
                && survey.duplicates_first[0][1].contains("1.png")
        );
        let said = survey.sentence();
        assert!(
            said.starts_with("5 images, 5 of them looked at: shorter sides of 8 to 30 pixels (median 20)"),
            "{said}"
        );
        assert!(said.contains("1 cannot be decoded") && said.contains("1 twice"), "{said}");
        // Two of five: the first and the one in the middle.
        let few = Survey::of(&*source, 2);
        assert_eq!([few.looked_at, few.grey, few.duplicates], [2, 1, 0], "{few:?}");
    }

    /// Pictures that are read as they are have no colour to lack, and are compared sample by sample.
    #[test]
    fn pictures_of_other_channels_are_looked_at() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("a")).expect("made");
        let grey = |shade: u16| image::ImageBuffer::from_pixel(20, 20, image::Luma([shade]));
        for (name, shade) in [("0", 300), ("1", 301), ("2", 300)] {
            grey(shade).save(dir.path().join(format!("a/{name}.png"))).expect("written");
        }
        let spec = format!("folder:{}", dir.path().display());
        let source = beit_data::open_as(&spec, Split::Train, beit_data::Bands::new(1)).expect("a set");
        let survey = Survey::of(&*source, 200);
        assert_eq!([survey.undecodable, survey.grey, survey.duplicates], [0, 0, 1], "{survey:?}");
        assert!(survey.duplicates_first[0][1].contains("2.png"), "{survey:?}");
        let as_rgb = Survey::of(&*beit_data::open(&spec, Split::Train).expect("a set"), 200);
        assert_eq!([as_rgb.grey, as_rgb.duplicates], [3, 2], "{as_rgb:?}");
    }
}
