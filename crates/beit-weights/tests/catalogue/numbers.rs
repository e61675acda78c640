//! Preprocessing, scores and fixtures.

use beit_data::{Filter, Fit, Normalise, Preprocessing, Scale};
use beit_weights::catalogue::{Data, Family, Library, Preparation, Score, Task};
use beit_weights::{Entry, catalogue};

#[test]
fn pictures_are_prepared_as_each_library_does() {
    for entry in catalogue() {
        let side = entry.architecture.as_ref().map(|architecture| architecture.image);
        for Preparation { library, preprocessing, .. } in &entry.preparations {
            assert_eq!(preprocessing.size, [side.unwrap_or(112); 2], "{}", entry.name);
            let resized = preprocessing.shortest_edge().unwrap_or(preprocessing.size[0]);
            let kept = kept(entry, *library, preprocessing.size[0]);
            assert_eq!(resized, (preprocessing.size[0] as f64 / kept) as usize, "{}", entry.name);
        }
    }
}

/// The fraction of a picture's shorter side that the library keeps.
fn kept(entry: &Entry, library: Library, side: usize) -> f64 {
    let large = entry.name.contains("large") && !entry.name.ends_with("ft21k");
    match (library, entry.family) {
        (_, Family::Beit3) | (Library::Unilm, Family::Eva) => 1.0,
        (Library::Timm, Family::Eva) if side == 224 => 0.9,
        (Library::Timm, Family::Eva) => 1.0,
        (Library::Unilm, _) if side < 384 => 0.875,
        (Library::Timm, Family::BeitV2) if large => 0.95,
        (Library::Timm, _) if side < 384 => 0.9,
        _ => 1.0,
    }
}

/// Whether the library gives pictures another shape.
fn squashed(entry: &Entry, library: Library, side: usize) -> bool {
    library == Library::Transformers
        || (library == Library::Timm && entry.family == Family::Eva && side > 224)
}

/// With which statistics the authors and timm normalise pictures for what they trained.
fn statistics(entry: &Entry, library: Library) -> Normalise {
    match entry.family {
        Family::Eva if library == Library::Timm && entry.name.contains("m30m") => Normalise::IMAGENET,
        Family::Eva => Normalise::CLIP,
        Family::BeitV2 | Family::Beit3 => Normalise::IMAGENET,
        Family::Data2VecVision if entry.task == Task::Encoder => Normalise::IMAGENET,
        _ if entry.name.contains("pt1k") => Normalise::IMAGENET,
        _ => Normalise::HALF,
    }
}

#[test]
fn each_library_has_its_filter_and_statistics() {
    for entry in catalogue() {
        for Preparation { library, preprocessing, stride } in &entry.preparations {
            let segments = entry.task == Task::Segment && *library == Library::Unilm;
            let expected = match library {
                Library::Transformers => (Filter::Bilinear, Normalise::HALF),
                Library::Dalle => (Filter::Lanczos, Normalise::LOGIT_LAPLACE),
                _ if segments => (Filter::Bilinear, Normalise::IMAGENET),
                _ => (Filter::Bicubic, statistics(entry, *library)),
            };
            assert_eq!((preprocessing.filter, preprocessing.normalise), expected, "{}", entry.name);
            let squashed = squashed(entry, *library, preprocessing.size[0]);
            assert_eq!(preprocessing.fit == Fit::Squash, squashed, "{}", entry.name);
            assert_eq!(*stride, segments.then_some(426), "{}", entry.name);
        }
    }
}

/// The rules that beit-data compares with the libraries on photographs, and the numbers of the catalogue, are the same.
#[test]
fn the_rules_of_the_libraries_give_the_numbers_of_the_catalogue() {
    let mut count = 0;
    for entry in catalogue() {
        for Preparation { library, preprocessing, stride } in &entry.preparations {
            let size = preprocessing.size;
            let kept = kept(entry, *library, size[0]);
            let rule = match library {
                Library::Unilm if [Family::Eva, Family::Beit3].contains(&entry.family) => {
                    Preprocessing::unilm(size).keeping(kept)
                }
                Library::Unilm if stride.is_none() => Preprocessing::unilm(size),
                Library::Timm if squashed(entry, *library, size[0]) => {
                    Preprocessing { fit: Fit::Squash, ..Preprocessing::timm(size) }
                }
                Library::Timm => Preprocessing::timm(size).keeping(kept),
                Library::Transformers => Preprocessing::hugging_face(size),
                _ => continue,
            };
            count += 1;
            let expected = Preprocessing { normalise: preprocessing.normalise, ..rule };
            assert_eq!(*preprocessing, expected, "{} {library:?}", entry.name);
        }
    }
    assert_eq!(count, 80);
}

#[test]
fn official_checkpoints_see_what_the_authors_measured_with() {
    let name = "microsoft/beit-base-patch16-224";
    let entry = Entry::find(name).unwrap();
    for size in [[224; 2], [384; 2], [28; 2], [224, 160]] {
        assert_eq!(entry.authors_preprocessing(size), Some(Preprocessing::unilm(size)), "{name} {size:?}");
    }
    let segments = catalogue().iter().filter(|entry| entry.task == Task::Segment);
    for entry in segments {
        let authors = entry.authors_preprocessing([640; 2]).expect("the authors' way is known");
        // Windows of 640 over pictures within 2560x640, as in the released configurations.
        assert_ne!(authors.fit, Fit::Squash, "{}", entry.name);
        let view = authors.segment().view();
        let expected = (Scale::Within { long: 2560, short: 640 }, Normalise::IMAGENET);
        assert_eq!((view.scale, view.normalise), expected, "{}", entry.name);
    }
    let first = Entry::find("beit_base_patch16_224_pt1k_800ep").unwrap();
    let imagenet = Preprocessing { normalise: Normalise::IMAGENET, ..Preprocessing::unilm([224; 2]) };
    assert_eq!(first.authors_preprocessing([224; 2]), Some(imagenet));
    let documents = Entry::find("microsoft/dit-base-finetuned-rvlcdip").unwrap();
    assert_eq!(documents.authors_preprocessing([224; 2]), Some(Preprocessing::unilm([224; 2])));
    let eva = Entry::find("timm/eva_giant_patch14_336.clip_ft_in1k").unwrap();
    let clip = Preprocessing { normalise: Normalise::CLIP, ..Preprocessing::unilm([336; 2]) };
    assert_eq!(eva.authors_preprocessing([336; 2]), Some(clip.keeping(1.0)));
}

#[test]
fn logit_laplace_is_a_mean_and_a_deviation() {
    let Normalise { mean, std, .. } = Normalise::LOGIT_LAPLACE;
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
            assert!(entry.preparation(score.library).is_some(), "{}", entry.name);
            assert!(plausible(score), "{}: {score:?}", entry.name);
        }
        for score in &entry.published {
            assert_eq!(score.library, entry.preparations[0].library, "{}", entry.name);
        }
    }
}

fn plausible(score: &Score) -> bool {
    // Some papers give no top-5.
    let classified = score.top1.is_some_and(|one| {
        let five = score.top5.unwrap_or(99.0);
        83.0 < one && one < five && five <= 99.0
    });
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
        assert!(entry.preparation(fixture.library).is_some(), "{}", entry.name);
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
    assert_eq!(count, 12);
}
