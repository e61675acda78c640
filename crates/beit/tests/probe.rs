//! The judges of features against scikit-learn's, by what tests/peers/probe_golden.py wrote.

use beit::probe::{LogisticRegression, LogisticSettings, Rows, knn};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const GOLDEN: &[u8] = include_bytes!("goldens/probe.safetensors");
const WIDTH: usize = 16;
const CLASSES: usize = 5;
/// Ours multiplies in single precision and stops at a gradient of 1e-6, where the least curvature of the objective is 1 / (C n),
/// 0.005: weights are within 2e-4 even in the flattest direction.
const ALLOWED: f32 = 1e-4;

fn tensor(name: &str) -> TensorView<'static> {
    SafeTensors::deserialize(GOLDEN).unwrap().tensor(name).unwrap()
}

fn floats(name: &str) -> Vec<f32> {
    tensor(name).data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn classes(name: &str) -> Vec<u32> {
    tensor(name).data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as u32).collect()
}

fn greatest_difference(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    got.iter().zip(wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max)
}

#[test]
fn nearest_neighbours_are_scikit_learns() {
    let (train, test, labels) = (floats("train"), floats("test"), classes("train_labels"));
    let rows = [&train, &test].map(|values| Rows::new(values, WIDTH).unwrap());
    for k in [1, 5, 10] {
        assert_eq!(knn(rows[0], &labels, rows[1], k).unwrap(), classes(&format!("knn.{k}")), "k = {k}");
    }
}

#[test]
fn logistic_regressions_are_scikit_learns() {
    let (train, test, labels) = (floats("train"), floats("test"), classes("train_labels"));
    let rows = [&train, &test].map(|values| Rows::new(values, WIDTH).unwrap());
    for (c, name) in [(0.05, "logistic.0.05"), (1.0, "logistic.1.0")] {
        let settings = LogisticSettings { c, tolerance: 1e-6, ..LogisticSettings::default() };
        let fitted = LogisticRegression::fit(rows[0], &labels, CLASSES, &settings).unwrap();
        assert!(fitted.converged && fitted.iterations < 200, "{} steps", fitted.iterations);
        let found = fitted.probabilities(rows[1]).unwrap();
        let parts = [
            ("weights", &fitted.weights, 2.0 * ALLOWED),
            ("intercepts", &fitted.intercepts, 2.0 * ALLOWED),
            ("probabilities", &found, ALLOWED),
        ];
        for (part, got, allowed) in parts {
            let difference = greatest_difference(got, &floats(&format!("{name}.{part}")));
            assert!(difference <= allowed, "{part} with C = {c}: {difference} apart, {allowed} allowed");
        }
        let likeliest = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
        let wanted: Vec<u32> =
            floats(&format!("{name}.probabilities")).chunks_exact(CLASSES).map(likeliest).collect();
        assert_eq!(fitted.classes(rows[1]).unwrap(), wanted, "classes with C = {c}");
    }
}

#[test]
fn the_same_bits_come_from_one_thread_and_from_many() {
    let (train, labels) = (floats("train"), classes("train_labels"));
    let fit = |threads| {
        let pool = rayon_pool(threads);
        pool.install(|| {
            let rows = Rows::new(&train, WIDTH).unwrap();
            LogisticRegression::fit(rows, &labels, CLASSES, &LogisticSettings::default()).unwrap()
        })
    };
    assert_eq!(fit(1), fit(3));
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
