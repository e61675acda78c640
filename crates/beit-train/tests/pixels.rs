//! Pixels counted as scikit-learn counts them, by what tests/peers/pixels_golden.py wrote.

use beit_train::{PixelClass, PixelCounts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    pictures: Vec<Picture>,
    confusion: Vec<Vec<u64>>,
    /// Of the classes that are shown or named, which are the first.
    iou: Vec<f64>,
    /// Of the classes that are shown, which are the first.
    recall: Vec<f64>,
    accuracy: f64,
}

#[derive(Deserialize)]
struct Picture {
    labels: Vec<u8>,
    named: Vec<u8>,
}

#[test]
fn counts_and_means_are_scikit_learns() {
    let golden: Golden = serde_json::from_str(include_str!("goldens/pixels.json")).expect("a golden");
    let mut counts = PixelCounts::new(golden.confusion.len());
    for Picture { labels, named } in &golden.pictures {
        counts.add(labels, named);
    }
    assert_eq!(counts.confusion(), golden.confusion.concat());
    let pixels = golden.pictures.iter().map(|picture| picture.labels.len() as u64).sum::<u64>();
    assert_eq!(counts.ignored + counts.accuracy().pixels, pixels);

    // Both divide the same counts.
    let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "got {got}, want {want}");
    let classes = counts.per_class();
    let iou: Vec<f64> = classes.iter().filter_map(PixelClass::iou).collect();
    assert_eq!(iou.len(), golden.iou.len());
    iou.iter().zip(&golden.iou).for_each(|(&got, &want)| close(got, want));
    let recall: Vec<f64> = classes.iter().filter_map(PixelClass::accuracy).collect();
    assert_eq!(recall.len(), golden.recall.len());
    recall.iter().zip(&golden.recall).for_each(|(&got, &want)| close(got, want));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let accuracy = counts.accuracy();
    close(accuracy.miou, mean(&golden.iou));
    close(accuracy.macc, mean(&golden.recall));
    close(accuracy.aacc, golden.accuracy);
}
