//! Three crops of a picture: a model whose answer depends on where it looks says the mean of what it says to each.

use beit::{
    Batches, Classifier, Crops, DataSettings, Device, EvaluationSettings, FinetuneSettings, Finetuning,
    Image, RunSettings, Watch,
};
use image::{Rgb, RgbImage};
use std::path::Path;

const SIDE: u32 = 28;

/// Three squares in a row, of which `bright` is bright; the shade tells pictures apart.
fn picture(bright: u32, shade: u32) -> RgbImage {
    RgbImage::from_fn(3 * SIDE, SIDE, |x, y| {
        let light = if x / SIDE == bright { 200 } else { 20 };
        Rgb([(light + shade) as u8, (light + x % SIDE) as u8, (light + y) as u8])
    })
}

fn pictures(dir: &Path) {
    for split in ["train", "test"] {
        for (class, bright) in [("centre", 1), ("side", 0), ("side", 2)] {
            let folder = dir.join(split).join(class);
            std::fs::create_dir_all(&folder).expect("a folder");
            for shade in 0..4 {
                picture(bright, 3 * shade)
                    .save(folder.join(format!("{bright}-{shade}.png")))
                    .expect("written");
            }
        }
    }
}

fn trained(dir: &Path, data: &DataSettings) -> Classifier {
    let mut settings = FinetuneSettings { from_scratch: true, data: data.clone(), ..Default::default() };
    settings.run = RunSettings::in_folder(dir.join("tuned"));
    settings.training.steps = Some(12);
    settings.training.batches = Batches::from(8);
    let device = Device::cpu();
    let done =
        Finetuning::new(settings, &Watch::silent()).and_then(|job| job.run(&device)).expect("it trains");
    Classifier::open(&done.run, &device).expect("it was written")
}

#[test]
fn the_mean_of_three_looks() {
    let dir = tempfile::tempdir().expect("a folder");
    pictures(dir.path());
    let data = DataSettings::of_spec(format!("folder:{}", dir.path().display()));
    let one = trained(dir.path(), &data);
    let three = one.clone().with_crops(Crops::Three);

    // To each third alone, which is as large as what the model sees.
    let path = dir.path().join("test/side/2-1.png");
    let whole = Image::open(&path).expect("a picture");
    let third = |at: usize| {
        let columns = at * SIDE as usize..(at + 1) * SIDE as usize;
        let rows = whole.pixels().chunks_exact(3 * whole.width());
        let pixels = rows.flat_map(|row| row[3 * columns.start..3 * columns.end].to_vec()).collect();
        one.classify(&Image::new(whole.height(), SIDE as usize, pixels)).expect("finite").probabilities()
    };
    let [start, centre, end] = [0, 1, 2].map(third);
    assert!((start[0] - end[0]).abs() > 1e-3, "it says the same wherever it looks: {start:?}, {end:?}");
    let found = three.classify(&whole).expect("finite").probabilities();
    for class in 0..2 {
        let mean = (start[class] + centre[class] + end[class]) / 3.0;
        // Single precision keeps the logarithms.
        assert!((found[class] - mean).abs() < 1e-6, "{found:?}, expected {mean}");
    }
    let alone = one.classify(&whole).expect("finite").probabilities();
    assert!((alone[0] - centre[0]).abs() < 1e-6 && (alone[0] - found[0]).abs() > 1e-3, "{alone:?} {found:?}");

    // An evaluation counts the same.
    let settings =
        EvaluationSettings { data, crops: Crops::Three, batches: Batches::from(5), ..Default::default() };
    let evaluated = one.evaluate("tuned", &settings, &Watch::silent()).expect("it is judged");
    let source = settings.data.open(beit::Split::Test).expect("test images");
    let (mut loss, mut right) = (0.0, 0);
    for index in 0..source.len() {
        let said = three.classify(&source.image(index).expect("whole")).expect("finite");
        let class = source.label(index).expect("it has one") as usize;
        loss -= said.probabilities()[class].ln();
        right += usize::from(said.best().expect("two classes").class == class);
    }
    let accuracy = evaluated.accuracy;
    assert!((accuracy.loss - loss / source.len() as f64).abs() < 1e-5, "{accuracy:?}, expected {loss}");
    assert_eq!((accuracy.images, (accuracy.top1 * 12.0).round() as usize), (12, right));
    assert_eq!(evaluated.crops, 3);
    assert!(
        evaluated.preprocessing.starts_with("covering 28x28, three crops along the longer side"),
        "{}",
        evaluated.preprocessing
    );
}
