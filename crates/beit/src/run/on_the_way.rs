//! Pictures of a run that are drawn while it goes on: few, and spread over its steps.

use super::Run;
use super::checkpoints::name_of;
use super::parts::{entries, is_checkpoint_name, name, remove};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// So many are kept.
const MOST: usize = 8;

impl Run {
    /// The picture of what there is after `step` steps.
    pub(crate) fn picture_after(&self, step: u64) -> PathBuf {
        self.pictures().join(name_of(step) + ENDING)
    }

    /// Deletes pictures of steps after `step`, which a run that goes on from there takes again.
    pub(crate) fn forget_pictures_after(&self, step: u64) -> Result<()> {
        let mut later = self.pictures_on_the_way()?.into_iter().filter(|(of, _)| *of > step);
        later.try_for_each(|(_, path)| remove(&path))
    }

    /// Deletes pictures until there are few: each time the one whose neighbours are nearest to one another, and never the first or the
    /// newest.
    pub(crate) fn thin_pictures(&self) -> Result<()> {
        let mut all = self.pictures_on_the_way()?;
        while all.len() > MOST {
            let steps: Vec<u64> = all.iter().map(|(step, _)| *step).collect();
            remove(&all.remove(closest(&steps)).1)?;
        }
        Ok(())
    }

    /// By their steps.
    fn pictures_on_the_way(&self) -> Result<Vec<(u64, PathBuf)>> {
        let all = entries(&self.pictures())?.into_iter();
        let mut all: Vec<_> = all.filter_map(|path| Some((step_of(&path)?, path))).collect();
        all.sort_unstable();
        Ok(all)
    }
}

const ENDING: &str = ".png";

/// The steps after which a picture was drawn; none where its name says none.
pub(crate) fn step_of(path: &Path) -> Option<u64> {
    let name = name(path);
    let name = name.strip_suffix(ENDING)?;
    is_checkpoint_name(name).then(|| name.strip_prefix("step-")?.parse().ok())?
}

/// Which of at least three steps in ascending order has the nearest neighbours; of several the first.
fn closest(steps: &[u64]) -> usize {
    let distance = |i: &usize| steps[i + 1] - steps[i - 1];
    (1..steps.len() - 1).min_by_key(distance).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_stay_are_spread_over_the_steps() {
        let mut steps = vec![0];
        for step in 1..=100 {
            steps.push(step);
            if steps.len() > MOST {
                steps.remove(closest(&steps));
            }
        }
        assert_eq!((steps.len(), steps[0], steps[MOST - 1]), (MOST, 0, 100));
        let widest = steps.windows(2).map(|pair| pair[1] - pair[0]).max().expect("eight");
        assert!(widest <= 32, "{steps:?}");
    }

    #[test]
    fn names_of_pictures() {
        assert_eq!(step_of(Path::new("a/step-0000120.png")), Some(120));
        for other in ["step-0000120", "step-12.png", "masks.png", "step-000012x.png"] {
            assert_eq!(step_of(Path::new(other)), None, "{other}");
        }
    }
}
