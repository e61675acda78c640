"""Checkpoints that transformers and timm save themselves."""

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models._hub import save_for_hf
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    FlavaImageCodebook,
    FlavaImageCodebookConfig,
)

from golden_dvae import balanced
from layouts import with_index
from maker import AUTHORS_EPS
from weights import conv_tensor, fill, seeded, uniform, vit_tensor

# The paper's model: absolute positions, no relative table, no LayerScale. Without a table only the
# convention of 64 channels per head tells a reader of bare tensors how many heads there are.
PLAIN = dict(
    use_absolute_position_embeddings=True, use_relative_position_bias=False,
    use_shared_relative_position_bias=False, layer_scale_init_value=0.0,
)  # fmt: skip
# The released large model: deep, with a LayerScale that starts near zero.
DEEP = dict(num_hidden_layers=24, layer_scale_init_value=1e-5)


def config(maker, options):
    """A BeitConfig of the maker's size."""
    sizes = dict(vocab_size=maker.visual_tokens, num_labels=maker.classes)
    heads = dict(num_attention_heads=maker.shape["hidden_size"] // 64) if options.keys() >= PLAIN.keys() else {}
    return BeitConfig(**maker.shape | sizes | heads | options)


def classifier(maker, **options):
    """BeitForImageClassification with a relative table per layer, unless `options` say otherwise."""
    options = dict(use_relative_position_bias=True) | options
    return fill(BeitForImageClassification(config(maker, options)), vit_tensor, 1)


def mim(maker, **options):
    """BeitForMaskedImageModeling with one shared relative table, unless `options` say otherwise."""
    options = dict(use_mask_token=True, use_shared_relative_position_bias=True) | options
    return fill(BeitForMaskedImageModeling(config(maker, options)), vit_tensor, 2)


@torch.no_grad()
def segmenter(maker):
    """BeitForSemanticSegmentation of four layers, with running means and variances that show."""
    options = dict(use_relative_position_bias=True, num_hidden_layers=4, out_indices=[1, 2, 3, 4])
    model, gen = fill(BeitForSemanticSegmentation(config(maker, options)), vit_tensor, 3), seeded(3)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(uniform(gen, buffer.shape, 0.5, 1.5))
    return model


def codebook(maker):
    """FlavaImageCodebook: DALL-E's encoder at the real sizes."""
    small = dict(hidden_size=8, vocab_size=16) if maker.size == "tiny" else {}
    shape = FlavaImageCodebookConfig(num_groups=4, num_blocks_per_group=2, **small)
    model = fill(FlavaImageCodebook(shape), conv_tensor, 6)
    return balanced(model, maker.dvae_pictures()["pixel_values"])


def save(model, folder):
    """config.json and model.safetensors."""
    model.save_pretrained(folder)


def save_sharded(model, folder):
    """Several safetensors files and their index."""
    model.save_pretrained(folder, max_shard_size="300KB")


def save_bin(model, folder):
    """As transformers 4 wrote it: pytorch_model.bin, with index buffers beside the tables."""
    model.save_pretrained(folder)
    torch.save(with_index(load_file(folder / "model.safetensors")), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def save_float16(model, folder):
    """In float16; the model is rounded as well, so that its logits are those of the file."""
    model.half().save_pretrained(folder)


def save_bfloat16(model, folder):
    """In bfloat16, likewise."""
    model.bfloat16().save_pretrained(folder)


def hf(maker, name, task, model, write=save):
    """One folder of transformers."""
    inputs = maker.dvae_pictures() if task == "codebook" else maker.pictures(mask=task == "mim")
    maker.add(name, "model", "transformers", task, lambda path: write(model, path), model, inputs)


def hf_tiny(maker):
    """Every model, container and number type of transformers."""
    for kind, write in (
        ("", save), ("-sharded", save_sharded), ("-bin", save_bin), ("-f16", save_float16), ("-bf16", save_bfloat16),
    ):  # fmt: skip
        hf(maker, f"hf-classify{kind}", "classify", classifier(maker), write)
    hf(maker, "hf-classify-plain", "classify", classifier(maker, **PLAIN))
    hf(maker, "hf-classify-cls", "classify", classifier(maker, use_mean_pooling=False))
    hf(maker, "hf-classify-deep", "classify", classifier(maker, **DEEP))
    for kind, write in (("", save), ("-sharded", save_sharded), ("-bin", save_bin), ("-bf16", save_bfloat16)):
        hf(maker, f"hf-mim{kind}", "mim", mim(maker), write)
    hf(maker, "hf-mim-plain", "mim", mim(maker, **PLAIN))
    for kind, write in (("", save), ("-bin", save_bin)):
        hf(maker, f"hf-codebook{kind}", "codebook", codebook(maker), write)
    maker.add("hf-segment", "model", "transformers", "segment", lambda path: segmenter(maker).save_pretrained(path))


def timm_model(maker, name="beit_base_patch16_224", **options):
    """A registered timm BEiT, made small at tiny size."""
    small = dict(img_size=32, patch_size=8, embed_dim=128, num_heads=4, depth=3, num_classes=maker.classes)
    options |= small if maker.size == "tiny" else {}
    return fill(timm.create_model(name, pretrained=False, **options), vit_tensor, 4)


def save_timm(model, folder):
    """timm's hub format: its config.json and model.safetensors."""
    save_for_hf(model, folder, safe_serialization=True)


def save_timm_bin(model, folder):
    """The same with pytorch_model.bin."""
    save_for_hf(model, folder, safe_serialization=False)


def save_timm_index(model, folder):
    """The same as in the published files, which hold index buffers."""
    save_timm(model, folder)
    save_file(with_index(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def save_timm_file(model, file):
    """A state dict in one file, without config.json."""
    save_file(model.state_dict(), file)


def packaged_timm(maker, name, model, write=save_timm, file="model", eps=AUTHORS_EPS):
    """One checkpoint of timm."""
    maker.add(name, file, "timm", "classify", lambda path: write(model, path), model, maker.pictures(), eps)


def timm_tiny(maker):
    """Every container and pooling of timm."""
    packaged_timm(maker, "timm-classify", timm_model(maker))
    packaged_timm(maker, "timm-classify-bin", timm_model(maker), save_timm_bin)
    packaged_timm(maker, "timm-classify-index", timm_model(maker), save_timm_index)
    packaged_timm(maker, "timm-classify-file", timm_model(maker), save_timm_file, "model.safetensors")
    packaged_timm(maker, "timm-classify-cls", timm_model(maker, global_pool="token"))
    packaged_timm(maker, "timm-beitv2", timm_model(maker, "beitv2_base_patch16_224"))


def make(maker):
    """Everything of this file at the maker's size."""
    if maker.size == "tiny":
        hf_tiny(maker)
        timm_tiny(maker)
    elif maker.size == "large":
        hf(maker, "hf-classify", "classify", classifier(maker, layer_scale_init_value=1e-5))
    else:
        hf(maker, "hf-classify", "classify", classifier(maker))
        hf(maker, "hf-mim", "mim", mim(maker))
        hf(maker, "hf-codebook", "codebook", codebook(maker))
        packaged_timm(maker, "timm-classify", timm_model(maker))
