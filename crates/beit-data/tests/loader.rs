//! The loader: the same batches from any number of threads and any position, and honest about bad files.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::pictures::{jpeg, write};
use beit_data::{
    Batch, Error, Folder, Image, Item, LabelledSample, Loader, LoaderConfig, Result, SampleRng, Shard,
    Source, Split,
};
use proptest::prelude::*;
use rand::Rng;

/// Pictures of one pixel; nothing to decode.
struct Numbers(usize);

impl Source for Numbers {
    fn len(&self) -> usize {
        self.0
    }
    fn image(&self, index: usize) -> Result<Image> {
        Ok(Image::new(1, 1, vec![index as u8; 3]))
    }
    fn label(&self, index: usize) -> Option<u32> {
        Some(index as u32 % 10)
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        index.to_string()
    }
}

/// A sample that shows its index and its random numbers.
fn sample(item: Item, rng: &mut SampleRng) -> LabelledSample {
    let noise = rng.next_u32() as f32;
    LabelledSample { pixels: vec![f32::from(item.image.pixels()[0]), noise], label: item.label.unwrap_or(99) }
}

fn loader(images: usize, config: LoaderConfig) -> Loader<LabelledSample> {
    Loader::new(Arc::new(Numbers(images)), (0..images).collect(), config, sample).unwrap()
}

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig { workers, ..LoaderConfig::training(8, 3) }
}

fn all(batches: impl Iterator<Item = Result<Batch<LabelledSample>>>) -> Vec<Batch<LabelledSample>> {
    batches.map(Result::unwrap).collect()
}

#[test]
fn batches_do_not_depend_on_threads_or_position() {
    let one = all(loader(100, config(1)).batches(0..40).unwrap());
    let three = all(loader(100, config(3)).batches(0..40).unwrap());
    assert_eq!((one.len(), loader(100, config(1)).batches_per_epoch()), (40, 12));
    assert_eq!(one, three);
    let late = loader(100, config(2));
    assert_eq!(one[17..], all(late.batches(17..40).unwrap()));
    assert_eq!(one[12..24], all(late.epoch(1).unwrap()));
    assert_ne!(one[0].indices, one[12].indices, "each epoch has its own order");
}

#[test]
fn an_epoch_holds_every_image_as_often_as_asked() {
    let config = LoaderConfig { repeats: 3, drop_last: false, ..config(2) };
    let batches = all(loader(50, config).epoch(0).unwrap());
    let mut seen: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(batches.last().unwrap().indices.len(), 150 % 8);
    seen.sort_unstable();
    assert_eq!(seen, (0..150).map(|i| i / 3).collect::<Vec<_>>());
    // Each time with other random numbers.
    let mut noise: Vec<u32> =
        batches.iter().flat_map(|b| b.data.pixels.chunks(2).map(|p| p[1] as u32)).collect();
    noise.sort_unstable();
    noise.dedup();
    assert!(noise.len() > 145, "{}", noise.len());
}

