//! What is converted is read back as it was, whatever the model looks like.

use crate::made::{Device, answer, saved_as, vit};
use beit_heads::{ClassifierConfig, Mim, MimConfig, Pooling};
use beit_ops::philox::uniforms;
use beit_vit::{Config, Preset, RelativePositions};
use beit_weights::{Checkpoint, Model, OpenOptions, Target, TensorFile, no_more_files, save_mim};
use std::fs;
use tempfile::tempdir;

const CONFIGURATIONS: u64 = 200;

/// Random choices of one configuration.
struct Dice {
    number: u64,
    thrown: u64,
}

impl Dice {
    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        self.thrown += 1;
        let share = uniforms(17, self.number, self.thrown)[0];
        of[((share * of.len() as f32) as usize).min(of.len() - 1)]
    }

    fn coin(&mut self) -> bool {
        self.any(&[false, true])
    }
}

/// A small classifier of random sizes.
fn configuration(number: u64) -> ClassifierConfig {
    let dice = &mut Dice { number, thrown: 0 };
    let patch = [dice.any(&[2, 4, 7, 8]), dice.any(&[2, 4, 7, 8])];
    let square = dice.coin();
    let patch = if square { [patch[0]; 2] } else { patch };
    let rows = dice.any(&[1, 2, 3, 5]);
    let grid = [rows, if square { rows } else { dice.any(&[1, 2, 4, 6]) }];
    let head = dice.any(&[1, 2, 4, 8, 22]);
    let heads = dice.any(&[1, 2, 3, 4]);
    let positions = dice.any(&[0, 1, 2, 3]);
    let vit = Config {
        image: [0, 1].map(|axis| grid[axis] * patch[axis]),
        patch,
        channels: dice.any(&[1, 3, 3, 3]),
        width: head * heads,
        depth: dice.any(&[1, 2, 3]),
        heads,
        hidden: dice.any(&[1, 5, 16, 33]),
        absolute_positions: positions != 1,
        relative_positions: [RelativePositions::None, RelativePositions::PerLayer, RelativePositions::Shared]
            [positions % 3],
        layer_scale: dice.coin().then_some(0.2),
        layer_norm_eps: dice.any(&[1e-6, 1e-12, 1e-5]),
        drop_path: 0.1,
        ..Config::new(Preset::Tiny)
    };
    let pooling = if dice.coin() { Pooling::Mean } else { Pooling::Cls };
    ClassifierConfig::on(vit, dice.any(&[1, 2, 3, 10]), pooling)
}

/// To every layout, as a folder and as a file, and back from it to that of transformers.
#[test]
fn of_random_models_give_the_same_bits() {
    for number in 0..CONFIGURATIONS {
        let config = configuration(number);
        let (tmp, folder) = saved_as(&config);
        let expected = answer(&folder);
        for (target, name) in [
            (Target::Transformers, "hf"),
            (Target::Timm, "timm"),
            (Target::Unilm, "unilm.pth"),
            (Target::Unilm, "unilm.safetensors"),
        ] {
            let there = tmp.path().join(name);
            let whole = Checkpoint::open(&folder).unwrap();
            whole.convert(target, &there).unwrap();
            assert!(answer(&there) == expected, "{number} by {name}: {config:?}");
            let back = Checkpoint::open(&there).unwrap();
            assert_eq!((back.labels(), back.notes()), (whole.labels(), &[][..]), "{number} by {name}");
            assert_eq!(back.preprocessing(), whole.preprocessing(), "{number} by {name}");
            back.convert(Target::Transformers, tmp.path().join("back")).unwrap();
            assert!(answer(&tmp.path().join("back")) == expected, "{number} back from {name}: {config:?}");
        }
    }
}

/// Models of masked image modelling, and transformers without a head, of other sizes than the released ones.
#[test]
fn of_models_that_are_no_classifiers_keep_their_sizes() {
    let ops = Device::new();
    for number in 0..20 {
        let vit = Config { mask_token: true, final_norm: true, ..configuration(number).vit };
        let tmp = tempdir().unwrap();
        let (folder, config) = (tmp.path().join("model"), MimConfig { vit, vocab: 5 });
        save_mim(&ops, &folder, &Mim::init(&ops, &config, number), no_more_files).unwrap();
        let whole = Checkpoint::open(&folder).unwrap();
        for (target, name) in
            [(Target::Timm, "timm"), (Target::Unilm, "u.pth"), (Target::Unilm, "u.safetensors")]
        {
            let there = tmp.path().join(name);
            whole.convert(target, &there).unwrap();
            let Model::Mim(found) = Checkpoint::open(&there).unwrap().model().clone() else {
                panic!("{name}")
            };
            // What no parameter depends on is forgotten by some.
            let drop_path = config.vit.drop_path;
            let layer_scale = config.vit.layer_scale;
            let found =
                Config { drop_path, layer_scale: found.vit.layer_scale.and(layer_scale), ..found.vit };
            assert_eq!(found, config.vit, "{number} by {name}");
        }
    }
}

/// BEiT-3's image tower: timm has it as a plain transformer with one bias of queries, keys and values.
#[test]
fn of_blocks_with_norms_inside() {
    let plain = Config {
        relative_positions: RelativePositions::None,
        absolute_positions: true,
        layer_scale: None,
        layer_norm_eps: 1e-5,
        ..vit()
    };
    for (inner_norms, key_bias) in [(true, true), (false, true), (true, false)] {
        let config =
            ClassifierConfig::on(Config { inner_norms, key_bias, ..plain.clone() }, 3, Pooling::Mean);
        let (tmp, folder) = saved_as(&config);
        let (expected, whole) = (answer(&folder), Checkpoint::open(&folder).unwrap());
        let timm = tmp.path().join("timm");
        whole.convert(Target::Timm, &timm).unwrap();
        assert_eq!(answer(&timm), expected);
        let file = TensorFile::open(timm.join("model.safetensors")).unwrap();
        let has = |name: &str| file.names().iter().any(|own| own == name);
        assert_eq!((has("blocks.1.attn.qkv.bias"), has("blocks.1.attn.q_bias")), (key_bias, !key_bias));
        assert_eq!(
            (has("blocks.1.attn.norm.bias"), has("blocks.1.mlp.norm.weight")),
            (inner_norms, inner_norms)
        );
        let bare = tmp.path().join("bare.safetensors");
        fs::copy(timm.join("model.safetensors"), &bare).unwrap();
        let heads = OpenOptions { heads: Some(2), ..OpenOptions::default() };
        let opened = Checkpoint::open_with(&bare, heads).unwrap();
        let found = opened.model().vit().unwrap();
        assert_eq!((found.inner_norms, found.key_bias), (inner_norms, key_bias));
        Checkpoint::open(&timm).unwrap().convert(Target::Transformers, tmp.path().join("back")).unwrap();
        assert_eq!(answer(&tmp.path().join("back")), expected);
        // transformers must not take it for a model that it has.
        let config = fs::read_to_string(tmp.path().join("back/config.json")).unwrap();
        assert!(config.contains("\"model_type\": \"beit3-vision\""), "{config}");
        let text = whole.convert(Target::Unilm, tmp.path().join("no.pth")).unwrap_err().to_string();
        assert!(text.contains("without norms inside its blocks and without a key bias"), "{text}");
    }
}
