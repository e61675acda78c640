//! The dVAE: `FlavaImageCodebook` of transformers, and decoder and losses in plain PyTorch.

use beit_ops::prelude::*;
use beit_ops::{Host, Shape, Tree};
use beit_tests::{Comparison, Golden, tolerance, wgpu};
use beit_tokenizer::{Config, Decoder, pixels};
use beit_weights::{load_encoder, load_params};

/// V of the goldens.
const VOCAB: usize = 16;

/// `[B, C, H, W]` of a golden to rows `[B·H·W, C]`.
fn rows<O: Ops>(ops: &O, x: &O::Tensor) -> O::Tensor {
    let channels = ops.shape(x)[1];
    let last = ops.channels_last(x);
    let elements = ops.shape(&last).elements();
    ops.reshape(last, [elements / channels, channels])
}

fn golden_rows<O: Ops>(ops: &O, golden: &Golden, name: &str) -> Vec<f32> {
    ops.read(&rows(ops, &golden.upload(ops, name))).unwrap()
}

fn encoder<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("flava-codebook");
    let loaded = load_encoder(ops, &golden.folder).unwrap();
    let images = golden.upload(ops, "pixel_values");
    let mut comparison = Comparison::new(format!("flava-codebook on {device}"));
    let logits = ops.read(&loaded.params.logits(ops, &images)).unwrap();
    comparison.tensor("logits", &logits, &golden_rows(ops, &golden, "logits"), tolerance::LOGITS);
    comparison.finish();
    let codes = ops.read_ids(&loaded.params.encode(ops, &images)).unwrap();
    assert_eq!(codes, golden.ids("codes"), "the two best logits differ by 0.02 at least");
}

#[test]
fn encoder_and_codes() {
    encoder(&Host::<f32>::new(), "f32");
    encoder(&Host::<f64>::new(), "f64");
}

/// Of the golden: pictures of 32 pixels in tokens of 8.
const CONFIG: Config =
    Config { channels: 3, groups: 4, blocks_per_group: 2, hidden: 4, decoder_init: 16, vocab: VOCAB };

/// Pixels are clamped where `|mu|` exceeds `ln 9`; the golden's outputs stay below eight times that. A power of two, so exact.
const SHRINK: f32 = 0.125;

/// The decoder with its last convolution times [`SHRINK`], and with the halves of its output exchanged if `swap`.
fn decoder_showing<O: Ops>(ops: &O, golden: &Golden, swap: bool) -> Decoder<O::Tensor> {
    let mut decoder: Decoder<O::Tensor> =
        load_params(ops, &golden.weights(), &Decoder::<Shape>::shapes(&CONFIG)).unwrap();
    decoder.output = decoder.output.map(&mut |leaf| {
        let mut values: Vec<f32> = ops.read(leaf).unwrap().iter().map(|x| x * SHRINK).collect();
        let half = if swap { values.len() / 2 } else { 0 };
        values.rotate_left(half);
        ops.upload(ops.shape(leaf), &values)
    });
    decoder
}

/// Decoding shows `mu` as pixels and hides the scale: so it runs twice, the second time with the two exchanged.
fn decoder<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("dalle-decoder");
    let output = golden.floats("output");
    let picture = CONFIG.channels * 32 * 32;
    let mut comparison = Comparison::new(format!("dalle-decoder on {device}"));
    for (name, swap) in [("mu", false), ("ln_b", true)] {
        let got = decoder_showing(ops, &golden, swap).decode(ops, &golden.ids("codes"), [4, 4]).unwrap();
        let halves = output.chunks(picture).skip(usize::from(swap)).step_by(2);
        let shown = |x: &f32| pixels::unmap(1.0 / (1.0 + (-x * SHRINK).exp()));
        let want: Vec<f32> = halves.flatten().map(shown).collect();
        assert!(want.iter().all(|&x| x > 0.0 && x < 1.0), "no pixel is clamped");
        comparison.tensor(name, &got, &want, tolerance::LOGITS);
    }
    comparison.finish();
}