#[test]
fn evaluation_keeps_the_order_and_the_rest() {
    let batches =
        all(loader(10, LoaderConfig { workers: 2, ..LoaderConfig::evaluation(4) }).epoch(0).unwrap());
    let indices: Vec<Vec<usize>> = batches.iter().map(|batch| batch.indices.clone()).collect();
    assert_eq!(indices, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!(batches[2].data.labels, [8, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn ranks_share_the_batches_of_one_process(of in 1_usize..5, each in 1_u64..4, workers in 1_usize..4, seed: u64) {
        let loader = loader(100, LoaderConfig { workers, ..LoaderConfig::training(7, seed) });
        let of_all = each * of as u64;
        let whole: Vec<Vec<usize>> =
            all(loader.batches(of_all..4 * of_all).unwrap()).into_iter().map(|batch| batch.indices).collect();
        let ranks: Vec<Vec<Batch<LabelledSample>>> = (0..of)
            .map(|rank| all(loader.batches_of(1..4, each, Shard { rank, of }).unwrap()))
            .collect();
        let mut shared = Vec::new();
        for step in 0..3 {
            let own = step * each as usize..(step + 1) * each as usize;
            shared.extend(ranks.iter().flat_map(|batches| &batches[own.clone()]).map(|batch| batch.indices.clone()));
        }
        prop_assert_eq!(shared, whole);
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = config(1);
    let rows = [
        (100, LoaderConfig { batch_size: 0, ..good.clone() }, "at least 1"),
        (100, LoaderConfig { repeats: 0, ..good.clone() }, "at least 1"),
        (0, good.clone(), "at least 1"),
        (7, good.clone(), "expected enough images for one batch of 8, found 7"),
        (100, LoaderConfig { max_bad_share: f64::NAN, ..good.clone() }, "0 to 1, found NaN"),
    ];
    for (images, config, expected) in rows {
        let error =
            Loader::new(Arc::new(Numbers(images)), (0..images).collect(), config, sample).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = loader(100, good).batches_of(0..1, 1, Shard { rank: 2, of: 2 }).err().unwrap();
    assert_eq!(error.to_string(), "loader: expected a rank below 2, found 2");
}

/// A folder of `good` pictures and `bad` truncated ones.
fn folder(dir: &Path, good: usize, bad: usize) -> Arc<dyn Source> {
    for number in 0..good {
        write(&dir.join(format!("good-{number:03}.jpg")), &jpeg(number as u8));
    }
    for number in 0..bad {
        let bytes = jpeg(number as u8);
        write(&dir.join(format!("bad-{number:03}.jpg")), &bytes[..bytes.len() - 40]);
    }
    Arc::new(Folder::open(dir, Split::Train).unwrap())
}

fn load(source: &Arc<dyn Source>, max_bad_share: f64) -> Loader<LabelledSample> {
    let config = LoaderConfig { workers: 2, max_bad_share, ..LoaderConfig::evaluation(8) };
    Loader::new(Arc::clone(source), (0..source.len()).collect(), config, sample).unwrap()
}

#[test]
fn a_bad_file_is_left_out_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = folder(dir.path(), 19, 1);
    let reported = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reported);
    let loader = load(&source, 0.05).on_bad_file(move |file| sink.lock().unwrap().push(file.clone()));
    for _ in 0..2 {
        let batches = all(loader.epoch(0).unwrap());
        let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
        assert_eq!(indices, (1..20).collect::<Vec<_>>(), "the file is not replaced");
        assert_eq!(batches[0].data.labels.len(), 7);
    }
    let bad = loader.bad_files();
    assert_eq!((bad.len(), bad[0].index), (1, 0));
    assert!(bad[0].name.ends_with("bad-000.jpg") && bad[0].reason.contains("before the end"), "{bad:?}");
    assert_eq!(*reported.lock().unwrap(), bad, "reported once");
}

#[test]
fn too_many_bad_files_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let source = folder(dir.path(), 19, 1);
    let mut batches = load(&source, 0.01).epoch(0).unwrap();
    let text = batches.next().unwrap().unwrap_err().to_string();
    assert!(
        text.starts_with("1 of 20 files cannot be decoded, at most 1.0 % may; first ")
            && text.contains("bad-000.jpg")
    );
    assert!(batches.next().is_none(), "there is nothing after an error");
}

#[test]
fn nothing_but_bad_files_is_an_error_whatever_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let source = folder(dir.path(), 0, 20);
    let outcomes: Vec<_> = load(&source, 1.0).epoch(0).unwrap().collect();
    assert!(matches!(outcomes[..], [Err(Error::TooManyBad { .. })]));
}

#[test]
fn a_panicking_worker_is_an_error() {
    let make = |item: Item, _: &mut SampleRng| {
        assert_ne!(item.index, 20, "twenty is not welcome");
        vec![0.0_f32]
    };
    let config = LoaderConfig { workers: 3, ..LoaderConfig::evaluation(8) };
    let loader = Loader::new(Arc::new(Numbers(100)), (0..100).collect(), config, make).unwrap();
    let outcomes: Vec<_> = loader.epoch(0).unwrap().collect();
    assert_eq!(outcomes.len(), 3);
    let text = outcomes[2].as_ref().unwrap_err().to_string();
    assert!(
        text.starts_with("a loader thread panicked on batch 2: ") && text.contains("twenty is not welcome"),
        "{text}"
    );
}

#[test]
fn dropping_in_the_middle_does_not_hang() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let make = move |_: Item, _: &mut SampleRng| {
        counter.fetch_add(1, Ordering::SeqCst);
        vec![0.0_f32]
    };
    let loader = Loader::new(Arc::new(Numbers(100)), (0..100).collect(), config(3), make).unwrap();
    let mut batches = loader.batches(0..u64::MAX).unwrap();
    batches.next().unwrap().unwrap();
    drop(batches);
    // One batch was taken and five may be ready or in work.
    assert!(made.load(Ordering::SeqCst) <= 8 * 6);
}

