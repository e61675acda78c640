"""Checkpoints of BEiT's relatives with random weights, written by transformers and timm.

    python make_relatives.py OUT

DiT, data2vec-vision, EVA-g and BEiT-3 in small, each as its authors' package writes it. Beside each lies io.safetensors
with pictures and the peer's own logits; beside those without a head, features.safetensors with what they give instead.
`check_checkpoints.py OUT` compares.
"""

import argparse
import pathlib

import timm
import torch
import transformers
from transformers import (
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    Data2VecVisionConfig,
    Data2VecVisionForImageClassification,
    Data2VecVisionModel,
)

from checkpoints import write_list
from make_packaged import config, hf, packaged_timm, save, save_timm
from maker import HF_EPS, Maker
from record import Golden, in_both
from weights import fill, vit_tensor

BEIT3_EPS = 1e-5
# DiT is BEiT with positions of both models: absolute ones, and LayerScale without a table. Heads of 64, see `make_packaged.PLAIN`.
DIT = dict(
    use_absolute_position_embeddings=True, use_relative_position_bias=False,
    use_shared_relative_position_bias=False, layer_scale_init_value=0.1, num_attention_heads=2,
)  # fmt: skip
# EVA-g's blocks: heads of 88, an MLP of 6144 / 1408 times the width.
EVA = dict(embed_dim=176, num_heads=2)
BEIT3 = dict(embed_dim=128, num_heads=2)


def dit(maker):
    """A classifier and a model of masked patches."""
    made = fill(BeitForImageClassification(config(maker, DIT)), vit_tensor, 31)
    hf(maker, "dit-classify", "classify", made)
    made = fill(BeitForMaskedImageModeling(config(maker, DIT | dict(use_mask_token=True))), vit_tensor, 32)
    hf(maker, "dit-mim", "mim", made)


def data2vec(maker):
    """A classifier with a table per layer, as it was fine-tuned, and the model that was pre-trained, with one for all and no head."""
    shape = lambda **options: Data2VecVisionConfig(**maker.shape, num_labels=maker.classes, **options)
    made = Data2VecVisionForImageClassification(shape(use_relative_position_bias=True))
    hf(maker, "data2vec-classify", "classify", fill(made, vit_tensor, 33))
    made = Data2VecVisionModel(shape(use_shared_relative_position_bias=True, use_mask_token=True))
    headless(maker, "data2vec-model", "transformers", fill(made, vit_tensor, 34), save, HF_EPS)


def small(maker, name, seed, **options):
    """A registered model of timm, made small."""
    sizes = dict(img_size=32, patch_size=8, depth=3, num_classes=maker.classes)
    return fill(timm.create_model(name, pretrained=False, **sizes | options), vit_tensor, seed)


def eva(maker):
    """EVA-g: absolute positions, no LayerScale, biases of queries and values."""
    packaged_timm(maker, "eva-classify", small(maker, "eva_giant_patch14_224", 35, **EVA))


def beit3(maker):
    """BEiT-3 as it was fine-tuned, and without a head, as it was pre-trained."""
    made = small(maker, "beit3_base_patch16_224", 36, **BEIT3)
    packaged_timm(maker, "beit3-classify", made, eps=BEIT3_EPS)
    made = small(maker, "beit3_base_patch16_224", 37, **BEIT3 | dict(num_classes=0))
    headless(maker, "beit3-model", "timm", made, save_timm, BEIT3_EPS)


def headless(maker, name, peer, model, write, eps):
    """One checkpoint without a head: in features.safetensors, its tokens and what it makes of an image."""
    maker.add(name, "model", peer, "features", lambda path: write(model, path), eps=eps)
    golden, inputs = Golden(maker.root, name), maker.pictures()
    golden.given(**inputs)
    with torch.no_grad():
        golden.expect(*in_both(model, lambda m: features(m, inputs["pixel_values"])))
    golden.write()
    (golden.folder / "io.safetensors").rename(golden.folder / "features.safetensors")


def features(model, pixels):
    """`tokens`: of the last block. `pooled`: what timm makes of an image, the norm of the mean over patches; transformers has none."""
    pixels = pixels.to(next(model.parameters()).dtype)
    if hasattr(model, "forward_features"):
        return dict(tokens=model.forward_features(pixels), pooled=model(pixels))
    return dict(tokens=model(pixels).last_hidden_state)


def main():
    """Writes them, then the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    maker = Maker(options.out, "tiny")
    for family in (dit, data2vec, eva, beit3):
        family(maker)
    write_list(options.out, maker.made)


if __name__ == "__main__":
    main()
