//! The probabilities of the attention are those with which a block computes.

use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{AttentionShape, Host, Shape, Tree};
use beit_vit::{Block, Config, Context, Input, Preset, RelativePositions, Vit};

type Array = <Host<f64> as beit_ops::Device>::Tensor;

const OPS: Host<f64> = Host::new();
const BATCH: usize = 2;
const HEADS: usize = 3;
/// C, heads of 4.
const C: usize = 12;
/// T, of two rows of three patches.
const TOKENS: usize = 7;

/// Queries, keys and probabilities are read in f32: sums of twelve numbers of up to about 5, each rounded by 6e-8 of itself.
const ALLOWED: f64 = 1e-5;

fn config() -> Config {
    Config {
        image: [8, 12],
        patch: [4, 4],
        width: C,
        depth: 3,
        heads: HEADS,
        hidden: 2 * C,
        ..Config::new(Preset::Tiny)
    }
}

/// With biases, tables and gammas that show.
fn random(config: &Config) -> Vit<Array> {
    let mut number = 0;
    Vit::<Shape>::shapes(config).map(&mut |shape| {
        number += 1;
        OPS.upload(*shape, &Stream::new(3, number).normals(shape.elements(), 0.5))
    })
}

fn images(config: &Config) -> Array {
    OPS.upload(config.images(BATCH), &Stream::new(4, 0).normals(BATCH * config.numbers(), 1.0))
}

fn context<'a>(vit: &'a Vit<Array>, config: &Config) -> Context<'a, Array> {
    let shape = AttentionShape { heads: HEADS, tokens: TOKENS, window: config.grid() };
    Context { shape, eps: config.layer_norm_eps, shared: vit.rel_pos_bias.as_ref(), keep: [None; 2] }
}

/// The block's attention branch `[B·T, C]`: what a block adds whose MLP adds nothing, before LayerScale.
fn branch(block: &Block<Array>, x: &Array, cx: &Context<'_, Array>) -> Vec<f64> {
    let mut silent = block.clone();
    silent.mlp.fc2.weight = OPS.zeros(OPS.shape(&silent.mlp.fc2.weight));
    silent.mlp.fc2.bias = silent.mlp.fc2.bias.map(|bias| OPS.zeros(OPS.shape(&bias)));
    let y = silent.infer(&OPS, x.clone(), cx, None);
    let gamma = |at: usize| block.gamma_1.as_ref().map_or(1.0, |gamma| gamma[at % C]);
    y.iter().zip(x.iter()).enumerate().map(|(at, (y, x))| (y - x) / gamma(at)).collect()
}

/// Probabilities `[B, H, T, T]` times values, through the norm where there is one and the projection: `[B·T, C]`.
fn through_values(block: &Block<Array>, probabilities: &[f32], x: &Array, cx: &Context<'_, Array>) -> Array {
    let qkv = OPS.linear(&OPS.layer_norm(x, &block.norm1, cx.eps), &block.attn.qkv);
    let value = |image: usize, key: usize, c: usize| {
        qkv[(image * TOKENS + key) * 3 * C + 2 * C + c] + block.attn.v_bias[c]
    };
    let mixed = |at: usize| {
        let (image, query, c) = (at / C / TOKENS, at / C % TOKENS, at % C);
        let row = (image * HEADS + c / (C / HEADS)) * TOKENS + query;
        let row = &probabilities[row * TOKENS..][..TOKENS];
        row.iter().enumerate().map(|(key, &p)| f64::from(p) * value(image, key, c)).sum::<f64>() as f32
    };
    let context: Vec<f32> = (0..BATCH * TOKENS * C).map(mixed).collect();
    let context = OPS.upload([BATCH * TOKENS, C], &context);
    let context = match &block.attn.norm {
        Some(norm) => OPS.layer_norm(&context, norm, cx.eps),
        None => context,
    };
    OPS.linear(&context, &block.attn.proj)
}

#[test]
fn probabilities_reproduce_the_attention_of_every_kind_of_block() {
    let kinds = [
        ("a shared table", config()),
        ("a table a layer", Config { relative_positions: RelativePositions::PerLayer, ..config() }),
        (
            "the paper",
            Config {
                absolute_positions: true,
                relative_positions: RelativePositions::None,
                layer_scale: None,
                ..config()
            },
        ),
        (
            "BEiT-3",
            Config {
                relative_positions: RelativePositions::None,
                inner_norms: true,
                key_bias: true,
                ..config()
            },
        ),
    ];
    for (kind, config) in kinds {
        let (vit, images) = (random(&config), images(&config));
        let input = Input { images: &images, mask: None, drop_path: None };
        let x = vit.infer_taps(&OPS, &input, &[0]).remove(0);
        let (block, cx) = (&vit.blocks[1], context(&vit, &config));
        let all: Vec<usize> = (0..TOKENS).collect();
        let probabilities = block.attention(&OPS, &x, &cx, &all).unwrap();
        assert_eq!(probabilities.len(), BATCH * HEADS * TOKENS * TOKENS);
        for row in probabilities.chunks_exact(TOKENS) {
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            assert!(
                (sum - 1.0).abs() < 1e-6 && row.iter().all(|&p| p >= 0.0),
                "{kind}: {row:?} adds up to {sum}"
            );
        }
        let wanted = branch(block, &x, &cx);
        let got = through_values(block, &probabilities, &x, &cx);
        let spread = wanted.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        assert!(spread > 0.1, "{kind}: there is something to reproduce");
        for (at, (got, want)) in got.iter().zip(&wanted).enumerate() {
            assert!(
                (got - want).abs() <= ALLOWED * spread,
                "{kind}[{at}]: got {got}, want {want}, allowed ±{ALLOWED} of {spread}"
            );
        }
    }
}

#[test]
fn a_model_finds_those_of_the_queries_asked_for() {
    let config = config();
    let (vit, images) = (random(&config), images(&config));
    let input = Input { images: &images, mask: None, drop_path: None };
    let x = vit.infer_taps(&OPS, &input, &[0, 1]).remove(1);
    let all: Vec<usize> = (0..TOKENS).collect();
    let rows = vit.blocks[2].attention(&OPS, &x, &context(&vit, &config), &all).unwrap();
    let queries = [4, 0];
    let some = vit.attention(&OPS, &input, 2, &queries).unwrap();
    let row = |of: &[f32], head: usize, query: usize, queries: usize| {
        of[(head * queries + query) * TOKENS..][..TOKENS].to_vec()
    };
    for head in 0..BATCH * HEADS {
        for (place, &query) in queries.iter().enumerate() {
            assert_eq!(row(&some, head, place, queries.len()), row(&rows, head, query, TOKENS));
        }
    }
    assert_ne!(vit.attention(&OPS, &input, 1, &queries).unwrap(), some);
    assert_eq!(
        vit.attention(&OPS, &input, 0, &queries).unwrap().len(),
        some.len(),
        "the first block reads the embeddings"
    );

    let mut each = Vec::new();
    vit.attention_of_each(&OPS, &input, &queries, &mut |of_block| each.push(of_block)).unwrap();
    let apart: Vec<_> =
        (0..vit.blocks.len()).map(|i| vit.attention(&OPS, &input, i, &queries).unwrap()).collect();
    assert_eq!(each, apart);
}
