//! Images a second of one core that reads, decodes, crops, flips and normalises for fine-tuning at 224 pixels:
//! `cargo run --release -p beit-data --example load -- SPEC IMAGES [fast]`. `tests/peers/bench_loader.py` times it beside others.

#![allow(clippy::print_stdout)] // It is a program, and this is its answer.

use std::time::Instant;

use beit_data::{
    Item, LabelledSample, Loader, LoaderConfig, Normalise, Preprocessing, SampleRng, Split, open,
};

const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [spec, images, fast @ ..] = args.as_slice() else { return Err("expected SPEC IMAGES [fast]".into()) };
    let begun = Instant::now();
    let source = open(spec, Split::Train)?;
    let opened = begun.elapsed();
    let transform = beit_data::FinetuneTransform {
        erase: None,
        normalise: Normalise::IMAGENET,
        ..Preprocessing::unilm([224; 2]).finetune()
    };
    let make = move |item: Item, rng: &mut SampleRng| LabelledSample {
        pixels: transform.apply_reduced(&item.image, item.size, rng),
        label: item.label.unwrap_or(0),
    };
    let config = LoaderConfig { workers: 1, prefetch: 0, ..LoaderConfig::training(BATCH, 1) };
    let mut loader = Loader::new(source.clone(), (0..source.len()).collect(), config, make)?;
    if !fast.is_empty() {
        loader = loader.reducing(move |size, rng| transform.reduction(size, rng));
    }
    let batches = images.parse::<usize>()?.div_ceil(BATCH);
    let begun = Instant::now();
    for batch in loader.batches(0..batches as u64)? {
        std::hint::black_box(batch?.data.pixels.len());
    }
    let rate = (batches * BATCH) as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.1} images/s, {} images opened in {opened:?}", source.len());
    Ok(())
}