#[test]
fn decoder_outputs() {
    decoder(&Host::<f32>::new(), "f32");
    decoder(&Host::<f64>::new(), "f64");
}

fn laplace<O: Ops>(ops: &O, comparison: &mut Comparison, golden: &Golden) {
    let params = rows(ops, &golden.upload(ops, "output"));
    let mapped: Vec<f32> = golden_rows(ops, golden, "pixels").into_iter().map(pixels::map).collect();
    let x = ops.upload([mapped.len() / CONFIG.channels, CONFIG.channels], &mapped);
    let loss = ops.read(&ops.logit_laplace(&params, &x)).unwrap();
    comparison.tensor("laplace.mean", &loss, &golden.floats("laplace.mean"), tolerance::LOSS);
    let d_mean = ops.read(&ops.logit_laplace_backward(&params, &x)).unwrap();
    let d_sum: Vec<f32> = d_mean.iter().map(|d| d * mapped.len() as f32).collect();
    let want = golden_rows(ops, golden, "laplace.doutput");
    comparison.tensor("laplace.doutput", &d_sum, &want, tolerance::GRADIENTS);
}

/// The noise of the golden is given, that of [`Ops::gumbel_softmax`] is drawn inside (the conformance suite of beit-ops checks its
/// distribution and its formula). Here the softmax of `(logits + noise) / tau` is the posterior that [`Ops::posterior_kl`] keeps.
fn gumbel<O: Ops>(ops: &O, comparison: &mut Comparison, golden: &Golden) {
    let tau = f64::from(golden.floats("gumbel.tau")[0]);
    let logits = rows(ops, &golden.upload(ops, "posterior.logits"));
    let noisy = ops.add_scaled(&logits, &rows(ops, &golden.upload(ops, "gumbel.noise")), 1.0);
    let (_, [sample, _]) = ops.posterior_kl(&ops.scaled(&noisy, 1.0 / tau));
    let want = golden_rows(ops, golden, "gumbel.sample");
    comparison.tensor("gumbel.sample", &ops.read(&sample).unwrap(), &want, tolerance::LOGITS);
    let d_sample = rows(ops, &golden.upload(ops, "gumbel.dsample"));
    let d_logits = ops.read(&ops.gumbel_softmax_backward(&d_sample, &sample, tau)).unwrap();
    let want = golden_rows(ops, golden, "gumbel.dlogits");
    comparison.tensor("gumbel.dlogits", &d_logits, &want, tolerance::GRADIENTS);
}

fn divergence<O: Ops>(ops: &O, comparison: &mut Comparison, golden: &Golden) {
    let logits = rows(ops, &golden.upload(ops, "posterior.logits"));
    let m = ops.shape(&logits)[0];
    let (divergences, posterior) = ops.posterior_kl(&logits);
    let sum = ops.read(&divergences).unwrap()[0] * m as f32;
    comparison.tensor("kl.sum", &[sum], &golden.floats("kl.sum"), tolerance::LOSS);
    let d_logits = ops.read(&ops.posterior_kl_backward(&posterior, [m as f64, 0.0])).unwrap();
    comparison.tensor("kl.dlogits", &d_logits, &golden_rows(ops, golden, "kl.dlogits"), tolerance::GRADIENTS);
}

fn losses<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("dalle-decoder");
    let mut comparison = Comparison::new(format!("dVAE losses on {device}"));
    laplace(ops, &mut comparison, &golden);
    gumbel(ops, &mut comparison, &golden);
    divergence(ops, &mut comparison, &golden);
    comparison.finish();
}

#[test]
fn losses_and_their_gradients() {
    losses(&Host::<f32>::new(), "f32");
    losses(&Host::<f64>::new(), "f64");
}

#[test]
fn all_on_a_gpu() {
    if let Some(gpu) = wgpu() {
        encoder(&gpu, "gpu");
        decoder(&gpu, "gpu");
        losses(&gpu, "gpu");
    }
}
