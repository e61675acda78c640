//! Every CUDA kernel of the project, compiled for A100 and H100: it compiles, fits a multiprocessor, and spills no registers.

#![allow(clippy::print_stdout)]

use beit_cubecl::{Gpu, HOPPER, Precision};
use beit_heads::Pooling;
use beit_vit::Preset;
use cubecl::Runtime;
use cuda_check::attention::attention;
use cuda_check::models::{Model, fine_tuning_step, paper, pretraining_step, relatives, tokenizer_step};
use cuda_check::segmentation::segmentation_step;
use cuda_check::{Allowed, Compiled, Record, Sm, records, table, violations, write_csv};
use std::path::Path;

/// Kernels that may spill registers.
const SPILLS: [Allowed; 8] = [
    Allowed { name: "attention_forward", bytes: 48, reason: OCCUPANCY },
    Allowed { name: "attention_backward", bytes: 48, reason: OCCUPANCY },
    Allowed { name: "Attend", bytes: 8, reason: OCCUPANCY },
    Allowed { name: "BackwardKeys", bytes: 16, reason: OCCUPANCY },
    Allowed { name: "Normalise", bytes: 4, reason: OCCUPANCY },
    Allowed { name: "NormaliseBackward", bytes: 16, reason: OCCUPANCY },
    Allowed { name: "SumNormBackward", bytes: 48, reason: OCCUPANCY },
    Allowed { name: "SumOverImages", bytes: 40, reason: OCCUPANCY },
];

/// Why a few bytes are acceptable.
const OCCUPANCY: &str = "the assembler limits the registers so that one more block fits the multiprocessor";

#[test]
fn kernels_compile_and_fit() {
    // A device compiles in a thread of its own.
    std::thread::scope(|scope| {
        for sm in [80, 90] {
            scope.spawn(move || {
                [Precision::F32, Precision::Bf16].map(|precision| everything(Sm(sm), precision))
            });
        }
        scope.spawn(products_that_are_asked_for);
    });
    let records = records();
    println!("{}", table(&records));
    if let Some(path) = std::env::var_os("CUDA_CHECK_CSV") {
        write_csv(&records, Path::new(&path)).expect("the file is writable");
    }
    assert!(records.len() > 10, "the device was asked for {} kernels only", records.len());
    let wrong: Vec<_> = records.iter().flat_map(sentences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The products of a base model by the tile that is taken only where it is asked for.
fn products_that_are_asked_for() {
    let persistent = HOPPER.into_iter().find(|tile| tile.hopper.is_some_and(|hopper| hopper.persistent));
    let gpu = Gpu::new(Compiled::client(&Sm(90)), Precision::Bf16).expect("the device has everything");
    let gpu = gpu.with_tile(persistent.expect("one of the tiles is persistent"));
    let base = paper(Preset::Base, 8192);
    pretraining_step(&gpu, &base, &beit_tokenizer::Config::dalle()).expect("base is pre-trained");
    fine_tuning_step(&gpu, &base, Pooling::Mean).expect("base is fine-tuned");
}

fn sentences(record: &Record) -> Vec<String> {
    let sentence =
        |what| format!("{} for {}: {what} ({})", record.name, record.sm.architecture(), record.variant);
    violations(record, &SPILLS).into_iter().map(sentence).collect()
}

/// Launches everything that the project does. All results are zeros.
fn everything(sm: Sm, precision: Precision) {
    let gpu = Gpu::new(Compiled::client(&sm), precision).expect("the device has everything");
    let small = beit_tokenizer::Config::small();
    let dalle = beit_tokenizer::Config::dalle();
    tokenizer_step(&gpu, &small, 28).expect("the small tokenizer is trained");
    tokenizer_step(&gpu, &dalle, 64).expect("DALL-E's tokenizer is trained");
    for model in Model::all().iter().chain([&paper(Preset::Base, 8192)]) {
        let tokenizer = if model.vocab == small.vocab { &small } else { &dalle };
        pretraining_step(&gpu, model, tokenizer).unwrap_or_else(|e| panic!("{}: {e}", model.name));
        for pooling in [Pooling::Mean, Pooling::Cls] {
            fine_tuning_step(&gpu, model, pooling).unwrap_or_else(|e| panic!("{}: {e}", model.name));
        }
    }
    for (side, channels, classes) in [(32, 768, 150), (33, 1024, 21)] {
        segmentation_step(&gpu, side, channels, classes).expect("a segmentation head is trained");
    }
    if precision == Precision::Bf16 {
        for (d, window) in [(48, [14, 14]), (96, [14, 14]), (128, [14, 14]), (128, [24, 24])] {
            attention(&gpu, window, d).unwrap_or_else(|e| panic!("heads of {d} on {window:?}: {e}"));
        }
    }
    for model in relatives() {
        pretraining_step(&gpu, &model, &dalle).unwrap_or_else(|e| panic!("{}: {e}", model.name));
    }
}
