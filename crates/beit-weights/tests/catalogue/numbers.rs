//! Preprocessing, scores and fixtures.

use beit_weights::catalogue::{Data, Family, Filter, Fit, Preprocessing, Score, Statistics, Task};
use beit_weights::{Entry, catalogue};

#[test]
fn pictures_are_prepared_as_each_library_does() {
    for entry in catalogue() {
        let side = entry.architecture.as_ref().map(|architecture| architecture.image);
        for preprocessing in &entry.preprocessing {
            assert_eq!(preprocessing.crop, side.unwrap_or(112), "{}", entry.name);
            assert_eq!(preprocessing.resize, resized(entry, preprocessing), "{}", entry.name);
        }
    }
}

/// The length that the library computes from the side of its square, as the fraction of a picture that it keeps.
fn resized(entry: &Entry, p: &Preprocessing) -> usize {
    let kept = match p.family {
        Family::Unilm if p.crop < 384 => 0.875,
        Family::Timm
            if entry.version == 2 && entry.name.contains("large") && !entry.name.ends_with("ft21k") =>
        {
            0.95
        }
        Family::Timm if p.crop < 384 => 0.9,
        _ => 1.0,
    };
    (p.crop as f64 / kept) as usize
}

#[test]
fn each_family_has_its_filter_and_statistics() {
    for entry in catalogue() {
        for p in &entry.preprocessing {
            let imagenet = entry.version == 2 || entry.name.contains("pt1k");
            let statistics = if imagenet { Statistics::Imagenet } else { Statistics::Half };
            let expected = match p.family {
                Family::Transformers => (Fit::Squash, Filter::Bilinear, Statistics::Half),
                Family::Dalle => (Fit::Centre, Filter::Lanczos, Statistics::LogitLaplace),
                _ if entry.task == Task::Segment => (Fit::Slide, Filter::Bilinear, Statistics::Imagenet),
                _ => (Fit::Centre, Filter::Bicubic, statistics),
            };
            assert_eq!((p.fit, p.filter, p.statistics), expected, "{}", entry.name);
        }
    }
}

#[test]
fn logit_laplace_is_a_mean_and_a_deviation() {
    let [mean, std] = Statistics::LogitLaplace.values();
    for x in [0.0, 0.25, 1.0] {
        let normalised: f32 = (x - mean[0]) / std[0];
        assert!((normalised - (0.8 * x + 0.1)).abs() < 1e-7);
    }
}

#[test]
fn scores_say_how_pictures_were_prepared() {
    for entry in catalogue() {
        assert_eq!(entry.measured, [], "{}", entry.name);
        for score in entry.published.iter().chain(&entry.reevaluated) {
            assert!(entry.preprocessing(score.family).is_some(), "{}", entry.name);
            assert!(plausible(score), "{}: {score:?}", entry.name);
        }
        for score in &entry.published {
            assert_eq!(score.family, entry.preprocessing[0].family, "{}", entry.name);
        }
    }
}

fn plausible(score: &Score) -> bool {
    let classified =
        score.top1.zip(score.top5).is_some_and(|(one, five)| 83.0 < one && one < five && five < 99.0);
    let segmented = score.miou.zip(score.miou_multiscale).is_some_and(|(one, many)| 53.0 < one && one < many);
    if score.data == Data::Ade20k { segmented && !classified } else { classified && !segmented }
}

#[test]
fn timm_and_the_authors_agree_to_two_tenths() {
    for entry in catalogue().iter().filter(|entry| !entry.reevaluated.is_empty()) {
        let top1 = |scores: &[Score]| scores.iter().find(|s| s.data == Data::Imagenet1k).and_then(|s| s.top1);
        let [authors, timm] = [&entry.published, &entry.reevaluated].map(|scores| top1(scores).unwrap());
        assert!((authors - timm).abs() < 0.2, "{}: {authors} and {timm}", entry.name);
    }
}

#[test]
fn fixtures_fit_their_models() {
    let mut count = 0;
    for entry in catalogue() {
        let Some(fixture) = &entry.fixture else { continue };
        count += 1;
        assert!(entry.preprocessing(fixture.family).is_some(), "{}", entry.name);
        match entry.task {
            Task::Mim => {
                assert_eq!((fixture.logits.len(), fixture.masked, fixture.class), (3, Some(196), None))
            }
            _ => {
                assert_eq!((fixture.logits.len(), fixture.masked), (1, None));
                let classes = entry.architecture.as_ref().and_then(|architecture| architecture.classes);
                assert!(fixture.class < classes, "{}", entry.name);
            }
        }
    }
    assert_eq!(count, 10);
}
