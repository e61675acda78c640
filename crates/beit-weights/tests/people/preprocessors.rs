//! `preprocessor_config.json` as its writers write it.

use crate::made::{edit, picture, saved};
use beit_data::{Filter, Fit, Normalise, Preprocessing};
use beit_weights::{Checkpoint, read_preprocessing, write_preprocessing};
use serde_json::{Value, json};

/// The file of a model that sees 16x16 pixels, read.
fn read(file: Value) -> Result<Preprocessing, String> {
    let (_tmp, folder) = saved();
    edit(&folder.join("preprocessor_config.json"), |json| *json = file);
    let checkpoint = Checkpoint::open(&folder).map_err(|error| error.to_string())?;
    Ok(*checkpoint.preprocessing().unwrap())
}

fn squashed() -> Preprocessing {
    Preprocessing::hugging_face([16; 2])
}

#[test]
fn sizes_and_crops() {
    let exact = |to: [usize; 2]| Preprocessing { fit: Fit::SquashAndCrop { to }, ..squashed() };
    let rows = [
        (json!({"size": 16, "do_center_crop": null}), squashed()),
        (
            json!({"size": {"height": "16", "width": 16.0}, "crop_size": 12, "do_center_crop": false}),
            squashed(),
        ),
        (
            json!({"size": {"height": 20, "width": 24}, "do_center_crop": true, "crop_size": {"height": 16, "width": 16}}),
            exact([20, 24]),
        ),
        (json!({"size": 20, "do_center_crop": "true", "crop_size": [16, 16]}), exact([20; 2])),
        (
            json!({"size": {"shortest_edge": 20}, "do_center_crop": true, "crop_size": 16}),
            squashed().covering(20),
        ),
        // What the file does not say is the model's.
        (json!({}), squashed()),
        (json!({"size": null, "crop_size": null}), squashed()),
        (json!({"size": {"shortest_edge": 20}}), squashed().covering(20)),
        (json!({"do_resize": false, "size": 99}), squashed()),
    ];
    for (file, expected) in rows {
        assert_eq!(read(file.clone()), Ok(expected), "{file}");
    }
    let text = read(json!({"size": 12, "do_center_crop": true, "crop_size": 16})).unwrap_err();
    assert!(text.contains("`crop_size` is [16, 16] and `size` [12, 12]"), "{text}");
}

#[test]
fn statistics_and_factors() {
    let with = |mean: [f32; 3], std: [f32; 3]| Preprocessing {
        normalise: Normalise { mean: mean.into(), std: std.into(), ..Normalise::HALF },
        ..squashed()
    };
    let rows = [
        (json!({"image_mean": [0.1], "image_std": 0.25}), with([0.1; 3], [0.25; 3])),
        (json!({"image_mean": ["0.1", 0.2, 0.3]}), with([0.1, 0.2, 0.3], [0.5; 3])),
        (json!({"do_normalize": false}), with([0.0; 3], [1.0; 3])),
        (
            json!({"do_rescale": false, "image_mean": [127.5, 127.5, 127.5], "image_std": [127.5, 127.5, 127.5]}),
            squashed(),
        ),
        (json!({"rescale_factor": 0.003921569, "resample": "2"}), squashed()),
    ];
    for (file, expected) in rows {
        let found = read(file.clone()).unwrap();
        let near =
            |a: beit_data::PerChannel, b: beit_data::PerChannel| (0..3).all(|c| (a[c] - b[c]).abs() < 1e-6);
        let (a, b) = (found.normalise, expected.normalise);
        assert!(near(a.mean, b.mean) && near(a.std, b.std), "{file}: {found}");
    }
    assert!(read(json!({"resample": 7})).unwrap_err().contains("`resample` is 7, expected 1 (Lanczos)"));
    assert!(read(json!({"rescale_factor": 0})).unwrap_err().contains("`rescale_factor` is 0"));
}

#[test]
fn every_fit_is_written_and_read_back() {
    let tmp = tempfile::tempdir().unwrap();
    for fit in [
        Fit::Squash,
        Fit::CentreCrop { least: [20, 24] },
        Fit::SquashAndCrop { to: [20, 30] },
        Fit::Border { within: [18, 25] },
    ] {
        let said =
            Preprocessing { size: [16, 24], fit, filter: Filter::Bicubic, normalise: Normalise::IMAGENET };
        write_preprocessing(tmp.path(), &said).unwrap();
        assert_eq!(read_preprocessing(tmp.path()).unwrap(), said);
        assert_eq!(said.view(&picture(31, 47)).pixels().len(), 16 * 24 * 3);
    }
}
