//! What a person should know before a run begins.

use crate::progress::Watch;
use crate::settings::{ModelSettings, Size};
use beit_data::Source;
use std::time::Duration;

/// Images that are looked at to learn how large those of a set are.
const LOOKED_AT: usize = 9;

/// Says so where another preset suits the images better than the one that is taken when nothing is said.
pub(super) fn advise(model: &ModelSettings, source: &dyn Source, watch: &Watch) {
    if let Some(advice) = advice(model, source) {
        watch.note(&advice);
    }
}

fn advice(model: &ModelSettings, source: &dyn Source) -> Option<String> {
    if model.preset != Size::default() || model.image_size.is_some() {
        return None;
    }
    let side = usual_side(source)?;
    let better = suiting(source.len(), side);
    (better != model.preset).then(|| {
        format!(
            "these {} images have about {side} pixels a side and are seen with 28: --preset {} suits them better",
            source.len(),
            format!("{better:?}").to_lowercase()
        )
    })
}

/// The preset for so many images of this side. Few images are learnt by heart by large models.
const fn suiting(images: usize, side: usize) -> Size {
    match (side, images) {
        (0..48, _) => Size::Tiny,
        (48..96, _) | (_, ..10_000) => Size::Mini,
        (_, ..100_000) => Size::Midi,
        _ => Size::Small,
    }
}

/// The median of the shorter sides of some images, spread over the set; none where none can be decoded.
fn usual_side(source: &dyn Source) -> Option<usize> {
    let step = source.len().div_ceil(LOOKED_AT).max(1);
    let images = (0..source.len()).step_by(step).filter_map(|index| source.image(index).ok());
    let mut sides: Vec<usize> = images.map(|image| image.height().min(image.width())).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied()
}

/// How long so many steps will take.
pub(super) fn duration_sentence(steps: u64, step: Duration) -> String {
    let milliseconds = step.as_secs_f64() * 1e3;
    let time = time_for(step.as_secs_f64() * steps as f64);
    format!("{steps} steps of {milliseconds:.0} ms will take about {time}")
}

/// So many seconds, in the unit in which a person thinks of them.
pub(super) fn time_for(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} seconds"),
        ..7200.0 => format!("{:.0} minutes", seconds / 60.0),
        ..432_000.0 => format!("{:.1} hours", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_for_sets() {
        for (images, side, preset) in [
            (70_000, 28, Size::Tiny),
            (3_000, 128, Size::Mini),
            (50_000, 64, Size::Mini),
            (50_000, 128, Size::Midi),
            (1_280_000, 400, Size::Small),
        ] {
            assert_eq!(suiting(images, side), preset, "{images} images of {side}");
        }
    }

    #[test]
    fn times_for_a_person() {
        let sentence = |steps, ms| duration_sentence(steps, Duration::from_millis(ms));
        assert_eq!(sentence(100, 50), "100 steps of 50 ms will take about 5 seconds");
        assert_eq!(sentence(4000, 75), "4000 steps of 75 ms will take about 5 minutes");
        assert_eq!(sentence(100_000, 400), "100000 steps of 400 ms will take about 11.1 hours");
    }
}