#[test]
fn copies_of_an_image_stand_in_a_row_and_are_augmented_anew() {
    let once = all(loader(100, config(2)).batches(0..24).unwrap());
    let make = || loader(100, LoaderConfig { copies: 3, ..config(2) });
    let thrice = all(make().batches(0..24).unwrap());
    assert_eq!((thrice.len(), make().batches_per_epoch()), (once.len(), 12), "the epoch is as long");
    let flat = |batches: &[Batch<LabelledSample>]| {
        batches.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>()
    };
    let (first, singles) = (flat(&thrice[..12]), flat(&once[..12]));
    assert!(first.chunks(3).zip(&singles).all(|(copies, single)| copies.iter().all(|copy| copy == single)));
    let views = thrice.iter().flat_map(|batch| batch.data.pixels.chunks(2).map(<[f32]>::to_vec));
    let mut views: Vec<_> = views.map(|view| view.iter().map(|v| v.to_bits()).collect::<Vec<_>>()).collect();
    let count = views.len();
    views.sort_unstable();
    views.dedup();
    assert_eq!(views.len(), count, "no view is seen twice");
    assert_eq!(all(make().batches(7..24).unwrap()), thrice[7..], "it begins anywhere");

    let refused = |copies| {
        let config = LoaderConfig { copies, ..config(1) };
        let loader = Loader::new(Arc::new(Numbers(20)), (0..20).collect(), config, sample);
        loader.err().expect("it cannot be").to_string()
    };
    assert!(refused(0).contains("1 to 20 times in a row"), "{}", refused(0));
    assert!(refused(21).contains("found 21"), "{}", refused(21));
}

#[test]
fn a_batch_is_taken_apart_without_being_changed() {
    let config = LoaderConfig { repeats: 2, copies: 2, ..config(1) };
    let loader = loader(10, config);
    for number in [0, 3, 7] {
        let whole = loader.batches(number..number + 1).unwrap().next().unwrap().unwrap();
        assert_eq!(loader.asked_for(number), whole.indices);
        let parts: Vec<_> = loader.one_by_one(number).collect();
        assert!(parts.iter().all(|part| (part.epoch, part.number) == (whole.epoch, whole.number)));
        assert_eq!(parts.iter().flat_map(|part| part.indices.clone()).collect::<Vec<_>>(), whole.indices);
        assert_eq!(
            parts.iter().flat_map(|part| part.data.pixels.clone()).collect::<Vec<_>>(),
            whole.data.pixels
        );
    }
}

#[test]
fn what_a_batch_asks_for_is_known_where_a_file_is_bad() {
    let tmp = tempfile::tempdir().unwrap();
    let source = folder(tmp.path(), 7, 1);
    let loader = load(&source, 0.5);
    let (asked, got): (Vec<_>, Vec<_>) = (loader.asked_for(0), loader.one_by_one(0).collect());
    assert_eq!((asked.len(), got.len()), (8, 7));
}
