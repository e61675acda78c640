//! Time per image of the pre-training pipeline, and images per second of the loader.

use beit_data::{
    Augment, ColourJitter, Filter, FinetuneTransform, Image, Item, Loader, LoaderConfig, Normalise,
    Preprocessing, Purpose, RandAugment, Split, open, sample_rng,
};
use beit_mask::{Config, Grid, Masker};
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// A picture with some structure in it.
fn picture(height: usize, width: usize) -> Image {
    let value = |i: usize| ((i * 31) ^ (i / 97)) as u8;
    Image::new(height, width, (0..height * width * 3).map(value).collect())
}

#[divan::bench(args = [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos])]
fn resize_500x375_to_224(bencher: divan::Bencher<'_, '_>, filter: Filter) {
    let image = picture(375, 500);
    bencher.bench(|| image.resize([224, 224], filter));
}

#[divan::bench]
fn pretrain_500x375(bencher: divan::Bencher<'_, '_>) {
    let (image, masker) = (picture(375, 500), Masker::new(Config::official()).unwrap());
    let transform = Preprocessing::unilm([224; 2]).pretrain([112; 2], ColourJitter::STANDARD);
    bencher.bench(|| transform.apply(image.clone(), &masker, &mut sample_rng(1, 0, 0, Purpose::Sample)));
}

/// With RandAugment or without, each time with other numbers.
#[divan::bench(args = [true, false])]
fn finetune_500x375(bencher: divan::Bencher<'_, '_>, augmented: bool) {
    let rand_augment = augmented.then_some(RandAugment::STANDARD);
    let transform = FinetuneTransform { rand_augment, ..Preprocessing::unilm([224; 2]).finetune() };
    let (image, mut index) = (picture(375, 500), 0);
    bencher.bench_local(|| {
        index += 1;
        transform.apply(&image, &mut sample_rng(1, 0, index, Purpose::Sample))
    });
}

#[divan::bench(args = [
    Augment::Rotate { degrees: 27.0 }, Augment::ShearX { factor: 0.27 }, Augment::TranslateY { share: 0.4 },
    Augment::Sharpness { factor: 1.8 }, Augment::Equalize, Augment::AutoContrast, Augment::Color { factor: 0.2 },
])]
fn augment_224(bencher: divan::Bencher<'_, '_>, operation: Augment) {
    let mut image = picture(224, 224);
    bencher.bench_local(|| operation.apply(&mut image, [128; 3]));
}

#[divan::bench]
fn tokenizer_28x28(bencher: divan::Bencher<'_, '_>) {
    let transform = Preprocessing::unilm([28; 2]).tokenizer([28; 2]);
    let image = picture(28, 28);
    bencher.bench(|| transform.apply(image.clone(), &mut sample_rng(1, 0, 0, Purpose::Sample)));
}

#[divan::bench]
fn jitter_500x375(bencher: divan::Bencher<'_, '_>) {
    let mut image = picture(375, 500);
    bencher
        .bench_local(|| ColourJitter::STANDARD.apply(&mut image, &mut sample_rng(1, 0, 0, Purpose::Sample)));
}

#[divan::bench]
fn saturation_500x375(bencher: divan::Bencher<'_, '_>) {
    let mut image = picture(375, 500);
    bencher.bench_local(|| image.adjust_saturation(0.8));
}

#[divan::bench]
fn flip_500x375(bencher: divan::Bencher<'_, '_>) {
    let mut image = picture(375, 500);
    bencher.bench_local(|| image.flip_horizontal());
}

#[divan::bench]
fn normalise_224(bencher: divan::Bencher<'_, '_>) {
    let image = picture(224, 224);
    bencher.bench(|| Normalise::HALF.planes(&image));
}

#[divan::bench(args = [1, 2], sample_count = 10)]
fn load_fashion_mnist_50_batches_of_64(bencher: divan::Bencher<'_, '_>, workers: usize) {
    let source = open("fashion-mnist", Split::Train).unwrap();
    let masker = Masker::new(Config::scaled(Grid { rows: 7, cols: 7 }, 0.4)).unwrap();
    let config = LoaderConfig { workers, ..LoaderConfig::training(64, 1) };
    let transform = Preprocessing::unilm([28; 2]).pretrain([28; 2], ColourJitter::STANDARD);
    let make = move |item: Item, rng: &mut _| transform.apply(item.image, &masker, rng);
    let loader = Loader::new(source.clone(), (0..source.len()).collect(), config, make).unwrap();
    let mut batches = loader.batches(0..u64::MAX).unwrap();
    bencher.counter(ItemsCount::new(50 * 64_usize)).bench_local(|| {
        batches.by_ref().take(50).for_each(|batch| drop(divan::black_box(batch.unwrap())));
    });
}
