//! Writes checkpoint folders for `peers/verify_export.py`: freshly drawn models, with inputs and our logits in `io.safetensors`.
//!
//! ```sh
//! cargo run -p beit-tests --example export_for_peers -- exports
//! for dir in exports/*; do python tests/peers/verify_export.py $dir --pixels $dir/io.safetensors; done
//! ```

use beit_data::Preprocessing;
use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, patch_rows};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Host, Tree};
use beit_tokenizer::Tokenizer;
use beit_vit::{Config, Input, Preset, RelativePositions};
use beit_weights::{
    Error, Labelled, TensorWriter, save_classifier, save_mim, save_tokenizer, write_preprocessing,
};
use std::path::Path;

type Device = Host<f32>;
type Tensor = <Device as beit_ops::Device>::Tensor;

/// Images of each folder.
const IMAGES: usize = 2;
/// Height and width of an image for a tokenizer of four groups.
const SIDE: usize = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: export_for_peers DIR")?;
    let (folder, ops) = (Path::new(&folder), Device::new());
    mim(&ops, &folder.join("mim"), Config::new(Preset::Tiny))?;
    mim(&ops, &folder.join("mim-paper"), Config::paper(Preset::Tiny))?;
    let mut vit = Config { relative_positions: RelativePositions::PerLayer, ..Config::new(Preset::Tiny) };
    classifier(&ops, &folder.join("classifier"), vit.clone(), Pooling::Mean)?;
    vit.layer_norm_eps = 1e-5;
    classifier(&ops, &folder.join("classifier-cls"), vit, Pooling::Cls)?;
    tokenizer(&ops, &folder.join("tokenizer"))?;
    Ok(())
}

/// Makes every term of a model count: norms, gammas, tables and biases that are not their initial constants.
fn stirred<P: Tree<Tensor, Of<Tensor> = P>>(ops: &Device, params: &P) -> P {
    let mut number = 0;
    params.map(&mut |param| {
        number += 1;
        let shape = ops.shape(param);
        let noise = Stream::new(7, number).normals(shape.elements(), 0.1);
        ops.add_scaled(param, &ops.upload(shape, &noise), 1.0)
    })
}

fn mim(ops: &Device, folder: &Path, vit: Config) -> Result<(), Error> {
    let config = MimConfig { vit, vocab: 64 };
    let model = stirred(ops, &Mim::init(ops, &config, 1));
    let (n, [height, width]) = (config.vit.patches(), config.vit.image);
    let images = images(ops, config.vit.image);
    let masked: Vec<u8> = (0..IMAGES * n).map(|i| u8::from(i % 3 == 0)).collect();
    let mask = ops.upload([IMAGES, n], &masked.iter().map(|&m| f32::from(m)).collect::<Vec<_>>());
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let logits = model.infer(ops, &input, &ops.upload_ids(&patch_rows(IMAGES, n)));
    save_mim(ops, folder, &model, |folder| {
        write_preprocessing(folder, &Preprocessing::hugging_face([height, width]))?;
        let mut writer = io(ops, &images, &logits, &[IMAGES, n, config.vocab])?;
        writer.bytes("bool_masked_pos", &[IMAGES, n], &masked);
        writer.write(folder.join("io.safetensors"))
    })
}

fn classifier(ops: &Device, folder: &Path, vit: Config, pooling: Pooling) -> Result<(), Error> {
    let config = ClassifierConfig::on(vit, 12, pooling);
    let model = stirred(ops, &Classifier::init(ops, &config, 2));
    let images = images(ops, config.vit.image);
    let logits = model.infer(ops, &images);
    save_classifier(ops, folder, &model, &Labelled::unnamed(config.clone()).labels, |folder| {
        write_preprocessing(folder, &Preprocessing::hugging_face(config.vit.image))?;
        io(ops, &images, &logits, &[IMAGES, config.classes])?.write(folder.join("io.safetensors"))
    })
}

/// transformers has four groups whatever the configuration says.
fn tokenizer(ops: &Device, folder: &Path) -> Result<(), Error> {
    let config = beit_tokenizer::Config { groups: 4, ..beit_tokenizer::Config::tiny() };
    let model: Tokenizer<Tensor> = beit_tokenizer::init(ops, &config, 3);
    let images = images(ops, [SIDE; 2]);
    let rows = model.encoder.logits(ops, &images);
    let side = SIDE / config.downsampling();
    // Rows to channels first, as transformers has them.
    let rows = ops.reshape(rows, [IMAGES, side * side, config.vocab, 1]);
    let logits = ops.channels_last(&rows);
    save_tokenizer(ops, folder, &model, |folder| {
        let shape = [IMAGES, config.vocab, side, side];
        io(ops, &images, &logits, &shape)?.write(folder.join("io.safetensors"))
    })
}

fn images(ops: &Device, [height, width]: [usize; 2]) -> Tensor {
    let values = Stream::new(5, 0).uniforms_within(IMAGES * 3 * height * width, 1.0);
    ops.upload([IMAGES, 3, height, width], &values)
}

fn io(
    ops: &Device,
    images: &Tensor,
    logits: &Tensor,
    shape: &[usize],
) -> Result<TensorWriter<'static>, Error> {
    let mut writer = TensorWriter::new();
    writer.floats("pixel_values", &ops.shape(images), &ops.read(images)?);
    writer.floats("logits", shape, &ops.read(logits)?);
    Ok(writer)
}
